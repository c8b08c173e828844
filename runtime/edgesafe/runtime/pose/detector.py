"""Where the objects are in a frame: letterbox, peaks of the heat, boxes back in the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.manifest_pose import DetectorSpec
from edgesafe.runtime.pose.crop import BORDER
from edgesafe.runtime.video import import_cv2

__all__ = ["Detection", "Letterbox", "find_boxes"]

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

_SAME = 0.5  # intersection over union from which two boxes are of one thing


@dataclass(frozen=True)
class Detection:
    """A box (x, y, w, h), frame pixels as in BOP, of an object, with a score in 0..1."""

    object_id: int
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Letterbox:
    """A frame scaled until it fits an input and laid on the middle of grey.

    Attributes:
        frame_width: Columns of the frame.
        frame_height: Rows of the frame.
        width: Columns of the input.
        height: Rows of the input.
    """

    frame_width: int
    frame_height: int
    width: int
    height: int

    @property
    def inner(self) -> tuple[int, int, int, int]:
        """(left, top, width, height) of the scaled frame within the input."""
        scale = min(self.width / self.frame_width, self.height / self.frame_height)
        width = min(self.width, max(1, round(self.frame_width * scale)))
        height = min(self.height, max(1, round(self.frame_height * scale)))
        return (self.width - width) // 2, (self.height - height) // 2, width, height

    def image(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the input, uint8 (height, width, 3), of a frame uint8 (H, W, 3).

        Raises:
            MissingExtraError: OpenCV is not installed.
        """
        cv2 = import_cv2()
        left, top, width, height = self.inner
        shrinks = width < self.frame_width
        found = np.full((self.height, self.width, 3), BORDER, dtype=np.uint8)
        found[top : top + height, left : left + width] = cv2.resize(
            frame,
            (width, height),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
        return found

    def to_frame(self, points: npt.ArrayLike) -> Array:
        """Map points (..., 2) from input pixels to frame pixels, centres at whole numbers."""
        left, top, width, height = self.inner
        factor = np.array([self.frame_width / width, self.frame_height / height])
        inner = np.asarray(points, dtype=np.float64) - (left, top)
        return np.asarray((inner + 0.5) * factor - 0.5)

    def to_input(self, points: npt.ArrayLike) -> Array:
        """Map points (..., 2) from frame pixels to input pixels."""
        left, top, width, height = self.inner
        factor = np.array([self.frame_width / width, self.frame_height / height])
        inner = (np.asarray(points, dtype=np.float64) + 0.5) / factor - 0.5
        return np.asarray(inner + (left, top))


def find_boxes(heat: Floats, box: Floats, spec: DetectorSpec, frame: Letterbox) -> list[Detection]:
    """Pick the peaks of the heat.

    A cell is a peak where no neighbour of its 3 x 3 is hotter. Of peaks of one object whose boxes
    overlap by more than half the hottest stays.

    Args:
        heat: (O, h, w), probabilities.
        box: (4, h, w), distances of the left, top, right and bottom edge from the pixel centre
            (stride i + (stride - 1)/2), input pixels.
        spec: Of the detector.
        frame: Of the frame.

    Returns:
        The best of each object first, at most ``max_per_object`` of each; values that are not
        finite are no detections.
    """
    found: list[Detection] = []
    for object_id, plane in zip(spec.objects, heat, strict=True):
        rows, columns = np.nonzero(_peaks(plane) & (plane >= spec.min_score))
        order = np.argsort(-plane[rows, columns], kind="stable")
        kept: list[Detection] = []
        for row, column in zip(rows[order], columns[order], strict=True):
            if len(kept) == spec.max_per_object:
                break
            middle = np.array([column, row]) * spec.stride + (spec.stride - 1) / 2
            reach = box[:, row, column].astype(np.float64)
            placed = _to_frame(middle, reach, frame)
            if placed is None or any(_overlap(placed, other.box) > _SAME for other in kept):
                continue
            kept.append(Detection(object_id, placed, float(plane[row, column])))
        found += kept
    return found


def _peaks(plane: Floats) -> npt.NDArray[np.bool_]:
    around = np.pad(plane, 1, constant_values=-np.inf)
    height, width = plane.shape
    highest = np.maximum.reduce(
        [around[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    )
    peaks: npt.NDArray[np.bool_] = plane >= highest
    return peaks


def _to_frame(
    middle: Array, reach: Array, frame: Letterbox
) -> tuple[float, float, float, float] | None:
    """Return the box within the frame, or None where nothing of it is."""
    if not np.isfinite(reach).all():
        return None
    # Edges lie half a pixel outside of the outermost pixel centres.
    low = np.clip(frame.to_frame(middle - reach[:2]) + 0.5, 0, None)
    high = frame.to_frame(middle + reach[2:]) + 0.5
    high = np.minimum(high, (frame.frame_width, frame.frame_height))
    if not (high - low >= 1).all():
        return None
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(wide, 0.0) * max(high, 0.0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)
