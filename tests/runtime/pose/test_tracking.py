"""Following an object from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.runtime import PoseEstimator, PoseTracker, UsageError
from edgesafe.runtime.pose.tracking import projected_box

from .conftest import CAMERA, POINTS, box_of, draw_frame, pose_of


class Counting(PoseEstimator):
    """Says how often it asked the detector."""

    asked = 0

    def _detect(self, frame, wanted):
        self.asked += 1
        return super()._detect(frame, wanted)


def _path(count: int):
    for i in range(count):
        R, t = pose_of((0.5 + 0.03 * i, -0.4, 0.2), (-60.0 + 12 * i, -20.0, 620.0 + 5 * i))
        yield R, t, draw_frame(R, t)


def test_the_last_pose_says_where_to_look(detector_package) -> None:
    estimator = Counting(detector_package, threads=1)
    tracker = PoseTracker(estimator)
    assert not tracker.tracking
    for _, t, frame in _path(8):
        (pose,) = tracker.update(frame, CAMERA)
        assert pose.ok and np.linalg.norm(pose.t_mm - t) < 0.02 * t[2]
    assert estimator.asked == 1
    black = np.zeros_like(frame)
    (pose,) = tracker.update(black, CAMERA)
    assert pose.reason == "mask_too_small"
    assert estimator.asked == 2
    assert not tracker.tracking
    assert tracker.update(black, CAMERA) == []
    (pose,) = tracker.update(frame, CAMERA)  # found again
    assert pose.ok and estimator.asked == 4


def test_a_jump_sends_it_to_the_detector_within_the_frame(detector_package) -> None:
    estimator = Counting(detector_package, threads=1)
    tracker = PoseTracker(estimator, objects=[1])
    (_, _, frame), *_ = _path(1)
    tracker.update(frame, CAMERA)
    R, t = pose_of((0.2, 0.9, 0.0), (200.0, 120.0, 700.0))
    (pose,) = tracker.update(draw_frame(R, t), CAMERA)
    assert pose.ok and np.linalg.norm(pose.t_mm - t) < 0.02 * t[2]
    assert estimator.asked == 2


def test_the_detector_is_asked_now_and_then(detector_package) -> None:
    estimator = Counting(detector_package, threads=1)
    tracker = PoseTracker(estimator, detect_every=3)
    for _, _, frame in _path(7):
        assert len(tracker.update(frame, CAMERA)) == 1
    assert estimator.asked == 3
    tracker.reset()
    assert not tracker.tracking
    with pytest.raises(UsageError, match="detect_every"):
        PoseTracker(estimator, detect_every=0)


def test_without_a_detector_the_last_box_is_tried_again(pose_package) -> None:
    tracker = PoseTracker(PoseEstimator(pose_package, threads=1))
    frames = list(_path(3))
    with pytest.raises(UsageError, match="no detector"):
        tracker.update(frames[0][2], CAMERA)
    R, t, frame = frames[0]
    assert tracker.update(frame, CAMERA, box_of(R, t))[0].ok
    assert not tracker.update(np.zeros_like(frame), CAMERA)[0].ok
    assert tracker.update(frames[1][2], CAMERA)[0].ok


def test_the_box_of_a_pose(pose_package, scene) -> None:
    frame, R, t = scene
    estimator = PoseEstimator(pose_package, threads=1)
    (pose,) = estimator.estimate(frame, CAMERA, box_of(R, t))
    x, y, w, h = projected_box(pose, estimator.objects[1], CAMERA)
    pixels = CAMERA.project(POINTS[1:] @ R.T + t)
    assert (x, y) == pytest.approx(pixels.min(axis=0) + 0.5, abs=1)
    assert (w, h) == pytest.approx(np.ptp(pixels, axis=0), abs=1)
    (refused,) = estimator.estimate(frame, CAMERA, (1, 1, 30, 30))
    with pytest.raises(ValueError, match="refused"):
        projected_box(refused, estimator.objects[1], CAMERA)
