"""TensorRT itself: an engine built on this device at first use, kept with this device's mark.

The way: verified ONNX -> :mod:`.engine_cache` (believed only with the right HMAC), else
:mod:`.tensorrt_build` -> ``deserialize_cuda_engine`` -> one execution context. An engine that
TensorRT itself will not load is built anew once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgesafe.runtime.backends.base import Array, Request, Tensor, find_module, unavailable
from edgesafe.runtime.backends.cuda import CudaDevice, DeviceBuffer, open_device
from edgesafe.runtime.backends.engine_cache import EngineCache, EngineKey
from edgesafe.runtime.backends.tensorrt_build import BuildFlags, build_plan, make_logger
from edgesafe.runtime.errors import BackendError
from edgesafe.runtime.files import sha256_hex
from edgesafe.runtime.onnx_unfold import unfold_weights
from edgesafe.runtime.owner_cache import CacheUnusable, OwnerCache

__all__ = ["TensorRtEngine", "native_tensorrt", "open_tensorrt"]

_log = logging.getLogger("edgesafe.tensorrt")

# TensorRT's names of element types to those of ONNX and NumPy.
_TYPES = {
    "FLOAT": ("float", np.float32),
    "HALF": ("float16", np.float16),
    "INT64": ("int64", np.int64),
    "INT32": ("int32", np.int32),
    "INT8": ("int8", np.int8),
    "UINT8": ("uint8", np.uint8),
    "BOOL": ("bool", np.bool_),
}


def native_tensorrt() -> Any | None:
    """Return the module ``tensorrt``; None where it is not installed or older than 10."""
    module = find_module("tensorrt")
    version = str(getattr(module, "__version__", "0"))
    return module if version.partition(".")[0].isdigit() and _major(version) >= 10 else None


class TensorRtEngine:
    """A deserialised engine with one execution context, used by one thread at a time."""

    def __init__(
        self, trt: Any, runtime: Any, engine: Any, device: CudaDevice, max_batch: int
    ) -> None:
        """Take an engine and the runtime that must outlive it, and make the context.

        Raises:
            BackendError: There is not enough memory for the context.
        """
        self._runtime = runtime
        self._engine = engine
        self._device = device
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self._buffers: dict[str, DeviceBuffer] = {}
        self._context = engine.create_execution_context()
        if self._context is None:
            raise BackendError("TensorRT cannot make an execution context: is memory short?")
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._types = {name: _TYPES[engine.get_tensor_dtype(name).name] for name in names}
        given = trt.TensorIOMode.INPUT
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == given]
        self._outputs = [name for name in names if name not in self._inputs]

    @property
    def inputs(self) -> Sequence[Tensor]:
        """Its inputs."""
        return [
            Tensor(name, self._types[name][0], tuple(self._engine.get_tensor_shape(name)))
            for name in self._inputs
        ]

    @property
    def outputs(self) -> Sequence[str]:
        """The names of its outputs."""
        return self._outputs

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run it, in pieces where the batch is larger than the engine was built for.

        Raises:
            ValueError: The inputs are not those of the model.
            BackendError: TensorRT or the driver refuses them.
        """
        if set(inputs) != set(self._inputs):
            raise ValueError(f"the inputs are {sorted(self._inputs)}, not {sorted(inputs)}")
        rows = {len(value) for value in inputs.values()}
        if len(rows) != 1:
            raise ValueError(f"the inputs have different numbers of rows: {sorted(rows)}")
        with self._lock:
            self._device.activate()
            pieces = [
                self._once(outputs, {k: v[at : at + self._max_batch] for k, v in inputs.items()})
                for at in range(0, rows.pop(), self._max_batch)
            ]
        if len(pieces) == 1:
            return pieces[0]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _once(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        held = []  # the copies are asynchronous: what they read must stay
        for name, value in inputs.items():
            array: Array = np.ascontiguousarray(value, dtype=self._types[name][1])
            held.append(array)
            if not self._context.set_input_shape(name, array.shape):
                raise BackendError(f"TensorRT refuses the shape {array.shape} of the input {name}")
            self._device.to_device(self._bind(name, array.nbytes), array)
        found = {}
        for name in self._outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            if min(shape, default=0) < 0:
                raise BackendError(f"TensorRT does not know the shape of the output {name}")
            found[name] = np.empty(shape, dtype=self._types[name][1])
            self._bind(name, found[name].nbytes)
        if not self._context.execute_async_v3(self._device.stream):
            raise BackendError("TensorRT could not run the model")
        for name in outputs:
            self._device.to_host(found[name], self._buffers[name].address)
        self._device.wait()
        return [found[name] for name in outputs]

    def _bind(self, name: str, nbytes: int) -> int:
        buffer = self._buffers.get(name)
        if buffer is None or buffer.nbytes < nbytes:
            buffer = self._buffers[name] = DeviceBuffer(self._device, nbytes)
        if not self._context.set_tensor_address(name, buffer.address):
            raise BackendError(f"TensorRT refuses the memory of {name}")
        return buffer.address


def open_tensorrt(request: Request) -> TensorRtEngine:
    """Load the engine of a model, building it where needed.

    Raises:
        BackendError: TensorRT or a GPU is missing, or it cannot build or load the model.
    """
    trt = native_tensorrt()
    if trt is None:
        raise unavailable("trt", "the Python module tensorrt (10 or later) is not installed")
    device = open_device()
    flags = BuildFlags()
    if request.max_length is not None:
        flags = BuildFlags(max_length=request.max_length)
    made_of = {
        **flags.to_json(),
        "weights": "stored" if request.precision == "int8" else "restored",
    }
    key = EngineKey(
        sha256_hex(request.model), trt.__version__, device.name, device.compute, made_of
    )
    logger = make_logger(trt)

    def build() -> bytes:
        _log.warning("building %s for %s; this may take minutes", request.where, key)
        device.activate()
        model = request.model
        if request.precision != "int8":
            model = unfold_weights(model, request.where)
        return build_plan(trt, model, flags, request.where, logger=logger)

    try:
        cache = EngineCache(OwnerCache("engines"))
    except CacheUnusable as error:
        _log.warning("engines are built at every start: %s", error)
        plan, built = build(), True
    else:
        plan, built = cache.get(key, build)
    device.activate()
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None and not built:
        _log.warning("%s does not load its own cached engine: building anew", key)
        plan, _ = cache.get(key, build, anew=True)
        engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BackendError(
            f"{key} does not load the engine that it built of {request.where}: use the backend "
            "'cuda' or 'cpu'"
        )
    return TensorRtEngine(trt, runtime, engine, device, flags.max_batch)


def _major(version: str) -> int:
    return int(version.partition(".")[0])
