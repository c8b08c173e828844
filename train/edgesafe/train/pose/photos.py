"""Photos that take the place of the background."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import DataError

__all__ = ["PhotoPool"]

Pixels = npt.NDArray[np.uint8]

_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
_SHORT_SIDE = 288


class PhotoPool:
    """Photos in memory, shrunk to what a region of interest can use.

    Attributes:
        fingerprint: Changes with the names and sizes of the files.
    """

    def __init__(self, folders: Sequence[Path], limit: int) -> None:
        """Reads the photos.

        Args:
            folders: Searched with all that is in them.
            limit: At most so many photos, evenly chosen from the sorted names.

        Raises:
            DataError: A folder is missing, or there is no photo in any.
        """
        files: list[tuple[Path, str]] = []
        for folder in folders:
            if not folder.is_dir():
                raise DataError(f"--photos {folder} is not a folder.")
            found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
            files += [(p, p.relative_to(folder).as_posix()) for p in found if p.is_file()]
        if len(files) > limit:
            chosen = np.linspace(0, len(files) - 1, limit).astype(np.int64)
            files = [files[int(i)] for i in chosen]
        digest = hashlib.sha256()
        self._photos: list[Pixels] = []
        for path, name in files:
            photo = _read(path)
            if photo is not None:
                self._photos.append(photo)
                digest.update(f"{name}\0{path.stat().st_size}\n".encode())
        if folders and not self._photos:
            raise DataError(f"{', '.join(map(str, folders))}: there is no photo that can be read.")
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._photos)

    def draw(self, rng: np.random.Generator, height: int, width: int) -> Pixels:
        """A random part of a random photo, perhaps mirrored, as BGR (height, width, 3)."""
        photo = self._photos[int(rng.integers(len(self._photos)))]
        rows, columns = photo.shape[:2]
        largest = min(rows / height, columns / width)
        scale = largest * rng.uniform(0.35, 1.0)
        part_h, part_w = max(2, int(height * scale)), max(2, int(width * scale))
        top = int(rng.integers(0, rows - part_h + 1))
        left = int(rng.integers(0, columns - part_w + 1))
        part = photo[top : top + part_h, left : left + part_w]
        if rng.random() < 0.5:
            part = part[:, ::-1]
        way = cv2.INTER_AREA if scale > 1.5 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(part, (width, height), interpolation=way), dtype=np.uint8)


def _read(path: Path) -> Pixels | None:
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photo is None or min(photo.shape[:2]) < 32:
        return None
    factor = _SHORT_SIDE / min(photo.shape[:2])
    if factor < 1:
        photo = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(photo, dtype=np.uint8)
