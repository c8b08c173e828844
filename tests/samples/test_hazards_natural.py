"""Fire, blood and powder from noise: visible, of the right colour, the same from the same seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesafe.samples.hazards import natural

SEEDS = range(12)
Draw = Callable[[int, np.random.Generator], NDArray[np.uint8]]
KINDS: dict[str, Draw] = {
    "flames": natural.flames,
    "explosion": natural.explosion,
    "blood": partial(natural.liquid, blood=True),
    "other liquid": partial(natural.liquid, blood=False),
    "powder": natural.powder,
}


def mean_colour(sprite: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
    weight = sprite[..., 3:].astype(float)
    return np.asarray((sprite[..., :3] * weight).sum(axis=(0, 1)) / weight.sum())


@pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS)
def test_something_is_drawn(draw: Draw) -> None:
    pictures = [draw(40, np.random.default_rng(seed)) for seed in SEEDS]
    for sprite in pictures:
        assert sprite.dtype == np.uint8 and sprite.shape[0] == 40 and sprite.shape[2] == 4
        assert 0.01 < (sprite[..., 3] > 32).mean()
    assert np.array_equal(pictures[3], draw(40, np.random.default_rng(3)))
    assert len({p.tobytes() for p in pictures}) == len(pictures)


@pytest.mark.parametrize("draw", [natural.flames, natural.explosion])
def test_fire_is_warm(draw: Draw) -> None:
    for seed in SEEDS:
        red, green, blue = mean_colour(draw(40, np.random.default_rng(seed)))
        assert red > green > blue


def test_only_blood_is_dark_red() -> None:
    for seed in SEEDS:
        red, *others = mean_colour(natural.liquid(40, np.random.default_rng(seed), blood=True))
        assert red > 1.5 * max(others)
    for seed in range(40):
        red, *others = mean_colour(natural.liquid(40, np.random.default_rng(seed), blood=False))
        assert red < 1.65 * max(others)
