"""From a frame to poses; every way in which there is none."""

from __future__ import annotations

from edgesafe.runtime import PoseEstimator

from .conftest import CAMERA, box_of


def test_first(pose_package, scene):
    frame, R, t = scene
    estimator = PoseEstimator.load(pose_package)
    (pose,) = estimator.estimate(frame, CAMERA, box_of(R, t))
    print(pose, pose.t_mm - t, pose.R @ R.T, pose.ms)
    assert 0
