"""Boards of square markers that lie under parts while their poses are recorded.

Frame of a board: origin in its middle, x to the right, y down as it is looked at, z away from the
looker into the table; millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime.errors import DataError, PackageError, SourceError
from edgesafe.runtime.fields import Fields, parse_json

__all__ = ["Marker", "MarkerBoard"]

_LARGEST = 10_000.0


@dataclass(frozen=True, eq=False)
class Marker:
    """One square marker.

    Attributes:
        id: Its number.
        centre: (x, y), mm, board frame.
        bits: (n, n) data cells, row by row; True is white.
    """

    id: int
    centre: tuple[float, float]
    bits: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class MarkerBoard:
    """Markers of one size on a grid.

    Attributes:
        pitch: Distance of neighbouring markers, mm.
        side: Side of a marker with its black border, mm.
        border_bits: Width of the black border in cells.
        markers: All of them.
        squares: (x, y) of the middles of black squares without a code, ``pitch`` wide: a ChArUco
            board has them.
        correctable: Wrong cells of a code that may be mended; None: as many as the codes allow.
    """

    pitch: float
    side: float
    border_bits: int
    markers: tuple[Marker, ...]
    squares: tuple[tuple[float, float], ...] = ()
    correctable: int | None = None

    @classmethod
    def read(cls, path: str | Path) -> MarkerBoard:
        """Read a board's JSON: ``pitch, side, border_bits, data_bits, markers[id, center, bits]``.

        Raises:
            SourceError: The file cannot be read.
            DataError: It is not such a board.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror or error}: name a board's JSON") from None
        try:
            fields = parse_json(data, str(path))
            if "units" in fields and fields.text("units") != "mm":
                raise fields.fail("units", "must be 'mm'")
            cells = fields.integer("data_bits", 1, 16)
            markers = tuple(
                _marker(item, cells, f"{path}: markers[{at}]")
                for at, item in enumerate(fields.items("markers"))
            )
            if not markers:
                raise fields.fail("markers", "must not be empty")
            return cls(
                fields.number("pitch", 1, _LARGEST),
                fields.number("side", 1, _LARGEST),
                fields.integer("border_bits", 1, 8),
                markers,
            )
        except PackageError as error:
            # The reader of fields words its complaints for packages.
            raise DataError(f"{error}: this is not a marker board") from None

    @property
    def half(self) -> float:
        """Half the side of the square that holds the board and its white rim, mm."""
        centres = [*(marker.centre for marker in self.markers), *self.squares]
        return max(abs(value) for centre in centres for value in centre) + self.pitch / 2

    @property
    def free_half(self) -> float:
        """Half the side of the largest centred square without ink, mm; 0 where there is none."""
        centres = [*(marker.centre for marker in self.markers), *self.squares]
        nearest = min(max(abs(value) for value in centre) for centre in centres)
        return max(0.0, nearest - self.pitch / 2)

    @property
    def corners(self) -> NDArray[np.float64]:
        """(n, 4, 3) corners of the markers, mm: top left, top right, bottom right, bottom left."""
        h = self.side / 2
        square = np.array([[-h, -h, 0], [h, -h, 0], [h, h, 0], [-h, h, 0]])
        middles = np.array([[*marker.centre, 0.0] for marker in self.markers])
        return np.asarray(middles[:, None] + square)

    def draw(self, px_per_mm: float, half: float | None = None) -> NDArray[np.float32]:
        """Return how white the board is, (n, n) in 0..1, n = 2 ``half`` ``px_per_mm``.

        Seen as its frame tells: x to the right, y down.

        Args:
            px_per_mm: Resolution.
            half: Half the side of what is drawn, mm, at least that of the board. [default: just it]
        """
        import cv2

        half = self.half if half is None else half
        size = max(1, round(2 * half * px_per_mm))
        board = np.ones((size, size), np.float32)
        for centre in self.squares:
            board[_place(centre, self.pitch, half, px_per_mm)] = 0
        for marker in self.markers:
            cells = np.pad(marker.bits.astype(np.float32), self.border_bits)
            rows, columns = _place(marker.centre, self.side, half, px_per_mm)
            shape = (columns.stop - columns.start, rows.stop - rows.start)
            ink = cv2.resize(cells, shape, interpolation=cv2.INTER_AREA)
            if min(shape) > len(cells):
                ink = cv2.resize(cells, shape, interpolation=cv2.INTER_NEAREST)
            board[rows, columns] = ink
        return board


def _place(
    centre: tuple[float, float], side: float, half: float, px_per_mm: float
) -> tuple[slice, slice]:
    """Return rows and columns of a square in a drawn board."""
    low = [round((value - side / 2 + half) * px_per_mm) for value in centre]
    high = [round((value + side / 2 + half) * px_per_mm) for value in centre]
    columns, rows = (
        slice(start, max(start + 1, end)) for start, end in zip(low, high, strict=True)
    )
    return rows, columns


def _marker(value: Any, cells: int, where: str) -> Marker:
    fields = Fields(value, where)
    text = fields.text("bits")
    if len(text) != cells * cells or set(text) - {"0", "1"}:
        raise fields.fail("bits", f"must be {cells * cells} digits 0 or 1")
    centre = fields.numbers("center", -_LARGEST, _LARGEST, count=2)
    bits = np.array([digit == "1" for digit in text]).reshape(cells, cells)
    return Marker(fields.integer("id", 0, 1_000_000), (centre[0], centre[1]), bits)
