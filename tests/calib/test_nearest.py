from __future__ import annotations

import numpy as np
import pytest

from edgesafe.calib.nearest import NearestPoints


@pytest.mark.parametrize("count", [1, 2, 97, 1000])
@pytest.mark.parametrize("away", [0.0, 0.3, 100.0])
def test_equal_to_looking_at_all(count: int, away: float) -> None:
    rng = np.random.default_rng(count)
    points, queries = rng.normal(size=(count, 3)), rng.normal(size=(700, 3)) + away
    every = np.linalg.norm(points[None] - queries[:, None], axis=2).min(axis=1)
    np.testing.assert_allclose(NearestPoints(points).distances(queries), every, rtol=1e-12)


def test_a_point_is_its_own_nearest() -> None:
    points = np.repeat(np.random.default_rng(0).normal(size=(150, 3)), 2, axis=0)
    assert (NearestPoints(points).distances(points) == 0).all()


def test_no_queries() -> None:
    assert NearestPoints(np.zeros((3, 3))).distances(np.zeros((0, 3))).shape == (0,)
