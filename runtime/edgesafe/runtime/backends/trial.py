"""The CPU of ``auto``: a short measured trial between ONNX Runtime and OpenVINO, once per model.

Which of the two is faster depends on the processor, the model and its precision: measured, never
guessed. The trial runs where both are installed, at most once per ONNX file, machine and pair of
versions; its outcome lies in an owner-only cache. Where that cache cannot be used there is no
trial, and ``cpu`` is taken. ``EDGESAFE_BACKEND_TRIAL=0`` forbids it.

The same trial chooses the threads, unless the caller did. What comes first stays unless another is
faster by a tenth, and fewer threads come before more. Rounds are interleaved, so that other work on
the machine meets all candidates alike, and medians are compared. An OpenVINO that answers
otherwise than ONNX Runtime is no candidate.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np

from edgesafe.runtime.backends.base import Array, Engine, Request, core_count, default_threads
from edgesafe.runtime.errors import EdgesafeError
from edgesafe.runtime.files import canonical_json, sha256_hex
from edgesafe.runtime.owner_cache import CacheUnusable, OwnerCache

__all__ = ["TRIAL_SWITCH", "open_fastest", "openvino_is_installed"]

TRIAL_SWITCH = "EDGESAFE_BACKEND_TRIAL"
"""Name of the environment variable that forbids trials with ``0``."""

_ROUNDS = 5
_LEAST_ROUNDS = 3
_SECONDS = 0.3  # of measuring, after which the least number of rounds is enough
_GAIN = 0.9  # a later candidate must take less than this share of an earlier one's time
_MOST_THREADS = 4
_LARGEST_MODEL = 512 << 20  # bytes; two of a larger one might not fit into memory
_TEXT_LENGTH = 16
_SIDE = 224  # of a picture whose size the model leaves open
# Length of the difference over the length. In int8 each library rounds in places of its own.
_MOST_DIFFERENCE = {"int8": 0.25}

Opener = Callable[[Request, str], Engine]
_Candidate = tuple[str, int]


def openvino_is_installed() -> bool:
    """Tell whether OpenVINO could be imported, without the time that importing it takes."""
    try:
        return importlib.util.find_spec("openvino") is not None
    except (ImportError, ValueError):
        return False


def open_fastest(request: Request, opener: Opener) -> tuple[str, Engine]:
    """Open a model with ``cpu`` or ``openvino``, whichever is faster here.

    Args:
        request: What to open; ``threads`` is kept where it is given.
        opener: Opens a request with one of the two.

    Returns:
        The backend and the model.

    Raises:
        EdgesafeError: ``cpu`` cannot open it.
    """
    cache = _trial_cache() if len(request.model) <= _LARGEST_MODEL else None
    if cache is None:
        return "cpu", opener(request, "cpu")
    facts = _facts(request)
    name = sha256_hex(canonical_json(facts))[:40] + ".json"
    known = _read(cache, name, facts)
    if known is not None:
        backend, threads = known
        try:
            return backend, opener(replace(request, threads=threads), backend)
        except EdgesafeError:
            if backend == "cpu":
                raise
            return "cpu", opener(request, "cpu")
    (backend, threads), engine, times = _measure(request, opener)
    record = {"facts": facts, "backend": backend, "threads": threads, "ms": times}
    try:
        cache.write(name, canonical_json(record))
    except OSError:
        pass  # measured again next time
    return backend, engine


def _trial_cache() -> OwnerCache | None:
    if os.environ.get(TRIAL_SWITCH) == "0" or not openvino_is_installed():
        return None
    try:
        return OwnerCache("trials")
    except CacheUnusable:
        return None


def _measure(request: Request, opener: Opener) -> tuple[_Candidate, Engine, dict[str, float]]:
    threads = request.threads or default_threads()
    best: _Candidate = ("cpu", threads)
    engines = {best: opener(replace(request, threads=threads), "cpu")}
    feed = _example(engines[best], request.max_length)
    outputs = engines[best].outputs
    times: dict[str, float] = {}

    def contest(candidates: Sequence[_Candidate]) -> _Candidate:
        """Time the candidates against each other; return the first that is not much slower."""
        medians = _medians([engines[c] for c in candidates], outputs, feed)
        times.update(
            {f"{b}/{n}": round(1e3 * t, 3) for (b, n), t in zip(candidates, medians, strict=True)}
        )
        winner = 0
        for index in range(1, len(candidates)):
            if medians[index] < _GAIN * medians[winner]:
                winner = index
        return candidates[winner]

    try:
        rival: _Candidate = ("openvino", threads)
        engines[rival] = opener(replace(request, threads=threads), "openvino")
        most = _MOST_DIFFERENCE.get(request.precision, 1e-2)
        if _difference(engines[best], engines[rival], outputs, feed) <= most:
            best = contest([best, rival])
    except Exception:  # whatever it is, it is a reason to stay with what runs
        best = ("cpu", threads)
    engines = {best: engines[best]}
    if request.threads is None:
        counts = sorted({1, threads, min(_MOST_THREADS, core_count())})
        for count in counts:
            if (best[0], count) not in engines:
                engines[best[0], count] = opener(replace(request, threads=count), best[0])
        best = contest([(best[0], count) for count in counts])
    return best, engines[best], times


def _example(engine: Engine, max_length: int | None) -> dict[str, Array]:
    """Make one input that any model of a package takes: noise, and ones for whole numbers."""
    random = np.random.default_rng(0)
    feed: dict[str, Array] = {}
    for port in engine.inputs:
        shape = list(port.shape)
        for axis, size in enumerate(shape):
            if size < 1:
                text = min(_TEXT_LENGTH, max_length or _TEXT_LENGTH)
                shape[axis] = 1 if axis == 0 else text if len(shape) == 2 else _SIDE
        if port.type.startswith("int"):
            feed[port.name] = np.ones(shape, dtype=port.type)
        else:
            feed[port.name] = random.standard_normal(shape).astype(np.float32)
    return feed


def _medians(
    engines: Sequence[Engine], outputs: Sequence[str], feed: Mapping[str, Array]
) -> list[float]:
    """Return the median seconds of each engine over interleaved rounds."""
    for engine in engines:
        engine.run(outputs, feed)
    rounds: list[list[float]] = []
    begin = time.perf_counter()
    while len(rounds) < _ROUNDS:
        rounds.append([])
        for engine in engines:
            start = time.perf_counter()
            engine.run(outputs, feed)
            rounds[-1].append(time.perf_counter() - start)
        if len(rounds) >= _LEAST_ROUNDS and time.perf_counter() - begin > _SECONDS:
            break
    return [float(value) for value in np.median(rounds, axis=0)]


def _difference(
    one: Engine, other: Engine, outputs: Sequence[str], feed: Mapping[str, Array]
) -> float:
    """Return the largest relative difference of two engines' outputs; NaN counts as infinite."""
    worst = 0.0
    for a, b in zip(one.run(outputs, feed), other.run(outputs, feed), strict=True):
        if a.shape != b.shape:
            return float("inf")
        length = float(np.linalg.norm(a)) or 1.0
        off = float(np.linalg.norm(np.asarray(a, np.float64) - b)) / length
        worst = max(worst, off if np.isfinite(off) else float("inf"))
    return worst


def _facts(request: Request) -> dict[str, Any]:
    """Return all that the outcome depends on."""
    return {
        "onnx": sha256_hex(request.model),
        "precision": request.precision,
        "threads": request.threads,
        "cores": core_count(),
        "machine": _machine(),
        "onnxruntime": _version("onnxruntime"),
        "openvino": _version("openvino"),
    }


def _machine() -> str:
    """Return the model of the processor: a home directory may be shared between machines."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(("model name", "CPU part")):
                    return f"{platform.machine()} {line.partition(':')[2].strip()}"
    except OSError:
        pass  # not Linux
    return f"{platform.machine()} {platform.processor()}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _read(cache: OwnerCache, name: str, facts: Mapping[str, Any]) -> _Candidate | None:
    data = cache.read(name, 1 << 16)
    try:
        record = json.loads(data or b"")
        backend, threads = record["backend"], record["threads"]
        good = record["facts"] == facts and backend in ("cpu", "openvino")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # absent or damaged
    good = good and type(threads) is int and 1 <= threads <= max(2, core_count())
    return (backend, threads) if good else None
