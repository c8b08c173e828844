"""Overlays, and the meshes that they may be drawn with."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.runtime import PoseEstimator
from edgesafe.runtime.mesh import Mesh
from edgesafe.runtime.pose.draw import draw_poses, outline
from edgesafe.runtime.pose.result import Pose

from .conftest import CAMERA, CORNERS, POINTS, box_of

CUBE_FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ]
)


def _area(contour: np.ndarray) -> float:
    x, y = contour.T
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2


def test_the_outlines_of_hull_and_mesh_agree(pose_package, scene) -> None:
    _, R, t = scene
    entry = PoseEstimator(pose_package, threads=1).objects[1]
    pose = Pose(1, "block1", R=R, t_mm=t)
    (hull,) = outline(pose, entry, CAMERA)
    (mesh,) = outline(pose, entry, CAMERA, Mesh(CORNERS, CUBE_FACES))
    assert hull.min(axis=0) == pytest.approx(mesh.min(axis=0), abs=1)
    assert hull.max(axis=0) == pytest.approx(mesh.max(axis=0), abs=1)
    assert _area(mesh) == pytest.approx(_area(hull), rel=0.03)
    half = Mesh(CORNERS, CUBE_FACES[:2])
    assert _area(outline(pose, entry, CAMERA, half)[0]) < 0.8 * _area(hull)


def test_poses_and_refusals_are_drawn(pose_package, scene) -> None:
    frame, R, t = scene
    estimator = PoseEstimator(pose_package, threads=1)
    poses = estimator.estimate(frame, CAMERA, [(1, box_of(R, t)), (1, (20, 300, 80, 60))])
    before = frame.copy()
    page = draw_poses(frame, poses, estimator.objects, CAMERA)
    assert np.array_equal(frame, before)
    changed = (page != frame).any(axis=2)
    ends = np.array([[50, 0, 0], [0, 50, 0]]) @ R.T + t
    for (u, v), colour in zip(CAMERA.project(ends), ((230, 40, 40), (40, 200, 40)), strict=True):
        around = page[round(v) - 2 : round(v) + 3, round(u) - 2 : round(u) + 3].reshape(-1, 3)
        assert (np.abs(around.astype(int) - colour).max(axis=1) < 40).any()
    assert changed[298:362, 18:24].any()  # the refused region
    assert not changed[400:, 200:].any()
    box = CAMERA.project(POINTS @ R.T + t)
    assert changed[int(box[:, 1].min()) : int(box[:, 1].max())].any()


def test_what_is_behind_the_camera_is_not_drawn(pose_package) -> None:
    estimator = PoseEstimator(pose_package, threads=1)
    frame = np.zeros((480, 640, 3), dtype=np.uint8)
    for t in ([0.0, 0.0, -500.0], [0.0, 0.0, 20.0], [1e7, 0.0, 30.0]):
        pose = Pose(1, "block1", R=np.eye(3), t_mm=np.array(t))
        assert draw_poses(frame, [pose], estimator.objects, CAMERA).shape == frame.shape
