"""Pictures for TensorBoard: what was predicted over what is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["draw_boxes", "draw_keypoints", "sheet"]

Pixels = npt.NDArray[np.uint8]
Array = npt.NDArray[np.floating[Any]]

_TRUE, _FOUND = (40, 220, 40), (255, 50, 50)
_SIDE = 256
_FINE = 4  # bits of a pixel's fraction that OpenCV draws with


def draw_keypoints(rgb: Pixels, outputs: Mapping[str, Array], truth: Array) -> Pixels:
    """Draws a region, (S, S, 3), enlarged.

    The mask is a blue veil, true keypoints are green crosses, predicted ones red, each with the
    ellipse of one standard deviation and a line to where it should be.

    Args:
        rgb: The region.
        outputs: Of the vote head: ``keypoints``, ``covariance``, ``mask`` (logits).
        truth: (K, 2).
    """
    factor = _SIDE / rgb.shape[0]
    canvas = cv2.resize(rgb, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    mask = 1 / (1 + np.exp(-outputs["mask"][0]))
    veil = cv2.resize(mask.astype(np.float32), (_SIDE, _SIDE))[..., None]
    blue = np.array([60, 120, 255], dtype=np.float32)
    canvas = np.ascontiguousarray(
        (canvas * (1 - 0.35 * veil) + blue * 0.35 * veil).astype(np.uint8)
    )

    def place(point: Array) -> tuple[int, int]:
        x, y = ((np.asarray(point) + 0.5) * factor - 0.5) * (1 << _FINE)
        return int(x), int(y)

    for found, wanted, (xx, xy, yy) in zip(
        outputs["keypoints"], truth, outputs["covariance"], strict=True
    ):
        cv2.line(canvas, place(found), place(wanted), _FOUND, 1, cv2.LINE_AA, _FINE)
        x, y = (v >> _FINE for v in place(wanted))
        cv2.drawMarker(canvas, (x, y), _TRUE, cv2.MARKER_CROSS, 9, 1)
        values, vectors = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
        half = np.sqrt(np.maximum(values, 0.04)) * factor * (1 << _FINE)
        angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
        axes = (int(half[1]), int(half[0]))
        cv2.ellipse(canvas, place(found), axes, angle, 0, 360, _FOUND, 1, cv2.LINE_AA, _FINE)
    return np.asarray(canvas, dtype=np.uint8)


def draw_boxes(rgb: Pixels, truth: Array, found: Array) -> Pixels:
    """Draws boxes (n, 4), edges left, top, right, bottom, over a frame: true green, found red."""
    canvas = np.ascontiguousarray(rgb.copy())
    for boxes, colour in ((truth, _TRUE), (found, _FOUND)):
        for left, top, right, bottom in np.rint(boxes).astype(int).tolist():
            cv2.rectangle(canvas, (left, top), (right, bottom), colour, 1)
    return canvas


def sheet(pictures: Sequence[Pixels], columns: int = 4) -> Pixels:
    """Lays pictures of one size out on a grid."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    canvas = np.zeros((rows * height, min(columns, len(pictures)) * width, 3), dtype=np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // columns * height, i % columns * width
        canvas[y : y + height, x : x + width] = picture
    return canvas
