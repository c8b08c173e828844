"""The direct head's decode, against projections of known poses."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.runtime.gate import Refused
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.direct import decode_direct, ray_rotation
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.pnp import rotation_exp

from .conftest import CAMERA

LENS = Camera(CAMERA.K, 640, 480, (-0.2, 0.05, 0.001, -0.001))
ROI = RoiCrop((333.0, 201.0), 180.0, 128)


def test_the_ray_rotation_turns_z_onto_the_ray_the_short_way() -> None:
    for ray in np.random.default_rng(0).normal(size=(20, 3)):
        R = ray_rotation(ray)
        unit = ray / np.linalg.norm(ray)
        assert R[:, 2] == pytest.approx(unit)
        assert pytest.approx(np.eye(3), abs=1e-9) == R @ R.T
        assert np.linalg.det(R) == pytest.approx(1)
        axis = np.cross([0, 0, 1], unit)
        assert R @ axis == pytest.approx(axis)  # no turn about the ray itself
    with pytest.raises(ValueError, match="away"):
        ray_rotation(np.array([0.0, 0.0, -1.0]))


@pytest.mark.parametrize("camera", [CAMERA, LENS], ids=["pinhole", "lens"])
def test_a_known_pose_comes_back(camera: Camera) -> None:
    random = np.random.default_rng(1)
    focal = np.sqrt(camera.K[0, 0] * camera.K[1, 1])
    for _ in range(20):
        R = rotation_exp(random.normal(size=3))
        t = np.array([random.uniform(-90, 90), random.uniform(-90, 90), random.uniform(300, 2000)])
        found_R, found_t = decode_direct(
            ray_rotation(t).T @ R + random.normal(0, 1e-6, (3, 3)),
            ROI.to_crop(camera.project(t))[0],
            float(np.log(t[2] * ROI.scale / focal)),
            ROI,
            camera,
        )
        assert found_R == pytest.approx(R, abs=1e-4)
        assert found_t == pytest.approx(t, rel=1e-4, abs=1e-2)
        assert np.linalg.det(found_R) == pytest.approx(1)


def test_what_is_not_finite_is_refused() -> None:
    for place in range(3):
        values = [np.eye(3), np.array([64.0, 64.0]), 0.0]
        values[place] = values[place] * np.nan
        with pytest.raises(Refused, match="finite"):
            decode_direct(*values, ROI, CAMERA)
    far = RoiCrop((9000.0, 9000.0), 10.0, 128)
    with pytest.raises(Refused, match="lens"):
        decode_direct(np.eye(3), np.array([0.0, 0.0]), 0.0, far, LENS)
