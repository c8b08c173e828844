"""A view drawn as every kind of counterfactual, exactly: nothing is painted over afterwards.

================= ==================================================
``orig``          the part on its board, on a table
``erased``        the same board without ink
``conflict``      the board turned and shifted below the part
``erased_moved``  that without ink
``noboard``       the part before a photo
``scattered``     the part before a photo with markers strewn over it
================= ==================================================

The same code draws whole frames for the tests and small regions, at the resolution of a network's
input, for training: only K and the size differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.board import MarkerBoard
from edgesafe.calib.markers.composite import moved_board, scatter_markers
from edgesafe.calib.markers.counterfactual import Kind
from edgesafe.calib.markers.plane import BoardPictures, Window, homography, warp
from edgesafe.calib.render.canvas import Canvas, finer
from edgesafe.calib.render.looks import random_lighting, random_material
from edgesafe.calib.render.photos import Photos, noise_picture
from edgesafe.calib.render.raster import rasterise
from edgesafe.calib.render.shade import shade
from edgesafe.samples.twin.part import TwinPart
from edgesafe.samples.twin.views import View

__all__ = ["TWIN_KINDS", "Drawing", "Painter", "Part"]

Array = NDArray[np.float64]
RGB8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

TWIN_KINDS: tuple[Kind, ...] = (
    "orig", "erased", "conflict", "erased_moved", "noboard", "scattered",
)  # fmt: skip

_ON_BOARD: frozenset[Kind] = frozenset({"orig", "erased", "conflict", "erased_moved"})
_MOVED: frozenset[Kind] = frozenset({"conflict", "erased_moved"})
_ERASED: frozenset[Kind] = frozenset({"erased", "erased_moved"})
_PX_PER_MM = 0.8
_TABLE = np.array([142, 112, 84], np.float32)


@dataclass(frozen=True, eq=False)
class Part:
    """The object as it is seen.

    Attributes:
        rgb: (h, w, 3) its colour times its share of each pixel.
        share: (h, w) 0..1.
    """

    rgb: Float = field(repr=False)
    share: Float = field(repr=False)

    @property
    def mask(self) -> Mask:
        """Where it is seen."""
        return np.asarray(self.share >= 0.5)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture.

    Attributes:
        rgb: (h, w, 3).
        shown: (4, 4) T_cam_board of the markers in it; None without a board's ink.
        markers: (h, w) where markers are seen; None without any.
    """

    rgb: RGB8 = field(repr=False)
    shown: Array | None = field(default=None, repr=False)
    markers: Mask | None = field(default=None, repr=False)


class Painter:
    """Draws views.

    Args:
        part: What stands on the board.
        board: The board.
        photos: Backgrounds without a board; without files noise.
        seed: Of all randomness.
    """

    def __init__(
        self, part: TwinPart, board: MarkerBoard, photos: Photos | None, seed: int
    ) -> None:
        """Draw the board."""
        self.part, self.board, self.seed = part, board, seed
        self._photos = photos or Photos()
        self._pictures = BoardPictures(board, _PX_PER_MM)
        self._paper = np.ones_like(self._pictures.white)

    def see(self, view: View, K: Array, width: int, height: int, *, turn: int = 0) -> Part:
        """Draw the part alone, in a light that depends on view and turn."""
        rng = np.random.default_rng([self.seed, view.number, 1, turn])
        surface, fine = self.part.surface, finer(K)
        buffers = rasterise(surface, view.R, view.t, fine, 2 * width, 2 * height)
        canvas = Canvas(width, height)
        seen = canvas.claim(buffers, 1)
        light, material = random_lighting(rng, -view.T[:3, 2]), random_material(rng)
        canvas.paint(seen, shade(surface, seen, view.R, fine, light, material))
        black = np.zeros((height, width, 3), np.uint8)
        alone = canvas.over(black)
        # What shows through it of white and not of black is not covered.
        through = canvas.over(np.full_like(black, 255)).astype(np.float32) - alone
        return Part(alone.astype(np.float32), np.asarray(1 - through.mean(axis=2) / 255))

    def draw(self, kind: Kind, view: View, part: Part, K: Array, *, turn: int = 0) -> Drawing:
        """Draw a picture of a kind; ``turn`` counts pictures of one kind of one view."""
        # The same table, paper, photo and noise for all kinds: only what a kind is about differs.
        scene, motion, sensor = (
            np.random.default_rng([self.seed, view.number, 2 + i, turn]) for i in range(3)
        )
        height, width = part.share.shape
        ink: Mask | None = None
        shown: Array | None = None
        if kind in _ON_BOARD:
            shown = moved_board(view.T, self.board, motion) if kind in _MOVED else view.T
            page, ink = self._table(shown, K, width, height, kind in _ERASED, scene)
        else:
            photo = self._photos.picture(scene, width, height)
            if kind == "scattered":
                drawn = scatter_markers(photo, self.board, motion)
                photo, ink = drawn.rgb, drawn.markers
            page = photo.astype(np.float32)
        page = page * (1 - part.share)[..., None] + part.rgb
        if kind in _ERASED:
            shown, ink = None, None
        markers = None if ink is None else ink & ~part.mask
        return Drawing(_sensor(page, sensor), shown, markers)

    def _table(
        self, T: Array, K: Array, width: int, height: int, erased: bool, rng: Rng
    ) -> tuple[Float, Mask]:
        """Return a table with the board (h, w, 3), and where its markers are."""
        clutter = noise_picture(rng, width, height).astype(np.float32)
        # One table for all frames, as in a recording; what lies on it changes a little.
        page = _TABLE * np.float32(rng.uniform(0.75, 1.2)) + np.float32(0.25) * (clutter - 120)
        whole = Window(0, 0, width, height)
        to_frame = homography(K, T) @ self._pictures.to_plane
        share = warp(self._paper, to_frame, whole, 0.0)[..., None]
        white = np.ones_like(share)
        if not erased:
            white = warp(self._pictures.white, to_frame, whole, 1.0)[..., None]
        paper = rng.uniform(170, 245) * (1 + rng.normal(0, 0.02, 3))
        ink = rng.uniform(10, 55)
        board = (ink + white * (paper - ink)) * _falloff(rng, width, height)
        page = page * (1 - share) + board.astype(np.float32) * share
        markers = warp(self._pictures.ink, to_frame, whole, 0.0) > 0.5
        return page, markers


def _falloff(rng: Rng, width: int, height: int) -> Array:
    """Return how light changes over a picture, (h, w, 1), about 1."""
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    slope = rng.normal(0, 0.08, 2)
    return np.asarray(np.clip(1 + slope[0] * x + slope[1] * y, 0.6, 1.3)[..., None])


def _sensor(page: Float, rng: Rng) -> RGB8:
    """Return what a camera makes of light: blur, exposure, noise."""
    shown: Any = page
    if rng.random() < 0.6:
        sigma = rng.uniform(0.3, 0.8)
        shown = cv2.GaussianBlur(shown, (0, 0), sigma)
    shown = shown * (1 + rng.normal(0, 0.06)) + rng.normal(0, 5)
    noise = rng.standard_normal(shown.shape, np.float32)
    shown = shown + noise * np.float32(rng.uniform(1, 5))
    return cast(RGB8, np.clip(shown + 0.5, 0, 255).astype(np.uint8))
