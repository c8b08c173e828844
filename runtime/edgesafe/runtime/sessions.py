"""ONNX Runtime sessions: made from verified bytes, quiet on a shared machine, in full float32.

* From bytes that :mod:`edgesafe.runtime.onnx_guard` looked through, so that no other file is read.
* No spinning threads: at batch 1 they win little and starve whatever else runs on the device.
* Weights stored as float16 behind ``Cast`` or as int8 behind ``DequantizeLinear`` are folded to
  float32 once, at load. For ``DequantizeLinear`` that takes ``session.disable_quant_qdq``: by
  default the nodes are kept for fusion into integer kernels and run at every inference. A model
  of the precision int8 wants just these kernels, so there they are kept.
* On a GPU, TF32 and reduced precision stay off: the hyperbolic head loses its meaning in them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from edgesafe.runtime.errors import BackendError, MissingExtraError, PackageError, UsageError
from edgesafe.runtime.onnx_guard import guard_model

__all__ = ["BACKENDS", "Session", "check_backend", "open_session"]

BACKENDS = ("auto", "cpu", "cuda", "trt", "openvino")

_PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}),
    "trt": ("TensorrtExecutionProvider", {"trt_fp16_enable": "0", "trt_int8_enable": "0"}),
    "openvino": ("OpenVINOExecutionProvider", {"device_type": "CPU", "precision": "FP32"}),
}
_MEND = {
    "cuda": "pip install 'edgesafe[gpu]' on a machine with an NVIDIA GPU and its CUDA libraries",
    "trt": "pip install 'edgesafe[trt]' on a machine with an NVIDIA GPU and TensorRT",
    "openvino": "pip install onnxruntime-openvino in place of onnxruntime",
}

Array = npt.NDArray[Any]


class Session:
    """A loaded model.

    Attributes:
        backend: What it really runs on: ``"cpu"``, ``"cuda"``, ``"trt"`` or ``"openvino"``.
    """

    def __init__(self, session: Any, backend: str) -> None:
        """Wrap an ``InferenceSession``; made by :func:`open_session`."""
        self._session = session
        self.backend = backend

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run the model once.

        Raises:
            Exception: Whatever ONNX Runtime raises for inputs it cannot run on.
        """
        found: list[Array] = self._session.run(list(outputs), dict(inputs))
        return found

    def check(
        self, inputs: Mapping[str, tuple[str, int]], outputs: Sequence[str], where: str
    ) -> None:
        """Compare the model's own interface with the manifest's.

        Args:
            inputs: Name to (element type, number of dimensions), e.g. ``("float", 4)``.
            outputs: Names.
            where: What to call the model in messages.

        Raises:
            PackageError: They differ.
        """
        wanted = {name: (f"tensor({kind})", rank) for name, (kind, rank) in inputs.items()}
        found = {i.name: (i.type, len(i.shape)) for i in self._session.get_inputs()}
        if found != wanted:
            raise PackageError(
                f"{where} has the inputs {found} and the manifest says {wanted}: export again"
            )
        lacking = sorted(set(outputs) - {o.name for o in self._session.get_outputs()})
        if lacking:
            raise PackageError(f"{where} lacks the outputs {lacking}: export again")


def check_backend(backend: str) -> None:
    """Complain early about a backend that cannot work here.

    Raises:
        UsageError: The name is unknown.
        MissingExtraError: ONNX Runtime is not installed.
        BackendError: The installed ONNX Runtime has no such provider.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend {backend!r} is unknown: choose one of {', '.join(BACKENDS)}")
    available = _onnxruntime().get_available_providers()
    if backend != "auto" and _PROVIDERS[backend][0] not in available:
        raise _unavailable(backend, f"ONNX Runtime here offers only {', '.join(available)}")


def open_session(
    model: bytes,
    *,
    backend: str = "auto",
    threads: int | None = None,
    where: str = "the model",
    precision: str = "fp32",
) -> Session:
    """Make a session from the bytes of an ONNX model.

    Args:
        model: The verified file.
        backend: One of :data:`BACKENDS`; ``auto`` takes CUDA where it works, else the CPU.
        threads: CPU threads of one inference; None takes two, or one on a single core.
        where: What to call the model in messages.
        precision: What the graph computes in: with ``int8`` its quantised operators run on integer
            kernels, else weights stored in fewer bits are unfolded once.

    Raises:
        UsageError: The name of the backend is unknown, or ``threads`` is not positive.
        MissingExtraError: ONNX Runtime is not installed.
        BackendError: The backend is not usable on this machine.
        PackageError: The model reaches outside its file, or ONNX Runtime refuses it.
    """
    check_backend(backend)
    if threads is not None and (type(threads) is not int or threads < 1):
        raise UsageError(f"threads must be a positive whole number, not {threads!r}")
    guard_model(model, where)
    ort = _onnxruntime()
    options = _options(ort, threads, precision)
    if backend == "auto":
        if _PROVIDERS["cuda"][0] in ort.get_available_providers():
            try:
                return _open(ort, model, options, "cuda", where)
            except BackendError:
                pass  # a build for GPUs on a machine without one
        backend = "cpu"
    return _open(ort, model, options, backend, where)


def _open(ort: Any, model: bytes, options: Any, backend: str, where: str) -> Session:
    providers = [_PROVIDERS[backend]]
    if backend != "cpu":
        # For nodes that the device has no kernel for.
        providers.append(_PROVIDERS["cpu"])
    try:
        # Without its fallback, which prints to stdout and silently goes on with the CPU.
        session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this
        if backend != "cpu":
            raise _unavailable(backend, f"it refuses {where}: {error}") from None
        raise PackageError(f"ONNX Runtime refuses {where}: {error}") from None
    # Where the libraries of a provider cannot be loaded, ONNX Runtime logs it and leaves it out.
    if _PROVIDERS[backend][0] not in session.get_providers():
        raise _unavailable(backend, "its libraries cannot be loaded or there is no device")
    # Kept only for the fallback that is off; the size of the file in memory.
    session._model_bytes = None
    return Session(session, backend)


def _options(ort: Any, threads: int | None, precision: str = "fp32") -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or min(2, _cores())
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena keeps the largest batch it ever saw; a device wants that memory back.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    folded = "0" if precision == "int8" else "1"
    options.add_session_config_entry("session.disable_quant_qdq", folded)
    return options


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _onnxruntime() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError:
        raise MissingExtraError("onnxruntime", "cpu") from None


def _unavailable(backend: str, why: str) -> BackendError:
    return BackendError(f"backend {backend!r} is not available: {why}; {_MEND[backend]}")
