"""What a board looks like, from a file or from the name of a layout.

=========================================  =====================================================
``board.json``                             codes and places of the markers, see `MarkerBoard.read`
``grid:COLSxROWS:SIDE:GAP[:DICT[:ID]]``    a grid of markers of a dictionary, numbered by rows from
                                           ID on; side of a marker and gap between two, mm
``charuco:COLSxROWS:SQUARE:MARKER[:DICT]``  a ChArUco board
=========================================  =====================================================
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.board import Marker, MarkerBoard
from edgesafe.calib.calibration_board import CalibrationBoard, dictionary_name
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.video import import_cv2

__all__ = ["dictionary_markers", "read_board"]

_GRID = re.compile(
    r"grid:(?P<columns>\d+)x(?P<rows>\d+):(?P<side>\d+(?:\.\d*)?):(?P<gap>\d+(?:\.\d*)?)"
    r"(?::(?P<dictionary>\w+)(?::(?P<first>\d+))?)?"
)
_FORMS = (
    "name a JSON file, or write grid:5x7:40:10[:DICT_4X4_50[:FIRST_ID]] (markers along both sides, "
    "side and gap in mm) or charuco:8x6:30:22[:DICT_4X4_50] (squares along both sides, side of a "
    "square and of a marker in mm)"
)
_MOST = 60


def read_board(text: str | Path) -> MarkerBoard:
    """Read a board's file, or build one from the name of its layout.

    Raises:
        UsageError: No such layout can be.
        SourceError: The file cannot be read.
        DataError: The file holds no board.
        MissingExtraError: OpenCV, which has the dictionaries, is not installed.
    """
    name = str(text)
    if name.startswith("charuco:"):
        import_cv2()
        return _charuco(CalibrationBoard.parse(name))
    if name.startswith("grid:"):
        import_cv2()
        return _grid(name)
    if name.startswith("chessboard:"):
        raise UsageError(f"board {name!r} has no markers: {_FORMS}")
    return MarkerBoard.read(name)


def dictionary_markers(name: str) -> tuple[list[NDArray[np.bool_]], int]:
    """Return the codes of a dictionary of OpenCV, and how many wrong cells it can mend.

    Args:
        name: ``DICT_APRILTAG_36h11``, ``4X4_50``...

    Raises:
        UsageError: There is no such dictionary.
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = import_cv2()
    known = dictionary_name(name)
    found = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, known))
    size = found.markerSize
    codes = [
        np.asarray(cv2.aruco.Dictionary.getBitsFromByteList(found.bytesList[i : i + 1], size)) > 0
        for i in range(len(found.bytesList))
    ]
    return codes, int(found.maxCorrectionBits)


def _grid(text: str) -> MarkerBoard:
    match = _GRID.fullmatch(text)
    if match is None:
        raise UsageError(f"board {text!r}: {_FORMS}")
    columns, rows = int(match["columns"]), int(match["rows"])
    side, gap = float(match["side"]), float(match["gap"])
    if not (1 <= columns <= _MOST and 1 <= rows <= _MOST and side > 0):
        raise UsageError(f"board {text!r}: both sides need 1 to {_MOST}, a marker a size")
    codes, correctable = dictionary_markers(match["dictionary"] or "DICT_4X4_50")
    first, pitch = int(match["first"] or 0), side + gap
    if first + columns * rows > len(codes):
        raise UsageError(
            f"board {text!r} needs markers up to {first + columns * rows - 1}, and its dictionary "
            f"ends at {len(codes) - 1}: name the dictionary it was printed with"
        )
    markers = []
    for at in range(columns * rows):
        row, column = divmod(at, columns)
        x, y = (column - (columns - 1) / 2) * pitch, (row - (rows - 1) / 2) * pitch
        markers.append(Marker(first + at, (x, y), codes[first + at]))
    return MarkerBoard(pitch, side, 1, tuple(markers), correctable=correctable)


def _charuco(layout: CalibrationBoard) -> MarkerBoard:
    if layout.kind != "charuco":
        raise UsageError(f"a {layout.kind} has no markers: {_FORMS}")
    codes, correctable = dictionary_markers(layout.dictionary)
    board = layout.opencv()
    middle = np.array([layout.columns, layout.rows]) * layout.square / 2
    markers, taken = [], set()
    for number, corners in zip(np.ravel(board.getIds()), board.getObjPoints(), strict=True):
        centre = np.asarray(corners, np.float64).reshape(4, 3)[:, :2].mean(axis=0)
        column, row = (centre / layout.square).astype(int)
        taken.add((int(column), int(row)))
        x, y = centre - middle
        markers.append(Marker(int(number), (float(x), float(y)), codes[int(number)]))
    squares = [
        (
            (column + 0.5) * layout.square - float(middle[0]),
            (row + 0.5) * layout.square - float(middle[1]),
        )
        for row in range(layout.rows)
        for column in range(layout.columns)
        if (column, row) not in taken
    ]
    return MarkerBoard(layout.square, layout.marker, 1, tuple(markers), tuple(squares), correctable)
