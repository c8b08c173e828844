"""Augmentation of colours, occluders and backgrounds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgesafe.train.pose.colour import disturb
from edgesafe.train.pose.config import ColourConfig
from edgesafe.train.pose.occlude import erase, paste, replace_background

NONE = ColourConfig(
    **{f.name: 0.0 for f in dataclasses.fields(ColourConfig) if f.name != "strength"}
)
STEPS = [f.name for f in dataclasses.fields(ColourConfig) if f.name != "strength"]


def picture(seed: int = 0, size: int = 48) -> np.ndarray:
    import cv2

    grid = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_changes_the_picture_repeatably(step: str) -> None:
    rgb = picture()
    before = rgb.copy()
    config = dataclasses.replace(NONE, **{step: 1.0})
    changed = []
    for seed in range(8):
        first = disturb(rgb, np.random.default_rng(seed), config)
        again = disturb(rgb, np.random.default_rng(seed), config)
        assert first.dtype == np.uint8 and first.shape == rgb.shape
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(rgb, before)
        changed.append((first != rgb).mean())
    assert np.mean(changed) > 0.2


def test_no_step_changes_nothing() -> None:
    rgb = picture()
    np.testing.assert_array_equal(disturb(rgb, np.random.default_rng(0), NONE), rgb)
    off = ColourConfig(strength=0.0)
    assert disturb(rgb, np.random.default_rng(0), off) is rgb


def test_grey_has_no_colour() -> None:
    grey = disturb(picture(), np.random.default_rng(0), dataclasses.replace(NONE, grey=1.0))
    assert np.ptp(grey.astype(int), axis=2).max() <= 1


def test_strength_scales_the_noise() -> None:
    flat = np.full((64, 64, 3), 128, dtype=np.uint8)
    spread = []
    for strength in (0.3, 1.0):
        config = dataclasses.replace(NONE, noise=1.0, strength=strength)
        found = [disturb(flat, np.random.default_rng(i), config).std() for i in range(20)]
        spread.append(np.mean(found))
    assert spread[1] > 2 * spread[0] > 1


def square() -> np.ndarray:
    mask = np.zeros((48, 48), dtype=np.uint8)
    mask[12:36, 12:36] = 255
    return mask


def test_background_is_replaced_behind_what_is_kept() -> None:
    rgb, photo, kept = picture(0), picture(1), square()
    found = replace_background(rgb, kept, photo)
    np.testing.assert_array_equal(found[kept > 0], rgb[kept > 0])
    np.testing.assert_array_equal(found[kept == 0], photo[kept == 0])


def test_pasted_piece_takes_the_mask_away() -> None:
    rgb, piece, visible = picture(0), picture(1), square()
    shape = np.zeros_like(visible)
    shape[:, 24:] = 255
    found = paste(rgb, visible, piece, shape, keep=0.4)
    np.testing.assert_array_equal(found[:, 24:], piece[:, 24:])
    np.testing.assert_array_equal(found[:, :24], rgb[:, :24])
    assert visible[:, 24:].max() == 0 and (visible[12:36, 12:24] == 255).all()


def test_too_much_is_not_hidden() -> None:
    rgb, visible = picture(0), square()
    whole = np.full_like(visible, 255)
    found = paste(rgb, visible, picture(1), whole, keep=0.1)
    np.testing.assert_array_equal(found, rgb)
    np.testing.assert_array_equal(visible, square())


def test_erased_parts_are_not_visible() -> None:
    changed = 0
    for seed in range(30):
        rgb, visible = picture(0), square()
        found = erase(rgb.copy(), visible, np.random.default_rng(seed), keep=0.3)
        touched = (found != rgb).any(axis=2)
        assert visible[touched].max(initial=0) == 0
        assert visible.sum() >= 0.3 * square().sum()
        changed += int(touched.any())
    assert changed > 15
