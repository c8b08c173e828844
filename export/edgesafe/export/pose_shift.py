"""How far a lower precision moves the poses themselves, as ADD over the diameter.

The networks know no camera, so each region is taken for the whole frame of one that sees the object
from eight diameters away, about where parts are looked at. Depth hangs on how large the keypoints
lie: a pixel of sixty is an eighth of a diameter there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.pose_errors import add, adi
from edgesafe.calib.ungated_pose import ungated_pose
from edgesafe.runtime.manifest_pose import PoseNetwork, PoseObject
from edgesafe.runtime.pose.crop import RoiCrop

__all__ = ["pose_shift"]

Outputs = Mapping[str, NDArray[Any]]
Pose = tuple[NDArray[np.float64], NDArray[np.float64]]

_DIAMETERS = 8.0


def pose_shift(
    found: Outputs, truth: Outputs, spec: PoseNetwork, entries: Sequence[PoseObject]
) -> dict[str, float]:
    """Compares the poses that follow from the outputs of a network with those in float32.

    Args:
        found: Outputs by name, with a batch axis.
        truth: The same in float32.
        spec: Of the network.
        entries: The object of every row.

    Returns:
        ``add_median`` and ``add_mean``, ADD over the diameter of the points of the hull (ADD-S of
        objects with symmetries), and ``pose_lost``, the share of poses of which nothing is left.
        The mean is that of the few regions on which the network is lost in float32 too. Rows
        without a pose in float32 do not count; without any other there is nothing to return.
    """
    shifts, lost, counted = [], 0, 0
    for row, entry in enumerate(entries):
        true = _pose({name: value[row] for name, value in truth.items()}, spec, entry)
        if true is None:
            continue
        counted += 1
        pose = _pose({name: value[row] for name, value in found.items()}, spec, entry)
        if pose is None:
            lost += 1
            continue
        symmetric = len(entry.symmetries_discrete) or entry.symmetries_continuous
        apart = (adi if symmetric else add)(*pose, *true, entry.hull)
        shifts.append(apart / entry.diameter)
    if not counted:
        return {}
    effect = {"pose_lost": lost / counted}
    if shifts:
        effect |= {"add_median": float(np.median(shifts)), "add_mean": float(np.mean(shifts))}
    return effect


def _pose(outputs: Outputs, spec: PoseNetwork, entry: PoseObject) -> Pose | None:
    region = RoiCrop.from_box((0, 0, spec.size, spec.size), 1.0, spec.size)
    middle = (spec.size - 1) / 2
    focal = spec.size * _DIAMETERS / spec.roi_scale
    K = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    return ungated_pose(outputs, entry.keypoints, region, K)
