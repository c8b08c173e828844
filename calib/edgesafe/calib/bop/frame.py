"""A picture of a BOP data set and what is annotated in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesafe.runtime.errors import DataError

__all__ = ["Box", "Frame", "Instance", "read_picture"]

Array: TypeAlias = NDArray[np.float64]
Box: TypeAlias = tuple[float, float, float, float]
"""(x, y, w, h): pixel columns x .. x + w - 1 and rows y .. y + h - 1."""


@dataclass(frozen=True, eq=False)
class Instance:
    """An object in a frame, T_cam_obj: X_cam = R X_obj + t.

    Attributes:
        obj_id: Number of the object.
        R: (3, 3).
        t: (3,) mm.
        bbox_obj: Of the whole silhouette, also beyond the frame; None where unknown.
        bbox_visib: Of what is seen; None where unknown or nothing is seen.
        visib_fract: Visible share of the silhouette, 0..1; None where unknown.
        mask_path: File of the whole silhouette in the frame; None where the data set has none.
        mask_visib_path: File of what is seen; None where the data set has none.
    """

    obj_id: int
    R: Array = field(repr=False)
    t: Array
    bbox_obj: Box | None = None
    bbox_visib: Box | None = None
    visib_fract: float | None = None
    mask_path: Path | None = field(default=None, repr=False)
    mask_visib_path: Path | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture and its annotations.

    Attributes:
        scene_id: Number of the scene.
        im_id: Number of the picture in its scene.
        split: Name of the split.
        rgb_path: The picture, in colour or grey.
        K: (3, 3) pixels.
        depth_scale: Of a depth image, mm per unit.
        instances: In the order of the file, which numbers the masks.
    """

    scene_id: int
    im_id: int
    split: str
    rgb_path: Path
    K: Array = field(repr=False)
    depth_scale: float
    instances: tuple[Instance, ...] = field(repr=False)

    @property
    def key(self) -> tuple[int, int]:
        """Which frame of its split."""
        return self.scene_id, self.im_id

    def read_rgb(self) -> NDArray[np.uint8]:
        """Return the picture as RGB, uint8 (H, W, 3); a grey one three times.

        Raises:
            DataError: It cannot be read.
        """
        return read_picture(self.rgb_path)

    def picture_size(self) -> tuple[int, int]:
        """Return columns and rows of the picture without decoding it.

        Raises:
            DataError: It cannot be read.
        """
        with _opened(self.rgb_path) as picture:
            return picture.size


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return a picture as RGB, uint8 (H, W, 3); of 16 bits the upper eight.

    Raises:
        DataError: It cannot be read.
    """
    with _opened(path) as picture:
        if picture.mode.startswith(("I", "F")):
            deep = np.asarray(picture)
            grey = np.clip(deep // 256 if deep.max() > 255 else deep, 0, 255).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        return np.asarray(picture.convert("RGB"))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as picture:
            yield picture
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{path} cannot be read as a picture: {reason}") from None
