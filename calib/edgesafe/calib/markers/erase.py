"""Take markers out of a frame: paint their visible ink over, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.board import MarkerBoard
from edgesafe.calib.markers.detect import FoundMarkers, MarkerFinder
from edgesafe.calib.markers.plane import BoardPictures, homography, outline_mask, warp
from edgesafe.calib.markers.protect import grown
from edgesafe.calib.markers.smooth import fill_smoothly
from edgesafe.calib.markers.view import BoardView, view_board
from edgesafe.calib.render.photos import Photos, noise_picture
from edgesafe.runtime.video import import_cv2

__all__ = ["FILLS", "Erased", "Eraser", "Fill", "markers_near", "paint"]

Array = NDArray[np.float64]
RGB8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

Fill = Literal["white", "block", "inpaint", "texture", "permute", "board"]
"""What comes in place of the markers; ``board`` takes the whole board away."""

FILLS: tuple[Fill, ...] = get_args(Fill)

_GREY = 128.0
_GRAIN = 2.0
_FEATHER_PX = 0.7
_INPAINT_PX = 3
# A marker found so close to a projected one is that marker.
_NEAR_PX = 40.0
_ROUNDS = 3
_RIM = 1.06
_LEAST_THING_PX = 7


@dataclass(frozen=True, eq=False)
class Erased:
    """A frame without its markers.

    Attributes:
        rgb: (H, W, 3).
        changed: (H, W) pixels that may differ from the original; all others do not.
        markers: (H, W) visible markers of the original.
        left: Markers of the board that are still found near their places.
        view: The board as it was seen.
    """

    rgb: RGB8 = field(repr=False)
    changed: Mask = field(repr=False)
    markers: Mask = field(repr=False)
    left: int
    view: BoardView = field(repr=False)


class Eraser:
    """Erases one board, frame after frame.

    Args:
        board: Which board.
        fill: What comes in place of its markers.
        photos: Textures for the fill ``texture``; noise where there are none.
        seed: Of grain, codes and textures; a frame has its own generator, by its number.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """

    def __init__(
        self,
        board: MarkerBoard,
        fill: Fill = "white",
        *,
        photos: Photos | None = None,
        seed: int = 0,
    ) -> None:
        """Draw the board."""
        self.board, self.fill, self.seed = board, fill, seed
        self.pictures = BoardPictures.of(board)
        self.finder = MarkerFinder.of_board(board)
        self._photos = photos

    def erase(
        self, rgb: RGB8, K: Array, T: Array, protected: Mask, key: tuple[int, int] = (0, 0)
    ) -> Erased:
        """Return a frame without its markers.

        A marker that is still found afterwards cannot have anything before it, whatever its colour
        in this light, and is painted over as a whole.

        Args:
            rgb: (H, W, 3), without the distortion of a lens.
            K: (3, 3).
            T: (4, 4) T_cam_board.
            protected: (H, W) pixels that must not change.
            key: Number of the frame, for the random generator.
        """
        doubtless: set[int] = set()
        for _ in range(_ROUNDS):
            rng = np.random.default_rng([self.seed, *key])
            view = view_board(rgb, K, T, self.pictures, protected, doubtless=doubtless)
            area, new = self._filled(rgb, view, protected, rng)
            page, changed = paint(rgb, area, new, protected, rng)
            # Permuted markers are markers still.
            left: list[int] = []
            if self.fill != "permute":
                left = markers_near(self.finder.find(page), self.board, K, T)
            if not left:
                break
            doubtless |= set(left)
        return Erased(page, changed, view.marker_in_frame(rgb.shape), len(left), view)

    def _filled(
        self, rgb: RGB8, view: BoardView, protected: Mask, rng: np.random.Generator
    ) -> tuple[Mask, NDArray[np.float32]]:
        """Return which pixels to paint (H, W), and the colours (H, W, 3) to paint them in."""
        new = rgb.astype(np.float32)
        if self.fill == "board":
            area = board_area(rgb.shape, view, protected)
            unknown = area | protected
            return area, fill_smoothly(new, ~grown(unknown, 2), grain=_GRAIN, rng=rng)
        area = view.marker_in_frame(rgb.shape)
        if self.fill == "inpaint":
            cv2 = import_cv2()
            holes = area.astype(np.uint8) * 255
            filled = cv2.inpaint(np.ascontiguousarray(rgb), holes, _INPAINT_PX, cv2.INPAINT_TELEA)
            return area, np.asarray(filled, np.float32)
        new[view.window.slices] = self._flat(view, rng)
        return area, new

    def _flat(self, view: BoardView, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return new colours of the window (h, w, 3) that follow from the board alone."""
        if self.fill == "block":
            return np.full(view.paper.shape, _GREY, np.float32)
        if self.fill == "permute":
            pictures = view.pictures.permuted(rng)
            return view.shown(warp(pictures.white, view.to_frame, view.window, 1.0))
        if self.fill == "texture":
            size = len(view.pictures.white) // 2
            photo = (
                self._photos.picture(rng, size, size)
                if self._photos is not None
                else noise_picture(rng, size, size)
            )
            # Its pixels are twice as wide as those of the board's picture.
            coarse = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
            lit = warp(photo, view.to_frame @ coarse, view.window, 255.0)
            return np.asarray(lit * view.paper / 255)
        return view.paper


def paint(
    rgb: RGB8,
    area: Mask,
    new: NDArray[np.float32],
    protected: Mask,
    rng: np.random.Generator,
) -> tuple[RGB8, Mask]:
    """Return a frame with an area painted over, and which pixels may have changed.

    Args:
        rgb: (H, W, 3).
        area: (H, W) what to paint; its border is feathered.
        new: (H, W, 3) colours, 0..255.
        protected: (H, W) never changed.
        rng: Of the grain.
    """
    cv2 = import_cv2()
    soft = cv2.GaussianBlur(area.astype(np.float32), (0, 0), _FEATHER_PX)
    share = np.where(protected, np.float32(0), soft)
    changed = share > 1 / 512
    grain = rng.normal(0, _GRAIN, (int(changed.sum()), 1)).astype(np.float32)
    alpha = share[changed][:, None]
    page = rgb.copy()
    mixed = rgb[changed] * (1 - alpha) + (new[changed] + grain) * alpha
    page[changed] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return page, changed


def board_area(shape: tuple[int, ...], view: BoardView, protected: Mask) -> Mask:
    """Return the pixels (H, W) of the whole board with its rim, but for what stands before it.

    Between the markers, whatever is not an annotated object belongs to the board: what lies on it
    turns with it and tells its pose.
    """
    height, width = shape[:2]
    corners = view.pictures.outline * _RIM
    area = outline_mask(view.K, view.T, corners, width, height)
    before = np.zeros((height, width), np.uint8)
    before[view.window.slices] = view.zone & ~view.visible & ~view.protected
    # Fringes of what is seen are no things of their own.
    cv2 = import_cv2()
    round_ = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_LEAST_THING_PX,) * 2)
    things = cv2.morphologyEx(before, cv2.MORPH_OPEN, round_) > 0
    return np.asarray(area & ~things & ~protected)


def markers_near(found: FoundMarkers, board: MarkerBoard, K: Array, T: Array) -> list[int]:
    """Return, for each marker found near the projection of one of the board's, that one's number.

    Whatever code was read: what is found there is a marker of the board.
    """
    middles = np.array([[*marker.centre, 1.0] for marker in board.markers])
    seen = middles @ homography(K, T).T
    pixels = seen[:, :2] / seen[:, 2:]
    apart = np.linalg.norm(found.middles[:, None] - pixels[None], axis=2)
    close = apart.min(axis=1, initial=np.inf) < _NEAR_PX
    return [board.markers[int(at)].id for at in apart[close].argmin(axis=1)]
