"""A folder that a run fills with pictures: nothing is overwritten, nothing is left half-written."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from edgesafe.runtime.errors import EdgesafeError, UsageError
from edgesafe.runtime.files import atomic_write

__all__ = ["PictureFolder"]

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


class PictureFolder:
    """Writes pictures below one folder, each to a name of its own.

    Args:
        folder: new or empty; it is made when the first picture is written.
        option: of the command line that named it, for messages.
        what: is written, for messages.

    Raises:
        UsageError: the folder holds something, or is a file.
    """

    def __init__(self, folder: str | Path, option: str, what: str) -> None:
        """Check the folder."""
        self._folder = Path(folder)
        self._option, self._what = option, what
        self._used: set[str] = set()
        if self._folder.exists() and not self._folder.is_dir():
            raise UsageError(f"{folder}: {option} needs a folder, and this is a file")
        if self._folder.is_dir() and any(self._folder.iterdir()):
            raise UsageError(
                f"{folder}: {option} needs a new or empty folder, so that no picture is overwritten"
            )

    def write(self, relative: PurePosixPath, image: Image.Image, **encoding: Any) -> Path:
        """Write one picture.

        Args:
            relative: where below the folder it belongs; the suffix decides the format, JPEG for
                any but PNG and WebP. The name is changed if it is taken.
            image: the picture.
            encoding: further arguments of Pillow's ``save``.

        Returns:
            The path of the picture.

        Raises:
            EdgesafeError: it could not be written.
        """
        path = self._folder / self._free(relative)
        encoded = BytesIO()
        image.save(encoded, _FORMATS[path.suffix.lower()], **encoding)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, encoded.getvalue())
        except OSError as error:
            raise EdgesafeError(
                f"{path}: the {self._what} could not be written ({error.strerror}); make room or "
                f"choose another {self._option} folder, and run again"
            ) from error
        return path

    def _free(self, relative: PurePosixPath) -> PurePosixPath:
        """A name that no other source of this run has, with a suffix that can be encoded."""
        parts = [part for part in relative.parts if part not in ("/", "..", ".")]
        wanted = PurePosixPath(*parts)
        if wanted.suffix.lower() not in _FORMATS:
            wanted = wanted.with_name(wanted.name + ".jpg")
        chosen, number = wanted, 1
        # Compared without case: on many devices `A.jpg` and `a.jpg` are one file.
        while str(chosen).lower() in self._used:
            number += 1
            chosen = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        self._used.add(str(chosen).lower())
        return chosen
