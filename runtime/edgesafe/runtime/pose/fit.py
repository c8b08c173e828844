"""From the outputs of a network for one region to a pose that passed every gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.gate import Refused
from edgesafe.runtime.manifest_pose import Gates, PoseNetwork, PoseObject
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.direct import decode_direct
from edgesafe.runtime.pose.extent import Extent
from edgesafe.runtime.pose.gating import (
    check_confidence,
    check_mask,
    check_place,
    check_reprojection,
    fit_confidence,
    mask_confidence,
)
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.pnp import solve_pnp

__all__ = ["Fit", "fit_pose", "keypoint_covariance"]

Array = npt.NDArray[np.float64]


@dataclass
class Fit:
    """What is known so far; a refusal leaves it where it was.

    The fields are those of :class:`~edgesafe.runtime.pose.result.Pose`.
    """

    R: Array | None = None
    t_mm: Array | None = None
    covariance: Array | None = None
    reprojection_px: float | None = None
    confidence: float = 0.0
    keypoints_px: Array | None = None


def fit_pose(
    fit: Fit,
    outputs: Mapping[str, npt.NDArray[np.float32]],
    spec: PoseNetwork,
    entry: PoseObject,
    gates: Gates,
    roi: RoiCrop,
    camera: Camera,
    extent: Extent | None = None,
) -> None:
    """Fit the pose of one object.

    Args:
        fit: Is filled in, as far as it comes.
        outputs: Of the network, by name, without the batch axis.
        spec: Of the network.
        entry: The object.
        gates: Of the package.
        roi: Of the crop that the network saw.
        camera: Of the frame.
        extent: Where the silhouette ends, if that is known; of use to the vote head alone.

    Raises:
        Refused: There is no pose to be given out; with the codes of
            :mod:`edgesafe.runtime.pose.estimator`.
    """
    found = {name: value.astype(np.float64) for name, value in outputs.items()}
    for name, value in found.items():
        if not np.isfinite(value).all():
            raise Refused("non_finite", f"the network's {name} is not finite")
    mask_px = float(found["mask"].sum()) * spec.stride**2
    if spec.head == "vote":
        R, t = _votes(fit, found, mask_px, entry, gates, roi, camera, extent)
    else:
        check_mask(mask_px, gates)
        fit.confidence = mask_confidence(mask_px, gates)
        scale = float(found["log_scale"])
        R, t = decode_direct(found["rotation"], found["centre"], scale, roi, camera)
    check_place(R, t, entry, roi, camera, gates)
    check_confidence(fit.confidence, gates)
    fit.R, fit.t_mm = R, t


def keypoint_covariance(packed: Array) -> Array:
    """Return (K, 2, 2) covariances of keypoints, pixels of the network's input squared.

    That is what the network was trained with: the spread of its votes plus a pixel of its input.

    Args:
        packed: (K, 3) xx, xy, yy, as a vote head says them.
    """
    xx, xy, yy = packed.T
    return np.stack([xx + 1, xy, xy, yy + 1], axis=1).reshape(-1, 2, 2)


def _votes(
    fit: Fit,
    found: Mapping[str, Array],
    mask_px: float,
    entry: PoseObject,
    gates: Gates,
    roi: RoiCrop,
    camera: Camera,
    extent: Extent | None,
) -> tuple[Array, Array]:
    fit.keypoints_px = roi.to_frame(found["keypoints"])
    check_mask(mask_px, gates)
    covariance = keypoint_covariance(found["covariance"]) * roi.scale**2
    solution = solve_pnp(
        entry.keypoints,
        fit.keypoints_px,
        covariance,
        camera,
        max_mahalanobis=gates.max_mahalanobis,
        extent=extent,
    )
    fit.confidence = fit_confidence(mask_px, solution, entry, gates)
    fit.reprojection_px = solution.reprojection_px
    check_reprojection(solution.reprojection_px, roi, gates)
    fit.covariance = solution.covariance
    return solution.R, solution.t
