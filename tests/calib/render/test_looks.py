from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgesafe.calib.render.looks import darken_below, random_lighting, recolour
from edgesafe.calib.render.raster import rasterise
from edgesafe.calib.render.shade import Lamp, Lighting, Material, shade
from edgesafe.calib.render.shapes import box, lathe
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.mesh import Mesh

K = np.array([[300.0, 0, 79.5], [0, 300.0, 59.5], [0, 0, 1]])
DARK = Lighting((0, -1, 0), (0.0,) * 3, (0.0,) * 3, ())
DULL = Material(0.0, 1.0)
T = np.array([0, 0, 300.0])


def shown(
    surface: Surface, lighting: Lighting, material: Material = DULL, R: np.ndarray | None = None
) -> np.ndarray:
    """The lit body on a black frame."""
    turn = np.eye(3) if R is None else R
    buffers = rasterise(surface, turn, T, K, 160, 120)
    frame = np.zeros((buffers.window.height * buffers.window.width, 3), np.float32)
    frame[buffers.index] = shade(surface, buffers, turn, K, lighting, material)
    return frame.reshape(buffers.window.height, buffers.window.width, 3)


def grey(surface: Surface, value: float) -> Surface:
    return replace(surface, colours=np.full_like(surface.colours, value))


def ball() -> Surface:
    polar = np.linspace(-np.pi / 2, np.pi / 2, 80)
    return grey(lathe(40 * np.cos(polar), 40 * np.sin(polar)), 0.5)


def test_full_ambient_light_shows_the_colours_as_they_are():
    lighting = replace(DARK, sky=(1.0,) * 3, ground=(1.0,) * 3)
    frame = shown(grey(box([60, 60, 60]), 0.5), lighting)
    np.testing.assert_allclose(frame[frame[..., 0] > 0], 127.5, atol=1)


def test_a_face_turned_from_the_lamp_is_dimmed_by_the_cosine():
    lamp = Lamp((0.0, 0.0, -1.0), (1.0,) * 3)
    lighting = replace(DARK, lamps=(lamp,))
    angle = np.radians(50)
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    frame = shown(grey(box([80, 60, 0.01]), 0.5), lighting, R=R)
    expected = (0.5**2.2 * c) ** (1 / 2.2) * 255
    middle = frame[frame.shape[0] // 2, frame.shape[1] // 2]
    np.testing.assert_allclose(middle, expected, atol=1)


def test_a_ball_is_bright_where_the_lamp_is_and_black_behind():
    lighting = replace(DARK, lamps=(Lamp((-1.0, 0.0, 0.0), (1.0,) * 3),))
    frame = shown(ball(), lighting)[..., 0]
    assert frame[:, : frame.shape[1] // 3].max() > 100
    assert frame[:, frame.shape[1] * 2 // 3 :].max() == 0


def test_a_highlight_lies_between_lamp_and_eye():
    towards = np.array([-1.0, 0.0, -1.0]) / np.sqrt(2)
    lighting = replace(DARK, lamps=(Lamp(tuple(towards), (1.0,) * 3),))
    dull = shown(ball(), lighting)[..., 0]
    shiny = shown(ball(), lighting, Material(0.8, 200))[..., 0]
    row, column = np.unravel_index(np.argmax(shiny - dull), shiny.shape)
    # The normal there halves the right angle: sin(22.5 degrees) of the radius to the left.
    middle = (np.array(shiny.shape) - 1) / 2
    assert abs(row - middle[0]) <= 1.5
    assert column == pytest.approx(middle[1] * (1 - np.sin(np.radians(22.5))), abs=2.5)


def test_the_inside_of_an_open_surface_is_lit_from_its_own_side():
    cup = grey(box([80, 60, 40]), 0.5)
    front = cup.faces[(cup.vertices[cup.faces][..., 2] < 0).all(1)]
    rest = cup.faces[~(cup.vertices[cup.faces][..., 2] < 0).all(1)]
    assert len(front) == 2
    opened = replace(cup, faces=rest, closed=False)
    frame = shown(opened, replace(DARK, lamps=(Lamp((0.0, 0.0, -1.0), (1.0,) * 3),)))
    assert frame[frame.shape[0] // 2, frame.shape[1] // 2, 0] > 100


def test_a_texture_is_seen_where_its_coordinates_put_it():
    surface = box([60, 60, 60])
    half = np.zeros((32, 32, 3), np.uint8)
    half[:16, :, 0] = 255  # the upper half, v > .5, red
    half[16:, :, 2] = 255
    textured = replace(surface, texture=half)
    frame = shown(textured, replace(DARK, sky=(1.0,) * 3, ground=(1.0,) * 3))
    red = frame[..., 0] > 200
    assert 0.4 < red.mean() < 0.6
    assert ((frame[..., 2] > 200) == ~red).mean() > 0.95
    again = recolour(textured, np.random.default_rng(0))
    assert again.texture is not None and again.texture.shape == half.shape


def test_a_mesh_brings_its_texture_and_its_normals():
    brick = box([60, 60, 60])
    mesh = Mesh(
        brick.vertices,
        brick.faces,
        normals=brick.normals.astype(np.float64),
        uv=np.asarray(brick.uv, np.float64),
        texture=np.full((8, 8, 3), 99, np.uint8),
    )
    surface = Surface.from_mesh(mesh)
    np.testing.assert_array_equal(surface.normals, brick.normals)
    frame = shown(surface, replace(DARK, sky=(1.0,) * 3, ground=(1.0,) * 3))
    np.testing.assert_allclose(frame[frame[..., 0] > 0], 99, atol=1)


def test_colours_stay_in_range_and_keep_their_character():
    surface = replace(box([60, 60, 60]), colours=np.tile(np.float32([0.9, 0.7, 0.1]), (24, 1)))
    rng = np.random.default_rng(0)
    means = []
    for _ in range(200):
        colours = recolour(surface, rng).colours
        assert colours.min() >= 0 and colours.max() <= 1.2
        means.append(colours.mean(0))
    red, green, blue = np.mean(means, axis=0)
    assert red > blue + 0.2 and green > blue + 0.2  # still yellow
    assert np.std(means, axis=0).min() > 0.05


def test_feet_are_darker_than_heads():
    surface = grey(box([60, 60, 60]), 0.5)
    dark = darken_below(surface, surface.vertices[:, 2] + 30, np.random.default_rng(3)).colours
    low, high = surface.vertices[:, 2] < 0, surface.vertices[:, 2] > 0
    assert dark[low].max() < dark[high].min() <= 0.5


def test_lamps_hang_above_the_ground():
    rng = np.random.default_rng(0)
    up = np.array([0.0, -0.8, -0.6])
    for _ in range(50):
        lighting = random_lighting(rng, up)
        assert 1 <= len(lighting.lamps) <= 3
        for lamp in lighting.lamps:
            assert np.linalg.norm(lamp.towards) == pytest.approx(1)
            assert np.array(lamp.towards) @ up >= -1e-9
