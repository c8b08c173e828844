"""Keypoints, hull and the description of an object."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgesafe.calib.bop.models_info import ModelInfo
from edgesafe.runtime.errors import CheckpointError, DataError
from edgesafe.train.pose.objects import (
    MAX_HULL,
    KnownObject,
    farthest_points,
    hull_points,
    surface_points,
)

from .conftest import corners, cube_mesh


def sphere(count: int = 3000) -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(count, 3))
    return 50 * points / np.linalg.norm(points, axis=1, keepdims=True)


def test_farthest_points_are_spread_and_repeatable() -> None:
    points = sphere()
    chosen = farthest_points(points, 8, np.zeros(3))
    np.testing.assert_array_equal(chosen, farthest_points(points, 8, np.zeros(3)))
    apart = np.linalg.norm(chosen[:, None] - chosen[None], axis=-1) + np.eye(8) * 1e3
    # Eight points on a sphere of radius 50 can be 60.7 apart at most (the square antiprism).
    assert apart.min() > 45


def test_a_box_gives_its_corners() -> None:
    mesh = cube_mesh(1)
    chosen = farthest_points(surface_points(mesh.vertices, mesh.faces, 8), 8, np.zeros(3))
    assert {tuple(p) for p in chosen} == {tuple(p) for p in corners(1)}


def test_hull_is_small_and_reaches_as_far() -> None:
    points = sphere()
    hull = hull_points(points)
    assert len(hull) <= MAX_HULL
    directions = sphere(50) / 50
    assert (hull @ directions.T).max(axis=0).min() > 0.9 * 50
    assert len(hull_points(corners(5))) == 8


def test_few_vertices_are_filled_up() -> None:
    mesh = cube_mesh(5)
    points = surface_points(mesh.vertices, mesh.faces, 64)
    assert len(points) >= 64
    np.testing.assert_allclose(np.abs(points).max(axis=1), 20)  # all on a face


@pytest.mark.parametrize("vertices", [np.zeros((5, 3)), np.arange(12.0).reshape(4, 3)])
def test_a_mesh_without_a_surface_is_refused(vertices: np.ndarray) -> None:
    with pytest.raises(DataError, match="surface"):
        surface_points(vertices, np.array([[0, 1, 2]]))


def test_description_survives_json() -> None:
    axis = {"axis": np.array([0, 0, 2.0]), "offset": np.array([1.0, 0, 0])}
    half_turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    info = ModelInfo.of_mesh(cube_mesh(1), [half_turn], [axis])
    known = KnownObject.of(7, "box", info, corners(1), 9)
    assert known.symmetric
    np.testing.assert_array_equal(known.keypoints[0], [0, 0, 0])
    again = KnownObject.from_json(json.loads(json.dumps(known.to_json())))
    assert again.to_json() == known.to_json()
    assert again.symmetries_continuous[0]["axis"] == [0, 0, 1]
    broken = known.to_json()
    del broken["hull"]
    with pytest.raises(CheckpointError, match="hull"):
        KnownObject.from_json(broken)
