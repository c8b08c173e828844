"""The door to the backends: the verified bytes of an ONNX model in, a session out.

The bytes go through :mod:`edgesafe.runtime.onnx_guard` first, so that no other file is read; what
computes is described in :mod:`edgesafe.runtime.backends`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from edgesafe.runtime.backends.base import BACKENDS, CONCRETE, Array, Engine, Request, unavailable
from edgesafe.runtime.errors import (
    BackendError,
    EdgesafeError,
    PackageError,
    UsageError,
)
from edgesafe.runtime.onnx_guard import guard_model

__all__ = [
    "BACKENDS",
    "CONCRETE",
    "Session",
    "check_backend",
    "open_checked",
    "open_session",
    "why_unavailable",
]

Opened = TypeVar("Opened")


class Session:
    """A loaded model.

    Attributes:
        backend: What it really runs on, one of :data:`CONCRETE`.
    """

    def __init__(self, engine: Engine, backend: str) -> None:
        """Wrap a loaded model; made by :func:`open_session`."""
        self._engine = engine
        self.backend = backend

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run the model once.

        Raises:
            Exception: Whatever the backend raises for inputs it cannot run on.
        """
        return self._engine.run(outputs, inputs)

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
        found = {port.name: (port.type, len(port.shape)) for port in self._engine.inputs}
        if found != dict(inputs):
            raise PackageError(
                f"{where} has the inputs {found} and the manifest says {dict(inputs)}: export again"
            )
        lacking = sorted(set(outputs) - set(self._engine.outputs))
        if lacking:
            raise PackageError(f"{where} lacks the outputs {lacking}: export again")


def check_backend(backend: str) -> None:
    """Complain early about a backend that cannot work here.

    Raises:
        UsageError: The name is unknown.
        MissingExtraError: The library of the backend ``auto`` or ``cpu`` is not installed.
        BackendError: The library, its provider or its device is not there.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend {backend!r} is unknown: choose one of {', '.join(BACKENDS)}")
    if backend == "openvino":
        from edgesafe.runtime.backends.openvino_backend import require_openvino

        require_openvino()
        return
    if _resolve(backend) == "trt":
        from edgesafe.runtime.backends.cuda import open_device

        open_device()
        return
    from edgesafe.runtime.backends.onnxruntime_backend import PROVIDERS, providers

    offered = providers()
    wanted = PROVIDERS.get(_resolve(backend))
    if wanted is not None and wanted not in offered:
        raise unavailable(backend, f"ONNX Runtime here offers only {', '.join(offered)}")


def why_unavailable(backend: str) -> str | None:
    """Return why a backend cannot be used here; None where :func:`check_backend` knows nothing."""
    try:
        check_backend(backend)
    except UsageError:
        raise
    except EdgesafeError as error:
        return str(error)
    return None


def open_session(
    model: bytes,
    *,
    backend: str = "auto",
    threads: int | None = None,
    where: str = "the model",
    precision: str = "fp32",
    max_length: int | None = None,
) -> Session:
    """Make a session from the bytes of an ONNX model.

    Args:
        model: The verified file.
        backend: One of :data:`BACKENDS`; ``auto`` takes CUDA where it works, else the CPU, there
            with OpenVINO if that is installed and was measured to be faster.
        threads: CPU threads of one inference; None takes two, or one on a single core, or what the
            trial of ``auto`` found best.
        where: What to call the model in messages.
        precision: What the graph computes in: with ``int8`` its quantised operators run on integer
            kernels, else weights stored in fewer bits are unfolded once.
        max_length: Largest length of the second axis of a text input, for a backend that must know.

    Raises:
        UsageError: The name of the backend is unknown, or ``threads`` is not positive.
        MissingExtraError: ONNX Runtime is not installed.
        BackendError: The backend is not usable on this machine.
        PackageError: The model reaches outside its file, or the backend refuses it.
    """
    check_backend(backend)
    if threads is not None and (type(threads) is not int or threads < 1):
        raise UsageError(f"threads must be a positive whole number, not {threads!r}")
    guard_model(model, where)
    request = Request(model, precision, threads, where, max_length)
    if backend == "auto":
        return _open_auto(request)
    backend = _resolve(backend)
    return Session(_open(request, backend), backend)


def open_checked(backend: str, opener: Callable[[str], Opened]) -> Opened:
    """Open a model and check its golden pairs, with ``auto`` on the CPU at the latest.

    Backends round in places of their own, most of all in int8: what ``auto`` chose for its speed
    may not answer as the package says it must, where ``cpu``, which made the pairs, does.

    Args:
        backend: One of :data:`BACKENDS`.
        opener: Opens and checks with the backend that it is given.

    Raises:
        PackageError: The model is refused, or answers differently from when it was exported.
    """
    try:
        return opener(backend)
    except PackageError:
        if backend != "auto":
            raise
    return opener("cpu")


def _resolve(backend: str) -> str:
    """Say which of the two ways to TensorRT ``trt`` is here."""
    if backend == "trt":
        from edgesafe.runtime.backends.tensorrt_backend import native_tensorrt

        return "trt" if native_tensorrt() is not None else "trt-ep"
    return backend


def _open_auto(request: Request) -> Session:
    from edgesafe.runtime.backends.onnxruntime_backend import PROVIDERS, providers
    from edgesafe.runtime.backends.trial import open_fastest

    if PROVIDERS["cuda"] in providers():
        try:
            return Session(_open(request, "cuda"), "cuda")
        except BackendError:
            pass  # a build for GPUs on a machine without one
    backend, engine = open_fastest(request, _open)
    return Session(engine, backend)


def _open(request: Request, backend: str) -> Engine:
    if backend == "openvino":
        from edgesafe.runtime.backends.openvino_backend import open_openvino

        return open_openvino(request)
    if backend == "trt":
        from edgesafe.runtime.backends.tensorrt_backend import open_tensorrt

        return open_tensorrt(request)
    from edgesafe.runtime.backends.onnxruntime_backend import open_onnxruntime

    return open_onnxruntime(request, backend)
