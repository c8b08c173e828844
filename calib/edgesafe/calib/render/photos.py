"""Pictures to put behind and around the parts: crops of photos, or noise where there are none."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime.errors import SourceError
from edgesafe.runtime.gate import Refused, decode_image, read_image_file
from edgesafe.runtime.sources import expand

__all__ = ["Photos", "lay", "noise_picture"]

RGB8 = NDArray[np.uint8]
Rng = np.random.Generator

# Kept in memory per process, about 1 MB each: reading one takes as long as drawing a part.
_KEPT = 400
_SHORT_SIDE = 480
_MOST_DAMAGED = 64


class Photos:
    """A pool of photos from which pictures of any size are cut.

    Args:
        folders: Folders of JPEG, PNG or WebP photos, searched with all below them; none gives
            pictures of noise. A file that is no such photo is left out.

    Raises:
        SourceError: A folder is missing or holds no picture.
    """

    def __init__(self, folders: Iterable[str | Path] = ()) -> None:
        """List the files; they are read when they are first used."""
        sources = list(expand([str(folder) for folder in folders]))
        for source in sources:
            if source.problem is not None and source.problem.code == "missing":
                raise SourceError(f"{source.name}: there is no such folder of photos")
        self.paths = tuple(source.target for source in sources if source.kind == "image")
        if sources and not self.paths:
            names = ", ".join(sorted({source.name for source in sources}))
            raise SourceError(f"no photo in {names}: name a folder of JPEG, PNG or WebP files")

    def picture(self, rng: Rng, width: int, height: int) -> RGB8:
        """Return a random crop of a random photo, (height, width, 3), at a random scale."""
        import cv2

        photo = self._photo(rng)
        if photo is None:
            return noise_picture(rng, width, height)
        if rng.random() < 0.5:
            photo = photo[:, ::-1]
        if rng.random() < 0.15:
            photo = photo[::-1]
        # Pixels of the photo for one of the picture; small pictures may show all of a photo.
        most = max(2.0, 0.9 * photo.shape[1] / width)
        scale = float(np.exp(rng.uniform(np.log(0.6), np.log(most))))
        part = photo[
            _mirrored(rng, photo.shape[0], max(2, round(height * scale)))[:, None],
            _mirrored(rng, photo.shape[1], max(2, round(width * scale))),
        ]
        method = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        return cast(RGB8, cv2.resize(part, (width, height), interpolation=method))

    def collage(self, rng: Rng, width: int, height: int, pieces: int) -> RGB8:
        """Return a picture with smaller ones strewn over it, (height, width, 3)."""
        picture = np.ascontiguousarray(self.picture(rng, width, height))
        for _ in range(pieces):
            wide, high = rng.integers(30, max(31, width // 2), 2)
            centre = (rng.uniform(0, width), rng.uniform(0, height))
            lay(self.picture(rng, int(wide), int(high)), picture, rng.uniform(0, 2 * np.pi), centre)
        return picture

    def _photo(self, rng: Rng) -> RGB8 | None:
        if not self.paths:
            return None
        # After a damaged file the next one is taken; a folder of nothing else ends in noise.
        first = int(rng.integers(len(self.paths)))
        for step in range(min(len(self.paths), _MOST_DAMAGED)):
            photo = _read(self.paths[(first + step) % len(self.paths)])
            if photo is not None:
                return photo
        return None


def lay(picture: RGB8, onto: RGB8, angle: float, centre: tuple[float, float]) -> None:
    """Draw a picture, turned by ``angle``, with its middle at ``centre`` (column, row) of another.

    Args:
        picture: (h, w, 3).
        onto: (height, width, 3), contiguous; drawn on in place.
        angle: Radians.
        centre: May lie outside.
    """
    import cv2

    affine = np.empty((2, 3))
    affine[:, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:, 2] = centre - affine[:, :2] @ (np.array(picture.shape[1::-1]) / 2)
    size = (onto.shape[1], onto.shape[0])
    cv2.warpAffine(picture, affine, size, dst=onto, borderMode=cv2.BORDER_TRANSPARENT)


def _mirrored(rng: Rng, there: int, wanted: int) -> NDArray[np.int64]:
    """Return ``wanted`` neighbouring indices of ``there`` pixels, mirrored at the borders."""
    start = rng.integers(max(1, there - wanted + 1)) if wanted <= there else rng.integers(there)
    place = (start + np.arange(wanted)) % (2 * there)
    return np.asarray(np.where(place < there, place, 2 * there - 1 - place))


@lru_cache(maxsize=_KEPT)
def _read(path: str) -> RGB8 | None:
    import cv2

    try:
        photo = decode_image(read_image_file(path)).views[0]
    except Refused:
        return None
    shrink = _SHORT_SIDE / min(photo.shape[:2])
    if shrink >= 1:
        return photo
    size = (round(photo.shape[1] * shrink), round(photo.shape[0] * shrink))
    return cast(RGB8, cv2.resize(photo, size, interpolation=cv2.INTER_AREA))


def noise_picture(rng: Rng, width: int, height: int) -> RGB8:
    """Return a picture of coloured noise with the spectrum of photos, (height, width, 3).

    Octaves of random grids; amplitude rises with wavelength as in natural images.
    """
    import cv2

    picture = np.zeros((height, width, 3), np.float32)
    picture += rng.uniform(20, 220, 3).astype(np.float32)
    decay = rng.uniform(0.45, 0.85)
    amplitude = float(rng.uniform(15, 70))
    # Most of a picture's contrast is in brightness; the colours vary more slowly.
    grey = rng.uniform(0, 1)
    for octave in range(1, 8):
        rows = 2**octave
        columns = max(2, round(rows * width / height))
        grid = rng.standard_normal((rows, columns, 3), dtype=np.float32)
        grid = grid * (1 - grey) + grid[..., :1] * grey
        # Sharp borders here and there, soft ones elsewhere.
        method = cv2.INTER_NEAREST if rng.random() < 0.2 else cv2.INTER_LINEAR
        picture += amplitude * cv2.resize(grid, (width, height), interpolation=method)
        amplitude *= decay
    return cast(RGB8, np.clip(picture, 0, 255).astype(np.uint8))
