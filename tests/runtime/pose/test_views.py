"""Several looks at a region are brought back to the region's own crop and averaged."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.runtime import PoseEstimator
from edgesafe.runtime.package import write_pose_package
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.views import COUNTS, merge_views, views_of

from .conftest import CAMERA, box_of, pose_parts

SIZE = 96
ROI = RoiCrop((200.25, 150.5), 130.0, SIZE)


@pytest.mark.parametrize("count", COUNTS)
def test_the_region_itself_comes_first_and_the_looks_lie_around_it(count: int) -> None:
    views = views_of(ROI, count)
    assert len(views) == count and views[0] == ROI
    assert np.mean([view.centre for view in views], axis=0) == pytest.approx(ROI.centre)
    assert np.mean([view.side for view in views]) == pytest.approx(ROI.side)


@pytest.mark.parametrize("count", COUNTS)
def test_a_point_seen_in_every_look_comes_back_to_its_place(count: int) -> None:
    random = np.random.default_rng(1)
    points = random.uniform(150, 250, (2, 4, 2))  # of two regions, frame pixels
    spread = random.uniform(1, 9, (2, 4, 3))
    views = views_of(ROI, count)
    outputs = {
        "keypoints": np.concatenate([[v.to_crop(p) for v in views] for p in points]),
        "covariance": np.concatenate([[s / v.scale**2 for v in views] for s in spread]),
        "mask": np.repeat(np.arange(2 * count, dtype=np.float32), 4).reshape(-1, 1, 2, 2),
    }
    found = merge_views({k: v.astype(np.float32) for k, v in outputs.items()}, SIZE, count)
    np.testing.assert_allclose(ROI.to_frame(found["keypoints"]), points, atol=1e-3)
    np.testing.assert_allclose(found["covariance"] * ROI.scale**2, spread, rtol=1e-5)
    assert found["mask"][:, 0, 0, 0].tolist() == [0, count]


def test_the_mean_of_the_looks_is_taken() -> None:
    keypoints = np.zeros((5, 1, 2), dtype=np.float32)
    middle = SIZE / 2 - 0.5
    keypoints[:] = middle
    keypoints[0] += 5  # the region's own look errs by five pixels
    found = merge_views(
        {
            "keypoints": keypoints,
            "covariance": np.zeros((5, 1, 3), dtype=np.float32),
            "mask": np.zeros((5, 1, 2, 2), dtype=np.float32),
        },
        SIZE,
        5,
    )
    assert found["keypoints"][0, 0] == pytest.approx([middle + 1, middle + 1], abs=1e-4)


def test_five_looks_find_the_pose_too(tmp_path, scene) -> None:
    frame, R, t = scene
    fields, files = pose_parts()
    fields["networks"][0]["views"] = 5
    package = write_pose_package(tmp_path / "five", fields, files)
    pose = PoseEstimator.load(package).estimate(frame, CAMERA, box_of(R, t, CAMERA))[0]
    assert pose.reason is None, pose.detail
    assert np.degrees(np.arccos(np.clip((np.trace(pose.R.T @ R) - 1) / 2, -1, 1))) < 3
    assert np.linalg.norm(pose.t_mm - t) < 0.03 * t[2]
