"""Find the markers of a board in a picture, and the pose of the board.

The markers are read by OpenCV with a dictionary of exactly the board's codes, so that any square
code can be used. As many wrong cells are mended as the codes of the board allow, which for the
board of LINEMOD is none: two of its codes differ in one cell.

The pose: markers that lie on one plane by RANSAC over homographies, then the plane's pose in closed
form (Collins and Bartoli, "Infinitesimal Plane-based Pose Estimation", IJCV 109, 2014), then a
least-squares refinement. RANSAC over poses instead is unstable for corners that are nearly in line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.board import MarkerBoard
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.video import import_cv2

__all__ = ["BoardPose", "FoundMarkers", "MarkerFinder", "find_board_pose"]

Array = NDArray[np.float64]

_INLIER_PX = 2.0
_FEWEST_CORNERS = 8


@dataclass(frozen=True, eq=False)
class FoundMarkers:
    """Markers in a picture.

    Attributes:
        ids: (n,) numbers.
        corners: (n, 4, 2) pixels: top left, top right, bottom right, bottom left of the code.
    """

    ids: NDArray[np.int64]
    corners: Array = field(repr=False)

    def __len__(self) -> int:
        """Return how many."""
        return len(self.ids)

    @property
    def middles(self) -> Array:
        """(n, 2) pixels."""
        return np.asarray(self.corners.mean(axis=1))


@dataclass(frozen=True, eq=False)
class BoardPose:
    """T_cam_board: X_cam = R X_board + t.

    Attributes:
        R: (3, 3).
        t: (3,) mm.
        markers: How many markers it rests on.
        rms_px: Root mean square distance of their corners, pixels without the lens's distortion.
    """

    R: Array = field(repr=False)
    t: Array
    markers: int
    rms_px: float

    @property
    def matrix(self) -> Array:
        """(4, 4)."""
        found = np.eye(4)
        found[:3, :3], found[:3, 3] = self.R, self.t
        return found


class MarkerFinder:
    """Finds square markers with given codes.

    Args:
        numbers: Of the markers.
        codes: Their data cells (n, n), True for white, all of one size.
        border_bits: Width of the black border in cells.
        correctable: Wrong cells that may be mended; None: as many as the codes allow.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """

    def __init__(
        self,
        numbers: list[int],
        codes: list[NDArray[np.bool_]],
        border_bits: int = 1,
        correctable: int | None = None,
    ) -> None:
        """Make OpenCV's detector."""
        cv2 = import_cv2()
        self._numbers = np.array(numbers, np.int64)
        cells = [np.asarray(code, np.uint8) for code in codes]
        bits = np.concatenate([cv2.aruco.Dictionary.getByteListFromBits(code) for code in cells])
        mended = _correctable(cells) if correctable is None else correctable
        dictionary = cv2.aruco.Dictionary(bits, len(cells[0]), mended)
        settings = cv2.aruco.DetectorParameters()
        settings.markerBorderBits = border_bits
        settings.errorCorrectionRate = 0.6 if mended else 0.0
        # Small and slanted markers count: a marker missed is a marker that stays.
        settings.adaptiveThreshWinSizeMax, settings.adaptiveThreshWinSizeStep = 43, 8
        settings.minMarkerPerimeterRate = 0.02
        settings.perspectiveRemovePixelPerCell = 8
        settings.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        settings.cornerRefinementWinSize = 2
        self._detector: Any = cv2.aruco.ArucoDetector(dictionary, settings)

    @classmethod
    def of_board(cls, board: MarkerBoard) -> MarkerFinder:
        """Look for the markers of a board."""
        return cls(
            [marker.id for marker in board.markers],
            [marker.bits for marker in board.markers],
            board.border_bits,
            board.correctable,
        )

    def find(self, rgb: NDArray[np.uint8]) -> FoundMarkers:
        """Return the markers in a picture (H, W, 3)."""
        cv2 = import_cv2()
        grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
        corners, places, _ = self._detector.detectMarkers(grey)
        if places is None or not len(places):
            return FoundMarkers(np.zeros(0, np.int64), np.zeros((0, 4, 2)))
        quads = np.array([np.asarray(quad).reshape(4, 2) for quad in corners], np.float64)
        return FoundMarkers(self._numbers[np.ravel(places)], quads)


def find_board_pose(found: FoundMarkers, board: MarkerBoard, camera: Camera) -> BoardPose | None:
    """Return the pose of a board from its markers; None where they do not tell it.

    Args:
        found: Markers in a frame.
        board: Which board.
        camera: Of the frame.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    places = {marker.id: at for at, marker in enumerate(board.markers)}
    known = [at for at, number in enumerate(found.ids.tolist()) if number in places]
    if not known:
        return None
    cv2 = import_cv2()
    points = board.corners[[places[int(found.ids[at])] for at in known]].reshape(-1, 3)
    # Pixels of the same camera without distortion.
    plain = camera.normalise(found.corners[known].reshape(-1, 2))
    K = camera.K
    pixels = plain * [K[0, 0], K[1, 1]] + K[:2, 2]
    usable = np.isfinite(pixels).all(axis=1)
    points, pixels = points[usable], pixels[usable]
    if len(points) < 4:
        return None
    _, inside = cv2.findHomography(points[:, :2], pixels, cv2.RANSAC, _INLIER_PX)
    if inside is None:
        return None
    chosen = np.ravel(inside) > 0
    # One marker alone tells its plane badly, but nothing else is there on a board of one.
    if chosen.sum() < min(_FEWEST_CORNERS, 4 * len(board.markers)):
        return None
    points, pixels = points[chosen], pixels[chosen]
    solved, turn, shift = cv2.solvePnP(points, pixels, K, None, flags=cv2.SOLVEPNP_IPPE)
    if not solved:
        return None
    turn, shift = cv2.solvePnPRefineLM(points, pixels, K, None, turn, shift)
    R, t = cv2.Rodrigues(turn)[0], np.ravel(shift)
    in_camera = points @ R.T + t
    if not (np.isfinite(in_camera).all() and in_camera[:, 2].min() > 0):
        return None
    seen = in_camera @ K.T
    apart = seen[:, :2] / seen[:, 2:] - pixels
    rms = float(np.sqrt((apart**2).sum(axis=1).mean()))
    return BoardPose(np.asarray(R), np.asarray(t), int(chosen.sum()) // 4, rms)


def _correctable(codes: list[NDArray[np.uint8]]) -> int:
    """Return how many wrong cells can be mended without taking one code for another.

    Half of the least Hamming distance of two codes in any of the four turns, or of one code to
    itself turned.
    """
    flat = np.array([code.ravel() for code in codes], np.int16)
    least = codes[0].size // 4
    for turns in range(4):
        turned = np.array([np.rot90(code, turns).ravel() for code in codes], np.int16)
        apart = np.abs(flat[:, None] - turned[None]).sum(axis=2)
        if turns == 0:
            np.fill_diagonal(apart, codes[0].size)
        least = min(least, int(apart.min()))
    return max(0, (least - 1) // 2)
