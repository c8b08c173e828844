"""A short comparison of backends on one package, for `edgesafe doctor --device`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgesafe.runtime.backends.base import Array
from edgesafe.runtime.package import Package, PosePackage
from edgesafe.runtime.sessions import Session, open_session

__all__ = ["Timing", "compare_backends"]

_WARM_UP = 3


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one picture on one backend: medians of wall time and of CPU time."""

    file: str
    backend: str
    wall_ms: float
    cpu_ms: float
    runs: int


def compare_backends(
    package: Package | PosePackage,
    backends: Sequence[str],
    *,
    threads: int | None = None,
    runs: int = 30,
) -> list[Timing]:
    """Time the first network that looks at pictures, on noise, with interleaved rounds.

    A backend that cannot open or run it is left out.
    """
    if isinstance(package, PosePackage):
        network = package.manifest.networks[0]
        name, precision, outputs = network.file, network.precision, network.outputs
        feed: dict[str, Array] = {"image": _noise((1, 3, network.size, network.size))}
        if len(network.objects) > 1:
            feed["object"] = np.zeros(1, np.int64)
    else:
        encoder = package.manifest.image
        if encoder is None:
            return []
        name, precision, outputs = encoder.file, encoder.precision, encoder.outputs
        shape = (1, 3, encoder.preprocess.height, encoder.preprocess.width)
        if encoder.layout == "nhwc":
            shape = (1, *shape[2:], 3)
        feed = {encoder.input: _noise(shape)}
    sessions: dict[str, Session] = {}
    for backend in backends:
        try:
            session = open_session(
                package.files[name], backend=backend, threads=threads, precision=precision
            )
            for _ in range(_WARM_UP):
                session.run(outputs, feed)
        except Exception:  # a backend raises what it likes; verify tells it
            continue
        sessions[backend] = session
    wall: dict[str, list[float]] = {backend: [] for backend in sessions}
    cpu: dict[str, list[float]] = {backend: [] for backend in sessions}
    for _ in range(runs):
        for backend, session in sessions.items():
            begin = time.perf_counter(), time.process_time()
            session.run(outputs, feed)
            wall[backend].append(time.perf_counter() - begin[0])
            cpu[backend].append(time.process_time() - begin[1])
    return [
        Timing(
            name,
            backend,
            1e3 * float(np.median(wall[backend])),
            1e3 * float(np.median(cpu[backend])),
            runs,
        )
        for backend in sessions
    ]


def _noise(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
