"""Inputs on which an export is measured and which become its golden pairs.

They are drawn here, so that a package can be made and checked without any data set: photos of
one's own can be added for a better estimate of what the storage of the weights changes.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edgesafe.runtime.errors import SourceError

__all__ = ["GOLDEN_IMAGES", "GOLDEN_TEXTS", "TEXTS", "draw_images", "encode_png", "read_images"]

Pixels = NDArray[np.uint8]

GOLDEN_IMAGES = 2
GOLDEN_TEXTS = 3
MAX_PROBES = 64

TEXTS = (
    "a cup of coffee on a wooden table",
    "A dog runs across a green field, chasing a red ball.",
    "three people wait at a bus stop in the rain",
    "a kitchen knife beside a loaf of bread",
    "smoke rises from a burning house while a crowd looks on",
    "x",
    "The quick brown fox jumps over the lazy dog; 0123456789 times, they say (really?).",
    "an aerial photo of a harbour with many small white boats and two large cranes at sunset",
)
_SIZES = ((96, 128), (128, 96), (64, 64), (200, 120), (48, 160), (100, 101), (33, 47), (150, 150))


def draw_images() -> list[Pixels]:
    """Draws eight small pictures, the same at every call.

    Returns:
        RGB of shape (H, W, 3): colour gradients with rectangles and discs of all sizes, and a
        little noise.
    """
    pictures = []
    for seed, (height, width) in enumerate(_SIZES):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:height, 0:width]
        y, x = y / height, x / width
        corners = rng.uniform(0, 255, (4, 3))
        weights = np.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x], axis=-1)
        picture = weights @ corners
        for _ in range(4 + 3 * seed):
            top, left, size = rng.uniform(0, 1, 2).tolist() + [rng.uniform(0.03, 0.4)]
            if rng.integers(2):
                inside = (np.abs(y - top) < size) & (np.abs(x - left) < size / 2)
            else:
                inside = (y - top) ** 2 + (x - left) ** 2 < size**2
            picture[inside] = rng.uniform(0, 255, 3)
        picture += rng.normal(0, 2, picture.shape)
        pictures.append(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
    return pictures


def read_images(folder: Path) -> list[Pixels]:
    """Reads the photos of a folder, the first 64 in the order of their names.

    Raises:
        SourceError: The folder cannot be read, or holds no photo.
    """
    photos: list[Pixels] = []
    try:
        for path in sorted(p for p in folder.iterdir() if p.is_file()):
            try:
                with Image.open(path) as image:
                    photos.append(np.asarray(image.convert("RGB")))
            except UnidentifiedImageError:
                continue
            if len(photos) == MAX_PROBES:
                break
    except OSError as error:
        raise SourceError(f"{folder}: {error.strerror or error}; name a folder of photos") from None
    if not photos:
        raise SourceError(f"{folder} holds no photo; name a folder of photos")
    return photos


def encode_png(rgb: Pixels) -> bytes:
    """Encodes RGB (H, W, 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
