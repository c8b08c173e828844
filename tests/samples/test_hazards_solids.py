"""Every solid draws something of the wanted size, and the same thing again from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.samples.hazards import catalogue, solids

THINGS = [*(t for things in solids.HAZARDS.values() for t in things), *solids.HARMLESS]


@pytest.mark.parametrize(("name", "build", "flat"), THINGS, ids=[name for name, _, _ in THINGS])
def test_builder_draws_a_sprite(name: str, build: solids.Builder, flat: bool) -> None:
    pictures = []
    for seed in (0, 0, 1):
        rng = np.random.default_rng(seed)
        pictures.append(solids.render(build(rng), 40, rng, flat=flat))
    first, again, other = pictures
    assert first.dtype == np.uint8 and first.shape[2] == 4
    assert abs(max(first.shape[:2]) - 40) <= 2
    for sprite in (first, other):
        seen = sprite[..., 3] > 128
        assert seen.mean() > 0.03
        # Light falls on facets: no silhouette in one colour.
        assert len(np.unique(sprite[seen][:, :3], axis=0)) > 5
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_names_are_of_one_class_each() -> None:
    assert set(solids.HAZARDS) <= set(catalogue.TAGS)
    hazards = {name for things in solids.HAZARDS.values() for name, _, _ in things}
    assert not hazards & {name for name, _, _ in solids.HARMLESS}


def test_parts_turn_and_move() -> None:
    grey = np.full(3, 128.0)
    part = solids.box(2, 1, 1, grey)
    turned = part.turned(2, np.pi / 2)
    assert np.ptp(turned.vertices, axis=0) == pytest.approx([1, 2, 1])
    assert turned.moved((0, 0, 5)).vertices[:, 2].mean() == pytest.approx(5)
    # The part itself stays where it was.
    assert np.ptp(part.vertices, axis=0) == pytest.approx([2, 1, 1])


def test_what_is_in_front_covers_what_is_behind() -> None:
    near = solids.box(1, 1, 0.1, np.array([250.0, 0, 0]), 0.0).moved((0, 0, 1))
    far = solids.box(1, 1, 0.1, np.array([0.0, 0, 250]), 0.0)
    rng = np.random.default_rng(1)
    sprite = solids.render([far, near], 60, rng, flat=True)
    solid = sprite[sprite[..., 3] == 255].astype(int)
    red, blue = (solid[:, 0] > solid[:, 2]).sum(), (solid[:, 2] > solid[:, 0]).sum()
    assert red > blue
