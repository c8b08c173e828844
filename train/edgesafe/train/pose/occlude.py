"""What hides a part of an object: other objects, shapes, coarse dropout. And other backgrounds.

Each function changes a picture in place and keeps the masks true to it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["erase", "paste", "replace_background"]

Pixels = npt.NDArray[np.uint8]
Rng = np.random.Generator


def replace_background(rgb: Pixels, kept: Pixels, photo: Pixels) -> Pixels:
    """Puts a photo behind what is kept.

    Args:
        rgb: (H, W, 3).
        kept: (H, W), 255 where the picture stays; values between blend.
        photo: (H, W, 3).
    """
    front = kept.astype(np.float32) * np.float32(1 / 255)
    return np.asarray(cv2.blendLinear(rgb, photo, front, 1 - front), dtype=np.uint8)


def paste(rgb: Pixels, visible: Pixels, piece: Pixels, shape: Pixels, keep: float) -> Pixels:
    """Pastes a picture of something else over an object, if enough of the object remains.

    Args:
        rgb: (H, W, 3).
        visible: (H, W), 255 where the object is visible; changed in place.
        piece: (H, W, 3), what to paste.
        shape: (H, W), 255 where to paste it.
        keep: Least share of the visible object that must remain.

    Returns:
        The picture.
    """
    left = cv2.multiply(visible, 255 - shape, scale=1 / 255)
    if not _enough(left, visible, keep):
        return rgb
    visible[:] = left
    return replace_background(piece, shape, rgb)


def erase(rgb: Pixels, visible: Pixels, rng: Rng, keep: float) -> Pixels:
    """Hides a part of an object under a shape, or under several small squares (coarse dropout).

    Args:
        rgb: (H, W, 3); changed in place.
        visible: (H, W), 255 where the object is visible; changed in place.
        rng: What is drawn from.
        keep: Least share of the visible object that must remain.

    Returns:
        The picture.
    """
    height, width = visible.shape
    shape = np.zeros_like(visible)
    if rng.random() < 0.5:
        centre = rng.uniform(0.1, 0.9, 2) * (width, height)
        axes = np.exp(rng.uniform(np.log(0.06), np.log(0.35), 2)) * (width, height)
        angle = rng.uniform(0, 180)
        if rng.random() < 0.5:
            corners = cv2.boxPoints((centre.tolist(), (2 * axes).tolist(), angle))
            cv2.fillConvexPoly(shape, np.rint(corners).astype(np.int32), 255)
        else:
            whole: Any = [tuple(int(v) for v in pair) for pair in (centre, axes)]
            cv2.ellipse(shape, whole[0], whole[1], angle, 0, 360, 255, -1)
    else:
        side = max(2, int(rng.uniform(0.03, 0.1) * width))
        for x, y in rng.integers(0, (width, height), (int(rng.integers(3, 12)), 2)).tolist():
            shape[y : y + side, x : x + side] = 255
    left = visible & ~shape
    if not _enough(left, visible, keep):
        return rgb
    visible[:] = left
    hidden = shape > 0
    if rng.random() < 0.6:
        rgb[hidden] = rng.integers(0, 256, 3)
    else:
        # Coarse noise looks like a texture.
        cells = int(rng.integers(4, 24))
        noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        texture = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
        rgb[hidden] = texture[hidden]
    return rgb


def _enough(left: Any, visible: Pixels, keep: float) -> bool:
    before = int(visible.sum())
    return before > 0 and int(np.asarray(left).sum()) >= keep * before
