"""A sprite lands where it is told to, is cut off at the edges, and leaves its inputs alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesafe.samples.hazards import compose

Picture = NDArray[np.uint8]
KINDS = {"plain": {}, "glow": {"glow": True}, "stain": {"stain": True}}


@pytest.fixture
def photo() -> Picture:
    return np.random.default_rng(0).integers(30, 220, (80, 100, 3), dtype=np.uint8)


@pytest.fixture
def sprite() -> Picture:
    """A red disc, 20 pixels wide; what is transparent is green."""
    ys, xs = np.mgrid[0:20, 0:20]
    alpha = np.where(np.hypot(ys - 9.5, xs - 9.5) < 9, 255, 0)
    colours = np.where(alpha[..., None] > 0, (220, 20, 20), (0, 255, 0))
    return np.dstack([colours, alpha]).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_near_the_sprite_changes(kind: str, photo: Picture, sprite: Picture) -> None:
    before, drawn = photo.copy(), sprite.copy()
    # A shadow falls up to 12 % of the size aside and blurs; light and stains stay inside.
    reach = 9 if kind == "plain" else 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        out = compose.paste(photo, sprite, (60.0, 40.0), rng, **KINDS[kind])
        assert out.shape == photo.shape and out.dtype == np.uint8
        changed = (out != photo).any(axis=2)
        assert changed[36:45, 56:65].mean() > 0.5
        changed[30 - reach : 50 + reach, 50 - reach : 70 + reach] = False
        assert not changed.any()
    assert np.array_equal(photo, before) and np.array_equal(sprite, drawn)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("centre", [(0.0, 0.0), (99.0, 79.0), (-6.0, 40.0), (50.0, 85.0)])
def test_edges_cut_it_off(
    kind: str, centre: tuple[float, float], photo: Picture, sprite: Picture
) -> None:
    out = compose.paste(photo, sprite, centre, np.random.default_rng(1), **KINDS[kind])
    assert out.shape == photo.shape
    assert (out != photo).any()


def test_outside_of_the_photo_nothing_happens(photo: Picture, sprite: Picture) -> None:
    out = compose.paste(photo, sprite, (300.0, 10.0), np.random.default_rng(0))
    assert np.array_equal(out, photo)


def test_light_adds_and_pigment_shows_the_ground(sprite: Picture) -> None:
    dark = np.full((60, 60, 3), 10, np.uint8)
    lit = compose.paste(dark, sprite, (30.0, 30.0), np.random.default_rng(0), glow=True)
    assert lit[30, 30, 0] > 200 and (lit >= dark - 8).all()
    ground = dark + 60
    ground[:, ::2] += 90
    stained = compose.paste(ground, sprite, (30.0, 30.0), np.random.default_rng(0), stain=True)
    rows = stained[28:33, 25:35, 0].astype(int)
    assert abs(rows[:, 1::2].mean() - rows[:, ::2].mean()) > 20


def test_turning_bleeds_no_colour_of_transparent_pixels(sprite: Picture) -> None:
    for seed in range(12):
        turned = compose.spin(sprite, np.random.default_rng(seed), upright=False)
        assert turned.dtype == np.uint8 and turned.shape[2] == 4
        seen = turned[turned[..., 3] > 128].astype(int)
        assert len(seen) > 100
        assert (np.abs(seen[:, :3] - (220, 20, 20)) <= 12).all()


def test_occlusion_takes_a_part(sprite: Picture) -> None:
    for seed in range(12):
        left = compose.occlude(sprite, np.random.default_rng(seed))
        share = (left[..., 3] > 0).sum() / (sprite[..., 3] > 0).sum()
        assert 0.5 < share < 1
    assert (sprite[..., 3] > 0).sum() == (np.hypot(*(np.mgrid[0:20, 0:20] - 9.5)) < 9).sum()


def test_crops_have_the_wanted_short_side(photo: Picture) -> None:
    for seed in range(12):
        part = compose.random_crop(photo, np.random.default_rng(seed), 48)
        assert min(part.shape[:2]) == 48 and part.dtype == np.uint8
        assert max(part.shape[:2]) < 48 * 2


def test_grading_keeps_the_picture(photo: Picture) -> None:
    before = photo.copy()
    changed = 0
    for seed in range(12):
        graded = compose.grade(photo, np.random.default_rng(seed))
        assert graded.shape == photo.shape and graded.dtype == np.uint8
        changed += not np.array_equal(graded, photo)
    assert changed >= 6
    assert np.array_equal(photo, before)
