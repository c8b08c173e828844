"""Cameras that can be, and those that cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgesafe.runtime import Camera, SourceError, UsageError
from edgesafe.runtime.pose.intrinsics import as_camera

K = np.array([[572.4, 0, 325.3], [0, 573.6, 242.0], [0, 0, 1.0]])
FIELDS = {"fx": 572.4, "fy": 573.6, "cx": 325.3, "cy": 242.0, "width": 640, "height": 480}


def _changed(row: int, column: int, value: float) -> np.ndarray:
    matrix = K.copy()
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "problem"),
    [
        (_changed(0, 2, np.nan), "not finite"),
        (_changed(0, 0, np.inf), "not finite"),
        (_changed(1, 1, 0.0), "positive"),
        (_changed(0, 0, -500.0), "positive"),
        (_changed(0, 1, 5.0), "skew"),
        (K.T, "transposed"),
        (K[:2], "shape"),
        (K.ravel(), "shape"),
        ("K.json", "numbers"),
        ([[1, 2], [3]], "numbers"),
        (None, "shape"),
    ],
)
def test_a_matrix_that_is_none_is_refused(matrix: object, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        as_camera(matrix, 640, 480)  # type: ignore[arg-type]


def test_a_bare_matrix_must_look_like_one_of_the_frame() -> None:
    assert as_camera(K.tolist(), 640, 480).width == 640
    for width, height in ((1280, 960), (320, 240), (1920, 480)):
        with pytest.raises(UsageError, match="another resolution.*Camera"):
            as_camera(K, width, height)
    with pytest.raises(UsageError, match="640 x 480.*1280 x 960"):
        as_camera(Camera(K, 640, 480), 1280, 960)
    off_axis = Camera(_changed(0, 2, 30.0), 640, 480)
    assert as_camera(off_axis, 640, 480) is off_axis


def test_a_file_and_back(tmp_path: Path) -> None:
    file = tmp_path / "K.json"
    file.write_text(json.dumps({**FIELDS, "depth_scale": 0.5, "dist": [0.1, 0, 0, 0], "note": 1}))
    camera = Camera.from_json(file)
    assert pytest.approx(K) == camera.K
    assert (camera.width, camera.height, camera.depth_scale) == (640, 480, 0.5)
    assert camera.dist == (0.1, 0, 0, 0)
    again = Camera.from_dict(camera.to_dict())
    assert again.to_dict() == camera.to_dict()
    with pytest.raises(ValueError, match="read-only"):
        camera.K[0, 0] = 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"fx": None}, "lacks fx"),
        ({"fx": "572"}, "fx must be a number"),
        ({"fx": True}, "fx must be a number"),
        ({"cy": float("nan")}, "cy must be finite"),
        ({"width": 640.5}, "width"),
        ({"height": 0}, "height"),
        ({"dist": [0.1, 0.2]}, "coefficients"),
        ({"dist": "none"}, "dist"),
        ({"dist": [0, 0, 0, float("inf")]}, "dist must be finite"),
        ({"depth_scale": 0}, "depth_scale"),
    ],
)
def test_a_file_with_a_wrong_value_is_refused(
    tmp_path: Path, change: dict[str, object], problem: str
) -> None:
    file = tmp_path / "K.json"
    file.write_text(json.dumps({**FIELDS, **change}))
    with pytest.raises(UsageError, match=f"K.json.*{problem}"):
        Camera.from_json(file)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\x00\xff"])
def test_a_file_that_is_no_camera_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "K.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="K.json"):
        Camera.from_json(file)
    with pytest.raises(SourceError, match="No such file"):
        Camera.from_json(tmp_path / "none.json")


def test_projection_and_normalisation_are_inverse() -> None:
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (30, 3)) + [0, 0, 1.5]
    for dist in ((), (-0.2, 0.05, 0.001, -0.001)):
        camera = Camera(K, 640, 480, dist)
        rays = camera.normalise(camera.project(points))
        assert rays == pytest.approx(points[:, :2] / points[:, 2:], abs=1e-5)
    assert np.isnan(Camera(K, 640, 480, (-0.6, 0.1, 0, 0)).normalise([[5000.0, 5000.0]])).all()
