"""The pose that a network's outputs stand for, whatever a gate would say of it: to measure by.

Poses for use come out of :class:`~edgesafe.runtime.pose.estimator.PoseEstimator` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime.gate import Refused
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.direct import decode_direct
from edgesafe.runtime.pose.fit import keypoint_covariance
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.pnp import solve_pnp

__all__ = ["ungated_pose"]

Array: TypeAlias = NDArray[np.float64]


def ungated_pose(
    outputs: Mapping[str, NDArray[Any]], points: Array, roi: RoiCrop, K: Array
) -> tuple[Array, Array] | None:
    """Return the pose (R, t) of one region, millimetres; None where there is none.

    Args:
        outputs: Of the network by name, without the batch axis.
        points: (K, 3) the object's keypoints, millimetres; a direct head needs none.
        roi: Of the crop that it saw.
        K: (3, 3) of the frame's camera, without distortion.
    """
    found = {name: np.asarray(value, np.float64) for name, value in outputs.items()}
    side = 2 * int(np.ceil(max(K[0, 2], K[1, 2], 1)))
    camera = Camera(K, side, side)
    try:
        if "rotation" in found:
            return decode_direct(
                found["rotation"], found["centre"], float(found["log_scale"]), roi, camera
            )
        covariance = keypoint_covariance(found["covariance"]) * roi.scale**2
        solution = solve_pnp(points, roi.to_frame(found["keypoints"]), covariance, camera)
    except Refused:
        return None
    return solution.R, solution.t
