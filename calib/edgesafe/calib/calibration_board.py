"""Boards to hold before a camera that is calibrated: a chessboard or a ChArUco board.

A ChArUco board has a marker in each white square: each corner is known by itself, so that a board
may leave the frame or be partly covered. Both are flat; their points have z = 0.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime.errors import UsageError

__all__ = ["CalibrationBoard", "Corners", "dictionary_name"]

Array = NDArray[np.float64]

_FORM = re.compile(
    r"(?P<kind>charuco|chessboard):(?P<columns>\d+)x(?P<rows>\d+):(?P<square>\d+(?:\.\d*)?)"
    r"(?::(?P<marker>\d+(?:\.\d*)?)(?::(?P<dictionary>\w+))?)?"
)
_EXAMPLES = (
    "write charuco:8x6:30:22[:DICT_4X4_50] (squares along both sides, side of a square and of a "
    "marker in mm) or chessboard:9x6:25 (inner corners along both sides, side of a square in mm)"
)
_MOST = 60
# Fewer corners of a ChArUco board hardly tell a plane from its mirror image.
_FEWEST_CORNERS = 8


@dataclass(frozen=True, eq=False)
class Corners:
    """Corners of a board that were found in a picture.

    Attributes:
        board: (n, 3) on the board, mm.
        image: (n, 2) in the picture, px.
    """

    board: Array
    image: Array


@dataclass(frozen=True)
class CalibrationBoard:
    """What the board looks like.

    Attributes:
        kind: Which sort.
        columns: Squares (charuco) or inner corners (chessboard) along x.
        rows: The same along y.
        square: Side of a square, mm.
        marker: Side of a marker, mm; charuco only.
        dictionary: Name of the markers' dictionary in OpenCV; charuco only.
        legacy: Whether its first square is laid out as by OpenCV before 4.6; charuco only.
    """

    kind: Literal["charuco", "chessboard"]
    columns: int
    rows: int
    square: float
    marker: float = 0.0
    dictionary: str = ""
    legacy: bool = False

    @classmethod
    def parse(cls, text: str) -> CalibrationBoard:
        """Read ``charuco:8x6:30:22[:DICT]`` or ``chessboard:9x6:25``.

        Raises:
            UsageError: It is neither, or no such board can be.
        """
        match = _FORM.fullmatch(text)
        if match is None or (match["kind"] == "charuco") != (match["marker"] is not None):
            raise UsageError(f"board {text!r}: {_EXAMPLES}")
        columns, rows, square = int(match["columns"]), int(match["rows"]), float(match["square"])
        if not (3 <= columns <= _MOST and 3 <= rows <= _MOST and square > 0):
            raise UsageError(f"board {text!r}: both sides need 3 to {_MOST}, a square a size")
        if match["kind"] == "chessboard":
            return cls("chessboard", columns, rows, square)
        board = cls(
            "charuco",
            columns,
            rows,
            square,
            float(match["marker"]),
            dictionary_name(match["dictionary"] or "DICT_4X4_50"),
        )
        if not 0 < board.marker < square:
            raise UsageError(f"board {text!r}: a marker must be smaller than its square")
        return board

    @property
    def count(self) -> int:
        """How many corners can be found."""
        if self.kind == "chessboard":
            return self.columns * self.rows
        return (self.columns - 1) * (self.rows - 1)

    def find(self, grey: NDArray[np.uint8]) -> Corners | None:
        """Return the corners in a picture (h, w); None where the board is not to be seen."""
        return (
            self._find_chessboard(grey) if self.kind == "chessboard" else self._find_charuco(grey)
        )

    def draw(self, px_per_mm: float) -> tuple[NDArray[np.uint8], Array]:
        """Return the board as a picture with a white rim, e.g. to print it.

        Returns:
            The picture (h, w), and (3, 3) from its pixels to the board's x and y, mm.
        """
        import cv2

        if self.kind == "chessboard":
            side = round(self.square * px_per_mm)
            y, x = np.indices((self.rows + 1, self.columns + 1))
            squares = np.kron((x + y) % 2, np.ones((side, side))).astype(np.uint8) * 255
            origin = float(side)
        else:
            side = round(self.square * px_per_mm)
            size = (self.columns * side, self.rows * side)
            squares = np.asarray(self.opencv().generateImage(size), np.uint8)
            origin = 0.0
        picture = cv2.copyMakeBorder(
            squares, side, side, side, side, cv2.BORDER_CONSTANT, value=[255]
        )
        scale = self.square / side
        # Pixel centres are whole numbers, so that the left border of the board is at side - .5.
        low = -scale * (side + origin - 0.5)
        to_board = np.array([[scale, 0, low], [0, scale, low], [0, 0, 1.0]])
        return np.asarray(picture, np.uint8), to_board

    def _find_chessboard(self, grey: NDArray[np.uint8]) -> Corners | None:
        import cv2

        shape = (self.columns, self.rows)
        found, image = cv2.findChessboardCornersSB(grey, shape, flags=cv2.CALIB_CB_ACCURACY)
        if not found:
            return None
        y, x = np.divmod(np.arange(self.columns * self.rows), self.columns)
        points = np.stack([x, y, np.zeros_like(x)], axis=1) * self.square
        return Corners(points, np.asarray(image, np.float64).reshape(-1, 2))

    def _find_charuco(self, grey: NDArray[np.uint8]) -> Corners | None:
        import cv2

        board = self.opencv()
        image, ids, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(grey)
        if ids is None or len(ids) < _FEWEST_CORNERS:
            return None
        # By number instead of matchImagePoints, whose shapes differ between OpenCV 4 and 5.
        points = np.asarray(board.getChessboardCorners(), np.float64).reshape(-1, 3)
        found = Corners(points[np.asarray(ids).reshape(-1)], _refined(grey, np.asarray(image)))
        # Corners of a single row or column do not span a plane.
        return found if min(np.ptp(found.board, axis=0)[:2]) > 0 else None

    def opencv(self) -> Any:
        """Return the ChArUco board as an object of OpenCV.

        Raises:
            UsageError: Its dictionary has not that many markers.
        """
        import cv2

        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.dictionary))
        markers = math.ceil(self.columns * self.rows / 2)
        if markers > len(dictionary.bytesList):
            raise UsageError(
                f"the board needs {markers} markers and {self.dictionary} has "
                f"{len(dictionary.bytesList)}: name the dictionary it was printed with"
            )
        size = (self.columns, self.rows)
        board = cv2.aruco.CharucoBoard(size, self.square, self.marker, dictionary)
        if self.legacy:
            board.setLegacyPattern(True)
        return board


def _refined(grey: NDArray[np.uint8], image: NDArray[np.float32]) -> Array:
    """Move the corners to where the edges cross.

    OpenCV 4.10 gives the corners of ChArUco boards half a pixel too far to the right and down, 5.0
    does not; half a pixel would go straight into the principal point.
    """
    import cv2

    image = image.reshape(-1, 1, 2).astype(np.float32)
    apart = np.linalg.norm(image - image.reshape(1, -1, 2), axis=2)
    np.fill_diagonal(apart, np.inf)
    # Half a window must stay clear of the markers and of the next corner.
    reach = int(np.clip(np.median(apart.min(axis=1)) / 8, 2, 8))
    ends = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 1e-3)
    refined = cv2.cornerSubPix(grey, image, (reach, reach), (-1, -1), ends)
    return np.asarray(refined, np.float64).reshape(-1, 2)


def dictionary_name(name: str) -> str:
    """Return a dictionary's name as OpenCV writes it; ``4x4_50`` is DICT_4X4_50.

    Raises:
        UsageError: There is none of that name.
    """
    import cv2

    names = sorted(known for known in dir(cv2.aruco) if known.startswith("DICT_"))
    for known in names:
        if known.upper() in (name.upper(), f"DICT_{name.upper()}"):
            return known
    raise UsageError(f"there is no dictionary {name!r}; OpenCV has {', '.join(names)}")
