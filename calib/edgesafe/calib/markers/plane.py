"""Pictures on the plane of a board, drawn into a frame.

Pixels have their centres at whole numbers, in the frame and in the pictures.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.board import Marker, MarkerBoard
from edgesafe.runtime.video import import_cv2

__all__ = ["BoardPictures", "Window", "homography", "outline_mask", "warp", "window_of"]

Array = NDArray[np.float64]
Float = NDArray[np.float32]

# Samples per pixel of the frame along x and y: borders of the ink come out mixed, as in a lens.
_SAMPLES = 3
_PX_PER_MM = 2.0
_MOST_PX = 2400
# Paper around a marker, as a share of its side, in which ink and paper are compared.
_RIM = 0.075


class Window(NamedTuple):
    """A box in a frame: columns x..x+width-1 and rows y..y+height-1."""

    x: int
    y: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


@dataclass(frozen=True, eq=False)
class BoardPictures:
    """Pictures of a board as its frame tells, ``px_per_mm`` pixels a millimetre.

    Attributes:
        board: Which.
        px_per_mm: Resolution of the pictures.
    """

    board: MarkerBoard
    px_per_mm: float = _PX_PER_MM

    @classmethod
    def of(cls, board: MarkerBoard) -> BoardPictures:
        """Choose a resolution that shows every cell and does not fill the memory."""
        cells = len(board.markers[0].bits) + 2 * board.border_bits
        wanted = max(_PX_PER_MM, 6 * cells / board.side)
        return cls(board, min(wanted, _MOST_PX / (2 * board.half)))

    @cached_property
    def white(self) -> Float:
        """How white the board is, 0..1."""
        return self.board.draw(self.px_per_mm)

    @cached_property
    def ink(self) -> Float:
        """1 on markers and black squares, with their white cells; else 0."""
        return self.ink_of([marker.id for marker in self.board.markers])

    def ink_of(self, numbers: Collection[int]) -> Float:
        """Return 1 on some markers, and on black squares; else 0."""
        cells = np.zeros((1, 1), bool)
        blank = [replace(one, bits=cells) for one in self.board.markers if one.id in numbers]
        return np.float32(1) - replace(self.board, markers=tuple(blank)).draw(
            self.px_per_mm, self.board.half
        )

    @cached_property
    def places(self) -> NDArray[np.uint16]:
        """On each marker its place in the board's list, counted from 1; else 0."""
        found = np.zeros(self.white.shape, np.uint16)
        for at, corners in enumerate(self.board.corners[..., :2], 1):
            pixels = np.round((corners + self.board.half) * self.px_per_mm).astype(int)
            (left, top), (right, bottom) = pixels[0], pixels[2]
            found[top:bottom, left:right] = at
        return found

    @cached_property
    def zone(self) -> Float:
        """1 on the ink and on the paper close to it; else 0."""
        cv2 = import_cv2()
        rim = round(_RIM * self.board.side * self.px_per_mm)
        gap = round((self.board.pitch - self.board.side) * self.px_per_mm)
        grown = cv2.dilate(self.ink, np.ones((2 * rim + 1,) * 2, np.uint8))
        # Also the paper between neighbours.
        padded = cv2.copyMakeBorder(grown, gap, gap, gap, gap, cv2.BORDER_CONSTANT, value=0)
        closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((gap + 1,) * 2, np.uint8))
        size = len(grown)
        return np.asarray(closed[gap : gap + size, gap : gap + size], np.float32)

    def permuted(self, rng: np.random.Generator) -> BoardPictures:
        """Return the same board with other codes at its places, each turned."""
        order = rng.permutation(len(self.board.markers))
        codes = [self.board.markers[at].bits for at in order]
        if len(codes) == 1:
            codes = [~codes[0]]
        markers = tuple(
            Marker(marker.id, marker.centre, np.rot90(code, int(rng.integers(4))))
            for marker, code in zip(self.board.markers, codes, strict=True)
        )
        return BoardPictures(replace(self.board, markers=markers), self.px_per_mm)

    @property
    def to_plane(self) -> Array:
        """(3, 3) from pixels of the pictures to x and y on the board, mm."""
        scale = 1 / self.px_per_mm
        low = scale / 2 - self.board.half
        return np.array([[scale, 0, low], [0, scale, low], [0, 0, 1]])

    @property
    def outline(self) -> Array:
        """(4, 2) corners of the board with its rim, mm."""
        h = self.board.half
        return np.array([[-h, -h], [h, -h], [h, h], [-h, h]])


def homography(K: Array, T: Array) -> Array:
    """Return (3, 3) from x and y on a plane, mm, to pixels, of the plane z = 0 at T (4, 4)."""
    return np.asarray(K @ np.column_stack([T[:3, 0], T[:3, 1], T[:3, 3]]))


def window_of(K: Array, T: Array, corners: Array, width: int, height: int) -> Window:
    """Return the box in the frame of corners (n, 2) on a plane; empty where it is not seen."""
    seen = np.column_stack([corners, np.ones(len(corners))]) @ homography(K, T).T
    if seen[:, 2].min() <= 0:
        return Window(0, 0, width, height)
    pixels = seen[:, :2] / seen[:, 2:]
    low = np.clip(np.floor(pixels.min(axis=0)) - 1, 0, [width, height]).astype(int)
    high = np.clip(np.ceil(pixels.max(axis=0)) + 2, 0, [width, height]).astype(int)
    return Window(
        int(low[0]), int(low[1]), max(0, int(high[0] - low[0])), max(0, int(high[1] - low[1]))
    )


def warp(
    picture: NDArray[np.float32] | NDArray[np.uint8],
    to_frame: Array,
    window: Window,
    outside: float,
) -> Float:
    """Draw a picture into a window of a frame, (height, width[, 3]).

    Args:
        picture: (h, w) or (h, w, 3).
        to_frame: (3, 3) from its pixels to pixels of the frame.
        window: Where.
        outside: Value of what the picture does not cover.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = import_cv2()
    middle = (_SAMPLES - 1) / 2
    finer = np.array(
        [
            [_SAMPLES, 0, middle - _SAMPLES * window.x],
            [0, _SAMPLES, middle - _SAMPLES * window.y],
            [0, 0, 1],
        ]
    )
    size = (window.width * _SAMPLES, window.height * _SAMPLES)
    border = (outside,) * 3
    fine = cv2.warpPerspective(picture, finer @ to_frame, size, borderValue=border)
    small = cv2.resize(fine, (window.width, window.height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def outline_mask(K: Array, T: Array, corners: Array, width: int, height: int) -> NDArray[np.bool_]:
    """Return where a polygon (n, 2) on a plane is seen, (height, width)."""
    cv2 = import_cv2()
    seen = np.column_stack([corners, np.ones(len(corners))]) @ homography(K, T).T
    covered = np.zeros((height, width), np.uint8)
    if seen[:, 2].min() > 0:
        # Far corners would overflow the integers of the drawing.
        pixels = np.clip(seen[:, :2] / seen[:, 2:] * 16, -(2**22), 2**22)
        cv2.fillPoly(covered, [np.round(pixels).astype(np.int32)], 1, cv2.LINE_8, 4)
    return covered > 0
