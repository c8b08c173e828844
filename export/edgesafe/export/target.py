"""The folder that an export makes: its name and its release."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from edgesafe.runtime.errors import EdgesafeError, UsageError
from edgesafe.runtime.manifest_parts import FILE_NAME
from edgesafe.runtime.package import Package, PosePackage

__all__ = ["next_release", "package_name"]


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
