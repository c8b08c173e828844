"""Facts about the machine and the process that a figure is worthless without."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["machine_facts", "peak_rss_mib", "rss_mib", "thread_count"]

_LIBRARIES = ("edgesafe", "numpy", "pillow", "onnxruntime", "opencv-python-headless", "tokenizers")


def machine_facts() -> dict[str, Any]:
    """Return processor, cores, memory, system, Python and library versions, and the load.

    A value that the system does not tell is None; ``cores`` are those this process may use.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        memory = None
    return {
        "processor": _processor(),
        "cores": cores,
        "memory_gib": None if memory is None else round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def rss_mib() -> float:
    """Return the resident memory of this process now, in MiB (its peak where /proc is absent)."""
    value = _status("VmRSS")
    return value / 1024 if value is not None else peak_rss_mib()


def peak_rss_mib() -> float:
    """Return the largest resident memory that this process has had, in MiB."""
    # getrusage carries the peak of the parent over exec; VmHWM is this program's own.
    value = _status("VmHWM")
    if value is not None:
        return value / 1024
    import resource  # absent on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def thread_count() -> int | None:
    """Return how many threads this process has, None where the system does not tell."""
    return _status("Threads")


def _status(key: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    return None


def _processor() -> str | None:
    # A board names itself in the device tree; a PC names its processor in cpuinfo.
    board = Path("/proc/device-tree/model")
    if board.is_file():
        return board.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
