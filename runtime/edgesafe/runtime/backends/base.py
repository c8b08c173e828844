"""What all backends share: their interface, their names, what to say where one is missing."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from edgesafe.runtime.ending import HeldInterrupt
from edgesafe.runtime.errors import BackendError

__all__ = [
    "BACKENDS",
    "CONCRETE",
    "Array",
    "Engine",
    "Request",
    "Tensor",
    "core_count",
    "default_threads",
    "find_module",
    "unavailable",
]

CONCRETE = ("cpu", "cuda", "trt", "trt-ep", "openvino")
"""Every backend that computes something."""

BACKENDS = ("auto", *CONCRETE)
"""What ``--backend`` takes."""

Array = npt.NDArray[Any]

_MEND = {
    "cpu": "pip install 'edgesafe[cpu]'",
    "cuda": "pip install 'edgesafe[gpu]' on a machine with an NVIDIA GPU and its CUDA libraries",
    "trt": "on a machine with an NVIDIA GPU: pip install 'edgesafe[trt]'; on a Jetson use the "
    "TensorRT of JetPack: make the environment with python3 -m venv --system-site-packages",
    "trt-ep": "pip install 'edgesafe[trt]' on a machine with an NVIDIA GPU and TensorRT",
    "openvino": "pip install 'edgesafe[openvino]'",
}


@dataclass(frozen=True)
class Tensor:
    """An input of a model: name, ONNX element type such as ``float``, sizes with -1 where open."""

    name: str
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Request:
    """What to open a model with.

    Attributes:
        model: The verified bytes of the ONNX file.
        precision: What the graph computes in: ``fp32``, ``fp16`` or ``int8``.
        threads: CPU threads of one inference; None leaves the choice to the backend.
        where: What to call the model in messages.
        max_length: Largest length of the second axis of a text input, where it is known.
    """

    model: bytes
    precision: str = "fp32"
    threads: int | None = None
    where: str = "the model"
    max_length: int | None = None


class Engine(Protocol):
    """A loaded model. It may be called from several threads."""

    @property
    def inputs(self) -> Sequence[Tensor]:
        """Its inputs."""

    @property
    def outputs(self) -> Sequence[str]:
        """The names of its outputs."""

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run it once; raises whatever its library raises."""


def core_count() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def default_threads() -> int:
    """Return the threads of one inference where nobody chose them: two, or one on one core."""
    return min(2, core_count())


def find_module(name: str) -> Any | None:
    """Import a library; None where it is not installed or cannot be loaded."""
    try:
        with HeldInterrupt():
            return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError):  # the latter two: its own libraries are missing
        return None


def unavailable(backend: str, why: str) -> BackendError:
    """Return the error that says why a backend cannot be used, and how to mend it."""
    return BackendError(f"backend {backend!r} is not available: {why}; {_MEND[backend]}")
