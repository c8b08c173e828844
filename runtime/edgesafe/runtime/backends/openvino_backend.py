"""OpenVINO on the CPU: from bytes, in the types that the graph says.

* ``INFERENCE_PRECISION_HINT`` f32: by itself it computes in bfloat16 where the processor can, which
  is wrong in the second digit of a root distance. int8 comes from the Q/DQ nodes alone:
  ``DYNAMIC_QUANTIZATION_GROUP_SIZE`` 0 keeps it from quantising the activations of weights that are
  only *stored* in int8.
* Its threads sleep when there is nothing to do; they are not pinned, so that the system may move
  them away from other work.
* It knows no model functions: they are inlined first (:mod:`edgesafe.runtime.onnx_inline`).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgesafe.runtime.backends.base import (
    Array,
    Request,
    Tensor,
    default_threads,
    find_module,
    unavailable,
)
from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.onnx_inline import inline_functions

__all__ = ["OpenVinoEngine", "open_openvino", "require_openvino"]

# OpenVINO's names of element types to those of ONNX.
_TYPES = {"f32": "float", "f16": "float16", "f64": "double", "i64": "int64", "i32": "int32"}


class OpenVinoEngine:
    """A compiled model with one inference request, used by one thread at a time."""

    def __init__(self, compiled: Any) -> None:
        """Wrap a ``CompiledModel``; made by :func:`open_openvino`."""
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()

    @property
    def inputs(self) -> Sequence[Tensor]:
        """Its inputs."""
        found = []
        for port in self._compiled.inputs:
            kind = port.element_type.get_type_name()
            sizes = (-1 if d.is_dynamic else d.get_length() for d in port.partial_shape)
            found.append(Tensor(port.any_name, _TYPES.get(kind, kind), tuple(sizes)))
        return found

    @property
    def outputs(self) -> Sequence[str]:
        """The names of its outputs."""
        # Two outputs that are one tensor share a port, which then has both names.
        return [name for port in self._compiled.outputs for name in sorted(port.names)]

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run it once."""
        with self._lock:
            self._request.infer({k: np.ascontiguousarray(v) for k, v in inputs.items()})
            # Copied: the request writes its next answer into the same memory.
            return [np.array(self._request.get_tensor(name).data) for name in outputs]


def require_openvino() -> Any:
    """Return the module ``openvino``.

    Raises:
        BackendError: It is not installed.
    """
    module = find_module("openvino")
    if module is None:
        raise unavailable("openvino", "the Python module openvino is not installed")
    return module


def open_openvino(request: Request) -> OpenVinoEngine:
    """Read and compile a model.

    Raises:
        BackendError: OpenVINO is not installed.
        PackageError: OpenVINO refuses the model.
    """
    require_openvino()
    model = inline_functions(request.model, request.where)
    try:
        with _LOCK:
            core = _core()
        read = core.read_model(model)
        supported = set(core.get_property("CPU", "SUPPORTED_PROPERTIES"))
        settings = _settings(request.threads)
        settings = {name: value for name, value in settings.items() if name in supported}
        return OpenVinoEngine(core.compile_model(read, "CPU", settings))
    except RuntimeError as error:  # what all of OpenVINO's exceptions become in Python
        reason = str(error).strip().splitlines()
        raise PackageError(
            f"OpenVINO refuses {request.where}: {reason[-1] if reason else error}; use the backend "
            "'cpu'"
        ) from None


_LOCK = threading.Lock()


@functools.cache
def _core() -> Any:
    """Return the one Core of the process, which is never let go.

    The plugin for the CPU gives the thread that compiles first a stack for signals. With the last
    Core it is unmapped, and where another thread let go of it, the first thread's next signal, a
    Ctrl-C, ends the process (OpenVINO 2026.4).
    """
    return require_openvino().Core()


def _settings(threads: int | None) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "EXECUTION_MODE_HINT": "ACCURACY",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads or default_threads(),
        "ENABLE_CPU_PINNING": False,
    }
