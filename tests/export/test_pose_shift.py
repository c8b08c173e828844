"""How far a precision moves poses: against poses that are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgesafe.export.effect import check_effect
from edgesafe.export.pose_shift import pose_shift
from edgesafe.runtime.manifest_pose import PoseNetwork, PoseObject
from edgesafe.runtime.package import default_model_path, read_pose_package

SIZE, DIAMETERS = 96, 8.0


@pytest.fixture(scope="module")
def known() -> tuple[PoseNetwork, PoseObject]:
    manifest = read_pose_package(default_model_path("pose-lmo")).manifest
    return manifest.networks[0], manifest.objects[0]


def seen(spec: PoseNetwork, entry: PoseObject, z: float, rows: int = 1) -> dict[str, np.ndarray]:
    """Outputs of a network that sees the object z diameters away, straight ahead."""
    focal = spec.size * DIAMETERS / spec.roi_scale
    points = entry.keypoints + [0, 0, z * entry.diameter]
    pixels = focal * points[:, :2] / points[:, 2:] + (spec.size - 1) / 2
    return {
        "keypoints": np.tile(pixels, (rows, 1, 1)).astype(np.float32),
        "covariance": np.tile([1.0, 0, 1.0], (rows, len(points), 1)).astype(np.float32),
        "mask": np.ones((rows, 1, 12, 12), np.float32),
    }


def test_a_pose_further_away_is_as_far_as_it_is(known: tuple[PoseNetwork, PoseObject]) -> None:
    spec, entry = known
    truth, found = seen(spec, entry, 8.0), seen(spec, entry, 8.25)
    assert pose_shift(truth, truth, spec, [entry])["add_mean"] == pytest.approx(0, abs=1e-4)
    effect = pose_shift(found, truth, spec, [entry])
    assert effect["add_median"] == effect["add_mean"] == pytest.approx(0.25, abs=2e-3)
    assert "add_median is 0.25" in (check_effect(effect | {"n": 1}, "int8", "roi.onnx") or "")


def test_symmetric_objects_may_be_turned(known: tuple[PoseNetwork, PoseObject]) -> None:
    spec, entry = known
    half = np.diag([-1.0, -1.0, 1.0, 1.0])
    both = np.concatenate([entry.hull, entry.hull @ half[:3, :3].T])
    same = dataclasses.replace(entry, hull=both, symmetries_discrete=half[None])
    turned = dataclasses.replace(same, keypoints=same.keypoints @ half[:3, :3].T)
    found, truth = seen(spec, turned, 8.0), seen(spec, same, 8.0)
    assert pose_shift(found, truth, spec, [same])["add_mean"] == pytest.approx(0, abs=1e-3)
    unlike = dataclasses.replace(same, symmetries_discrete=np.zeros((0, 4, 4)))
    assert pose_shift(found, truth, spec, [unlike])["add_mean"] > 0.2


def test_a_lost_pose_counts_and_one_that_never_was_does_not(
    known: tuple[PoseNetwork, PoseObject],
) -> None:
    spec, entry = known
    truth = seen(spec, entry, 8.0, rows=3)
    truth["keypoints"][2] = np.nan
    found = {name: value.copy() for name, value in truth.items()}
    found["keypoints"][1] = np.nan
    effect = pose_shift(found, truth, spec, [entry] * 3)
    assert effect["pose_lost"] == 0.5 and effect["add_mean"] == pytest.approx(0, abs=1e-4)
    assert "pose_lost is 0.5" in (check_effect(effect | {"n": 3}, "int8", "roi.onnx") or "")
    never = {name: value[2:] for name, value in truth.items()}
    assert pose_shift(never, never, spec, [entry]) == {}
