"""A board as it is seen in one frame: where its ink is, in what light, and what stands before it.

With A how white the board is at a pixel, W the paper's colour there and B the ink's, a pixel that
shows the board has the colour E = A W + (1 - A) B. Where a pixel is far from E, something else is
before the board; no mask of it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.markers.plane import BoardPictures, Window, homography, warp, window_of
from edgesafe.calib.markers.shading import fit_shading
from edgesafe.runtime.video import import_cv2

__all__ = ["BoardView", "view_board"]

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Largest distance, of 255, of a pixel's colour from what the board would show; on borders of the
# ink, which blur widens, more.
_ALIKE = 45.0
_ALIKE_AT_EDGES = 140.0
_FRINGE_PX = 7
_WHITE, _BLACK = 0.98, 0.02
_PAPER, _INK = 235.0, 25.0


@dataclass(frozen=True, eq=False)
class BoardView:
    """A board in a frame; arrays cover the window around the board.

    Attributes:
        pictures: The board.
        K: (3, 3).
        T: (4, 4) T_cam_board.
        window: Where the board is in the frame.
        white: (h, w) how white the board is, 0..1.
        zone: (h, w) on the ink or close to it.
        paper: (h, w, 3) colour of paper in this light.
        ink: (h, w, 3) colour of ink in this light.
        protected: (h, w) pixels of objects.
        visible: (h, w) pixels of ``zone`` with nothing before the board.
        marker: (h, w) those of them on markers, with the border that their ink blurs into.
    """

    pictures: BoardPictures
    K: Array = field(repr=False)
    T: Array = field(repr=False)
    window: Window
    white: Float = field(repr=False)
    zone: Mask = field(repr=False)
    paper: Float = field(repr=False)
    ink: Float = field(repr=False)
    protected: Mask = field(repr=False)
    visible: Mask = field(repr=False)
    marker: Mask = field(repr=False)

    @property
    def to_frame(self) -> Array:
        """(3, 3) from pixels of the board's pictures to the frame."""
        return homography(self.K, self.T) @ self.pictures.to_plane

    def shown(self, white: Float) -> Float:
        """Return the colours (h, w, 3) of a board that is so white (h, w)."""
        share = white[..., None]
        return np.asarray(share * self.paper + (1 - share) * self.ink)

    def marker_in_frame(self, shape: tuple[int, ...]) -> Mask:
        """Return ``marker`` in the whole frame, (H, W)."""
        found = np.zeros(shape[:2], bool)
        found[self.window.slices] = self.marker
        return found


def view_board(
    rgb: NDArray[np.uint8],
    K: Array,
    T: Array,
    pictures: BoardPictures,
    protected: Mask,
    *,
    tolerance: float = 1.0,
) -> BoardView:
    """Look at the board in a frame.

    Args:
        rgb: (H, W, 3).
        K: (3, 3).
        T: (4, 4) T_cam_board.
        pictures: The board.
        protected: (H, W) pixels of objects.
        tolerance: Factor of how far a pixel's colour may be from the board's.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = import_cv2()
    height, width = rgb.shape[:2]
    window = window_of(K, T, pictures.outline, width, height)
    to_frame = homography(K, T) @ pictures.to_plane
    colours = rgb[window.slices].astype(np.float32)
    keep = protected[window.slices]
    white = warp(pictures.white, to_frame, window, 1.0)
    zone = warp(pictures.zone, to_frame, window, 0.0) > 0.5
    on_marker = warp(pictures.ink, to_frame, window, 0.0) > 0
    paper = fit_shading(colours, zone & (white > _WHITE) & ~keep, _PAPER)
    ink = fit_shading(colours, zone & (white < _BLACK) & ~keep, _INK)
    ink = np.minimum(ink, paper)
    share = white[..., None]
    apart = np.abs(colours - (share * paper + (1 - share) * ink)).max(axis=2)
    mixed = ((white > 1 - _WHITE + 0.03) & (white < _WHITE - 0.03)).astype(np.uint8)
    edges = cv2.dilate(mixed, np.ones((3, 3), np.uint8)) > 0
    alike = (apart < _ALIKE * tolerance) | (edges & (apart < _ALIKE_AT_EDGES * tolerance))
    seen = (zone & alike & ~keep).astype(np.uint8)
    square = np.ones((3, 3), np.uint8)
    seen = cv2.morphologyEx(cv2.morphologyEx(seen, cv2.MORPH_CLOSE, square), cv2.MORPH_OPEN, square)
    # Between an object and ink that is seen, blur alone makes ink look like something else.
    together = seen | keep.astype(np.uint8)
    closed = cv2.morphologyEx(together, cv2.MORPH_CLOSE, np.ones((_FRINGE_PX,) * 2, np.uint8))
    visible = (closed > 0) & zone & ~keep
    near = cv2.dilate(on_marker.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return BoardView(
        pictures, K, T, window, white, zone, paper, ink, keep, visible, visible & near
    )
