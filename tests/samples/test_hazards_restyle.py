"""Painters and filters keep a sprite's format, leave something to see, and spare their input."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesafe.samples.hazards import catalogue, restyle

Sprite = NDArray[np.uint8]
SEEDS = range(5)


@pytest.fixture
def mask() -> Sprite:
    """A ring, 40 by 52."""
    ys, xs = np.mgrid[0:40, 0:52]
    far = np.hypot(ys - 20, xs - 26)
    return np.where((far < 17) & (far > 6), 255, 0).astype(np.uint8)


@pytest.fixture
def sprite(mask: Sprite) -> Sprite:
    colours = np.random.default_rng(0).integers(20, 230, (*mask.shape, 3), dtype=np.uint8)
    return np.dstack([colours, mask])


@pytest.mark.parametrize("tag", [None, *catalogue.TAGS])
@pytest.mark.parametrize("name", restyle.PAINTERS)
def test_painter(name: str, tag: str | None, mask: Sprite) -> None:
    before = mask.copy()
    for seed in SEEDS:
        paint = restyle.PAINTERS[name]
        painted = paint(mask, tag, np.random.default_rng(seed))
        assert painted.dtype == np.uint8 and painted.ndim == 3 and painted.shape[2] == 4
        # A rim is added, so that outlines and shadows have room.
        assert painted.shape[0] > 40 and painted.shape[1] > 52
        assert (painted[..., 3] > 32).mean() > 0.03
        assert np.array_equal(painted, paint(mask, tag, np.random.default_rng(seed)))
    assert np.array_equal(mask, before)


@pytest.mark.parametrize("name", restyle.FILTERS)
def test_filter(name: str, sprite: Sprite) -> None:
    before = sprite.copy()
    for seed in SEEDS:
        drawn = restyle.FILTERS[name](sprite, np.random.default_rng(seed))
        assert drawn.shape == sprite.shape and drawn.dtype == np.uint8
        assert (drawn[..., 3] > 32).sum() > 0.2 * (sprite[..., 3] > 32).sum()
        assert not np.array_equal(drawn, sprite)
    assert np.array_equal(sprite, before)


def test_painted_hazards_keep_their_own_colours(mask: Sprite) -> None:
    for seed in range(20):
        painted = restyle.paint_flat(mask, "blood", np.random.default_rng(seed))
        red, green, blue = painted[painted[..., 3] > 200][:, :3].mean(axis=0)
        assert red > 1.5 * max(green, blue)
    # Harmless things borrow any colour, also those.
    hues = {
        int(painted[painted[..., 3] > 200][:, :3].mean(axis=0).argmax())
        for painted in (
            restyle.paint_flat(mask, None, np.random.default_rng(seed)) for seed in range(30)
        )
    }
    assert hues == {0, 1, 2}


def test_hue_turns_no_further_than_it_may(sprite: Sprite) -> None:
    red = np.dstack([np.full((8, 8), 200), np.full((8, 8), 20), np.full((8, 8), 20)])
    square = np.dstack([red, np.full((8, 8), 255)]).astype(np.uint8)
    for seed in range(20):
        r, g, b, a = restyle.hue_shift(square, 14.0, np.random.default_rng(seed))[0, 0]
        assert r > 2 * max(g, b) and a == 255
    turned = restyle.hue_shift(sprite, 180.0, np.random.default_rng(0))
    assert np.array_equal(turned[..., 3], sprite[..., 3])
    assert set(restyle.HUE_FREEDOM) == set(catalogue.TAGS)


@pytest.mark.parametrize("name", restyle.FILTERS)
def test_filter_of_a_picture_without_an_edge(name: str) -> None:
    square = np.full((24, 30, 4), 255, np.uint8)
    square[..., 1] = 90
    for seed in SEEDS:
        drawn = restyle.FILTERS[name](square, np.random.default_rng(seed))
        assert drawn.shape == square.shape and drawn[..., :3].any()


def test_outline_is_filled(mask: Sprite) -> None:
    body = restyle.body_of(mask)
    assert body[20, 26] == 255 and mask[20, 26] == 0
    assert body[0, 0] == 0 and set(np.unique(body)) == {0, 255}


def test_noise_lies_between_0_and_1() -> None:
    field = restyle.noise((30, 50), 6, np.random.default_rng(0))
    assert field.shape == (30, 50) and field.dtype == np.float32
    assert 0 <= field.min() < 0.3 < 0.7 < field.max() <= 1
