"""Distances to the nearest of many points, exact, with numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["NearestPoints"]

Array = NDArray[np.float64]

_LEAF = 96
_QUERIES = 512
_PAIRS = 4096


class NearestPoints:
    """Points in boxes of some dozens of neighbours, made by halving along the longest side.

    A query looks into the box that is nearest to it, and then only into those that reach nearer
    than what it found there.
    """

    def __init__(self, points: ArrayLike) -> None:
        """Sort points (N, 3), N >= 1, into boxes."""
        points = np.asarray(points, np.float64)
        groups = [np.arange(len(points))]
        while len(groups[0]) > _LEAF:
            groups = [half for group in groups for half in _halves(points, group)]
        most = max(map(len, groups))
        # Boxes are filled up by repeating a point, so that all have one shape.
        self._leaves = points[np.array([np.resize(group, most) for group in groups])]
        self._low = self._leaves.min(axis=1)
        self._high = self._leaves.max(axis=1)

    def distances(self, queries: ArrayLike) -> Array:
        """Return the distance of each query (n, 3) to its nearest point, (n,)."""
        queries = np.asarray(queries, np.float64)
        parts = [self._some(queries[i : i + _QUERIES]) for i in range(0, len(queries), _QUERIES)]
        return np.sqrt(np.concatenate(parts)) if parts else np.zeros(0)

    def _some(self, queries: Array) -> Array:
        bounds = np.zeros((len(queries), len(self._low)))
        for axis in range(3):
            q = queries[:, axis, None]
            outside = np.maximum(self._low[:, axis] - q, q - self._high[:, axis])
            bounds += np.maximum(outside, 0) ** 2
        first = bounds.argmin(axis=1)
        best = self._look(queries, first)
        bounds[np.arange(len(queries)), first] = np.inf
        rows, leaves = np.nonzero(bounds < best[:, None])
        for i in range(0, len(rows), _PAIRS):
            some = rows[i : i + _PAIRS]
            found = self._look(queries[some], leaves[i : i + _PAIRS])
            # Rows rise, so that those of one query lie side by side.
            starts = np.flatnonzero(np.r_[True, np.diff(some) != 0])
            nearest = np.minimum.reduceat(found, starts)
            best[some[starts]] = np.minimum(best[some[starts]], nearest)
        return best

    def _look(self, queries: Array, leaves: NDArray[np.intp]) -> Array:
        """Square of the distance of each query to the nearest point of its leaf."""
        apart = self._leaves[leaves] - queries[:, None]
        return np.asarray(np.einsum("nkd,nkd->nk", apart, apart).min(axis=1))


def _halves(points: Array, group: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    axis = int(np.ptp(points[group], axis=0).argmax())
    middle = len(group) // 2
    order = np.argpartition(points[group, axis], middle)
    return [group[order[:middle]], group[order[middle:]]]
