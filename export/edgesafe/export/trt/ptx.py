"""The kernels of the hyperbolic head as PTX, compiled here for a device without a compiler.

PTX for the compute capability 8.0 runs on every GPU since Ampere: the driver compiles it when an
engine is loaded. Its ISA must be one that the driver of the device knows: JetPack 6 has CUDA 12.6,
which reads up to 8.5. NVRTC of CUDA 12.6 writes just that; it is a library of its own and needs
neither a GPU nor a driver.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from pathlib import Path
from typing import Any

from edgesafe.export.trt.folders import PLUGIN
from edgesafe.runtime.errors import ExportError, MissingExtraError

__all__ = ["ARCHITECTURE", "MAXIMUM_ISA", "compile_ptx", "kernel_names", "nvrtc_library", "ptx_isa"]

ARCHITECTURE = "compute_80"
MAXIMUM_ISA = (8, 5)

_SOURCE = "kernels.cuh"
_KERNEL = re.compile(rb"\.visible \.entry (\w+)\(")
_VERSION = re.compile(rb"^\.version (\d+)\.(\d+)", re.MULTILINE)


def nvrtc_library() -> Path | None:
    """Return the library of NVRTC 12 that pip installs, or None where there is none."""
    try:
        spec = importlib.util.find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        return None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        # nvidia-cuda-nvrtc-cu12; the library of CUDA 13 writes PTX that JetPack 6 cannot read.
        for name in ("lib/libnvrtc.so.12", "bin/nvrtc64_120_0.dll"):
            if (Path(folder) / name).is_file():
                return Path(folder) / name
    return None


def compile_ptx(source: bytes | None = None, *, architecture: str = ARCHITECTURE) -> bytes:
    """Compile CUDA C++ to PTX.

    Args:
        source: The program; None for the kernels of the head. It may include files of the plugin.
        architecture: A virtual one, e.g. ``compute_80``.

    Raises:
        MissingExtraError: NVRTC is not installed.
        ExportError: The source does not compile, or the PTX is too new for JetPack 6.
    """
    library = nvrtc_library()
    if library is None:
        raise MissingExtraError("nvidia-cuda-nvrtc-cu12", "trt-check")
    nvrtc = ctypes.CDLL(str(library))
    text = (PLUGIN / _SOURCE).read_bytes() if source is None else source
    options = [f"--gpu-architecture={architecture}", f"--include-path={PLUGIN}", "--std=c++17"]
    program = ctypes.c_void_p()
    _check(
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, _SOURCE.encode(), 0, None, None),
        "create a program",
    )
    try:
        arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        if nvrtc.nvrtcCompileProgram(program, len(options), arguments):
            log = _text(nvrtc, program, "ProgramLog").decode("utf-8", "replace").strip()
            raise ExportError(f"NVRTC cannot compile the kernels for {architecture}: {log}")
        ptx = _text(nvrtc, program, "PTX")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if ptx_isa(ptx) > MAXIMUM_ISA:
        isa = ".".join(map(str, ptx_isa(ptx)))
        raise ExportError(
            f"{library} writes PTX {isa}, which JetPack 6 cannot read: "
            "pip install 'nvidia-cuda-nvrtc-cu12<12.7'"
        )
    return ptx


def ptx_isa(ptx: bytes) -> tuple[int, int]:
    """Return the version of the instruction set that PTX asks for.

    Raises:
        ExportError: It names none.
    """
    found = _VERSION.search(ptx)
    if not found:
        raise ExportError("the compiled kernels are not PTX: they name no version")
    return int(found[1]), int(found[2])


def kernel_names(ptx: bytes) -> list[str]:
    """Return the names of the kernels in PTX, sorted."""
    return sorted(name.decode() for name in _KERNEL.findall(ptx))


def _text(nvrtc: Any, program: ctypes.c_void_p, what: str) -> bytes:
    """Fetch the log or the result of a program, without its closing zero."""
    size = ctypes.c_size_t()
    _check(getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)), f"size {what}")
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(nvrtc, f"nvrtcGet{what}")(program, buffer), f"fetch {what}")
    return buffer.value


def _check(status: int, what: str) -> None:
    if status:
        raise ExportError(f"NVRTC cannot {what} (status {status}): install it again")
