"""A pose that is off is moved onto the object that is to be seen."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from edgesafe.calib.render.raster import rasterise
from edgesafe.calib.render.shapes import box
from edgesafe.calib.render.silhouettes import draw_silhouettes
from edgesafe.runtime import Camera, PackageError, PoseEstimator, PoseTracker
from edgesafe.runtime.package import write_pose_package
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.pnp import rotation_exp
from edgesafe.runtime.pose.refine import refine_pose
from edgesafe.runtime.pose.silhouettes import Silhouettes, pack_silhouettes, parse_silhouettes

from .conftest import (
    CAMERA,
    CORNERS,
    SIZE,
    angle,
    box_of,
    direct_network,
    draw_frame,
    pose_of,
    pose_parts,
)

BRICK = box([80, 96, 64])
DIAMETER = float(np.linalg.norm([80, 96, 64]))
COVARIANCE = np.diag([0.01, 0.01, 0.01, 4.0, 4.0, 100.0])
TURN, PLACE = rotation_exp(np.array([0.5, -0.4, 0.2])), np.array([30.0, -20.0, 620.0])


@pytest.fixture(scope="module")
def drawn() -> bytes:
    return pack_silhouettes(draw_silhouettes(BRICK, np.zeros(3), DIAMETER, views=300, points=72))


@pytest.fixture(scope="module")
def outlines(drawn: bytes) -> Silhouettes:
    return parse_silhouettes(drawn, "file", np.zeros(3))


def _frame(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A brick of one kind of colours before another kind, both of them speckled."""
    random = np.random.default_rng(0)
    frame = random.normal([60, 90, 60], 25, (480, 640, 3))
    buffers = rasterise(BRICK, R, t, CAMERA.K, 640, 480)
    x, y, width, height = buffers.window
    inside = np.zeros((480, 640), bool)
    inside[y : y + height, x : x + width] = buffers.mask
    shade = 1 - 0.3 * (np.indices((480, 640))[1][inside] % 64 > 32)
    frame[inside] = random.normal([190, 80, 60], 25, (inside.sum(), 3)) * shade[:, None]
    return frame.clip(0, 255).astype(np.uint8)


def _seen(R: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, RoiCrop]:
    """A coarse mask, as a network has it, of a region around the object."""
    roi = RoiCrop.from_box(box_of(R, t), 1.5, SIZE)
    y, x = np.mgrid[:12, :12]
    return np.exp(-((x - 5.5) ** 2 + (y - 5.5) ** 2) / 16).astype(np.float32), roi


def _refined(frame, outlines, R, t, camera=CAMERA, depth_sd=0.3):
    mask, roi = _seen(TURN, PLACE)
    return refine_pose(frame, camera, outlines, R, t, COVARIANCE, mask, roi, depth_sd=depth_sd)


@pytest.mark.parametrize("share", [0.88, 0.95, 1.0, 1.06, 1.15])
def test_a_depth_that_is_off_is_mended(outlines: Silhouettes, share: float) -> None:
    turn = rotation_exp(np.array([0.06, -0.04, 0.05])) @ TURN
    found = _refined(_frame(TURN, PLACE), outlines, turn, PLACE * share + [3, -2, 0])
    assert found is not None
    assert found.t_mm[2] == pytest.approx(PLACE[2], rel=0.012)
    assert found.t_mm[:2] == pytest.approx(PLACE[:2], abs=1.5)
    assert angle(found.R, TURN) < angle(turn, TURN) + 0.5
    assert found.R @ found.R.T == pytest.approx(np.eye(3), abs=1e-9)


def test_the_covariance_says_how_well_it_is_known(outlines: Silhouettes) -> None:
    found = _refined(_frame(TURN, PLACE), outlines, TURN, PLACE * 1.05)
    assert found is not None
    assert found.covariance == pytest.approx(found.covariance.T)
    assert np.linalg.eigvalsh(found.covariance).min() > 0
    depth = np.sqrt(found.covariance[5, 5])
    assert 1 < depth < 0.06 * PLACE[2]
    assert abs(found.t_mm[2] - PLACE[2]) < 4 * depth


def test_a_depth_that_is_known_is_not_left(outlines: Silhouettes) -> None:
    sure = replace_depth(COVARIANCE, 1.0)
    mask, roi = _seen(TURN, PLACE)
    frame, start = _frame(TURN, PLACE), PLACE * 1.05
    held = refine_pose(frame, CAMERA, outlines, TURN, start, sure, mask, roi, depth_sd=0.0)
    free = _refined(frame, outlines, TURN, start)
    assert held is not None and free is not None
    assert abs(held.t_mm[2] - start[2]) < abs(free.t_mm[2] - start[2]) / 2


def replace_depth(covariance: np.ndarray, variance: float) -> np.ndarray:
    changed = covariance.copy()
    changed[5, 5] = variance
    return changed


def test_a_lens_is_taken_into_account(outlines: Silhouettes) -> None:
    import cv2

    place = np.array([150.0, 100.0, 620.0])
    lens = Camera(CAMERA.K, 640, 480, (-0.25, 0.05, 0.0, 0.0))
    y, x = np.mgrid[:480, :640].astype(np.float64)
    rays = lens.normalise(np.stack([x.ravel(), y.ravel()], axis=1))
    straight = (rays * CAMERA.K[[0, 1], [0, 1]] + CAMERA.K[:2, 2]).astype(np.float32)
    mapped = straight.reshape(480, 640, 2)
    frame = cv2.remap(_frame(TURN, place), mapped[..., 0], mapped[..., 1], cv2.INTER_LINEAR)
    roi = RoiCrop.from_box(box_of(TURN, place, lens), 1.5, SIZE)
    mask, _ = _seen(TURN, PLACE)
    found = refine_pose(
        frame, lens, outlines, TURN, place * 1.08, COVARIANCE, mask, roi, depth_sd=0.3
    )
    assert found is not None
    assert found.t_mm == pytest.approx(place, rel=0.015)


@pytest.mark.parametrize(
    "place",
    [(5000.0, 0.0, 620.0), (0.0, 0.0, -620.0), (0.0, 0.0, 40.0), (np.nan, 0.0, 620.0)],
    ids=["far outside", "behind", "around the camera", "not a number"],
)
def test_where_there_is_nothing_to_fit_there_is_no_answer(outlines, place) -> None:
    assert _refined(_frame(TURN, PLACE), outlines, TURN, np.array(place)) is None


def test_a_frame_of_one_colour_says_nothing(outlines: Silhouettes) -> None:
    found = _refined(np.full((480, 640, 3), 90, np.uint8), outlines, TURN, PLACE)
    assert found is not None
    assert found.t_mm == pytest.approx(PLACE, rel=1e-3, abs=0.5)
    before = np.sqrt(4 * COVARIANCE[5, 5] + (0.3 * PLACE[2]) ** 2)
    assert np.sqrt(found.covariance[5, 5]) > 0.9 * before


def test_an_outline_that_the_keypoints_contradict_is_not_taken(outlines: Silhouettes) -> None:
    mask, roi = _seen(TURN, PLACE)
    start = PLACE * 1.1
    sure = np.diag([1e-4, 1e-4, 1e-4, 0.01, 0.01, 0.01])
    found = refine_pose(
        _frame(TURN, PLACE), CAMERA, outlines, TURN, start, sure, mask, roi, depth_sd=0.0
    )
    assert found is None or abs(found.t_mm[2] - start[2]) < 4.5 * 2 * 0.1


@pytest.mark.parametrize("place", [(-330.0, 0.0, 620.0), (0.0, -255.0, 620.0)], ids=["left", "top"])
def test_an_object_at_the_border_is_fitted_where_it_is_seen(outlines: Silhouettes, place) -> None:
    t = np.array(place)
    roi = RoiCrop.from_box(box_of(TURN, t), 1.5, SIZE)
    mask, _ = _seen(TURN, PLACE)
    found = refine_pose(
        _frame(TURN, t), CAMERA, outlines, TURN, t * 1.08, COVARIANCE, mask, roi, depth_sd=0.3
    )
    assert found is not None
    assert abs(found.t_mm[2] - t[2]) < 0.04 * t[2]
    assert abs(found.t_mm[2] - t[2]) < 4 * np.sqrt(found.covariance[5, 5])


@pytest.fixture(scope="module")
def with_outlines(drawn: bytes, tmp_path_factory: pytest.TempPathFactory) -> PoseEstimator:
    fields, files = pose_parts()
    fields["objects"][0]["silhouettes"] = "silhouettes-000001.npy"
    files["silhouettes-000001.npy"] = drawn
    return PoseEstimator.load(
        write_pose_package(tmp_path_factory.mktemp("pkg") / "pkg", fields, files), threads=1
    )


def test_the_estimator_refines_where_the_package_has_outlines(with_outlines) -> None:
    R, t = pose_of((0.5, -0.4, 0.2), (30.0, -20.0, 620.0))
    frame = draw_frame(R, t)
    frame[(frame == 0).all(axis=-1)] = (90, 140, 60)
    plain = with_outlines.estimate(frame, CAMERA, box_of(R, t), refine=False)[0]
    (pose,) = with_outlines.estimate(frame, CAMERA, box_of(R, t))
    assert not plain.refined and plain.ms.refine == 0
    assert pose.ok and pose.refined and pose.ms.refine > 0
    assert (pose.confidence, pose.reprojection_px) == (plain.confidence, plain.reprojection_px)
    assert np.linalg.norm(pose.t_mm - t) < 0.02 * t[2]
    assert pose.covariance[5, 5] < plain.covariance[5, 5] * 4 + (0.3 * t[2]) ** 2
    assert with_outlines.silhouettes(1) is not None


def test_a_package_without_outlines_gives_the_pose_of_the_keypoints(pose_package) -> None:
    estimator = PoseEstimator.load(pose_package, threads=1)
    R, t = pose_of((0.5, -0.4, 0.2), (30.0, -20.0, 620.0))
    (pose,) = estimator.estimate(draw_frame(R, t), CAMERA, box_of(R, t))
    assert pose.ok and not pose.refined
    assert estimator.silhouettes(1) is None


def test_a_refined_pose_that_lies_nowhere_is_not_taken(with_outlines, monkeypatch) -> None:
    R, t = pose_of((0.5, -0.4, 0.2), (30.0, -20.0, 620.0))
    frame = draw_frame(R, t)
    plain = with_outlines.estimate(frame, CAMERA, box_of(R, t), refine=False)[0]
    module = "edgesafe.runtime.pose.estimator.refine_pose"

    def far(*args, **options):
        found = refine_pose(*args, **options)
        return replace(found, t_mm=found.t_mm + [0, 0, 1e5]) if found else None

    monkeypatch.setattr(module, far)
    (pose,) = with_outlines.estimate(frame, CAMERA, box_of(R, t))
    assert pose.ok and not pose.refined
    assert np.array_equal(pose.t_mm, plain.t_mm)


def test_the_hull_of_the_fake_object_is_the_brick() -> None:
    assert np.ptp(CORNERS, axis=0).tolist() == [80, 96, 64]


def test_outlines_of_something_else_are_refused(drawn: bytes, tmp_path) -> None:
    fields, files = pose_parts()
    fields["objects"][0]["silhouettes"] = "silhouettes-000001.npy"
    views = np.load(io.BytesIO(drawn))
    views[..., 0] *= 2
    files["silhouettes-000001.npy"] = pack_silhouettes(views)
    package = write_pose_package(tmp_path / "pkg", fields, files)
    with pytest.raises(PackageError, match="reaches beyond the box of block1"):
        PoseEstimator.load(package, threads=1)


def test_a_direct_head_is_not_refined(drawn: bytes, tmp_path) -> None:
    R, t = pose_of((0.5, -0.4, 0.2), (30.0, -20.0, 620.0))
    fields, files = pose_parts(direct_network(R, (64.0, 64.0), 0.3), head="direct")
    fields["objects"][0]["silhouettes"] = "silhouettes-000001.npy"
    files["silhouettes-000001.npy"] = drawn
    estimator = PoseEstimator.load(write_pose_package(tmp_path / "pkg", fields, files), threads=1)
    (pose,) = estimator.estimate(draw_frame(R, t), CAMERA, box_of(R, t))
    assert pose.ok and not pose.refined


def test_a_tracker_refines_or_not(with_outlines) -> None:
    R, t = pose_of((0.5, -0.4, 0.2), (30.0, -20.0, 620.0))
    frame = draw_frame(R, t)
    frame[(frame == 0).all(axis=-1)] = (90, 140, 60)
    for refine in (True, False):
        tracker = PoseTracker(with_outlines, refine=refine)
        for roi in (box_of(R, t), None):
            (pose,) = tracker.update(frame, CAMERA, roi)
            assert pose.ok and pose.refined == refine
