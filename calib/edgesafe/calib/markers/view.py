"""A board as it is seen in one frame: where its ink is, in what light, and what stands before it.

With A how white the board is at a pixel, W the paper's colour there and B the ink's, a pixel that
shows the board has the colour E = A W + (1 - A) B, where blur and a pose that is a pixel off may
take A from a neighbour. Where a pixel is far from all such E, something else is before the board;
no mask of it is needed.
"""

from __future__ import annotations

from collections.abc import Collection
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

# Largest distance, of 255, of a pixel's colour from what the board would show.
_ALIKE = 45.0
_BLUR_PX = 3
_FRINGE_PX = 7
# Contrast of a marker, as a share of that between paper and ink, under which it is hidden: a thing
# of a grey between the two looks like blurred markers that are only a few pixels wide.
_CONTRAST = 0.4
_LEAST_PX = 6
# What is wholly surrounded by a marker and smaller than this share of it shines, and is no thing.
_GLOSS = 0.1
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
    doubtless: Collection[int] = (),
) -> BoardView:
    """Look at the board in a frame.

    Args:
        rgb: (H, W, 3).
        K: (3, 3).
        T: (4, 4) T_cam_board.
        pictures: The board.
        protected: (H, W) pixels of objects.
        doubtless: Numbers of markers with nothing before them, whatever their colour.

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
    apart = _apart(colours, white, paper, ink)
    alike = (apart < _ALIKE) & ~keep
    alike &= ~_flat_markers(colours, alike, white, paper - ink, pictures, to_frame, window)
    if doubtless:
        alike |= warp(pictures.ink_of(doubtless), to_frame, window, 0.0) > 0
    seen = (zone & alike & ~keep).astype(np.uint8)
    square = np.ones((3, 3), np.uint8)
    seen = cv2.morphologyEx(cv2.morphologyEx(seen, cv2.MORPH_CLOSE, square), cv2.MORPH_OPEN, square)
    # Between an object and ink that is seen, blur alone makes ink look like something else.
    together = seen | keep.astype(np.uint8)
    closed = cv2.morphologyEx(together, cv2.MORPH_CLOSE, np.ones((_FRINGE_PX,) * 2, np.uint8))
    visible = (closed > 0) & zone & ~keep
    visible |= _gloss(
        zone & ~visible & ~keep, ~zone | keep, _GLOSS * _marker_area(to_frame, pictures)
    )
    near = cv2.dilate(on_marker.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return BoardView(pictures, K, T, window, white, zone, paper, ink, keep, visible, visible & near)


def _apart(colours: Float, white: Float, paper: Float, ink: Float) -> Float:
    """Return how far each pixel is from the nearest colour that the board may show there, (h, w).

    The colour is ink + s (paper - ink) with s between the least and the most white neighbour.
    """
    cv2 = import_cv2()
    near = np.ones((_BLUR_PX, _BLUR_PX), np.uint8)
    span = paper - ink
    along = ((colours - ink) * span).sum(axis=2) / np.maximum((span * span).sum(axis=2), 1)
    share = np.clip(along, cv2.erode(white, near), cv2.dilate(white, near))[..., None]
    return np.asarray(np.abs(colours - ink - share * span).max(axis=2))


def _gloss(strange: Mask, outside: Mask, most: float) -> Mask:
    """Return the patches of a mask (h, w) of at most so many pixels that touch nothing outside."""
    cv2 = import_cv2()
    count, labels, facts, _ = cv2.connectedComponentsWithStats(strange.astype(np.uint8))
    small = facts[:, cv2.CC_STAT_AREA] <= most
    near = cv2.dilate(outside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    small[np.unique(labels[near])] = False
    small[0] = False
    return np.asarray(small[labels]) if count > 1 else np.zeros_like(strange)


def _marker_area(to_frame: Array, pictures: BoardPictures) -> float:
    """Return the mean area of a marker in the frame, pixels."""
    inverse = np.linalg.inv(pictures.to_plane)
    corners = pictures.board.corners.reshape(-1, 3).copy()
    corners[:, 2] = 1
    seen = corners @ (to_frame @ inverse).T
    x, y = (seen[:, :2] / seen[:, 2:]).reshape(-1, 4, 2).transpose(2, 0, 1)
    after = [1, 2, 3, 0]
    return float(np.abs((x * y[:, after] - x[:, after] * y).sum(axis=1)).mean() / 2)


def _flat_markers(
    colours: Float,
    alike: Mask,
    white: Float,
    span: Float,
    pictures: BoardPictures,
    to_frame: Array,
    window: Window,
) -> Mask:
    """Return the markers (h, w) whose white and black cells differ too little to be seen."""
    cv2 = import_cv2()
    shifted = np.array([[1, 0, -window.x], [0, 1, -window.y], [0, 0, 1]]) @ to_frame
    places = cv2.warpPerspective(
        pictures.places, shifted, (window.width, window.height), flags=cv2.INTER_NEAREST
    )
    count = len(pictures.board.markers) + 1
    bright = alike & (white > 0.75)
    dark = alike & (white < 0.25)
    everything = np.ones_like(alike)

    def mean(values: Float, of: Mask) -> Array:
        sums = np.bincount(places[of], values[of].mean(axis=1), count)
        return np.asarray(sums / np.maximum(np.bincount(places[of], minlength=count), 1))

    least = [np.bincount(places[of], minlength=count) for of in (bright, dark)]
    known = np.minimum(*least) >= _LEAST_PX
    contrast = mean(colours, bright) - mean(colours, dark)
    flat = known & (contrast < _CONTRAST * mean(span, everything))
    flat[0] = False
    return np.asarray(flat[places])
