"""Where bodies are put together: one z-buffer for all, four samples a pixel.

Edges between bodies and towards the background come out mixed as in a lens, so that no cut-out
border tells a network what was pasted; masks keep whole pixels.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.render.raster import RasterBuffers, Window

__all__ = ["SAMPLES", "Canvas", "Silhouette", "finer", "silhouette"]

Array = NDArray[np.float64]
RGB8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SAMPLES = 2
"""Samples per pixel along x and along y."""

_NOBODY = -1


def finer(K: Array) -> Array:
    """Return the camera matrix of the samples, (3, 3): their pixel (0, 0) is centred at (0, 0)."""
    fine = np.asarray(K, np.float64) * [[SAMPLES], [SAMPLES], [1]]
    fine[:2, 2] += (SAMPLES - 1) / 2
    return fine


class Silhouette(NamedTuple):
    """The whole outline of a body, also what is hidden or beyond the border of the frame.

    Attributes:
        window: Where ``mask`` lies, in pixels of the frame; may reach beyond it.
        mask: (window.height, window.width).
    """

    window: Window
    mask: Mask

    def in_frame(self, width: int, height: int) -> Mask:
        """Return the part inside the frame, (height, width)."""
        frame = np.zeros((height, width), np.bool_)
        x, y = self.window.x, self.window.y
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + self.window.width, width), min(y + self.window.height, height)
        if left < right and top < bottom:
            frame[top:bottom, left:right] = self.mask[top - y : bottom - y, left - x : right - x]
        return frame


def silhouette(buffers: RasterBuffers) -> Silhouette:
    """Return the outline, in whole pixels, of a body that was drawn in samples."""
    fine = buffers.window
    x, y = fine.x // SAMPLES, fine.y // SAMPLES
    right = -(-(fine.x + fine.width) // SAMPLES)
    bottom = -(-(fine.y + fine.height) // SAMPLES)
    padded = np.zeros(((bottom - y) * SAMPLES, (right - x) * SAMPLES), np.bool_)
    top, left = fine.y - y * SAMPLES, fine.x - x * SAMPLES
    padded[top : top + fine.height, left : left + fine.width] = buffers.mask
    return Silhouette(Window(x, y, right - x, bottom - y), _whole_pixels(padded))


class Canvas:
    """The samples of one frame.

    Args:
        width: Columns of the frame.
        height: Rows of the frame.
    """

    def __init__(self, width: int, height: int) -> None:
        """Start empty."""
        self.width, self.height = width, height
        fine = (height * SAMPLES, width * SAMPLES)
        self._colour = np.zeros((*fine, 3), np.uint8)
        self._nearness = np.zeros(fine, np.float32)
        self._owner = np.full(fine, _NOBODY, np.int16)

    def claim(self, buffers: RasterBuffers, owner: int) -> RasterBuffers:
        """Take the samples where a body is nearer than what is there.

        Args:
            buffers: Drawn with :func:`finer` of K; what is outside the frame is left out.
            owner: A number >= 0 by which :meth:`visible` finds it again.

        Returns:
            The part of ``buffers`` that is seen now, whose colours :meth:`paint` wants. Bodies may
            come in any order; with the nearest first, little is painted in vain.
        """
        at, inside = self._samples(buffers)
        nearer = np.flatnonzero(inside & (buffers.inverse_depth > self._nearness.reshape(-1)[at]))
        at = at[nearer]
        self._nearness.reshape(-1)[at] = buffers.inverse_depth[nearer]
        self._owner.reshape(-1)[at] = owner
        return buffers.some(nearer)

    def paint(self, claimed: RasterBuffers, colour: NDArray[np.float32]) -> None:
        """Colour the samples that were claimed last: (n, 3) in 0..255."""
        at, _ = self._samples(claimed)
        self._colour.reshape(-1, 3)[at] = colour

    def _samples(self, buffers: RasterBuffers) -> tuple[NDArray[np.intp], Mask]:
        """Return the flat index of each covered sample, and whether it is in the frame."""
        window = buffers.window
        row, column = np.divmod(buffers.index, max(window.width, 1))
        row += window.y
        column += window.x
        rows, columns = self._nearness.shape
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        return np.where(inside, row * columns + column, 0), inside

    def visible(self, owner: int, box: Window) -> Mask:
        """Return where a body is seen, (height, width); it lies within ``box`` of the frame."""
        mask = np.zeros((self.height, self.width), np.bool_)
        left, top = max(box.x, 0), max(box.y, 0)
        right, bottom = min(box.x + box.width, self.width), min(box.y + box.height, self.height)
        if left < right and top < bottom:
            fine = self._owner[top * SAMPLES : bottom * SAMPLES, left * SAMPLES : right * SAMPLES]
            mask[top:bottom, left:right] = _whole_pixels(fine == owner)
        return mask

    def over(self, background: RGB8) -> RGB8:
        """Return the frame: all bodies over a background (height, width, 3)."""
        import cv2

        size = (self.width, self.height)
        bodies = cv2.resize(self._colour, size, interpolation=cv2.INTER_AREA)
        covered = (self._owner != _NOBODY).astype(np.uint8) * 255
        alpha = cv2.resize(covered, size, interpolation=cv2.INTER_AREA)
        behind = cv2.multiply(background, cv2.merge([255 - alpha] * 3), scale=1 / 255)
        return cast(RGB8, cv2.add(bodies, behind))


def _whole_pixels(fine: Mask) -> Mask:
    """A pixel belongs to who has most of its samples; the first sample decides a tie."""
    first = fine[::SAMPLES, ::SAMPLES]
    count = np.zeros(first.shape, np.uint8)
    for row in range(SAMPLES):
        for column in range(SAMPLES):
            count += fine[row::SAMPLES, column::SAMPLES]
    half = SAMPLES * SAMPLES // 2
    return cast(Mask, (count > half) | ((count == half) & first))
