"""Builds the engines of a fresh bundle at once, where this machine can."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from edgesafe.runtime.errors import ExportError

__all__ = ["build_here", "why_not_here"]


def why_not_here() -> str | None:
    """Return why this machine cannot build engines; None where it can."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver here"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "there is no NVIDIA GPU here"
    if importlib.util.find_spec("tensorrt") is None:
        return "the package tensorrt is not installed (pip install 'edgesafe[trt]')"
    return None


def build_here(bundle: Path, progress: Callable[[str], None]) -> None:
    """Run the build script of a bundle, which also checks the engines.

    Args:
        bundle: Its folder.
        progress: Called with every line that the script prints.

    Raises:
        ExportError: It fails.
    """
    # In a process of its own: a builder may take the process with it.
    with subprocess.Popen(
        [sys.executable, str(bundle / "build_engine.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            progress(line.rstrip())
    if process.returncode:
        raise ExportError(
            f"the engines could not be built or do not answer as they must (status "
            f"{process.returncode}, see above); the bundle {bundle} is whole"
        )
