"""Pictures in which only the markers, the board or the background differ.

================= =================================================================================
``orig``          the frame
``erased``        the visible markers are painted over with paper
``board_removed`` the whole board is gone, with what lies between its markers
``permuted``      other codes at the same places
``conflict``      the markers are drawn at another pose; the objects are where they were
``swapped``       markers and background of another frame, objects of this one
``erased_moved``  the same without the markers: the board's outline is another frame's
``noboard``       the objects before photos: what a network meets without a board
``scattered``     the same with markers strewn over the photos
``random_patch``  the control: as many pixels as in ``erased`` painted over, but none of a marker
================= =================================================================================

No pixel of an annotated object changes; where objects are put before another background, the rim
of one pixel is mixed. Objects are cut out along ``mask_visib``, or else their meshes' projections:
what stands before them unannotated is then cut out with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.board import MarkerBoard
from edgesafe.calib.markers.composite import (
    clean_plate,
    draw_board,
    extended_paper,
    moved_board,
    over,
    scatter_markers,
    strew,
)
from edgesafe.calib.markers.erase import Eraser, paint
from edgesafe.calib.markers.protect import ObjectPixels, grown
from edgesafe.calib.markers.view import BoardView, view_board
from edgesafe.calib.render.photos import Photos
from edgesafe.runtime.errors import UsageError

__all__ = [
    "CONFLICTS",
    "KINDS",
    "OF_TWO",
    "Counterfactual",
    "CounterfactualMaker",
    "Kind",
    "Shot",
]

Array = NDArray[np.float64]
RGB8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

Kind = Literal[
    "orig",
    "erased",
    "board_removed",
    "permuted",
    "conflict",
    "swapped",
    "erased_moved",
    "noboard",
    "scattered",
    "random_patch",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

OF_TWO: frozenset[Kind] = frozenset({"swapped", "erased_moved"})
"""Kinds that take another frame too."""

CONFLICTS: frozenset[Kind] = frozenset({"conflict", "swapped"})
"""Kinds whose markers tell another pose than the objects have."""

_APART_PX = 4


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame with its board.

    Attributes:
        key: (scene, picture).
        rgb: (H, W, 3), without the distortion of a lens.
        K: (3, 3).
        T: (4, 4) T_cam_board.
        pixels: Of its objects.
    """

    key: tuple[int, int]
    rgb: RGB8 = field(repr=False)
    K: Array = field(repr=False)
    T: Array = field(repr=False)
    pixels: ObjectPixels = field(repr=False)

    @cached_property
    def protected(self) -> Mask:
        """(H, W) the objects with a rim."""
        return self.pixels.protected


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A picture made from a frame.

    Attributes:
        rgb: (H, W, 3).
        shown: (4, 4) T_cam_board of the board whose markers are in it; None without one.
        markers: (H, W) where markers are seen in it; None without any.
        painted: Pixels painted over, for the kinds that paint over.
    """

    rgb: RGB8 = field(repr=False)
    shown: Array | None = field(default=None, repr=False)
    markers: Mask | None = field(default=None, repr=False)
    painted: int | None = None


class CounterfactualMaker:
    """Makes pictures of every kind, of one board.

    Args:
        board: Which board.
        photos: Backgrounds without a board; a pool without files gives noise.
        seed: Of all randomness; every frame and kind has a generator of its own.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """

    def __init__(self, board: MarkerBoard, photos: Photos | None = None, *, seed: int = 0) -> None:
        """Draw the board."""
        self.board, self.seed = board, seed
        self._photos = photos or Photos()
        self._white = Eraser(board, seed=seed)
        self._permute = Eraser(board, "permute", seed=seed)
        self._remove = Eraser(board, "board", seed=seed)
        self._makers: dict[Kind, Callable[[Shot, Shot, np.random.Generator], Counterfactual]] = {
            "orig": self._orig,
            "erased": self._erased,
            "board_removed": self._board_removed,
            "permuted": self._permuted,
            "conflict": self._conflict,
            "swapped": self._swapped,
            "erased_moved": self._erased_moved,
            "noboard": self._noboard,
            "scattered": self._scattered,
            "random_patch": self._random_patch,
        }

    def make(
        self, kind: Kind, shot: Shot, other: Shot | None = None, *, turn: int = 0
    ) -> Counterfactual:
        """Return a picture of a kind.

        Args:
            kind: Which.
            shot: The frame whose objects are kept where they are.
            other: The frame that gives markers and background to the kinds `OF_TWO`; of the same
                camera and size.
            turn: Counts pictures of one kind of one frame, which differ.

        Raises:
            UsageError: ``other`` is missing or has another size.
        """
        if kind in OF_TWO and (other is None or other.rgb.shape != shot.rgb.shape):
            raise UsageError(f"a picture of the kind {kind} needs another frame of the same size")
        rng = np.random.default_rng([self.seed, turn, KINDS.index(kind), *shot.key])
        return self._makers[kind](shot, other or shot, rng)

    def _view(self, shot: Shot) -> BoardView:
        return view_board(shot.rgb, shot.K, shot.T, self._white.pictures, shot.protected)

    def _orig(self, shot: Shot, other: Shot, rng: np.random.Generator) -> Counterfactual:
        markers = self._view(shot).marker_in_frame(shot.rgb.shape)
        return Counterfactual(shot.rgb, shot.T, markers)

    def _erased(self, shot: Shot, other: Shot, rng: np.random.Generator) -> Counterfactual:
        made = self._white.erase(shot.rgb, shot.K, shot.T, shot.protected, shot.key)
        return Counterfactual(made.rgb, painted=int(made.markers.sum()))

    def _board_removed(self, shot: Shot, other: Shot, rng: np.random.Generator) -> Counterfactual:
        made = self._remove.erase(shot.rgb, shot.K, shot.T, shot.protected, shot.key)
        return Counterfactual(made.rgb, painted=int(made.changed.sum()))

    def _permuted(self, shot: Shot, other: Shot, rng: np.random.Generator) -> Counterfactual:
        made = self._permute.erase(shot.rgb, shot.K, shot.T, shot.protected, shot.key)
        return Counterfactual(made.rgb, markers=made.markers, painted=int(made.markers.sum()))

    def _conflict(self, shot: Shot, other: Shot, rng: np.random.Generator) -> Counterfactual:
        made = self._white.erase(shot.rgb, shot.K, shot.T, shot.protected, shot.key)
        T = moved_board(shot.T, self.board, rng)
        drawn = draw_board(made.rgb, made.view, T, shot.protected, rng)
        return Counterfactual(drawn.rgb, T, drawn.markers)

    def _swapped(self, shot: Shot, other: Shot, rng: np.random.Generator) -> Counterfactual:
        plate = clean_plate(other.rgb, self._view(other), other.protected, rng, erased=False)
        rgb = over(shot.rgb, shot.pixels.seen, plate.rgb)
        return Counterfactual(rgb, other.T, plate.markers & ~shot.pixels.seen)

    def _erased_moved(self, shot: Shot, other: Shot, rng: np.random.Generator) -> Counterfactual:
        made = self._white.erase(other.rgb, other.K, other.T, other.protected, other.key)
        plate = clean_plate(made.rgb, made.view, other.protected, rng, erased=True)
        return Counterfactual(over(shot.rgb, shot.pixels.seen, plate.rgb))

    def _noboard(self, shot: Shot, other: Shot, rng: np.random.Generator) -> Counterfactual:
        return Counterfactual(over(shot.rgb, shot.pixels.seen, self._background(shot, rng)))

    def _scattered(self, shot: Shot, other: Shot, rng: np.random.Generator) -> Counterfactual:
        drawn = scatter_markers(self._background(shot, rng), self.board, rng)
        rgb = over(shot.rgb, shot.pixels.seen, drawn.rgb)
        return Counterfactual(rgb, None, drawn.markers & ~shot.pixels.seen)

    def _random_patch(self, shot: Shot, other: Shot, rng: np.random.Generator) -> Counterfactual:
        made = self._white.erase(shot.rgb, shot.K, shot.T, shot.protected, shot.key)
        forbidden = shot.protected | grown(made.markers, _APART_PX)
        area = strew(made.view, made.markers, forbidden, rng)
        paper = extended_paper(made.view, shot.rgb.shape)
        rgb, _ = paint(shot.rgb, area, paper, shot.protected, rng)
        return Counterfactual(rgb, shot.T, made.markers, int(area.sum()))

    def _background(self, shot: Shot, rng: np.random.Generator) -> RGB8:
        height, width = shot.rgb.shape[:2]
        return self._photos.picture(rng, width, height)
