"""Redirection: where a query ends, in both forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgesafe.calib.retrieval.traversal import limit, path_toward_root, traverse
from edgesafe.runtime import lorentz

CURVATURES = (0.1, 1.0, 10.0)


def points(c: float, n: int = 40, d: int = 6) -> np.ndarray:
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(n, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return lorentz.exp_map0(directions * rng.uniform(0.1, 2.0, (n, 1)), c)


@pytest.mark.parametrize("c", CURVATURES)
def test_beyond_the_bound_ends_on_it_and_keeps_its_direction(c: float) -> None:
    before = points(c)
    radius = lorentz.root_distance(before, c)
    after, moved = traverse(before, 0.7, c)
    assert 5 < moved.sum() < 35
    assert moved.tolist() == (radius > 0.7).tolist()
    np.testing.assert_allclose(lorentz.root_distance(after[moved], c), 0.7, rtol=1e-12)
    assert (after[~moved] == before[~moved]).all()
    cosine = np.sum(after * before, axis=1)
    cosine /= np.linalg.norm(after, axis=1) * np.linalg.norm(before, axis=1)
    np.testing.assert_allclose(cosine, 1, rtol=1e-12)


def test_one_point_is_as_many() -> None:
    many = points(1.0)
    one, moved = traverse(many[3], 0.05, 1.0)
    assert bool(moved) and one.shape == (6,)
    np.testing.assert_array_equal(one, traverse(many, 0.05, 1.0)[0][3])


def test_float32_stays_float32() -> None:
    assert traverse(points(1.0).astype(np.float32), 0.5, 1.0)[0].dtype == np.float32


def test_the_root_stays_and_a_bound_of_zero_leads_there() -> None:
    assert not traverse(np.zeros(3), 0.5, 1.0)[0].any()
    after, moved = traverse(points(1.0), 0.0, 1.0)
    assert moved.all() and not after.any()


@pytest.mark.parametrize("tau", [-0.1, math.inf, math.nan])
def test_a_bound_that_is_none(tau: float) -> None:
    with pytest.raises(ValueError, match="distance"):
        traverse(np.ones(3), tau, 1.0)


def test_the_released_form() -> None:
    """tau = b + tanh((b - 0.8) / c) + 1, as the norm of the space part."""
    tau = limit(0.537, 0.1, "paper")
    # 1 - tanh(x) = 2 / (exp(2x) + 1)
    assert tau == pytest.approx(0.537 + 2 / (math.exp(5.26) + 1), abs=1e-12)
    after, moved = traverse(points(0.1), tau, 0.1, "paper")
    np.testing.assert_allclose(np.linalg.norm(after[moved], axis=1), tau, rtol=1e-12)
    # Half a percent short of tau, as a distance.
    assert lorentz.root_distance(after[moved], 0.1)[0] == pytest.approx(0.9951 * tau, rel=1e-4)


def test_the_released_form_never_fires_at_other_curvatures() -> None:
    assert limit(0.537, 1.0, "paper") > 1.2
    assert limit(0.537, 10.0, "paper") > 1.5
    assert limit(0.537, 1.0, "exact") == 0.537


@pytest.mark.parametrize("c", CURVATURES)
def test_a_path_has_equal_steps(c: float) -> None:
    start = points(c)[0]
    path = path_toward_root(start, 0.05, c, 4)
    radius = float(lorentz.root_distance(start, c))
    np.testing.assert_allclose(path[0], start, rtol=1e-12)
    found = lorentz.root_distance(path, c)
    np.testing.assert_allclose(found, np.linspace(radius, 0.05, 5), rtol=1e-12)
    steps = lorentz.distance(path[1:], path[:-1], c)
    np.testing.assert_allclose(steps, (radius - 0.05) / 4, rtol=1e-9)


def test_a_path_from_the_root_stays_there() -> None:
    assert not path_toward_root(np.zeros(3), 0.0, 1.0, 3).any()
