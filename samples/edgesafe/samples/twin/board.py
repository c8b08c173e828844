"""The board that LINEMOD was recorded on, as measured from its frames.

A ring of 20 markers on a grid of 6 x 6 with a pitch of 98 mm; a marker is 79 mm wide, a black
border of two cells around 4 x 4 data cells. No dictionary of OpenCV has these codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgesafe.calib.board import Marker, MarkerBoard

__all__ = ["LINEMOD", "board_json", "linemod_board"]

LINEMOD = """
ff33 77f3 7ff3 ffbf 737b f7b7
f733  .    .    .    .   f77f
fbbf  .    .    .    .   f3fb
f33f  .    .    .    .   73fb
7b3f  .    .    .    .   7373
7ff7 7f33 ff3f fff7 7777 fbf3
"""
"""Codes row by row, hexadecimal; a cell that is 1 is white."""

_PITCH, _SIDE, _CELLS, _BORDER = 98.0, 79.0, 4, 2


def linemod_board() -> MarkerBoard:
    """Return the board."""
    markers: list[Marker] = []
    rows = [line.split() for line in LINEMOD.split("\n") if line]
    for row, codes in enumerate(rows):
        for column, code in enumerate(codes):
            if code == ".":
                continue
            bits = np.array([digit == "1" for digit in f"{int(code, 16):016b}"])
            centre = (
                (column - (len(codes) - 1) / 2) * _PITCH,
                (row - (len(rows) - 1) / 2) * _PITCH,
            )
            markers.append(Marker(len(markers), centre, bits.reshape(_CELLS, _CELLS)))
    return MarkerBoard(_PITCH, _SIDE, _BORDER, tuple(markers))


def board_json(board: MarkerBoard) -> dict[str, Any]:
    """Return what `MarkerBoard.read` reads, for ``--board`` of the commands."""
    return {
        "units": "mm",
        "pitch": board.pitch,
        "side": board.side,
        "border_bits": board.border_bits,
        "data_bits": len(board.markers[0].bits),
        "markers": [
            {
                "id": marker.id,
                "bits": "".join("1" if bit else "0" for bit in marker.bits.ravel()),
                "center": list(marker.centre),
            }
            for marker in board.markers
        ],
    }
