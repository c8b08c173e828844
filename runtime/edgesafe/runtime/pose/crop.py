"""The region of interest of one object: the one map between a frame and a network's input.

Used alike by training, by the golden pairs of a package and on the device, so that a network sees
the pixels that it was trained on. Pixel centres are whole numbers, the top-left one is (0, 0)
(OpenCV, BOP).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import MissingExtraError

__all__ = ["BORDER", "RoiCrop", "crop_image"]

BORDER = 127
"""Grey level of what lies outside the frame."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RoiCrop:
    """A square of the frame that is resampled to ``size`` x ``size`` pixels.

    Attributes:
        centre: (u, v) of its centre, frame pixels.
        side: Its side, frame pixels.
        size: The side of the network's input, pixels.

    Raises:
        ValueError: A number is not finite, or the side or the size is not positive.
    """

    centre: tuple[float, float]
    side: float
    size: int

    def __post_init__(self) -> None:
        """Refuse a square that has no map."""
        if not all(map(math.isfinite, (*self.centre, self.side))):
            raise ValueError(f"a region of interest must be finite, not {self}")
        if self.side <= 0 or self.size < 1:
            raise ValueError(f"a region of interest must have an area, not {self}")

    @classmethod
    def from_box(cls, box: Sequence[float], roi_scale: float, size: int) -> RoiCrop:
        """Return the square around a box.

        Args:
            box: (x, y, w, h) in frame pixels as in BOP: pixel columns x .. x + w - 1.
            roi_scale: Side of the square over the longer side of the box.
            size: The side of the network's input, pixels.
        """
        x, y, w, h = map(float, box)
        return cls((x + w / 2 - 0.5, y + h / 2 - 0.5), roi_scale * max(w, h), size)

    @property
    def scale(self) -> float:
        """Frame pixels per crop pixel."""
        return self.side / self.size

    def to_frame(self, points: npt.ArrayLike) -> Array:
        """Map points (..., 2) from crop pixels to frame pixels."""
        corner = np.asarray(self.centre) + 0.5 - self.side / 2
        return (np.asarray(points, dtype=np.float64) + 0.5) * self.scale - 0.5 + corner

    def to_crop(self, points: npt.ArrayLike) -> Array:
        """Map points (..., 2) from frame pixels to crop pixels."""
        corner = np.asarray(self.centre) + 0.5 - self.side / 2
        return (np.asarray(points, dtype=np.float64) + 0.5 - corner) / self.scale - 0.5

    def matrix(self) -> Array:
        """Return the 2 x 3 affine matrix from frame pixels to crop pixels."""
        origin = self.to_crop((0.0, 0.0))
        return np.array([[1 / self.scale, 0, origin[0]], [0, 1 / self.scale, origin[1]]])


def crop_image(frame: npt.NDArray[np.uint8], roi: RoiCrop) -> npt.NDArray[np.uint8]:
    """Resample a region of interest.

    Shrinking is antialiased: the frame is averaged over blocks of the nearest whole number of
    pixels first; what is left of the scale, and all enlarging, is bilinear.

    Args:
        frame: uint8 (H, W, 3).
        roi: Where; it may reach over the frame's edges.

    Returns:
        uint8 (size, size, 3); :data:`BORDER` outside the frame.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise MissingExtraError("cv2", "cpu") from None
    grey = (BORDER, BORDER, BORDER)
    source: npt.NDArray[Any] = frame
    x0, y0 = 0, 0
    block = int(roi.scale + 0.5)
    if block > 1:
        height, width = frame.shape[:2]
        left, top = np.floor(roi.to_frame((-0.5, -0.5))).astype(np.int64) - block
        right, bottom = np.ceil(roi.to_frame((roi.size - 0.5, roi.size - 0.5))) + block + 1
        x0, x1 = max(int(left), 0), min(int(right), width)
        y0, y1 = max(int(top), 0), min(int(bottom), height)
        if x0 >= x1 or y0 >= y1:
            return np.full((roi.size, roi.size, 3), BORDER, dtype=np.uint8)
        block = min(block, x1 - x0, y1 - y0)
        down, across = -(y1 - y0) % block, -(x1 - x0) % block
        source = frame[y0:y1, x0:x1]
        if down or across:
            source = cv2.copyMakeBorder(source, 0, down, 0, across, cv2.BORDER_CONSTANT, value=grey)
        source = cv2.resize(
            source,
            (source.shape[1] // block, source.shape[0] // block),
            interpolation=cv2.INTER_AREA,
        )
    block = max(block, 1)
    # Pixel j of the averaged picture lies at x0 + block j + (block - 1) / 2 of the frame.
    step = roi.scale / block
    first = (roi.to_frame((0.0, 0.0)) - (x0, y0) - (block - 1) / 2) / block
    return np.asarray(
        cv2.warpAffine(
            source,
            np.array([[step, 0.0, first[0]], [0.0, step, first[1]]]),
            (roi.size, roi.size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=grey,
        ),
        dtype=np.uint8,
    )
