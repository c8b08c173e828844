"""From a frame to poses; every way in which there is none."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.runtime import Camera, PackageError, Pose, PoseEstimator, UsageError
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.direct import ray_rotation

from .conftest import (
    CAMERA,
    POINTS,
    SIZE,
    angle,
    box_of,
    direct_network,
    draw_frame,
    pose_of,
    pose_parts,
    vote_network,
)


@pytest.fixture(scope="module")
def estimator(pose_package) -> PoseEstimator:
    return PoseEstimator.load(pose_package, threads=1)


@pytest.fixture(scope="module")
def with_detector(detector_package) -> PoseEstimator:
    return PoseEstimator.load(detector_package.path, threads=1)


@pytest.mark.parametrize(
    ("omega", "t"),
    [
        ((0.5, -0.4, 0.2), (30.0, -20.0, 620.0)),
        ((2.0, 0.7, -0.5), (-140.0, 90.0, 800.0)),
        ((-0.6, 2.2, 0.3), (170.0, -110.0, 520.0)),
    ],
)
@pytest.mark.parametrize("dist", [(), (-0.2, 0.05, 0.001, -0.001)], ids=["pinhole", "lens"])
def test_a_pose_is_found(estimator: PoseEstimator, omega, t, dist) -> None:
    camera = Camera(CAMERA.K, 640, 480, dist)
    R, t = pose_of(omega, t)
    (pose,) = estimator.estimate(draw_frame(R, t, camera), camera, box_of(R, t, camera))
    assert pose.ok and pose.detail is None
    assert (pose.object_id, pose.name) == (1, "block1")
    assert angle(pose.R, R) < 1.5
    assert np.linalg.norm(pose.t_mm - t) < 0.02 * t[2]
    error = np.r_[pose.t_mm - t]
    spread = np.sqrt(np.diag(pose.covariance)[3:])
    assert (np.abs(error) < 4 * spread).all()
    assert pose.reprojection_px < 1
    assert 0.3 < pose.confidence <= 1
    assert pose.keypoints_px == pytest.approx(camera.project(POINTS @ R.T + t), abs=1.5)
    assert pose.ms.crop > 0 and pose.ms.network > 0 and pose.ms.pnp > 0
    assert pose.package == estimator.manifest.identity


def test_all_forms_of_a_region_are_the_same(estimator: PoseEstimator, scene) -> None:
    frame, R, t = scene
    box = box_of(R, t)
    for roi in (box, list(box), np.array(box), {1: box}, [(1, box)], iter([(1, list(box))])):
        (pose,) = estimator.estimate(frame, CAMERA.K, roi)
        assert pose.roi == pytest.approx(box)
        assert pose.ok
    assert estimator.estimate(frame, CAMERA, []) == []
    assert len(estimator.estimate(frame, CAMERA, [(1, box), (1, box)])) == 2


def test_frames_that_lie_oddly_in_memory_are_the_same(estimator: PoseEstimator, scene) -> None:
    frame, R, t = scene
    (plain,) = estimator.estimate(frame, CAMERA, box_of(R, t))
    flipped = np.ascontiguousarray(frame[:, ::-1])[:, ::-1]
    fortran = np.asfortranarray(frame)
    frozen = frame.copy()
    frozen.flags.writeable = False
    for other in (flipped, fortran, frozen):
        (pose,) = estimator.estimate(other, CAMERA, box_of(R, t))
        assert pose.t_mm == pytest.approx(plain.t_mm)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda f: f[..., 0], "grey"),
        (lambda f: f[..., :1], "grey"),
        (lambda f: np.dstack([f, f[..., 0]]), "four channels"),
        (lambda f: f[:0], "empty"),
        (lambda f: f.astype(np.float32), "float32"),
        (lambda f: f.astype(np.uint16), "uint16"),
        (lambda f: f[..., :2], r"uint8 \(480, 640, 2\)"),
        (lambda f: f[None], r"\(1, 480, 640, 3\)"),
        (lambda f: "frame.png", "not str"),
        (lambda f: None, "not NoneType"),
    ],
)
def test_a_frame_that_is_no_rgb_picture_is_an_error(
    estimator: PoseEstimator, scene, make, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        estimator.estimate(make(scene[0]), CAMERA, (1, 2, 30, 40))


def test_a_camera_of_another_frame_is_an_error(estimator: PoseEstimator, scene) -> None:
    with pytest.raises(UsageError, match="640 x 480"):
        estimator.estimate(scene[0][::2, ::2], CAMERA, (1, 2, 30, 40))
    with pytest.raises(UsageError, match="resolution"):
        estimator.estimate(scene[0][::2, ::2], CAMERA.K, (1, 2, 30, 40))


def test_a_missing_region_is_an_error_that_names_the_cure(estimator: PoseEstimator, scene) -> None:
    with pytest.raises(UsageError, match="no detector.*roi"):
        estimator.estimate(scene[0], CAMERA)


@pytest.mark.parametrize(
    ("roi", "problem"),
    [
        ({7: (1, 2, 30, 40)}, "object 7 is not in"),
        ({"1": (1, 2, 30, 40)}, "object '1' is not in"),
        ([([1], (1, 2, 30, 40))], "object \\[1\\]"),
        (5, "roi must be"),
        ([(1,)], "roi must be"),
        ("box", "roi must be"),
    ],
)
def test_a_region_of_no_form_is_an_error(estimator: PoseEstimator, scene, roi, problem) -> None:
    with pytest.raises(UsageError, match=problem):
        estimator.estimate(scene[0], CAMERA, roi)
    with pytest.raises(UsageError, match="object 9"):
        estimator.estimate(scene[0], CAMERA, (1, 2, 30, 40), objects=[9])


def _refused(pose: Pose) -> str:
    assert not pose.ok
    assert pose.R is pose.t_mm is pose.covariance is None
    assert pose.detail
    assert 0 <= pose.confidence <= 1
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(pose)
    return str(pose.reason)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((np.nan, 0, 10, 10), "bad_roi"),
        ((0, 0, np.inf, 10), "bad_roi"),
        ((10, 10, 0, 10), "bad_roi"),
        ((10, 10, -5, 10), "bad_roi"),
        ((10, 10, 0.1, 0.1), "bad_roi"),
        ((-500, 10, 100, 100), "roi_outside"),
        ((635, 475, 100, 100), "roi_outside"),
        ((-1e8, -1e8, 2e8, 2e8), "roi_outside"),
        ((200, 20, 60, 60), "mask_too_small"),
    ],
)
def test_a_region_with_nothing_in_it_is_refused(
    estimator: PoseEstimator, scene, box, reason: str
) -> None:
    (pose,) = estimator.estimate(scene[0], CAMERA, {1: box})
    assert _refused(pose) == reason


def test_one_bad_region_does_not_touch_the_others(estimator: PoseEstimator, scene) -> None:
    frame, R, t = scene
    boxes = [(1, (10, 10, 0, 10)), (1, box_of(R, t)), (1, "box"), (1, (-500, 1, 9, 9))]
    poses = estimator.estimate(frame, CAMERA, boxes)
    assert [pose.reason for pose in poses] == ["bad_roi", None, "bad_roi", "roi_outside"]


def test_a_frame_of_noise_gives_no_pose(estimator: PoseEstimator) -> None:
    random = np.random.default_rng(0)
    for _ in range(10):
        frame = random.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        (pose,) = estimator.estimate(frame, CAMERA, (200, 150, 150, 150))
        assert _refused(pose)


def test_discs_in_the_wrong_places_are_refused(estimator: PoseEstimator, scene) -> None:
    _, R, t = scene
    frame = draw_frame(R, t, order=[3, 0, 7, 1, 8, 5, 2, 6, 4])
    (pose,) = estimator.estimate(frame, CAMERA, box_of(R, t))
    assert _refused(pose) == "inconsistent_keypoints"
    assert pose.keypoints_px is not None


@pytest.mark.parametrize(
    ("gates", "reason"),
    [
        ({"near_mm": 700.0}, "out_of_range"),
        ({"far_mm": 500.0}, "out_of_range"),
        ({"min_confidence": 0.99}, "low_confidence"),
        ({"max_reprojection_px": 0.01}, "inconsistent_keypoints"),
        ({"max_mahalanobis": 0.01}, "inconsistent_keypoints"),
        ({"min_mask_px": 20000.0}, "mask_too_small"),
    ],
)
def test_every_gate_refuses(package_at, scene, gates, reason: str) -> None:
    frame, R, t = scene
    estimator = PoseEstimator(package_at(gates=gates), threads=1)
    (pose,) = estimator.estimate(frame, CAMERA, box_of(R, t))
    assert _refused(pose) == reason


def test_outputs_that_are_not_finite_are_refused(package_at, scene) -> None:
    frame, R, t = scene
    package = package_at()
    estimator = PoseEstimator(package, threads=1)
    runner = estimator.network(1)
    answer = runner.run(np.zeros((1, SIZE, SIZE, 3), dtype=np.uint8), [1])
    for name in answer:
        broken = {key: value.copy() for key, value in answer.items()}
        broken[name].ravel()[0] = np.nan

        class Session:
            def run(self, names, inputs, broken=broken):
                return [broken[n] for n in names]

        object.__setattr__(runner, "session", Session())
        (pose,) = estimator.estimate(frame, CAMERA, box_of(R, t))
        assert _refused(pose) == "non_finite"

    class Failing:
        def run(self, names, inputs):
            raise RuntimeError("out of memory")

    object.__setattr__(runner, "session", Failing())
    (pose,) = estimator.estimate(frame, CAMERA, box_of(R, t))
    assert _refused(pose) == "inference_failed"
    assert "out of memory" in pose.detail


def test_several_objects_in_one_network(package_at, scene) -> None:
    frame, R, t = scene
    estimator = PoseEstimator(package_at(objects=(1, 5)), threads=1)
    with pytest.raises(UsageError, match="2 objects"):
        estimator.estimate(frame, CAMERA, box_of(R, t))
    poses = estimator.estimate(frame, CAMERA, {5: box_of(R, t), 1: box_of(R, t)})
    assert [(p.object_id, p.ok) for p in poses] == [(5, True), (1, True)]
    (only,) = estimator.estimate(frame, CAMERA, box_of(R, t), objects=[5])
    assert only.object_id == 5
    left = estimator.estimate(frame, CAMERA, {5: box_of(R, t), 1: box_of(R, t)}, objects=[1])
    assert [p.object_id for p in left] == [1]


def test_a_direct_head(package_at) -> None:
    R, t = pose_of((0.5, -0.4, 0.2), (90.0, -60.0, 620.0))
    roi = RoiCrop.from_box(box_of(R, t), 1.5, SIZE)
    ray = t / t[2]
    focal = np.sqrt(CAMERA.K[0, 0] * CAMERA.K[1, 1])
    network = direct_network(
        ray_rotation(ray).T @ R,
        tuple(roi.to_crop(CAMERA.project(t))[0]),
        float(np.log(t[2] / focal * roi.scale)),
    )
    estimator = PoseEstimator(package_at(network, head="direct"), threads=1)
    (pose,) = estimator.estimate(draw_frame(R, t), CAMERA, box_of(R, t))
    assert pose.R == pytest.approx(R, abs=1e-5)
    assert pose.t_mm == pytest.approx(t, rel=1e-5)
    assert pose.covariance is None and pose.reprojection_px is None
    (pose,) = estimator.estimate(np.zeros((480, 640, 3), np.uint8), CAMERA, (300, 200, 60, 60))
    assert _refused(pose) == "mask_too_small"


@pytest.mark.parametrize(
    ("rotation", "centre", "log_scale", "reason"),
    [
        (np.eye(3) * 0.5, (64.0, 64.0), 0.0, "degenerate"),
        (np.diag([1.0, 1, -1]), (64.0, 64.0), 0.0, "degenerate"),
        (np.eye(3), (64.0, 64.0), 90.0, "out_of_range"),
        (np.eye(3), (64.0, 64.0), -9.0, "behind_camera"),
        (np.eye(3), (64.0, 64.0), 6.0, "out_of_range"),
        (np.eye(3), (900.0, 64.0), 0.3, "outside_roi"),
    ],
)
def test_a_direct_head_that_is_wrong_is_refused(
    package_at, scene, rotation, centre, log_scale, reason
) -> None:
    frame, R, t = scene
    network = direct_network(rotation, centre, log_scale)
    estimator = PoseEstimator(package_at(network, head="direct"), threads=1)
    (pose,) = estimator.estimate(frame, CAMERA, box_of(R, t))
    assert _refused(pose) == reason


def test_the_detector_says_where_to_look(with_detector: PoseEstimator, scene) -> None:
    frame, R, t = scene
    (pose,) = with_detector.estimate(frame, CAMERA)
    assert pose.ok and pose.ms.detect > 0 and pose.score > 0.2
    assert np.linalg.norm(pose.t_mm - t) < 0.02 * t[2]
    black = np.zeros_like(frame)
    assert with_detector.estimate(black, CAMERA) == []
    (pose,) = with_detector.estimate(black, CAMERA, objects=[1])
    assert _refused(pose) == "not_detected"


def test_a_network_that_computes_something_else_is_refused(package_at, tmp_path) -> None:
    fields, files = pose_parts()
    files["pose.onnx"] = vote_network(covariance=0.5)
    from edgesafe.runtime import write_pose_package

    package = write_pose_package(tmp_path / "other", fields, files)
    with pytest.raises(PackageError, match=r"covariance\[0\] is 0.5.*computes something else"):
        PoseEstimator(package, threads=1)
    with pytest.raises(UsageError, match="backend 'abacus'"):
        PoseEstimator(package, backend="abacus")


def test_a_pose_is_either_given_or_refused() -> None:
    with pytest.raises(ValueError, match="or else a reason"):
        Pose(1, "block")
    with pytest.raises(ValueError, match="or else a reason"):
        Pose(1, "block", R=np.eye(3), t_mm=np.zeros(3), reason="low_confidence")
    with pytest.raises(ValueError, match="or else a reason"):
        Pose(1, "block", R=np.eye(3))
