"""What `edgesafe doctor` tells about a machine: nothing that names its user, host or folders."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from edgesafe.calib.machine import machine_facts
from edgesafe.calib.verify import why_unusable
from edgesafe.runtime.backends.base import CONCRETE, find_module
from edgesafe.runtime.backends.trial import TRIAL_SWITCH, openvino_is_installed
from edgesafe.runtime.errors import BackendError
from edgesafe.runtime.owner_cache import CacheUnusable, OwnerCache, cache_root
from edgesafe.runtime.version import VERSION

__all__ = ["advice", "gather", "gpu_facts", "jetpack_facts"]

# Distribution names; of the alternatives only those that are there are shown.
_LIBRARIES = (
    "numpy",
    "pillow",
    "click",
    "opencv-python-headless",
    "opencv-python",
    "tokenizers",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "faiss-cpu",
    "onnx",
    "torch",
)
_CPU_FLAGS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8",
    "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
_SYSTEM_PACKAGES = ("/usr/lib/python3/dist-packages", "/usr/lib/python3.{minor}/dist-packages")


def gather() -> dict[str, Any]:
    """Return all facts, ready for JSON."""
    facts = machine_facts()
    return {
        "edgesafe": VERSION,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "environment": _environment(),
        "system": {
            "name": facts["system"],
            "kernel": platform.release(),
            "distribution": _distribution(),
        },
        "cpu": {
            "name": facts["processor"],
            "cores": facts["cores"],
            "memory_gib": facts["memory_gib"],
            "load_1min": facts["load_1min"],
            "flags": _cpu_flags(),
        },
        "gpu": gpu_facts(),
        "jetpack": jetpack_facts(),
        "libraries": {name: v for name in _LIBRARIES if (v := _version(name)) is not None},
        "tensorrt": _tensorrt(),
        "backends": {name: why_unusable(name) for name in CONCRETE},
        "cache": _cache(),
    }


def gpu_facts() -> dict[str, Any]:
    """Return the GPU and its driver, or the reason why there is none."""
    from edgesafe.runtime.backends.cuda import open_device

    try:
        device = open_device()
    except BackendError as error:
        return {"available": False, "reason": str(error)}
    return {
        "available": True,
        "name": device.name,
        "compute_capability": device.compute,
        "memory_gib": round(device.memory / 2**30, 1),
        "cuda_of_driver": device.driver,
    }


def jetpack_facts(root: Path = Path("/")) -> dict[str, Any] | None:
    """Return what a Jetson says of itself; None on any other machine.

    Args:
        root: Where the file system starts.
    """
    release = _first_line(root / "etc/nv_tegra_release")
    board = _first_line(root / "proc/device-tree/model")
    if release is None and not (board and "jetson" in board.lower()):
        return None
    return {
        "board": board,
        # "# R36 (release), REVISION: 4.3, GCID: ..., BOARD: ..." -> "R36.4.3"
        "l4t": None if release is None else _l4t(release),
        "jetpack": _dpkg_version(root / "var/lib/dpkg/status", "nvidia-jetpack"),
        "tensorrt": _dpkg_version(root / "var/lib/dpkg/status", "libnvinfer10")
        or _dpkg_version(root / "var/lib/dpkg/status", "libnvinfer11"),
        "power_mode": _first_line(root / "var/lib/nvpmodel/status"),
    }


def advice(facts: dict[str, Any]) -> list[str]:
    """Return what a user could do to get more out of this machine."""
    found = []
    system_trt = facts["tensorrt"]["system_package"]
    if facts["jetpack"] is not None and facts["backends"]["trt"] is not None:
        if system_trt and facts["environment"]["isolated"]:
            found.append(
                "JetPack's TensorRT is installed, and this virtual environment does not see it. "
                "It is not on PyPI for this board: make the environment anew with `python3 -m "
                "venv --system-site-packages .venv` and the system's own python3."
            )
        elif not system_trt:
            found.append(
                "JetPack's TensorRT for Python is not installed: `sudo apt install "
                "python3-libnvinfer`; then make the environment with `python3 -m venv "
                "--system-site-packages .venv`."
            )
    elif facts["gpu"]["available"] and facts["backends"]["trt"] is not None:
        found.append("There is a GPU and no TensorRT: pip install 'edgesafe[trt]'.")
    if facts["gpu"]["available"] and facts["backends"]["cuda"] is not None:
        found.append("ONNX Runtime here is a build without CUDA: pip install 'edgesafe[gpu]'.")
    if facts["backends"]["openvino"] is not None and facts["system"]["name"].endswith("x86_64"):
        found.append(
            "OpenVINO may be faster than ONNX Runtime on this processor, in int8 above all: pip "
            "install 'edgesafe[openvino]'; `auto` measures it once and takes the faster one."
        )
    if facts["cache"]["problem"]:
        found.append(f"The cache cannot be used: {facts['cache']['problem']}.")
    return found


def _environment() -> dict[str, Any]:
    virtual = sys.prefix != sys.base_prefix
    text = _read(Path(sys.prefix) / "pyvenv.cfg") if virtual else ""
    shared = any(
        line.replace(" ", "").lower() == "include-system-site-packages=true"
        for line in text.splitlines()
    )
    return {"virtual": virtual, "isolated": virtual and not shared}


def _tensorrt() -> dict[str, Any]:
    module = find_module("tensorrt")
    places = [Path(p.format(minor=sys.version_info.minor)) for p in _SYSTEM_PACKAGES]
    return {
        "version": None if module is None else str(getattr(module, "__version__", "unknown")),
        "installed": importlib.util.find_spec("tensorrt") is not None,
        "system_package": any((place / "tensorrt").is_dir() for place in places),
    }


def _cache() -> dict[str, Any]:
    problem = None
    sizes: dict[str, int] = {}
    if cache_root().exists():
        for name in ("engines", "trials"):
            try:
                folder = OwnerCache(name)
            except CacheUnusable:
                problem = "its folder is open to others, or not a folder, or not writable"
                continue
            sizes[name] = len([n for n in folder.names() if n.endswith(".json")])
    trial = openvino_is_installed() and os.environ.get(TRIAL_SWITCH) != "0"
    return {"problem": problem, "entries": sizes, "trial_of_backends": trial}


def _cpu_flags() -> list[str]:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            there = set(value.split())
            return [flag for flag in _CPU_FLAGS if flag in there]
    return []


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _l4t(line: str) -> str:
    words = line.replace(",", " ").split()
    major = next((w for w in words if w.startswith("R") and w[1:].isdigit()), "?")
    revision = words[words.index("REVISION:") + 1] if "REVISION:" in words[:-1] else "?"
    return f"{major}.{revision}"


def _dpkg_version(status: Path, package: str) -> str | None:
    for paragraph in _read(status).split("\n\n"):
        lines = paragraph.splitlines()
        if lines and lines[0] == f"Package: {package}":
            return _value(lines, "Version:")
    return None


def _value(lines: Sequence[str], key: str) -> str | None:
    return next((line.removeprefix(key).strip() for line in lines if line.startswith(key)), None)


def _first_line(path: Path) -> str | None:
    lines = _read(path).strip("\0\n ").splitlines()
    return lines[0] if lines else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _version(name: str, ask: Callable[[str], str] = metadata.version) -> str | None:
    try:
        return ask(name)
    except metadata.PackageNotFoundError:
        return None
