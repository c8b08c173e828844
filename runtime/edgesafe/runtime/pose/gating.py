"""How sure a pose is, and the gates it must pass.

For the vote head::

    confidence = used/K * M/(M + M0) * exp(-(D/D0)^2 / 2) / (1 + (s_R/0.1)^2 + (s_t/(0.1 d))^2)

with the keypoints that were not dropped, used of K; the mask's mass M (sum of probabilities times
the cell's area, crop pixels squared) and its gate M0 = ``min_mask_px``; the mean Mahalanobis
distance D of the keypoints and its gate D0 = ``max_mahalanobis``; the standard deviations of the
pose s_R (radians, root of the trace) and s_t (mm, likewise) against 0.1 rad and a tenth of the
diameter d, the usual limit of ADD. It lies in 0..1 and falls with D, s_R and s_t and rises with M.
For the direct head, which knows nothing but its mask, it is M/(M + M0).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.gate import Refused
from edgesafe.runtime.manifest_pose import Gates, PoseObject
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.pnp import PnpSolution

__all__ = [
    "check_confidence",
    "check_mask",
    "check_place",
    "check_reprojection",
    "fit_confidence",
    "mask_confidence",
]

_ANGLE = 0.1  # rad
_SHARE = 0.1  # of the diameter

Array = npt.NDArray[np.float64]


def mask_confidence(mask_px: float, gates: Gates) -> float:
    """Return M/(M + M0)."""
    return mask_px / (mask_px + gates.min_mask_px) if mask_px > 0 else 0.0


def fit_confidence(mask_px: float, solution: PnpSolution, entry: PoseObject, gates: Gates) -> float:
    """Return the confidence of a fit, see the module."""
    variance = np.diag(solution.covariance)
    angle2 = float(variance[:3].sum()) / _ANGLE**2
    shift2 = float(variance[3:].sum()) / (_SHARE * entry.diameter) ** 2
    fit = math.exp(-((solution.mahalanobis / gates.max_mahalanobis) ** 2) / 2)
    used = float(solution.used.mean())
    return used * mask_confidence(mask_px, gates) * fit / (1 + angle2 + shift2)


def check_mask(mask_px: float, gates: Gates) -> None:
    """Refuse where the network sees too little of the object (``mask_too_small``)."""
    if not mask_px >= gates.min_mask_px:
        raise Refused(
            "mask_too_small",
            f"the network sees {mask_px:.0f} square pixels of the object in its input, and needs "
            f"{gates.min_mask_px:g}",
        )


def check_confidence(confidence: float, gates: Gates) -> None:
    """Refuse what is not sure enough (``low_confidence``)."""
    if not confidence >= gates.min_confidence:
        raise Refused(
            "low_confidence",
            f"the confidence is {confidence:.3f}, below {gates.min_confidence:g}",
        )


def check_reprojection(reprojection_px: float, roi: RoiCrop, gates: Gates) -> None:
    """Refuse a fit that is too far from its keypoints (``inconsistent_keypoints``)."""
    error = reprojection_px / roi.scale
    if not error <= gates.max_reprojection_px:
        raise Refused(
            "inconsistent_keypoints",
            f"the pose is {error:.1f} pixels of the network's input from the keypoints, and at "
            f"most {gates.max_reprojection_px:g} is allowed",
        )


def check_place(
    R: Array, t: Array, entry: PoseObject, roi: RoiCrop, camera: Camera, gates: Gates
) -> None:
    """Refuse a pose out of range, or one that does not lie where the region is.

    Raises:
        Refused: ``non_finite``, ``behind_camera``, ``out_of_range``, ``outside_roi``.
    """
    if not (np.isfinite(R).all() and np.isfinite(t).all()):
        raise Refused("non_finite", "the pose is not finite")
    depth = float(t[2])
    if not ((entry.hull @ R.T + t)[:, 2] > 0).all():
        raise Refused("behind_camera", "a part of the object would lie behind the camera")
    if not gates.near_mm <= depth <= gates.far_mm:
        raise Refused(
            "out_of_range",
            f"the object would be {depth:.0f} mm away; the package is made for "
            f"{gates.near_mm:g} to {gates.far_mm:g} mm",
        )
    outline = camera.project(entry.hull @ R.T + t)
    low, high = outline.min(axis=0), outline.max(axis=0)
    centre = np.array(roi.centre)
    gap = np.maximum(low - centre, centre - high)
    if not (gap <= roi.side / 2).all():
        raise Refused("outside_roi", "the pose does not lie in the region that was looked at")
