"""PnP: calibrated covariances, never worse than its start, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesafe.runtime.gate import Refused
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.pnp import rotation_exp, solve_pnp, start_pose

K = np.array([[572.4, 0, 325.3], [0, 573.6, 242.0], [0, 0, 1.0]])
PINHOLE = Camera(K, 640, 480)
LENS = Camera(K, 640, 480, (-0.21, 0.06, 0.001, -0.0008, 0.0))


def _rotation_log(R: np.ndarray) -> np.ndarray:
    axis = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / 2
    sine = np.linalg.norm(axis)
    angle = np.arctan2(sine, (np.trace(R) - 1) / 2)
    return axis * (angle / sine if sine > 1e-12 else 1.0)


def _case(random: np.random.Generator, camera: Camera, noise: float = 1.0):
    points = random.normal(size=(9, 3)) * 40
    R = rotation_exp(random.normal(size=3))
    t = np.array([random.uniform(-150, 150), random.uniform(-100, 100), random.uniform(500, 1100)])
    mixing = random.normal(size=(9, 2, 2))
    covariance = mixing @ mixing.transpose(0, 2, 1) + 0.5 * np.eye(2)
    error = np.linalg.cholesky(covariance) @ random.normal(size=(9, 2, 1))
    keypoints = camera.project(points @ R.T + t) + noise * error[:, :, 0]
    return points, R, t, keypoints, covariance


def _cost(points, R, t, keypoints, covariance) -> float:
    error = PINHOLE.project(points @ R.T + t) - keypoints
    return float(np.einsum("ki,kij,kj->", error, np.linalg.inv(covariance), error))


@pytest.mark.parametrize("camera", [PINHOLE, LENS], ids=["pinhole", "lens"])
def test_exact_keypoints_give_the_exact_pose(camera: Camera) -> None:
    points, R, t, keypoints, covariance = _case(np.random.default_rng(3), camera, noise=0.0)
    found = solve_pnp(points, keypoints, covariance, camera)
    assert found.R == pytest.approx(R, abs=1e-5)
    assert found.t == pytest.approx(t, abs=1e-2)
    assert found.reprojection_px < 1e-2
    assert found.mahalanobis < 1e-2
    assert found.used.all()


@pytest.mark.parametrize("camera", [PINHOLE, LENS], ids=["pinhole", "lens"])
def test_the_covariance_is_that_of_the_error(camera: Camera) -> None:
    random = np.random.default_rng(0)
    squared = []
    for _ in range(300):
        points, R, t, keypoints, covariance = _case(random, camera)
        found = solve_pnp(points, keypoints, covariance, camera)
        error = np.r_[_rotation_log(found.R @ R.T), found.t - t]
        squared.append(error @ np.linalg.solve(found.covariance, error))
        assert np.linalg.eigvalsh(found.covariance)[0] > 0
    # The square of a normalised error of six dimensions has the mean 6; the median is 5.35.
    assert np.mean(squared) == pytest.approx(6, abs=1)
    assert np.median(squared) == pytest.approx(5.35, abs=0.8)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_refinement_is_never_worse_than_its_start(seed: int) -> None:
    points, _, _, keypoints, covariance = _case(np.random.default_rng(seed), PINHOLE, noise=4.0)
    before = _cost(
        points, *start_pose(points, keypoints, covariance, PINHOLE), keypoints, covariance
    )
    found = solve_pnp(points, keypoints, covariance, PINHOLE)
    assert _cost(points, found.R, found.t, keypoints, covariance) <= before * (1 + 1e-9) + 1e-9


def test_refinement_ends_where_the_cost_is_least() -> None:
    random = np.random.default_rng(7)
    points, _, _, keypoints, covariance = _case(random, PINHOLE)
    found = solve_pnp(points, keypoints, covariance, PINHOLE)
    least = _cost(points, found.R, found.t, keypoints, covariance)
    root = np.linalg.cholesky(found.covariance)
    for _ in range(20):
        step = 0.05 * root @ random.normal(size=6)
        R, t = rotation_exp(step[:3]) @ found.R, found.t + step[3:]
        assert _cost(points, R, t, keypoints, covariance) >= least - 1e-9


def test_weights_count() -> None:
    points, R, t, keypoints, covariance = _case(np.random.default_rng(5), PINHOLE, noise=0.0)
    keypoints[4] += (40, -30)
    covariance[4] *= 1e6
    found = solve_pnp(points, keypoints, covariance, PINHOLE)
    assert np.linalg.norm(found.t - t) < 1
    assert np.linalg.norm(_rotation_log(found.R @ R.T)) < 2e-3


@pytest.mark.parametrize("wrong", [[4], [1, 7]])
def test_keypoints_that_contradict_are_dropped(wrong: list[int]) -> None:
    points, R, t, keypoints, _ = _case(np.random.default_rng(11), PINHOLE, noise=0.0)
    keypoints[wrong] += (60, 45)
    covariance = np.tile(np.eye(2), (9, 1, 1))
    with_all = solve_pnp(points, keypoints, covariance, PINHOLE)
    found = solve_pnp(points, keypoints, covariance, PINHOLE, max_mahalanobis=3.0)
    assert sorted(np.flatnonzero(~found.used)) == wrong
    assert np.linalg.norm(found.t - t) < 0.1 < np.linalg.norm(with_all.t - t)


def test_keypoints_that_no_pose_explains_are_refused() -> None:
    random = np.random.default_rng(2)
    points, _, _, keypoints, covariance = _case(random, PINHOLE)
    keypoints += random.uniform(-80, 80, keypoints.shape)
    with pytest.raises(Refused) as refused:
        solve_pnp(points, keypoints, covariance, PINHOLE, max_mahalanobis=3.0)
    assert refused.value.code == "inconsistent_keypoints"


def _refusal(points, keypoints, covariance, camera=PINHOLE) -> str:
    with pytest.raises(Refused) as refused:
        solve_pnp(points, keypoints, covariance, camera)
    return refused.value.code


def test_what_determines_no_pose_is_refused() -> None:
    points, R, t, keypoints, covariance = _case(np.random.default_rng(1), PINHOLE, noise=0.0)
    line = np.outer(np.arange(9.0), [10, 5, 3])
    on_line = PINHOLE.project(line @ R.T + t)
    assert _refusal(line, on_line, covariance) == "degenerate"
    assert _refusal(points[:3], keypoints[:3], covariance[:3]) == "degenerate"
    assert _refusal(np.zeros((9, 3)), keypoints, covariance) == "degenerate"
    assert _refusal(points, keypoints, np.zeros((9, 2, 2))) == "degenerate"
    keypoints[3, 0] = np.nan
    assert _refusal(points, keypoints, covariance) == "non_finite"


def test_points_of_one_pixel_give_no_pose_nearby() -> None:
    points, _, _, keypoints, covariance = _case(np.random.default_rng(1), PINHOLE)
    try:
        found = solve_pnp(points, np.full_like(keypoints, 200.0), covariance, PINHOLE)
    except Refused as refused:
        assert refused.code in ("degenerate", "behind_camera")
    else:  # far away is where an object is that small: the range refuses it
        assert found.t[2] > 10_000


def test_a_planar_object_has_a_pose() -> None:
    points, R, t, _, covariance = _case(np.random.default_rng(8), PINHOLE, noise=0.0)
    points[:, 2] = 0
    found = solve_pnp(points, PINHOLE.project(points @ R.T + t), covariance, PINHOLE)
    assert found.t == pytest.approx(t, abs=1e-2)


def test_a_keypoint_beyond_the_lens_is_refused() -> None:
    camera = Camera(K, 640, 480, (-0.6, 0.1, 0, 0, 0))
    points, _, _, keypoints, covariance = _case(np.random.default_rng(1), PINHOLE)
    keypoints[0] = (4000, 4000)
    assert _refusal(points, keypoints, covariance, camera) == "non_finite"


def test_rotation_vectors() -> None:
    for angle in (0.0, 1e-8, 1e-3, 1.0, 3.0):
        vector = angle * np.array([2, -1, 2]) / 3
        R = rotation_exp(vector)
        assert pytest.approx(np.eye(3), abs=1e-12) == R @ R.T
        assert _rotation_log(R) == pytest.approx(vector, abs=1e-9)
