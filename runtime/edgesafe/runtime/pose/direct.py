"""From the outputs of a direct head to a pose.

The head speaks of the crop alone: the rotation as it appears along the ray through the object's
origin (allocentric), the place of that origin in crop pixels, and the logarithm of how many
millimetres a crop pixel spans at its depth. K comes in here and nowhere before.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.gate import Refused
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.intrinsics import Camera

__all__ = ["decode_direct", "ray_rotation"]

Array = npt.NDArray[np.float64]

_MAX_SKEW = 1e-2


def ray_rotation(ray: Array) -> Array:
    """Return the smallest rotation (3, 3) that turns +z onto the direction ``ray`` (3,).

    Raises:
        ValueError: The ray points straight back, where there is no smallest one.
    """
    x, y, z = ray / np.linalg.norm(ray)
    if z <= -1 + 1e-9:
        raise ValueError("the ray points away from the camera")
    factor = 1 / (1 + z)
    return np.array(
        [
            [1 - x * x * factor, -x * y * factor, x],
            [-x * y * factor, 1 - y * y * factor, y],
            [-x, -y, z],
        ]
    )


def decode_direct(
    rotation: Array, centre: Array, log_scale: float, roi: RoiCrop, camera: Camera
) -> tuple[Array, Array]:
    """Return (R, t), T_cam_obj in millimetres.

    Args:
        rotation: (3, 3) allocentric.
        centre: (2,) projection of the object's origin, crop pixels.
        log_scale: Logarithm of millimetres per crop pixel at the depth of the origin.
        roi: Of the crop.
        camera: Of the frame.

    Raises:
        Refused: ``non_finite``, ``degenerate`` (the rotation is none), ``out_of_range`` (the scale
            is beyond all measure).
    """
    finite = np.isfinite(rotation).all() and np.isfinite(centre).all() and math.isfinite(log_scale)
    if not finite:
        raise Refused("non_finite", "an output of the network is not finite")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _MAX_SKEW or np.linalg.det(rotation) < 0:
        raise Refused("degenerate", "the network's rotation is not a rotation")
    if abs(log_scale) > 20:
        raise Refused("out_of_range", f"the network's scale is exp({log_scale:.1f}) mm per pixel")
    ray = np.append(camera.normalise(roi.to_frame(centre))[0], 1.0)
    if not np.isfinite(ray).all():
        raise Refused("non_finite", "the centre lies where the lens model has no inverse")
    focal = math.sqrt(camera.K[0, 0] * camera.K[1, 1])
    depth = math.exp(log_scale) * focal / roi.scale
    left, _, right = np.linalg.svd(rotation)  # float32 arithmetic leaves it slightly skewed
    return ray_rotation(ray) @ (left @ right), depth * ray
