"""What a platform cannot do, by tables: which settings of a build are refused where, and why.

Sources: the release notes and support matrices of TensorRT 10.0 to 11.4.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DLA_PLATFORMS", "DlaPlatform", "Platform", "detect", "refusals", "version_of"]

Version = tuple[int, ...]

MINIMUM_TENSORRT: Version = (10, 3)
# Where hardware compatibility levels came.
_LEVELS: dict[str, Version] = {"ampere+": (8, 6), "same": (10, 9)}
# Python plugins that are compiled ahead of time.
_QUICK_DEPLOY: Version = (10, 9)
# The first release for JetPack 7.
_JETPACK7: Version = (11, 4, 1)
_DLA_PRECISIONS = ("fp16", "int8")


@dataclass(frozen=True)
class DlaPlatform:
    """Where a TensorRT has DLA.

    Attributes:
        modules: What the name of the board must contain, in lower case; one of them.
        jetpack: First and last JetPack.
        tensorrt: First and last TensorRT.
    """

    modules: tuple[str, ...]
    jetpack: tuple[Version, Version]
    tensorrt: tuple[Version, Version]


_OPEN: Version = (999,)

DLA_PLATFORMS = (
    # 10.7 is the last 10.x with DLA. The Orin Nano has no DLA.
    DlaPlatform(("agx orin", "orin nx"), ((6, 0), (6, 999)), ((10, 3), (10, 7, 999))),
    # 11.0 to 11.4.0 have none; 11.4.1 has it again, for this board and from this JetPack.
    DlaPlatform(("agx orin",), ((7, 2, 2), (7, 999)), ((11, 4, 1), _OPEN)),
)


@dataclass(frozen=True)
class Platform:
    """The machine.

    Attributes:
        board: Name of the board, in lower case; empty where it has none to tell.
        jetpack: Version of JetPack; None on other systems, (major,) where no more is known.
    """

    board: str = ""
    jetpack: Version | None = None

    def __str__(self) -> str:
        """For a person."""
        if self.jetpack is None:
            return self.board or "not a Jetson"
        return f"{self.board or 'Jetson'}, JetPack {'.'.join(map(str, self.jetpack))}"


def version_of(text: str) -> Version:
    """Return the leading numbers of a version, e.g. (10, 3, 0) of ``10.3.0+cuda12``."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def detect(root: Path = Path("/")) -> Platform:
    """Look at a system for what it is.

    Args:
        root: Its top folder.
    """
    board = _read(root / "proc/device-tree/model").strip("\0\n ").lower()
    release = re.search(r"# R(\d+)", _read(root / "etc/nv_tegra_release"))
    if not release and "jetson" not in board:
        return Platform(board)
    package = re.search(
        r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: (\S+)",
        _read(root / "var/lib/dpkg/status"),
        re.MULTILINE,
    )
    if package:
        return Platform(board, version_of(package[1]))
    # Without the meta package only the release of the system tells, and that only roughly.
    major = {35: 5, 36: 6, 38: 7, 39: 7}.get(int(release[1]) if release else 0)
    return Platform(board, (major,) if major else ())


def refusals(
    platform: Platform | None,
    tensorrt: Version | None,
    *,
    precisions: dict[str, str],
    dynamic: tuple[str, ...] = (),
    dla: int | None = None,
    hardware_compatible: str | None = None,
    version_compatible: bool = False,
    quick_deploy: bool = False,
    leave_out: str = "leave it out with --network",
) -> list[str]:
    """Return why a build is not possible, each with what to do; empty where it is.

    Args:
        platform: The machine; None where it is not known yet (where a bundle is made).
        tensorrt: Version of TensorRT; None where it is not known (a dry run without it).
        precisions: Network to what its graph computes in.
        dynamic: Networks whose profile leaves a dimension open.
        dla: The DLA core asked for.
        hardware_compatible: The level asked for, ``ampere+`` or ``same``.
        version_compatible: Whether the engine should run in later TensorRT versions.
        quick_deploy: Whether the head should be the Python plugin.
        leave_out: How to go on without the networks that DLA cannot take.
    """
    found: list[str] = []
    if tensorrt is not None and tensorrt < MINIMUM_TENSORRT:
        found.append(
            f"TensorRT {_text(tensorrt)} is too old: {_text(MINIMUM_TENSORRT)} or later is needed"
        )
    if platform is not None:
        found += _jetpack_refusals(platform, tensorrt)
    if hardware_compatible is not None:
        first = _LEVELS[hardware_compatible]
        if platform is not None and platform.jetpack is not None:
            found.append(
                "hardware-compatible engines do not exist on JetPack: leave the option away and "
                "build on each kind of board"
            )
        elif tensorrt is not None and tensorrt < first:
            found.append(
                f"the hardware compatibility level {hardware_compatible!r} came with TensorRT "
                f"{_text(first)}, this is {_text(tensorrt)}"
            )
        if dla is not None:
            found.append("an engine with DLA is for one board: leave hardware compatibility away")
    if version_compatible and dla is not None:
        found.append("an engine with DLA is for one release: leave version compatibility away")
    if quick_deploy and tensorrt is not None and tensorrt < _QUICK_DEPLOY:
        found.append(
            f"compiled Python plugins came with TensorRT {_text(_QUICK_DEPLOY)}, this is "
            f"{_text(tensorrt)}: use --ops function, or plugin with the library built by CMake"
        )
    if dla is not None:
        found += _dla_refusals(platform, tensorrt, precisions, dynamic, leave_out)
    return found


def _jetpack_refusals(platform: Platform, tensorrt: Version | None) -> list[str]:
    if not platform.jetpack or tensorrt is None:
        return []
    major = platform.jetpack[0]
    if major <= 6 and tensorrt >= (11,):
        return [
            f"TensorRT {_text(tensorrt)} does not support JetPack {major}: use the TensorRT 10.x "
            "of JetPack itself, in a virtual environment with --system-site-packages"
        ]
    if major == 7 and (11,) <= tensorrt < _JETPACK7:
        return [
            f"TensorRT {_text(tensorrt)} does not support JetPack 7: use "
            f"{_text(_JETPACK7)} or later, or the TensorRT of JetPack itself"
        ]
    return []


def _dla_refusals(
    platform: Platform | None,
    tensorrt: Version | None,
    precisions: dict[str, str],
    dynamic: tuple[str, ...],
    leave_out: str,
) -> list[str]:
    found: list[str] = []
    if platform is not None and "thor" in platform.board:
        found.append("Jetson Thor has no DLA: leave --dla away")
    elif platform is not None and not any(
        _has_dla(platform, tensorrt, row) for row in DLA_PLATFORMS
    ):
        found.append(
            f"there is no DLA here ({platform}"
            + (f", TensorRT {_text(tensorrt)}" if tensorrt else "")
            + "). It is on AGX Orin and Orin NX with JetPack 6 and TensorRT 10.3 to 10.7, and on "
            "AGX Orin with JetPack 7.2.2 or later and TensorRT 11.4.1 or later: leave --dla away"
        )
    for name, precision in sorted(precisions.items()):
        if precision not in _DLA_PRECISIONS:
            found.append(
                f"the network {name} computes in {precision}, DLA in fp16 and int8 only: export "
                f"it with --precision fp16 or int8, or {leave_out}"
            )
    for name in sorted(dynamic):
        found.append(
            f"DLA takes fixed shapes only: give the profile of {name} equal min, opt and max, "
            "e.g. --profile batch=1,1,1"
        )
    return found


def _any_dla(platform: Platform, tensorrt: Version | None) -> bool:
    return any(_has_dla(platform, tensorrt, row) for row in DLA_PLATFORMS)


def _has_dla(platform: Platform, tensorrt: Version | None, row: DlaPlatform) -> bool:
    jetpack = platform.jetpack or ()
    if len(jetpack) == 1:
        # Not known exactly: enough for 6, where all have it, and not for 7.
        jetpack = (*jetpack, 0)
    return (
        any(module in platform.board for module in row.modules)
        and row.jetpack[0] <= jetpack <= row.jetpack[1]
        and (tensorrt is None or row.tensorrt[0] <= tensorrt <= row.tensorrt[1])
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _text(version: Version) -> str:
    return ".".join(map(str, version))
