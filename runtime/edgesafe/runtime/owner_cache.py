"""A cache that belongs to one user: folders 0700, files 0600, nothing followed, nothing shared.

What lies in it was computed here and can be computed again, so whatever looks wrong (another owner,
a link, a permission too many, a file cut short) is treated as absent, never as an error.

``EDGESAFE_CACHE`` names the folder; else it is ``edgesafe`` in ``XDG_CACHE_HOME`` or ``~/.cache``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgesafe.runtime.files import atomic_write

__all__ = ["CacheUnusable", "OwnerCache", "cache_root"]


class CacheUnusable(Exception):
    """The folder cannot be used as a cache; the message says why and how to mend it."""


def cache_root() -> Path:
    """Return where caches lie; the folder need not be there."""
    named = os.environ.get("EDGESAFE_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "edgesafe"


class OwnerCache:
    """One folder of the cache.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, name: str) -> None:
        """Make the folder ``name`` below :func:`cache_root` where it is missing, and check it.

        Raises:
            CacheUnusable: It cannot be made, is another user's, or others may write or read it.
        """
        root = cache_root()
        self.folder = root / name
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            for folder in (root, self.folder):
                with suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
                _check_folder(folder)
        except OSError as error:
            raise CacheUnusable(
                f"{self.folder} cannot be made: {error.strerror or error}; name a writable folder "
                "in EDGESAFE_CACHE"
            ) from None

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a file, or None where there is none that can be believed.

        Args:
            name: Of the file.
            limit: A file of more bytes is none.
        """
        flags = os.O_RDONLY
        for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
            flags |= getattr(os, flag, 0)
        try:
            descriptor = os.open(self.folder / name, flags)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                if not _ours(status) or not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                    return None
                if status.st_size > limit:
                    return None
                data = file.read(limit + 1)
        except OSError:
            return None
        return data if len(data) <= limit else None

    def write(self, name: str, data: bytes) -> None:
        """Write a file for its owner alone, whole or not at all.

        Raises:
            OSError: The disk is full or the folder went away.
        """
        atomic_write(self.folder / name, data, mode=0o600)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(OSError):
            (self.folder / name).unlink()

    def names(self) -> list[str]:
        """Return the names of the files, sorted."""
        try:
            return sorted(entry.name for entry in os.scandir(self.folder))
        except OSError:
            return []

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes of this user out of the same block, where the system has locks."""
        try:
            import fcntl
        except ImportError:  # Windows: at worst two processes do the same work
            yield
            return
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | os.O_CLOEXEC
        descriptor = os.open(self.folder / ".lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _check_folder(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise CacheUnusable(f"{folder} is not a folder: remove it, or name another EDGESAFE_CACHE")
    if not _ours(status):
        raise CacheUnusable(
            f"{folder} is not this user's alone (mode {stat.S_IMODE(status.st_mode):o}): remove "
            "it, or name another folder in EDGESAFE_CACHE"
        )


def _ours(status: os.stat_result) -> bool:
    """Tell whether a file is this user's and closed to all others; Windows tells neither."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & 0o077
