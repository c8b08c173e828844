"""What calibration measures of a tensor: how its magnitudes are spread, and its channels' means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

__all__ = ["Spread", "best_limit", "observe", "run_tensors", "session_of"]

Floats = NDArray[np.floating[Any]]
Batch = Mapping[str, NDArray[Any]]

_BINS = 2048
# Of the largest magnitude; below a fifth the clipped values would dominate.
_FRACTIONS = np.linspace(0.2, 1.0, 41)


@dataclass(frozen=True)
class Spread:
    """Of one tensor over the calibration data.

    Attributes:
        largest: Magnitude.
        counts: Histogram of magnitudes from 0 to ``largest``.
        means: Per channel: axis 1 of pictures, the last axis of anything else.
    """

    largest: float
    counts: Floats = field(repr=False)
    means: Floats = field(repr=False)


def session_of(model: ModelProto, extra: Sequence[str] = ()) -> ort.InferenceSession:
    """Makes a session of one thread that also returns some inner float32 tensors."""
    there = {o.name for o in model.graph.output}
    probe = model
    if set(extra) - there:
        probe = ModelProto()
        probe.CopyFrom(model)
        for name in dict.fromkeys(extra):
            if name not in there:
                value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                probe.graph.output.append(value)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(probe.SerializeToString(), options, ["CPUExecutionProvider"])


def run_tensors(
    session: ort.InferenceSession, names: Sequence[str], batch: Batch
) -> dict[str, NDArray[Any]]:
    """Returns tensors of one run by name; inputs of the graph are tensors too."""
    computed = [name for name in dict.fromkeys(names) if name not in batch]
    values = session.run(computed, dict(batch)) if computed else []
    found = dict(zip(computed, values, strict=True))
    return found | {name: batch[name] for name in names if name in batch}


def observe(model: ModelProto, names: Sequence[str], batches: Sequence[Batch]) -> dict[str, Spread]:
    """Measures tensors over the calibration data, in two passes: the largest, then the spread.

    Args:
        model: In float32.
        names: Of float32 tensors, computed or inputs.
        batches: Inputs by name.
    """
    session = session_of(model, [n for n in names if n not in {i.name for i in model.graph.input}])
    largest = dict.fromkeys(names, 0.0)
    for batch in batches:
        for name, value in run_tensors(session, names, batch).items():
            largest[name] = max(largest[name], float(np.max(np.abs(value), initial=0.0)))
    counts = {name: np.zeros(_BINS) for name in names}
    sums: dict[str, Floats] = {}
    for batch in batches:
        for name, value in run_tensors(session, names, batch).items():
            top = max(largest[name], 1e-12)
            counts[name] += np.histogram(np.abs(value).reshape(-1), _BINS, (0.0, top))[0]
            others = (0, *range(2, value.ndim)) if value.ndim == 4 else tuple(range(value.ndim - 1))
            mean = np.mean(value, axis=others, dtype=np.float64)
            sums[name] = np.asarray(sums.get(name, 0.0) + mean)
    return {n: Spread(largest[n], counts[n], np.asarray(sums[n]) / len(batches)) for n in names}


def best_limit(spread: Spread) -> float:
    """Returns the magnitude to clip at: least mean square error of symmetric int8."""
    if spread.largest <= 0:
        return 1.0
    width = spread.largest / len(spread.counts)
    middle = (np.arange(len(spread.counts)) + 0.5) * width
    errors = []
    for fraction in _FRACTIONS:
        scale = spread.largest * fraction / 127
        rounded = np.clip(np.rint(middle / scale), 0, 127) * scale
        errors.append(float(np.sum(spread.counts * (rounded - middle) ** 2)))
    return float(spread.largest * _FRACTIONS[int(np.argmin(errors))])
