"""Whether a folder is one that edgesafe made, and so may be replaced.

``--overwrite`` removes what is there. A slip of the hand must not cost a folder of photos, nor the
models of others in a repository that edgesafe began. So a folder carries a file that says what
made it and what it held then; another folder, or one that holds more by now, is left alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.files import atomic_write

__all__ = ["MARKER", "FolderKind", "check_folder", "mark_folder"]

FolderKind = Literal["triton", "deepstream"]

MARKER = "edgesafe-bundle.json"
"""Name of the file that says so. Triton looks at folders only, nvinfer at what is named to it."""

_FORMAT = "edgesafe.server-bundle/1"
_CALLED = {"triton": "a Triton model repository", "deepstream": "DeepStream configurations"}
# What a server builds there for itself: nvinfer leaves its engine beside the ONNX file.
_BUILT = {"triton": (), "deepstream": (".engine",)}


def mark_folder(folder: Path, kind: FolderKind, identity: str) -> None:
    """Write the file by which a finished folder is recognised.

    Args:
        folder: With all its files.
        kind: What it is.
        identity: Of the package that it was made from.

    Raises:
        OSError: It could not be written.
    """
    marker = {
        "format": _FORMAT,
        "kind": kind,
        "package": identity,
        "files": sorted({*_files(folder), MARKER}),
    }
    atomic_write(folder / MARKER, (json.dumps(marker, indent=2) + "\n").encode())


def check_folder(folder: Path, kind: FolderKind, *, overwrite: bool) -> None:
    """Refuse a folder that must not be replaced.

    Args:
        folder: Which need not exist; an empty one may be replaced too.
        kind: What is going to be there.
        overwrite: Whether such a folder may be replaced.

    Raises:
        UsageError: It exists and ``overwrite`` is false, or is not of that kind and made by
            edgesafe, or holds files that were not there then.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise UsageError(f"{folder} exists and is not a folder: choose another name")
    if not overwrite:
        raise UsageError(f"{folder} exists already: choose another name or pass --overwrite")
    if next(folder.iterdir(), None) is None:
        return
    known = _recognised(folder, kind)
    if known is None:
        raise UsageError(
            f"{folder} is not {_CALLED[kind]} that edgesafe made (no {MARKER} of that kind): "
            "nothing else is overwritten; choose another name or remove it yourself"
        )
    strange = sorted(f for f in _files(folder) - known if not f.endswith(_BUILT[kind]))
    if strange:
        raise UsageError(
            f"{folder} holds {strange[0]!r}, which edgesafe did not write there"
            + (f", and {len(strange) - 1} more" if len(strange) > 1 else "")
            + ": --overwrite would remove it; move it away or choose another name"
        )


def _recognised(folder: Path, kind: FolderKind) -> set[str] | None:
    """What the folder held when edgesafe made it; None where it did not."""
    marker = folder / MARKER
    try:
        found = None if marker.is_symlink() else json.loads(marker.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or (found.get("format"), found.get("kind")) != (_FORMAT, kind):
        return None
    files = found.get("files")
    if not isinstance(files, list) or MARKER not in files:
        return None
    return {name for name in files if isinstance(name, str)}


def _files(folder: Path) -> set[str]:
    """Everything in it but folders, links included."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
