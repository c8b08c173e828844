"""Time and memory of a moderator, end to end: never of the network alone.

Latency is taken in this process; cold start and memory each in a process of their own, so that
neither sees what was loaded before.
"""

from __future__ import annotations

import importlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgesafe.calib.machine import peak_rss_mib, rss_mib, thread_count
from edgesafe.runtime.errors import EdgesafeError, SourceError
from edgesafe.runtime.verdict import Verdict

__all__ = [
    "STAGES",
    "Latency",
    "Soak",
    "cold_start",
    "latency",
    "photo_paths",
    "sample_photos",
    "soak",
    "theil_sen",
]

STAGES = ("decode", "preprocess", "infer", "post")
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_WARM_UP = 5
_SAMPLES = 200
_T = TypeVar("_T")

# What a user's own script does, and nothing more.
_COLD = """
import sys
from edgesafe.runtime import Moderator
print(Moderator.load(sys.argv[1]).check(sys.argv[2]).decision, flush=True)
"""
_SOAK = """
import sys
from edgesafe.calib.measure import soak_here
soak_here(sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one kind of input at batch 1.

    Attributes:
        runs: Inputs timed, after the warm-up.
        stages: Per stage, and for ``total`` (the whole call, timed from outside): p50 and p99.
        cpu: CPU time of all threads of the process: mean, p50 and p99.
        threads: Threads of the process at the end, None where the system does not tell.
        decisions: How many of each decision the runs gave.
    """

    runs: int
    stages: dict[str, dict[str, float]]
    cpu: dict[str, float]
    threads: int | None
    decisions: dict[str, int]


@dataclass(frozen=True)
class Soak:
    """Memory of one process that judged many images, in MiB.

    Attributes:
        images: How many were judged.
        images_per_second: Over the whole run.
        peak_mib: Largest resident memory.
        start_mib: Resident memory after the first tenth of the run.
        end_mib: Resident memory at the end.
        growth_mib_per_10000: Theil-Sen slope after the first tenth, per 10,000 images.
    """

    images: int
    images_per_second: float
    peak_mib: float
    start_mib: float
    end_mib: float
    growth_mib_per_10000: float


def latency(check: Callable[[_T], Verdict], inputs: Sequence[_T], runs: int) -> Latency:
    """Time ``check`` on the inputs in turn, one at a time.

    Args:
        check: ``moderator.check`` or ``moderator.check_text``.
        inputs: At least one; images as the bytes of their files, so that decoding counts.
        runs: How many calls to time; a few more warm up.
    """
    wall: list[float] = []
    cpu: list[float] = []
    verdicts: list[Verdict] = []
    turn = itertools.cycle(inputs)
    for item in itertools.islice(turn, _WARM_UP):
        check(item)
    for item in itertools.islice(turn, runs):
        cpu_start, start = time.process_time(), time.perf_counter()
        verdicts.append(check(item))
        wall.append((time.perf_counter() - start) * 1e3)
        cpu.append((time.process_time() - cpu_start) * 1e3)
    stages = {s: _percentiles([getattr(v.ms, s) for v in verdicts]) for s in STAGES}
    stages["total"] = _percentiles(wall)
    decisions = {d: sum(v.decision == d for v in verdicts) for d in ("safe", "unsafe", "undecided")}
    return Latency(
        runs=runs,
        stages=stages,
        cpu={"mean": float(np.mean(cpu)), **_percentiles(cpu)},
        threads=thread_count(),
        decisions=decisions,
    )


def cold_start(package: Path, image: Path, repeats: int = 5) -> float:
    """Return the median seconds from starting Python to the first printed verdict.

    Raises:
        EdgesafeError: The process gave no verdict.
    """
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", _COLD, str(package), str(image)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            times.append(time.perf_counter() - start)
            message = process.stderr.read()
        if not line:
            raise EdgesafeError(f"no verdict from a fresh process: {_last_line(message)}")
    return float(np.median(times))


def soak(package: Path, images: Path, count: int) -> Soak:
    """Judge ``count`` images of a folder, over and over, in a process of its own.

    Raises:
        EdgesafeError: The process failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", _SOAK, str(package), str(images), str(count)], capture_output=True
    )
    if done.returncode != 0:
        raise EdgesafeError(f"the memory run failed: {_last_line(done.stderr)}")
    return Soak(**json.loads(done.stdout))


def soak_here(package: str, images: str, count: int) -> None:
    """Do the work of :func:`soak` in this process and print its result as JSON."""
    from edgesafe.runtime import Moderator

    paths = photo_paths(Path(images))
    every = max(1, count // _SAMPLES)
    samples: list[tuple[int, float]] = []
    start = time.perf_counter()
    stream = itertools.islice(itertools.cycle(paths), count)
    done = 0
    for done, _ in enumerate(Moderator.load(package).check_many(stream), start=1):
        if done % every == 0:
            samples.append((done, rss_mib()))
    seconds = time.perf_counter() - start
    settled = samples[len(samples) // 10 :]
    result: dict[str, Any] = {
        "images": done,
        "images_per_second": done / seconds,
        "peak_mib": peak_rss_mib(),
        "start_mib": settled[0][1],
        "end_mib": settled[-1][1],
        "growth_mib_per_10000": 1e4 * theil_sen(settled),
    }
    print(json.dumps(result))


def theil_sen(points: Sequence[tuple[float, float]]) -> float:
    """Return the median slope over all pairs of points with different x; 0 with no such pair.

    Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63 (1968): a few
    outliers, such as a garbage collection, do not move it.
    """
    x, y = np.asarray(points, dtype=np.float64).reshape(-1, 2).T
    i, j = np.triu_indices(len(x), k=1)
    apart = x[i] != x[j]
    if not apart.any():
        return 0.0
    slopes = (y[j] - y[i])[apart] / (x[j] - x[i])[apart]
    return float(np.median(slopes))


def sample_photos() -> Path:
    """Return the folder of the sample photos, of the wheel or of the checkout.

    Raises:
        SourceError: There is none.
    """
    for portion in map(Path, importlib.import_module("edgesafe").__path__):
        for folder in (portion / "samples" / "data" / "photos", portion.parent / "data" / "photos"):
            if folder.is_dir():
                return folder
    raise SourceError("the sample photos are not installed: name a folder of photos instead")


def photo_paths(folder: Path) -> list[Path]:
    """Return the JPEG, PNG and WebP files of a folder, in the order of their names.

    Raises:
        SourceError: The folder is missing or holds none.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder: name one with photos")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and p.is_file())
    if not paths:
        raise SourceError(f"{folder} holds no JPEG, PNG or WebP file")
    return paths


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99)}


def _last_line(message: bytes) -> str:
    lines = message.decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
