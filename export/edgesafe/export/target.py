"""The folder that an export makes: whether it may be written, its name and its release."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from edgesafe.runtime.errors import EdgesafeError, UsageError
from edgesafe.runtime.manifest_parts import FILE_NAME, MANIFEST
from edgesafe.runtime.package import Package, PosePackage

__all__ = ["check_target", "is_of_format", "next_release", "package_name"]


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse to write over anything but a package, and over that without being told to.

    Raises:
        UsageError: It exists and is not to be, or cannot be, overwritten.
    """
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists already: choose another name or pass --overwrite")
    if target.exists() and not is_of_format(target / MANIFEST, "edgesafe.package/"):
        # A slip of the hand must not cost a folder of photos, nor a web site with its manifest.
        raise UsageError(
            f"{target} holds no {MANIFEST} of a package: only a package is overwritten; choose "
            "another name or remove it yourself"
        )


def is_of_format(file: Path, prefix: str) -> bool:
    """Tell whether a JSON file says that it is of one of our formats.

    Args:
        file: Which need not exist.
        prefix: What its ``format`` starts with.
    """
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and str(found.get("format")).startswith(prefix)


def package_name(name: str | None, target: Path) -> str:
    """Return the wanted name, or one made of that of the folder.

    Raises:
        UsageError: It is not a name of a package.
    """
    name = name or re.sub(r"[^A-Za-z0-9._-]", "-", target.resolve().name)
    if not FILE_NAME.fullmatch(name):
        raise UsageError(f"the name {name!r} must be letters, digits, dots, dashes, underscores")
    return name


def next_release(target: Path, read: Callable[..., Package | PosePackage]) -> int:
    """Return one more than the release of the package that is replaced, else 1.

    Args:
        target: The folder, which need not exist.
        read: Reads packages of the kind that is written.
    """
    if not target.exists():
        return 1
    try:
        return read(target, allow_hard_links=True).manifest.release + 1
    except EdgesafeError:  # what is replaced need not be a sound package
        return 1
