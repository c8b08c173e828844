"""Quantisers of other projects, brought to the form of :mod:`edgesafe.export.qdq`.

All are optional; each is asked for symmetric int8, per-channel weights, per-tensor activations.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from edgesafe.export.ranges import Batch
from edgesafe.export.typed_graph import constants_of
from edgesafe.runtime.errors import ExportError, UsageError

__all__ = ["OTHERS", "available", "quantise_with", "to_int8"]

Quantiser = Callable[[ModelProto, Sequence[Batch], Collection[str], bool], ModelProto]

# uint8 without zero point reaches twice as far as int8: one bit is given up for TensorRT.
_UNSIGNED = 255 / 127
_TYPES = ["Conv", "MatMul", "Gemm"]


def _nncf(
    model: ModelProto, batches: Sequence[Batch], keep: Collection[str], transformer: bool
) -> ModelProto:
    nncf = importlib.import_module("nncf")
    advanced = importlib.import_module("nncf.quantization.advanced_parameters")
    nncf.set_log_level(logging.ERROR)
    params = advanced.AdvancedQuantizationParameters(
        activations_quantization_params=advanced.QuantizationParameters(
            mode="symmetric", per_channel=False
        ),
        weights_quantization_params=advanced.QuantizationParameters(
            mode="symmetric", per_channel=True
        ),
    )
    copy = ModelProto()
    copy.CopyFrom(model)
    result: ModelProto = nncf.quantize(
        copy,
        nncf.Dataset([dict(batch) for batch in batches]),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(batches),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        # Tables stay: they would be restored as a whole at every inference.
        ignored_scope=nncf.IgnoredScope(names=sorted(keep), types=["Gather"], validate=False),
        advanced_parameters=params,
    )
    return result


def _ort(percentile: float | None) -> Quantiser:
    def run(
        model: ModelProto, batches: Sequence[Batch], keep: Collection[str], transformer: bool
    ) -> ModelProto:
        del transformer  # it knows no difference
        tool = importlib.import_module("onnxruntime.quantization")
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
            source.write_bytes(model.SerializeToString())
            extra: dict[str, Any] = {
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": _TYPES,
            }
            if percentile is not None:
                extra["CalibPercentile"] = percentile
            kind = "MinMax" if percentile is None else "Percentile"
            tool.quantize_static(
                str(source),
                str(target),
                _reader(tool, batches),
                quant_format=tool.QuantFormat.QDQ,
                per_channel=True,
                activation_type=tool.QuantType.QInt8,
                weight_type=tool.QuantType.QInt8,
                op_types_to_quantize=_TYPES,
                nodes_to_exclude=sorted(keep),
                calibrate_method=getattr(tool.CalibrationMethod, kind),
                calibration_providers=["CPUExecutionProvider"],
                extra_options=extra,
            )
            return onnx.load(str(target))

    return run


def _modelopt(
    model: ModelProto, batches: Sequence[Batch], keep: Collection[str], transformer: bool
) -> ModelProto:
    tool = importlib.import_module("modelopt.onnx.quantization")
    del transformer
    # One array of all inputs, which it splits by the batch of the graph.
    data = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(model.SerializeToString())
        tool.quantize(
            onnx_path=str(source),
            quantize_mode="int8",
            calibration_data=data,
            calibration_method="max",
            calibration_eps=["cpu"],
            calibration_shapes=",".join(
                f"{name}:{'x'.join(map(str, value.shape))}" for name, value in batches[0].items()
            ),
            nodes_to_exclude=[f"^{name}$" for name in sorted(keep)] or None,
            op_types_to_quantize=_TYPES,
            high_precision_dtype="fp32",
            output_path=str(target),
        )
        return onnx.load(str(target))


def _reader(tool: Any, batches: Sequence[Batch]) -> Any:
    class Reader(tool.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._rest, None)
            return None if batch is None else dict(batch)

    return Reader()


OTHERS: dict[str, tuple[str, Quantiser]] = {
    "nncf": ("nncf", _nncf),
    "ort-minmax": ("onnxruntime", _ort(None)),
    "ort-percentile": ("onnxruntime", _ort(99.99)),
    "modelopt": ("modelopt", _modelopt),
}
"""Method -> module that it needs, and how to call it."""


def available(method: str) -> bool:
    """Tells whether a method of :data:`OTHERS` is installed."""
    return importlib.util.find_spec(OTHERS[method][0]) is not None


def quantise_with(
    method: str,
    model: ModelProto,
    batches: Sequence[Batch],
    keep: Collection[str],
    *,
    transformer: bool,
) -> ModelProto:
    """Quantises a tower by a method of :data:`OTHERS`.

    Args:
        method: Which.
        model: A tower in float32, with folded weights and named nodes; left as it is.
        batches: Calibration inputs by name.
        keep: Names of nodes that stay in float32.
        transformer: Whether the tower is one.

    Raises:
        UsageError: The method is not installed.
        ExportError: It fails on this graph.
    """
    module, run = OTHERS[method]
    if not available(method):
        raise UsageError(f"the method {method} needs {module}: pip install {module}, or choose mse")
    try:
        with _quiet():
            found = run(model, batches, keep, transformer)
    except Exception as error:  # no common base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"{module} cannot quantise the graph: {reason:.300}") from error
    to_int8(found)
    found.ir_version = model.ir_version
    return found


def to_int8(model: ModelProto) -> None:
    """Rewrites pairs of uint8 without zero point as int8 ones of the same range."""
    constants = constants_of(model)
    added: dict[str, TensorProto] = {}
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.input) < 3:
            continue
        zero = constants.get(node.input[2])
        if zero is None or zero.dtype != np.uint8 or zero.any() or node.input[0] in constants:
            continue
        names = [f"{node.input[1]}.signed", f"{node.input[2]}.signed"]
        scale = (constants[node.input[1]] * _UNSIGNED).astype(np.float32)
        added[names[0]] = numpy_helper.from_array(scale, names[0])
        added[names[1]] = numpy_helper.from_array(zero.astype(np.int8), names[1])
        node.input[1:] = names
    model.graph.initializer.extend(added.values())
    read = {name for node in model.graph.node for name in node.input}
    kept = [_copied(t) for t in model.graph.initializer if t.name in read]
    del model.graph.initializer[:], model.graph.value_info[:]
    model.graph.initializer.extend(kept)


def _copied(tensor: TensorProto) -> TensorProto:
    """A copy that outlives the list it came from."""
    copy = TensorProto()
    copy.CopyFrom(tensor)
    return copy


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps progress bars and warnings of the tools off the terminal."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(previous)
