"""The held-out drawings: every subject can be drawn and placed, and a seed repeats itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesafe.samples import heldout
from edgesafe.samples.hazards import catalogue

NAMES = (*heldout.HARMLESS, *(name for names in heldout.HAZARDS.values() for name in names))


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(40, 210, (120, 160, 3), dtype=np.uint8)


@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_every_subject_in_one_style_or_another(index: int) -> None:
    # Every pair of subject and style takes too long here; neighbours have different styles.
    style = heldout.STYLES[index % len(heldout.STYLES)]
    sprite = heldout.draw(NAMES[index], style, np.random.default_rng(index))
    assert sprite.dtype == np.uint8 and sprite.ndim == 3 and sprite.shape[2] == 4
    assert 40 < max(sprite.shape[:2]) < 600
    seen = sprite[..., 3] > 64
    assert seen.mean() > 0.02
    # Cropped to what is drawn.
    assert all(side.any() for side in (sprite[0], sprite[-1], sprite[:, 0], sprite[:, -1]))
    assert len(np.unique(sprite[seen][:, :3], axis=0)) > 1


@pytest.mark.parametrize("style", heldout.STYLES)
def test_a_seed_draws_the_same_and_another_does_not(style: str) -> None:
    first, again, other = (
        heldout.draw("syringe", style, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_tags_and_classes() -> None:
    assert set(heldout.HAZARDS) == set(catalogue.TAGS)
    assert len(set(NAMES)) == len(NAMES)
    assert set(heldout.SHADOWLESS) < set(NAMES)
    with pytest.raises(KeyError):
        heldout.draw("spaceship", heldout.STYLES[0], np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(8))
def test_placing(seed: int, photo: NDArray[np.uint8]) -> None:
    before = photo.copy()
    sprite = np.zeros((30, 20, 4), np.uint8)
    sprite[2:28, 2:18] = (250, 240, 10, 255)
    out, (x0, y0, x1, y1) = heldout.place(
        photo, sprite, np.random.default_rng(seed), scale=0.4, shadow=False
    )
    assert out.shape == photo.shape and out.dtype == np.uint8
    assert 0 <= x0 < x1 <= 160 and 0 <= y0 < y1 <= 120
    assert max(x1 - x0, y1 - y0) <= 0.4 * 120 * 1.35
    # Rounding may move a grey value by one; beyond the box nothing else changes.
    changed = np.abs(out.astype(int) - photo).max(axis=2) > 32
    assert changed[y0:y1, x0:x1].mean() > 0.2
    changed[y0:y1, x0:x1] = False
    assert not changed.any()
    assert np.array_equal(photo, before)
    again, box = heldout.place(photo, sprite, np.random.default_rng(seed), scale=0.4, shadow=False)
    assert np.array_equal(again, out) and box == (x0, y0, x1, y1)


def test_a_shadow_darkens_the_ground() -> None:
    ground = np.full((120, 160, 3), 180, np.uint8)
    sprite = np.full((30, 20, 4), 255, np.uint8)
    bare, cast = (
        heldout.place(ground, sprite, np.random.default_rng(2), scale=0.4, shadow=shadow)[0]
        for shadow in (False, True)
    )
    assert (bare >= 170).all()
    assert (cast < 150).any()
