"""ONNX Runtime: on the CPU, with CUDA, and with TensorRT as one of its providers.

* No spinning threads: at batch 1 they win little and starve whatever else runs on the device.
* Weights stored as float16 behind ``Cast`` or as int8 behind ``DequantizeLinear`` are folded to
  float32 once, at load. For ``DequantizeLinear`` that takes ``session.disable_quant_qdq``: by
  default the nodes are kept for fusion into integer kernels and run at every inference. A model
  of the precision int8 wants just these kernels, so there they are kept.
* On a GPU, TF32 and reduced precision stay off. The TensorRT provider builds its engine anew at
  every start: its cache on disk is not authenticated, and an engine is executable code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgesafe.runtime.backends.base import (
    Array,
    Request,
    Tensor,
    default_threads,
    find_module,
    unavailable,
)
from edgesafe.runtime.errors import MissingExtraError, PackageError

__all__ = ["PROVIDERS", "OrtEngine", "open_onnxruntime", "providers"]

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "trt-ep": "TensorrtExecutionProvider",
}


class OrtEngine:
    """An ``InferenceSession``."""

    def __init__(self, session: Any) -> None:
        """Wrap a session; made by :func:`open_onnxruntime`."""
        self._session = session

    @property
    def inputs(self) -> Sequence[Tensor]:
        """Its inputs."""
        found = []
        for port in self._session.get_inputs():
            kind = port.type.removeprefix("tensor(").removesuffix(")")
            # An open size is a name or None.
            shape = tuple(size if isinstance(size, int) else -1 for size in port.shape)
            found.append(Tensor(port.name, kind, shape))
        return found

    @property
    def outputs(self) -> Sequence[str]:
        """The names of its outputs."""
        return [output.name for output in self._session.get_outputs()]

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run it once."""
        found: list[Array] = self._session.run(list(outputs), dict(inputs))
        return found


def providers() -> list[str]:
    """Return the providers of the installed ONNX Runtime.

    Raises:
        MissingExtraError: It is not installed.
    """
    found: list[str] = _onnxruntime().get_available_providers()
    return found


def open_onnxruntime(request: Request, backend: str) -> OrtEngine:
    """Make a session.

    Args:
        request: What to open.
        backend: A key of :data:`PROVIDERS`.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        BackendError: The provider is not usable on this machine.
        PackageError: ONNX Runtime refuses the model.
    """
    ort = _onnxruntime()
    wanted = [(PROVIDERS[backend], _provider_options(backend, request.precision))]
    if backend != "cpu":
        # For nodes that the device has no kernel for.
        wanted.append((PROVIDERS["cpu"], {}))
    options = _options(ort, request.threads, request.precision)
    try:
        # Without its fallback, which prints to stdout and silently goes on with the CPU.
        session = ort.InferenceSession(request.model, options, providers=wanted, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this
        if backend != "cpu":
            raise unavailable(backend, f"it refuses {request.where}: {error}") from None
        raise PackageError(f"ONNX Runtime refuses {request.where}: {error}") from None
    # Where the libraries of a provider cannot be loaded, ONNX Runtime logs it and leaves it out.
    if PROVIDERS[backend] not in session.get_providers():
        raise unavailable(backend, "its libraries cannot be loaded or there is no device")
    # Kept only for the fallback that is off; the size of the file in memory.
    session._model_bytes = None
    return OrtEngine(session)


def _provider_options(backend: str, precision: str) -> dict[str, str]:
    if backend == "cuda":
        return {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    if backend == "trt-ep":
        # The int8 flag is for Q/DQ graphs alone; float16 would reach into the hyperbolic head.
        return {"trt_fp16_enable": "0", "trt_int8_enable": "1" if precision == "int8" else "0"}
    return {}


def _options(ort: Any, threads: int | None, precision: str) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or default_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena keeps the largest batch it ever saw; a device wants that memory back.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    folded = "0" if precision == "int8" else "1"
    options.add_session_config_entry("session.disable_quant_qdq", folded)
    return options


def _onnxruntime() -> Any:
    module = find_module("onnxruntime")
    if module is None:
        raise MissingExtraError("onnxruntime", "cpu")
    return module
