"""K and the distortion of a lens from pictures of a board: Zhang's method, as in OpenCV.

Z. Zhang, "A flexible new technique for camera calibration", PAMI 22(11), 2000. A result is only
given where the pictures determine it: enough views that agree with one another, and a focal length
whose standard deviation is small, which takes a board that is tilted in different directions.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.calibration_board import Corners
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.pose.intrinsics import Camera

__all__ = ["Calibration", "Shot", "calibrate"]

Array = NDArray[np.float64]

_COEFFICIENTS = 5
# A view is dropped when it fits this many times worse than the median one, and by more than
# this many pixels: a blurred shot, a bent board, a wrong detection.
_TIMES_MEDIAN = 3.0
_PIXELS = 0.5
_MAX_FOCAL_ERROR = 0.01
_MIN_REACH = 0.7
_MIN_TILT_DEGREES = 10.0
_MIN_TILTED = 3
_TILT_IT = "add shots with the board tilted by 20 to 45 degrees to all sides"


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture and the corners found in it.

    Attributes:
        name: Of its file.
        size: (width, height), px.
        corners: None where the board was not found.
    """

    name: str
    size: tuple[int, int]
    corners: Corners | None


@dataclass(frozen=True, eq=False)
class Calibration:
    """A camera and how well it is known.

    Attributes:
        camera: K, resolution, (k1, k2, p1, p2, k3).
        rms: Root mean square distance of all used corners from their projection, px.
        errors: The same for each used shot.
        dropped: Why other shots were not used.
        focal_deviation: Standard deviation of fx and fy, px.
        warnings: What is weak about the shots.
    """

    camera: Camera
    rms: float
    errors: Mapping[str, float]
    dropped: Mapping[str, str]
    focal_deviation: tuple[float, float]
    warnings: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write the keys of BOP's ``camera.json``, ``dist``, ``rms`` and ``views``."""
        found = {**self.camera.to_dict(), "rms": self.rms, "views": len(self.errors)}
        atomic_write(path, (json.dumps(found, indent=2) + "\n").encode("ascii"))


@dataclass(frozen=True, eq=False)
class _Fit:
    K: Array
    dist: Array
    errors: Array
    rotations: list[Array]
    deviations: Array


def calibrate(shots: Sequence[Shot], *, min_views: int = 8, wide: bool = False) -> Calibration:
    """Compute K and the distortion.

    Args:
        shots: Pictures of one board by one camera with one zoom and focus.
        min_views: Fewest usable shots.
        wide: Also fit k3, which only wide lenses need; without it k3 is 0.

    Raises:
        DataError: Too few shots are usable, or they leave the focal length open.
    """
    dropped: dict[str, str] = {}
    sizes = Counter(shot.size for shot in shots)
    size = max(sizes, key=lambda key: sizes[key], default=(0, 0))
    used: list[Shot] = []
    for shot in shots:
        if shot.size != size:
            dropped[shot.name] = f"{shot.size[0]} x {shot.size[1]} px, not {size[0]} x {size[1]}"
        elif shot.corners is None:
            dropped[shot.name] = "board not found"
        else:
            used.append(shot)
    _need(used, min_views, dropped)
    fit = _fit(used, size, wide)
    while (worst := _outlier(fit.errors)) is not None:
        dropped[used[worst].name] = f"outlier, {fit.errors[worst]:.2f} px"
        del used[worst]
        _need(used, min_views, dropped)
        fit = _fit(used, size, wide)
    _check(fit)
    counts = np.array([len(_corners(shot).board) for shot in used])
    return Calibration(
        Camera(fit.K, *size, dist=tuple(float(value) for value in fit.dist)),
        float(np.sqrt((counts * fit.errors**2).sum() / counts.sum())),
        {shot.name: float(error) for shot, error in zip(used, fit.errors, strict=True)},
        dropped,
        (float(fit.deviations[0]), float(fit.deviations[1])),
        tuple(_weaknesses(used, fit, size)),
    )


def _need(used: Sequence[Shot], min_views: int, dropped: Mapping[str, str]) -> None:
    if len(used) >= min_views:
        return
    why = "; ".join(f"{name}: {reason}" for name, reason in list(dropped.items())[:5])
    raise DataError(
        f"{len(used)} usable shots of {len(used) + len(dropped)}, {min_views} are needed: take "
        "more of the whole board, sharp and evenly lit, and check its numbers"
        + (f" ({why}{'; …' if len(dropped) > 5 else ''})" if why else "")
    )


def _corners(shot: Shot) -> Corners:
    assert shot.corners is not None
    return shot.corners


def _fit(used: Sequence[Shot], size: tuple[int, int], wide: bool) -> _Fit:
    import cv2

    points = [_corners(shot).board.astype(np.float32) for shot in used]
    pixels = [_corners(shot).image.astype(np.float32) for shot in used]
    try:
        _, K, dist, turns, _, deviations, _, errors = cv2.calibrateCameraExtended(
            points,
            pixels,
            size,
            np.eye(3),
            np.zeros(_COEFFICIENTS),
            flags=0 if wide else cv2.CALIB_FIX_K3,
        )
    except cv2.error as error:
        raise DataError(
            f"no camera explains these shots ({error.err}): check the board's numbers"
        ) from None
    return _Fit(
        np.asarray(K, np.float64),
        np.asarray(dist, np.float64).ravel()[:_COEFFICIENTS],
        np.asarray(errors, np.float64).ravel(),
        [np.asarray(cv2.Rodrigues(turn)[0]) for turn in turns],
        np.asarray(deviations, np.float64).ravel(),
    )


def _outlier(errors: Array) -> int | None:
    """Return the worst view if it does not belong to the others."""
    worst = int(np.argmax(errors))
    limit = max(_TIMES_MEDIAN * float(np.median(errors)), _PIXELS)
    return worst if errors[worst] > limit else None


def _check(fit: _Fit) -> None:
    """Refuse a fit that the shots do not determine.

    Standard deviations alone do not tell: seen straight on, a board fits a wrong focal length with
    a distance and a distortion that belong to it, and fits it well.
    """
    relative = float((fit.deviations[:2] / fit.K[[0, 1], [0, 1]]).max())
    if not relative < _MAX_FOCAL_ERROR:
        raise DataError(
            f"the shots leave the focal length open (standard deviation {100 * relative:.1f} %): "
            f"{_TILT_IT}"
        )
    tilts = [math.degrees(math.acos(min(1.0, abs(turn[2, 2])))) for turn in fit.rotations]
    tilted = sum(tilt > _MIN_TILT_DEGREES for tilt in tilts)
    if tilted < _MIN_TILTED:
        raise DataError(
            f"the board is tilted by more than {_MIN_TILT_DEGREES:.0f} degrees in {tilted} shots "
            f"only, which leaves the focal length open: {_TILT_IT}"
        )


def _weaknesses(used: Sequence[Shot], fit: _Fit, size: tuple[int, int]) -> list[str]:
    found = []
    middle = (np.array(size) - 1) / 2
    everywhere = np.concatenate([_corners(shot).image for shot in used])
    out = np.linalg.norm(everywhere - middle, axis=1).max() / np.linalg.norm(middle)
    if out < _MIN_REACH:
        found.append(
            f"corners reach only {100 * out:.0f} % of the way from the middle of the frame to its "
            "corners: the distortion beyond is a guess; add shots with the board near the corners"
        )
    cells = 4
    place = np.clip((everywhere / size * cells).astype(int), 0, cells - 1)
    empty = cells * cells - len(np.unique(place @ [1, cells]))
    if empty > cells:
        found.append(
            f"{empty} of {cells * cells} parts of the frame never show the board: move it about"
        )
    return found
