"""The diameter of a set of points, exact, without looking at all pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["diameter"]

Array = NDArray[np.float64]

_POINTS_PER_CELL = 40


def diameter(points: Array) -> float:
    """Return the largest distance of two of the points (N, 3), N >= 1.

    Points are sorted into the cells of a grid. Two cells are looked into only if their boxes reach
    farther apart than the best pair so far; for a surface these are a few cells at its ends.
    """
    points = np.unique(np.asarray(points, np.float64), axis=0)
    size = np.ptp(points, axis=0).max()
    if size == 0:
        return 0.0
    # A surface crosses about the square of the cells along a side.
    side = max(1, round((len(points) / _POINTS_PER_CELL) ** 0.5))
    cells = np.minimum((points - points.min(axis=0)) / size * side, side - 1).astype(np.int64)
    order = np.lexsort(cells.T)
    starts = np.flatnonzero(np.r_[True, (np.diff(cells[order], axis=0) != 0).any(axis=1)])
    groups = np.split(points[order], starts[1:])
    low = np.array([group.min(axis=0) for group in groups])
    high = np.array([group.max(axis=0) for group in groups])
    best = _first_guess(points)
    # Cells at the ends first: they find the best pair early.
    reach = np.maximum(high - points.mean(axis=0), points.mean(axis=0) - low)
    for i in np.argsort(-(reach**2).sum(axis=1)):
        spans = np.maximum(high - low[i], high[i] - low)
        bounds = (spans**2).sum(axis=1)
        near = np.flatnonzero(bounds > best)
        for j in near[np.argsort(-bounds[near])]:
            if bounds[j] <= best:
                break
            apart = groups[i][:, None] - groups[j][None]
            best = max(best, float((apart**2).sum(axis=2).max()))
    return float(np.sqrt(best))


def _first_guess(points: Array) -> float:
    """Return the square of a large distance: hop to the farthest point a few times."""
    best, here = 0.0, points[0]
    for _ in range(4):
        squares = ((points - here) ** 2).sum(axis=1)
        best, here = max(best, float(squares.max())), points[squares.argmax()]
    return best
