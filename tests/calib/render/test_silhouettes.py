"""Outlines of meshes from all sides: on the surface, in order, with their holes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgesafe.calib.render.shapes import box, lathe, tube
from edgesafe.calib.render.silhouettes import draw_silhouettes
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import Mesh
from edgesafe.runtime.pose.silhouettes import (
    pack_silhouettes,
    parse_silhouettes,
    view_directions,
)

ZERO = np.zeros(3)


def _ball(radius: float) -> Surface:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 40)
    return lathe(radius * np.cos(angle), radius * np.sin(angle))


def _ring() -> Surface:
    angle = np.linspace(0, 2 * np.pi, 49)
    path = np.stack([60 * np.cos(angle), 60 * np.sin(angle), 0 * angle], axis=1)
    return tube(path, np.full(len(path), 15.0))


def test_the_outline_of_a_ball_is_a_circle_about_the_line_of_sight() -> None:
    views = draw_silhouettes(_ball(50.0), ZERO, 100.0, views=40, points=48)
    points = views[..., :3].astype(np.float64)
    assert views.shape == (40, 48, 4) and views.dtype == np.float16
    assert (views[..., 3] == 0).all()
    assert np.linalg.norm(points, axis=-1) == pytest.approx(50, abs=1.2)
    # A camera six diameters away sees a little less than half of it; half a pixel within the
    # border the surface is nearer.
    along = np.einsum("vpi,vi->vp", points, view_directions(40))
    assert -4 < along.min() and along.max() < 17
    across = np.linalg.norm(points - along[..., None] * view_directions(40)[:, None], axis=-1)
    # It has 24 sides.
    assert across.mean() == pytest.approx(50 * np.sqrt(1 - 1 / 144), abs=0.7)


def test_points_go_round_with_the_object_to_their_right() -> None:
    views = draw_silhouettes(_ring(), ZERO, 150.0, views=60, points=64).astype(np.float64)
    with_hole = 0
    for view, direction in zip(views, view_directions(60), strict=True):
        right = np.cross(-direction, [0.3, 0.5, 0.81])
        right /= np.linalg.norm(right)
        down = np.cross(-direction, right)
        x, y = view[:, :3] @ right, view[:, :3] @ down
        for loop in range(int(view[-1, 3]) + 1):
            i = view[:, 3] == loop
            area = (x[i] * np.roll(y[i], -1) - y[i] * np.roll(x[i], -1)).sum() / 2
            # y points down: clockwise is positive, and a hole goes the other way.
            assert area > 0 if loop == 0 else area < 0
        with_hole += view[-1, 3] == 1
        if abs(direction[2]) > 0.8:
            assert view[-1, 3] == 1, "seen from above there is a hole"
        if abs(direction[2]) < 0.1:
            assert view[-1, 3] == 0, "seen from the side there is none"
    assert 10 < with_hole < 60


def test_a_view_is_seen_from_its_direction() -> None:
    made = parse_silhouettes(
        pack_silhouettes(draw_silhouettes(box([60, 80, 20]), ZERO, 102.0, views=200, points=48)),
        "file",
        ZERO,
    )
    index = made.nearest(np.diag([1.0, -1, -1]), np.array([0, 0, 600.0]))
    assert made.directions[index, 2] > 0.97  # the camera looks down on it
    span = np.ptp(made.points[index], axis=0)
    assert span[:2] == pytest.approx([60, 80], abs=4)


def _prism() -> Surface:
    """An equilateral triangle reaches farther from its box's middle than half its diameter."""
    angle = np.radians([90.0, 210.0, 330.0])
    corners = 100 / np.sqrt(3) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    vertices = np.array([[*corner, z] for z in (-5, 5) for corner in corners])
    faces = [[0, 2, 1], [3, 4, 5]]
    for i in range(3):
        j = (i + 1) % 3
        faces += [[i, j, j + 3], [i, j + 3, i + 3]]
    return Surface.from_mesh(Mesh(vertices, np.array(faces)))


def test_a_part_that_reaches_far_is_drawn_whole() -> None:
    prism = _prism()
    centre = (prism.vertices.min(axis=0) + prism.vertices.max(axis=0)) / 2
    diameter = float(np.hypot(100, 10))
    views = draw_silhouettes(prism, centre, diameter, views=100, points=96).astype(np.float64)
    for view, direction in zip(views, view_directions(100), strict=True):
        side = np.cross(direction, [0.3, 0.5, 0.81])
        side /= np.linalg.norm(side)
        for axis in (side, np.cross(direction, side)):
            seen = np.ptp(view[:, :3] @ axis)
            assert seen == pytest.approx(np.ptp(prism.vertices @ axis), abs=7)


@pytest.mark.parametrize(
    "size", [(100, 100, 1), (100, 100, 0.5), (200, 2, 2)], ids=["plate", "sheet", "rod"]
)
def test_thin_parts_have_outlines(size: tuple[float, float, float]) -> None:
    diameter = float(np.linalg.norm(size))
    views = draw_silhouettes(box(size), ZERO, diameter, views=200, points=48)
    found = parse_silhouettes(pack_silhouettes(views), "file", ZERO)
    assert np.abs(found.points).max() == pytest.approx(max(size) / 2, abs=0.03 * max(size))


def test_an_origin_far_away_costs_no_digits() -> None:
    near = box([60, 80, 20])
    far = replace(near, vertices=near.vertices + [0, 0, 5000.0])
    here = draw_silhouettes(near, ZERO, 102.0, views=40, points=48)
    there = draw_silhouettes(far, np.array([0, 0, 5000.0]), 102.0, views=40, points=48)
    assert np.allclose(here, there, atol=0.2)


def test_a_mesh_that_cannot_be_seen_is_refused() -> None:
    shape = box([60, 80, 20])
    with pytest.raises(DataError, match="hardly anything is to be seen"):
        draw_silhouettes(shape, np.array([1e4, 0, 0]), 102.0, views=40, points=48)
