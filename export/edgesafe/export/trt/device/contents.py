"""What lies in the folder of a bundle: the files that it lists, and what the script writes there.

Anything else is a mix-up of two bundles, a damaged copy, or a module that Python would import in
place of the one meant.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

__all__ = ["ENGINES", "TIMES", "is_free", "strangers"]

ENGINES = "engines"
"""Folder of the engines."""

TIMES = "timing.cache"
"""What a build measured; the next one starts from it."""

# Not looked into: the script, or CMake as the documentation has it, writes there.
_FREE = (ENGINES, "plugin/build")
_CACHED = ("edgesafe_trt/__pycache__", "plugin/__pycache__")
# The second is left by a build that was killed while it wrote.
_WRITTEN = re.compile(r"timing\.cache|\.timing\.cache\.\d+")


def is_free(name: str) -> bool:
    """Tell whether something of this name may be written: beside what was exported."""
    path = PurePosixPath(name)
    own = any(path == PurePosixPath(f) or PurePosixPath(f) in path.parents for f in _FREE)
    return own or bool(_WRITTEN.fullmatch(name))


def strangers(folder: Path, listed: Collection[str]) -> Iterator[str]:
    """Yield what is in a folder and must not be, each with what it is.

    Args:
        folder: Of the bundle.
        listed: Its files, with ``/``.

    Raises:
        OSError: The folder cannot be read.
    """
    parents = {str(parent) for name in listed for parent in PurePosixPath(name).parents}
    waiting = [""]
    while waiting:
        place = waiting.pop()
        with os.scandir(folder / place) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = f"{place}/{entry.name}" if place else entry.name
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                yield f"{name} is a link"
            elif stat.S_ISDIR(mode):
                if name in parents:
                    waiting.append(name)
                elif name not in (*_FREE, *_CACHED):
                    yield f"{name} is a folder that the bundle does not list"
            elif name in listed or _WRITTEN.fullmatch(name):
                if not stat.S_ISREG(mode):
                    yield f"{name} is no plain file"
            else:
                yield f"{name} is not listed by the bundle"
