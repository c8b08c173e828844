"""Durable writes and stable bytes: the one place that puts files on disk.

A reader never sees half of a file or half of a folder: data goes to a temporary name beside the
target, is flushed to the disk, and then takes the target's name in one step.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgesafe.runtime.errors import UsageError

__all__ = ["atomic_folder", "atomic_write", "canonical_json", "check_writable", "sha256_hex"]


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 digest of ``data`` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(obj: Any) -> bytes:
    """Return the one JSON form of ``obj`` that digests are taken of.

    Keys are sorted, there is no white space, text is UTF-8.

    Raises:
        ValueError: A number is NaN or infinite, which JSON cannot hold.
        TypeError: ``obj`` holds something that JSON has no form for.
    """
    text = json.dumps(
        obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def check_writable(path: str | os.PathLike[str], option: str, *, make_folder: bool = False) -> None:
    """Refuse early to write a file where none can be made, before the work that it is to hold.

    Args:
        path: The file.
        option: What named it, for the message, e.g. ``--report``.
        make_folder: Whether its folder will be made where it is missing.

    Raises:
        UsageError: Its folder is missing, is none or cannot be written to, or it is a folder
            itself.
    """
    target = Path(path)
    if target.is_dir():
        raise UsageError(f"{option} {target} is a folder: name a file in it")
    folder = target.parent
    while make_folder and not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not os.path.lexists(folder):
        raise UsageError(f"{option} {target}: there is no folder {folder}: make it first")
    if not folder.is_dir():
        raise UsageError(f"{option} {target}: {folder} is not a folder: choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"{option} {target}: {folder} cannot be written to: choose another place, or mend its "
            "permissions"
        )


def atomic_write(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o666) -> None:
    """Write ``data`` to ``path`` so that a crash leaves the old file or the new one, whole.

    Args:
        path: The file; its folder must be there.
        data: All of its content.
        mode: Permissions of the file, less those that the umask takes away.

    Raises:
        OSError: The disk is full, the folder is missing or not writable; ``path`` is untouched.
    """
    target = Path(path)
    temporary = _beside(target)
    try:
        _write_synced(temporary, data, mode)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


@contextmanager
def atomic_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` when the block ends without an error.

    Args:
        path: The folder to make; its parent is made where missing.
        overwrite: Replace an existing folder. A folder cannot be exchanged for another in one
            step on every system, so a crash between the two renames leaves the old one whole
            beside the target, under a name that starts with ``.NAME.old-``.

    Raises:
        UsageError: ``path`` exists and ``overwrite`` is false, or it is a file.
        OSError: The disk is full or the parent is not writable; ``path`` is untouched.
    """
    target = Path(path)
    _refuse_existing(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target)
    temporary.mkdir()
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            _sync_folder(file) if file.is_dir() else _sync_file(file)
        _sync_folder(temporary)
        _refuse_existing(target, overwrite)
        _exchange(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(target.parent)


def _exchange(temporary: Path, target: Path) -> None:
    if not target.exists():
        os.rename(temporary, target)
        return
    old = _beside(target, "old")
    os.rename(target, old)
    try:
        os.rename(temporary, target)
    except BaseException:
        os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if not (target.exists() or target.is_symlink()):
        return
    if target.is_symlink() or not target.is_dir():
        raise UsageError(f"{target} exists and is not a folder: choose another name")
    if not overwrite:
        raise UsageError(f"{target} exists already: choose another name or remove it first")


def _beside(target: Path, kind: str = "tmp") -> Path:
    return target.parent / f".{target.name}.{kind}-{secrets.token_hex(6)}"


def _write_synced(path: Path, data: bytes, mode: int) -> None:
    # O_EXCL: never write through a link that somebody put in our way.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    # Windows cannot open a folder; its renames are durable without this.
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
