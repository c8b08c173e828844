"""The camera matrix K and the lens, checked before a pose is computed from them.

A wrong K gives poses that look right and are not, so that what can be seen to be wrong is refused:
numbers that are not finite, a focal length that is not positive, a camera of another resolution
than the frame. A bare 3 x 3 matrix does not tell its resolution; its principal point must then lie
about the middle of the frame.

Convention of OpenCV and BOP: pixel centres are whole numbers; x right, y down, z forward.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import MissingExtraError, SourceError, UsageError

__all__ = ["Camera", "as_camera"]

Array = npt.NDArray[np.float64]

_KEYS = ("fx", "fy", "cx", "cy", "width", "height")
# What OpenCV's models take: k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tx ty]]]].
_LENGTHS = (0, 4, 5, 8, 12, 14)
_MIDDLE = (0.3, 0.7)
_MAX_FILE_BYTES = 1 << 20
_MEND = "calibrate the camera (edgesafe calibrate camera) or correct the numbers"


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera with lens distortion.

    Attributes:
        K: (3, 3), pixels: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]].
        width: Columns of the frames that K belongs to.
        height: Rows of the frames that K belongs to.
        dist: OpenCV's distortion coefficients (k1, k2, p1, p2[, k3[, k4, k5, k6 ...]]); empty
            for none.
        depth_scale: Of depth images, as in BOP: millimetres per unit. Kept, not used here.

    Raises:
        UsageError: A value can belong to no camera.
    """

    K: Array
    width: int
    height: int
    dist: tuple[float, ...] = ()
    depth_scale: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields; K is copied and made read-only."""
        K = _matrix(self.K)
        K.flags.writeable = False
        object.__setattr__(self, "K", K)
        for name in ("width", "height"):
            side = getattr(self, name)
            if isinstance(side, bool) or not isinstance(side, (int, np.integer)) or side < 1:
                raise UsageError(f"camera: {name} must be a positive whole number, not {side!r}")
            object.__setattr__(self, name, int(side))
        dist = tuple(_number(value, "dist") for value in np.ravel(self.dist))
        if len(dist) not in _LENGTHS:
            raise UsageError(
                f"camera: dist must have one of {_LENGTHS} coefficients, not {len(dist)}"
            )
        object.__setattr__(self, "dist", dist)
        if not _number(self.depth_scale, "depth_scale") > 0:
            raise UsageError(f"camera: depth_scale must be positive, not {self.depth_scale!r}")

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> Camera:
        """Read a file with the keys of BOP's ``camera.json``, and optionally ``dist``.

        Raises:
            SourceError: The file cannot be read.
            UsageError: It holds no camera.
        """
        try:
            with open(path, "rb") as file:
                data = file.read(_MAX_FILE_BYTES)
        except OSError as error:
            raise SourceError(
                f"{os.fspath(path)}: {error.strerror or error}: name a file that "
                "`edgesafe calibrate camera` wrote, or one with the keys of BOP's camera.json"
            ) from None
        try:
            fields = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{os.fspath(path)} is not JSON ({error}): {_MEND}") from None
        try:
            return cls.from_dict(fields)
        except UsageError as error:
            raise UsageError(f"{os.fspath(path)}: {error}") from None

    @classmethod
    def from_dict(cls, fields: Any) -> Camera:
        """Build from the plain form of :meth:`to_dict`; other keys are left alone.

        Raises:
            UsageError: A value is missing or wrong.
        """
        if not isinstance(fields, Mapping):
            raise UsageError(f"camera: must be an object with the keys {', '.join(_KEYS)}")
        missing = [key for key in _KEYS if fields.get(key) is None]
        if missing:
            raise UsageError(f"camera: lacks {', '.join(missing)} (the keys of BOP's camera.json)")
        fx, fy, cx, cy = (_number(fields[key], key) for key in _KEYS[:4])
        dist = fields.get("dist") or ()
        if not isinstance(dist, Sequence) or isinstance(dist, str):
            raise UsageError(f"camera: dist must be a list of numbers, not {dist!r:.60}")
        return cls(
            K=np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]),
            width=fields["width"],
            height=fields["height"],
            dist=tuple(_number(value, "dist") for value in dist),
            depth_scale=_number(fields.get("depth_scale", 1.0), "depth_scale"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the keys of BOP's ``camera.json`` and ``dist``, as plain JSON values."""
        return {
            "cx": float(self.K[0, 2]),
            "cy": float(self.K[1, 2]),
            "depth_scale": float(self.depth_scale),
            "dist": list(self.dist),
            "fx": float(self.K[0, 0]),
            "fy": float(self.K[1, 1]),
            "height": self.height,
            "width": self.width,
        }

    @property
    def distorted(self) -> bool:
        """Whether any distortion coefficient is not zero."""
        return any(self.dist)

    def normalise(self, pixels: npt.ArrayLike) -> Array:
        """Map frame pixels (N, 2) to undistorted (x / z, y / z), (N, 2).

        NaN where the lens model has no inverse: far outside of the frame that it was fitted to.

        Raises:
            MissingExtraError: OpenCV is not installed, and there is distortion.
        """
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        K = self.K
        plain = (pixels - K[:2, 2]) / K[[0, 1], [0, 1]]
        if not self.distorted or not len(pixels):
            return np.asarray(plain)
        cv2 = _cv2()
        dist = np.array(self.dist)
        # The iteration of undistortPoints ends anywhere where it does not converge.
        found = cv2.undistortPoints(pixels[:, None], K, dist).reshape(-1, 2)
        again = self.project(np.c_[found, np.ones(len(found))])
        found[~(np.abs(again - pixels).max(axis=1) < 0.25)] = np.nan
        return np.asarray(found)

    def project(self, points: npt.ArrayLike) -> Array:
        """Map points (N, 3) in the camera frame, z > 0, to distorted frame pixels (N, 2).

        Raises:
            MissingExtraError: OpenCV is not installed, and there is distortion.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        if self.distorted and len(points):
            zero = np.zeros(3)
            found, _ = _cv2().projectPoints(points, zero, zero, self.K, np.array(self.dist))
            return np.asarray(found, dtype=np.float64).reshape(-1, 2)
        return np.asarray(points[:, :2] / points[:, 2:] * self.K[[0, 1], [0, 1]] + self.K[:2, 2])

    def check_frame(self, width: int, height: int) -> None:
        """Complain about a frame of another resolution.

        Raises:
            UsageError: The sizes differ.
        """
        if (width, height) != (self.width, self.height):
            raise UsageError(
                f"the camera is calibrated for {self.width} x {self.height} pixels and the frame "
                f"has {width} x {height}: calibrate at this resolution, or scale K with the frame"
            )


def as_camera(K: Camera | npt.ArrayLike, width: int, height: int) -> Camera:
    """Return the camera of a frame, from a camera or a bare matrix.

    Args:
        K: A camera, or (3, 3) without distortion.
        width: Columns of the frame.
        height: Rows of the frame.

    Raises:
        UsageError: K is no camera matrix, or not one of this frame.
    """
    if isinstance(K, Camera):
        K.check_frame(width, height)
        return K
    camera = Camera(_matrix(K), width, height)
    for name, value, side in (("cx", camera.K[0, 2], width), ("cy", camera.K[1, 2], height)):
        if not _MIDDLE[0] <= (value + 0.5) / side <= _MIDDLE[1]:
            raise UsageError(
                f"K has {name} = {value:g} for a frame of {width} x {height} pixels: it looks as "
                "if it belonged to another resolution; if it is right, pass Camera(K, width, "
                "height) instead of the bare matrix"
            )
    return camera


def _matrix(K: Any) -> Array:
    try:
        matrix = np.array(K, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"K must be 3 x 3 numbers, not {type(K).__name__}") from None
    if matrix.shape != (3, 3):
        raise UsageError(f"K must have the shape (3, 3), not {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise UsageError(f"K has numbers that are not finite: {_MEND}")
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise UsageError(
            f"K has the focal lengths {matrix[0, 0]:g} and {matrix[1, 1]:g}; both must be "
            f"positive: {_MEND}"
        )
    if matrix[1, 0] or abs(matrix[0, 1]) > 1e-6 * matrix[0, 0] or list(matrix[2]) != [0, 0, 1]:
        raise UsageError(
            "K must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] (not transposed, without skew)"
        )
    return matrix


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise UsageError(f"camera: {name} must be a number, not {value!r:.60}")
    if not math.isfinite(value):
        raise UsageError(f"camera: {name} must be finite, not {value!r}: {_MEND}")
    return float(value)


def _cv2() -> Any:
    try:
        import cv2
    except ImportError:
        raise MissingExtraError("cv2", "cpu") from None
    return cv2
