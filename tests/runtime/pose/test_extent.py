"""The box of the visible part as a measurement: its cost, its derivative, what it mends."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.runtime import Camera, PackageError, PoseEstimator, UsageError
from edgesafe.runtime.package import write_pose_package
from edgesafe.runtime.pose.extent import Extent
from edgesafe.runtime.pose.pnp import rotation_exp, solve_pnp

from .conftest import CAMERA, POINTS, detector_network, draw_frame, pose_of, pose_parts

LENS = Camera(CAMERA.K, 640, 480, (-0.21, 0.06, 0.001, -0.0008, 0.0))
POSE = pose_of((0.3, -0.4, 0.2), (40.0, -25.0, 700.0))


def _tight(R: np.ndarray, t: np.ndarray, camera: Camera = CAMERA) -> tuple[float, ...]:
    """The box of a silhouette whose outermost points lie on its edges."""
    pixels = camera.project(POINTS @ R.T + t)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    return (*(low + 0.5), *(high - low))


def _drawn_together(share: float, camera: Camera = CAMERA) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints drawn toward their mean, as those of an unsure network, and covariances."""
    R, t = POSE
    pixels = camera.project(POINTS @ R.T + t)
    middle = pixels.mean(axis=0)
    return middle + share * (pixels - middle), np.tile(49.0 * np.eye(2), (len(POINTS), 1, 1))


def _extent(sd: float = 0.01, camera: Camera = CAMERA) -> Extent:
    return Extent.of(POINTS, _tight(*POSE, camera), sd, camera)


def test_a_silhouette_that_ends_at_the_edges_costs_nothing() -> None:
    R, t = POSE
    found, _, outermost = _extent().residuals(CAMERA.project(POINTS @ R.T + t))
    assert found == pytest.approx(np.zeros(4), abs=1e-9)
    pixels = CAMERA.project(POINTS @ R.T + t)
    assert pixels[outermost[0], 0] == pixels[:, 0].min()
    assert pixels[outermost[3], 1] == pixels[:, 1].max()


@pytest.mark.parametrize(
    ("apart", "cost"),
    [(3.0, 9.0), (0.5, 0.25), (-0.5, 0.25), (-1.0, 1.0), (-3.0, 5.0), (-20.0, 39.0)],
)
def test_what_ends_within_costs_its_square_and_what_reaches_beyond_less(
    apart: float, cost: float
) -> None:
    extent = Extent(POINTS, np.array([100.0, 100.0, 200.0, 200.0]), 2.0, np.zeros(4, dtype=bool))
    pixels = np.array([[100 + 2 * apart, 150.0], [200.0, 100.0], [150.0, 200.0]])
    found, _, _ = extent.residuals(pixels)
    assert found**2 == pytest.approx([cost, 0, 0, 0], abs=1e-9)


@pytest.mark.parametrize("moved", [-9.0, -1.5, -0.4, 0.7, 6.0])
def test_the_derivative_is_that_of_the_residuals(moved: float) -> None:
    extent = Extent(POINTS, np.array([100.0, 90.0, 220.0, 180.0]), 1.5, np.zeros(4, dtype=bool))
    pixels = np.array([[100 + moved, 150.0], [220 - moved, 90 + moved], [150.0, 180 - moved]])
    found, slope, outermost = extent.residuals(pixels)
    for side, axis in enumerate((0, 1, 0, 1)):
        step = np.zeros_like(pixels)
        step[outermost[side], axis] = 1e-6
        there, _, _ = extent.residuals(pixels + step)
        assert (there - found)[side] / 1e-6 == pytest.approx(slope[side], rel=1e-4, abs=1e-6)


def test_beyond_the_border_of_the_frame_anything_may_be() -> None:
    extent = Extent.of(POINTS, (0.0, 30.0, 80.0, 60.0), 0.01, CAMERA)
    assert extent.open.tolist() == [True, False, False, False]
    pixels = np.array([[-90.0, 50.0], [79.5, 29.5], [40.0, 89.5]])
    found, slope, _ = extent.residuals(pixels)
    assert found[0] == slope[0] == 0
    within, _, _ = extent.residuals(pixels + [[100.0, 0], [0, 0], [0, 0]])
    assert within[0] > 5


@pytest.mark.parametrize("camera", [CAMERA, LENS], ids=["pinhole", "lens"])
def test_a_tight_box_mends_the_depth_of_keypoints_drawn_together(camera: Camera) -> None:
    keypoints, covariance = _drawn_together(0.9, camera)
    alone = solve_pnp(POINTS, keypoints, covariance, camera)
    bounded = solve_pnp(POINTS, keypoints, covariance, camera, extent=_extent(camera=camera))
    depth = POSE[1][2]
    assert alone.t[2] / depth - 1 > 0.08
    assert abs(bounded.t[2] / depth - 1) < 0.03  # the rest is a turn that fits the edges too
    # The depth is the direction that the edges add most to.
    assert bounded.covariance[5, 5] < alone.covariance[5, 5] / 4


def test_a_half_hidden_object_is_not_drawn_into_its_box() -> None:
    R, t = POSE
    keypoints = CAMERA.project(POINTS @ R.T + t)
    x, y, w, h = _tight(R, t)
    hidden = Extent.of(POINTS, (x, y, 0.55 * w, h), 0.01, CAMERA)
    covariance = np.tile(np.eye(2), (len(POINTS), 1, 1))
    found = solve_pnp(POINTS, keypoints, covariance, CAMERA, extent=hidden)
    assert found.t == pytest.approx(t, rel=0.02)


def test_exact_boxes_and_keypoints_agree() -> None:
    R, t = POSE
    keypoints = CAMERA.project(POINTS @ R.T + t)
    covariance = np.tile(np.eye(2), (len(POINTS), 1, 1))
    found = solve_pnp(POINTS, keypoints, covariance, CAMERA, extent=_extent())
    assert found.R == pytest.approx(R, abs=1e-5)
    assert found.t == pytest.approx(t, abs=1e-2)


def test_a_box_that_no_pose_in_front_of_the_camera_fills_gives_a_finite_one() -> None:
    keypoints, covariance = _drawn_together(0.2)
    far = Extent.of(POINTS, (1.0, 1.0, 630.0, 470.0), 0.001, CAMERA)
    found = solve_pnp(POINTS, keypoints, covariance, CAMERA, extent=far)
    assert np.isfinite(found.t).all()
    assert np.isfinite(found.covariance).all()


def test_roi_sd_reaches_the_pose(pose_package) -> None:
    R, t = POSE
    estimator = PoseEstimator.load(pose_package, threads=1)
    # The frame's object is smaller than the box says, which only a tight box may overrule.
    frame, (x, y, w, h) = draw_frame(R, t), _tight(R, t)
    box = (x - 0.06 * w, y - 0.06 * h, 1.12 * w, 1.12 * h)
    (loose,) = estimator.estimate(frame, CAMERA, box)
    (tight,) = estimator.estimate(frame, CAMERA, box, roi_sd=0.001)
    assert loose.t_mm[2] == pytest.approx(700, rel=0.01)
    assert tight.t_mm[2] < loose.t_mm[2] * 0.99


@pytest.mark.parametrize("sd", [0, -0.1, 0.6, float("nan"), "0.1", True])
def test_what_is_no_share_is_refused(pose_package, sd: object) -> None:
    estimator = PoseEstimator.load(pose_package, threads=1)
    with pytest.raises(UsageError, match="standard deviation"):
        estimator.estimate(draw_frame(*POSE), CAMERA, _tight(*POSE), roi_sd=sd)


def test_the_detector_of_a_package_may_say_how_exact_it_is(detector_package, tmp_path) -> None:
    assert detector_package.manifest.detector.box_sd is None
    fields, files = pose_parts(detector=detector_network())
    fields["detector"]["box_sd"] = 0.04
    made = write_pose_package(tmp_path / "exact", fields, files)
    assert made.manifest.detector.box_sd == 0.04
    frame = draw_frame(*POSE)
    (before,) = PoseEstimator.load(detector_package, threads=1).estimate(frame, CAMERA)
    (after,) = PoseEstimator.load(made, threads=1).estimate(frame, CAMERA)
    assert before.ok and after.ok and not np.allclose(before.t_mm, after.t_mm)

    fields["detector"]["box_sd"] = 0.9
    with pytest.raises(PackageError, match="box_sd"):
        write_pose_package(tmp_path / "vague", fields, files)


def test_the_rotation_may_turn_to_fit_the_edges() -> None:
    R, t = POSE
    keypoints = CAMERA.project(POINTS @ (rotation_exp(np.array([0, 0, 0.12])) @ R).T + t)
    covariance = np.tile(25.0 * np.eye(2), (len(POINTS), 1, 1))
    alone = solve_pnp(POINTS, keypoints, covariance, CAMERA)
    bounded = solve_pnp(POINTS, keypoints, covariance, CAMERA, extent=_extent(0.001))

    def off(found) -> float:
        return float(np.linalg.norm(found.R - R))

    assert off(bounded) < off(alone)
