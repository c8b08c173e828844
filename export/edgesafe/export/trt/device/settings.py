"""The options of ``build_engine.py``: defaults come from the bundle, a command line goes over."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .contents import ENGINES, TIMES

__all__ = ["LEVELS", "OPS", "Settings", "parse"]

OPS = ("function", "plugin", "quick-deploy")
LEVELS = ("ampere+", "same")


@dataclass(frozen=True)
class Settings:
    """How to build.

    Attributes:
        out: Folder of the engines.
        networks: Names of those to build; empty for all.
        ops: What computes the hyperbolic head: ``function`` (bodies of standard operators),
            ``plugin`` (the library built by CMake) or ``quick-deploy`` (the Python plugin).
        plugin_library: The library, for ``plugin``.
        profiles: Options that go over the bundle's profiles.
        workspace: MiB that a layer may use while it runs; None for as much as there is.
        timing_cache: File to load measured times from and to save them to.
        version_compatible: Engines that run in later releases of TensorRT too, but slower.
        hardware_compatible: Engines for other GPUs too: ``ampere+``, ``same`` or None.
        dla: The DLA core; None for the GPU alone.
        optimization_level: 0 (fast to build) to 5; None for TensorRT's own.
        check: Whether to run the golden inputs through each engine.
        dry_run: Whether to stop before TensorRT is needed.
    """

    out: Path
    networks: tuple[str, ...] = ()
    ops: str = "function"
    plugin_library: Path | None = None
    profiles: tuple[str, ...] = ()
    workspace: int | None = None
    timing_cache: Path | None = None
    version_compatible: bool = False
    hardware_compatible: str | None = None
    dla: int | None = None
    optimization_level: int | None = None
    check: bool = True
    dry_run: bool = False


def parse(arguments: Sequence[str] | None, folder: Path, defaults: dict[str, Any]) -> Settings:
    """Read a command line.

    Args:
        arguments: Without the name of the program; None for those of this process.
        folder: The bundle.
        defaults: ``defaults`` of the bundle.
    """
    parser = argparse.ArgumentParser(
        prog="build_engine.py", description="Build TensorRT engines from this bundle, on this GPU."
    )
    add = parser.add_argument
    add("--out", type=Path, help="folder of the engines [engines, in the bundle]")
    add("--network", action="append", dest="networks", metavar="NAME", help="only this one")
    add("--ops", choices=OPS, default="function", help="what computes the head [%(default)s]")
    add("--plugin-library", type=Path, metavar="FILE", help="for --ops plugin")
    add("--profile", action="append", dest="profiles", metavar="NAME=MIN,OPT,MAX")
    add("--workspace", type=_at_least(1), metavar="MIB", help="memory of a layer while it runs")
    add("--timing-cache", type=Path, metavar="FILE", help="loaded where it is, and saved")
    add("--version-compatible", action="store_true", default=None)
    add("--hardware-compatible", choices=LEVELS)
    add("--dla", type=_at_least(0), metavar="CORE", help="run what can be run on a DLA core there")
    add("--optimization-level", type=int, choices=range(6), help="0 (fast to build) to 5")
    add("--no-check", action="store_false", dest="check", help="leave the golden inputs out")
    add("--dry-run", action="store_true", help="verify the files and print the plan; no TensorRT")
    found = vars(parser.parse_args(arguments))
    for name, value in defaults.items():
        if found.get(name) is None:
            found[name] = value
    return Settings(
        out=found["out"] or folder / ENGINES,
        networks=tuple(found["networks"] or ()),
        ops=found["ops"],
        plugin_library=found["plugin_library"],
        profiles=tuple(found["profiles"] or ()),
        workspace=found["workspace"],
        timing_cache=found["timing_cache"] or folder / TIMES,
        version_compatible=bool(found["version_compatible"]),
        hardware_compatible=found["hardware_compatible"],
        dla=found["dla"],
        optimization_level=found["optimization_level"],
        check=found["check"],
        dry_run=found["dry_run"],
    )


def _at_least(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            found = int(text)
        except ValueError:
            found = least - 1
        if found < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return found

    return read
