"""``--redact DIR``: copies of what is not safe, in which nothing can be recognised.

Rules, each next to what it keeps from happening:

* the copy is made from decoded pixels and encoded anew - no EXIF, thumbnail or hidden tail;
* it is reduced to 12 cells along its longer side before it is blown up again - no sharpening
  brings back what is not there any more;
* what could not be decoded is replaced by a grey card - not a byte of it is forwarded;
* ``DIR`` has to be new or empty, and each copy is written whole or not at all - no input and no
  older copy is overwritten or mistaken for one of this run;
* two sources of one name get two files - none hides the other.

Safe pictures are not copied. The sub-folders of a folder source are kept; frames of a video become
``clip.mp4/000012.jpg``. The suffix decides the encoding, JPEG for any but PNG and WebP.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from edgesafe.runtime.picture_folder import PictureFolder

__all__ = ["Redactor", "blur"]

CELLS = 12
"""Cells left along the longer side of a redacted picture."""

CARD = (320, 240)
"""Size of the grey card, in pixels; fixed, so that it tells nothing of the original."""


def blur(rgb: NDArray[np.uint8]) -> Image.Image:
    """Reduce a picture to soft blots of colour.

    Args:
        rgb: ``uint8`` (height, width, 3).

    Returns:
        A picture of the same size.
    """
    image = Image.fromarray(rgb)
    longer = max(image.size)
    cells = (max(1, image.width * CELLS // longer), max(1, image.height * CELLS // longer))
    # BOX averages each cell over all of its pixels, so no single one survives.
    blots = image.resize(cells, Image.Resampling.BOX).resize(image.size, Image.Resampling.BILINEAR)
    return blots.filter(ImageFilter.BoxBlur(longer / CELLS / 4))


class Redactor:
    """Writes redacted copies below one folder.

    Args:
        folder: new or empty.

    Raises:
        UsageError: the folder holds something, or is a file.
    """

    def __init__(self, folder: str | Path) -> None:
        """Check the folder; it is made when the first copy is written."""
        self._pictures = PictureFolder(folder, "--redact", "redacted copy")

    def write(self, relative: PurePosixPath, rgb: NDArray[np.uint8] | None) -> Path:
        """Write one copy.

        Args:
            relative: where below the folder the copy belongs; the name is changed if it is taken.
            rgb: the decoded picture; None where there is none: a grey card is written.

        Returns:
            The path of the copy.

        Raises:
            EdgesafeError: it could not be written.
        """
        image = Image.new("RGB", CARD, (128, 128, 128)) if rgb is None else blur(rgb)
        return self._pictures.write(relative, image)
