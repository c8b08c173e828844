"""Where the files of this package lie that are copied or compiled rather than imported."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEVICE", "PLUGIN"]

_HERE = Path(__file__).parent

DEVICE = _HERE / "device"
"""Scripts that run on the device, where nothing but TensorRT and NumPy need be installed."""

PLUGIN = _HERE / "plugin"
"""The hyperbolic head: CUDA sources, their CMake project, the quick-deploy plugin."""
