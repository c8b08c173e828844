"""Exact nearest neighbours, in the Lorentz model or by cosine.

The Lorentz inner product of two points falls with their geodesic distance, so the nearest point is
the one of the largest inner product ``q.x - q_t x_t``: an ordinary one, once the sign of the
query's time part is flipped. With ``x_t = r + b``, ``r = 1/sqrt(c)``, it is
``q.x - q_t b - q_t r``, whose last term is the same for all ``x``. Stored is therefore ``(x, b)``,
and the query is ``(q, -q_t)``: the small ``b`` keeps the digits in float32 that ``x_t`` would lose.
Any exact inner-product search (a matrix product, FAISS ``IndexFlatIP``) finds the order. An
approximate graph built on inner products (HNSW) does not: it loses most of the recall, because
inner products are no metric.

The search is exact although the products are float32: the rounding error of a product of ``n``
terms is at most ``n u |q| |x|`` (Higham, "Accuracy and Stability of Numerical Algorithms", section
3.1), and every row within twice that of the k-th is measured again, in float64, with the form of
:func:`edgesafe.runtime.lorentz.distance` that does not cancel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime import lorentz
from edgesafe.runtime.errors import DataError, MissingExtraError

__all__ = ["ENGINES", "Engine", "Found", "Space", "search"]

Floats: TypeAlias = NDArray[np.floating[Any]]
Rows: TypeAlias = NDArray[np.float32]
Engine: TypeAlias = Literal["numpy", "faiss"]
ENGINES: tuple[Engine, ...] = ("numpy", "faiss")

_BLOCK = 1 << 16  # rows whose products are held at once
_ROUNDING = 2.0**-24  # of float32


@dataclass(frozen=True)
class Space:
    """Where points live.

    Attributes:
        model: ``lorentz``, space parts compared by geodesic distance; ``euclidean``, vectors
            compared by cosine.
        dim: Of a point.
        curvature: c > 0; None for ``euclidean``.
    """

    model: Literal["lorentz", "euclidean"]
    dim: int
    curvature: float | None = None

    @property
    def width(self) -> int:
        """Numbers in a stored row."""
        return self.dim + (self.model == "lorentz")

    def stored(self, points: Floats) -> Rows:
        """Rows to be searched, float32 (n, width), of points (n, dim).

        Raises:
            DataError: A point is not finite, or is a zero vector without a direction.
        """
        wide = np.asarray(points, np.float64)
        if wide.ndim != 2 or wide.shape[1] != self.dim:
            raise DataError(f"points of {self.dim} dimensions are needed, not {wide.shape}")
        if not np.isfinite(wide).all():
            raise DataError("a point that is not finite cannot be indexed")
        if self.curvature is None:
            return _unit(wide).astype(np.float32)
        rows = np.empty((len(wide), self.width), np.float32)
        rows[:, :-1] = wide
        # Of the rounded coordinates, so that a row agrees with itself.
        square = np.sum(rows[:, :-1].astype(np.float64) ** 2, axis=1)
        root = 1 / math.sqrt(self.curvature)
        rows[:, -1] = square / (np.sqrt(root * root + square) + root)
        return rows

    def points(self, rows: Rows) -> Rows:
        """The points of stored rows, (n, dim)."""
        return rows[:, : self.dim]

    def queries(self, points: Floats) -> Rows:
        """The other factor of the product, float32 (m, width)."""
        rows = self.stored(points)
        if self.curvature is not None:
            rows[:, -1] = -(rows[:, -1] + 1 / math.sqrt(self.curvature))
        return rows

    def distances(self, point: Floats, rows: Rows) -> NDArray[np.float64]:
        """Exact distance of one point (dim,) from stored rows, (n,).

        Geodesic, or one minus the cosine.
        """
        wide = self.points(rows).astype(np.float64)
        q = np.asarray(point, np.float64)
        if self.curvature is not None:
            return np.asarray(lorentz.distance(q, wide, self.curvature), np.float64)
        # |u - v|^2 / 2 of unit vectors does not cancel.
        return np.asarray(np.sum((_unit(q[None]) - _unit(wide)) ** 2, axis=1) / 2)

    def error(self, query: Rows, block: Rows) -> float:
        """Largest rounding error of a float32 product of a query row and a row of the block."""
        if self.curvature is None:
            longest = 1.0
        else:
            b = float(block[:, -1].max(initial=0.0))
            # |x|^2 = x_t^2 - r^2 = b (b + 2 r); the row's own norm adds b.
            longest = math.sqrt(b * (b + 2 / math.sqrt(self.curvature)) + b * b)
        # Four more terms for the rounding of the query and of the row itself.
        return (self.width + 4) * _ROUNDING * float(np.linalg.norm(query)) * longest


@dataclass(frozen=True)
class Found:
    """The nearest rows of one query, nearest first.

    Attributes:
        rows: Their numbers, (k,) or fewer.
        distances: Of them, float64.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]


def search(
    space: Space,
    blocks: Sequence[Rows],
    points: Floats,
    k: int,
    *,
    keep: NDArray[np.bool_] | None = None,
    engine: Engine = "numpy",
) -> list[Found]:
    """The k nearest rows of each point, exactly; equal distances in the order of the rows.

    Args:
        space: What the points and rows are.
        blocks: Stored rows, numbered on from block to block; memory maps are read once.
        points: Queries, (m, dim).
        k: How many; fewer are found where there are fewer.
        keep: Which rows count, by number; None for all.
        engine: ``numpy`` reads the blocks as they are; ``faiss`` copies them into memory.

    Raises:
        DataError: A query is not finite or has no direction.
        MissingExtraError: FAISS was asked for and is not installed.
    """
    queries = space.queries(points)
    if engine == "faiss":
        candidates = _faiss(space, blocks, queries, k, keep)
    else:
        candidates = _products(space, blocks, queries, k, keep)
    starts = np.cumsum([0, *(len(block) for block in blocks)])
    found = []
    for point, numbers in zip(np.asarray(points), candidates, strict=True):
        numbers = np.sort(numbers)
        distances = space.distances(point, _gather(blocks, starts, numbers, space.width))
        good = np.isfinite(distances)
        numbers, distances = numbers[good], distances[good]
        order = np.argsort(distances, kind="stable")[:k]
        found.append(Found(numbers[order], distances[order]))
    return found


def _products(
    space: Space,
    blocks: Sequence[Rows],
    queries: Rows,
    k: int,
    keep: NDArray[np.bool_] | None,
) -> list[NDArray[np.int64]]:
    """Every row that could be among the k nearest, per query."""
    rows: list[list[NDArray[np.int64]]] = [[] for _ in queries]
    upper: list[list[NDArray[np.float64]]] = [[] for _ in queries]
    # The k largest lower bounds of a product so far.
    best = np.full((len(queries), k), -np.inf)
    start = 0
    for block in blocks:
        for at in range(0, len(block), _BLOCK):
            part = np.asarray(block[at : at + _BLOCK])
            products = queries @ part.T
            if keep is not None:
                products[:, ~keep[start : start + len(part)]] = -np.inf
            # A damaged row must not be near to everything.
            products[np.isnan(products)] = -np.inf
            for i, row in enumerate(products):
                error = space.error(queries[i], part)
                top = np.partition(row, -k)[-k:] if len(row) > k else row
                both = np.concatenate([best[i], top.astype(np.float64) - error])
                best[i] = np.partition(both, -k)[-k:]
                near = np.flatnonzero((row >= best[i].min() - error) & (row > -np.inf))
                rows[i].append(near + start)
                upper[i].append(row[near] + error)
            start += len(part)
    return [
        _joined(r)[_joined(u) >= best[i].min()]
        for i, (r, u) in enumerate(zip(rows, upper, strict=True))
    ]


def _joined(parts: list[Any]) -> Any:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _faiss(
    space: Space,
    blocks: Sequence[Rows],
    queries: Rows,
    k: int,
    keep: NDArray[np.bool_] | None,
) -> list[NDArray[np.int64]]:
    try:
        import faiss
    except ModuleNotFoundError:
        raise MissingExtraError("faiss", "faiss") from None
    index = faiss.IndexFlatIP(space.width)
    numbers = []
    start = 0
    largest = np.zeros(len(queries))
    for block in blocks:
        part = np.ascontiguousarray(block)
        chosen = np.isfinite(part).all(axis=1)
        if keep is not None:
            chosen &= keep[start : start + len(part)]
        numbers.append(np.flatnonzero(chosen) + start)
        start += len(part)
        if chosen.any():
            index.add(part[chosen])
            errors = [space.error(query, part[chosen]) for query in queries]
            largest = np.maximum(largest, errors)
    number = np.concatenate(numbers) if numbers else np.empty(0, np.int64)
    if not len(number):
        return [number for _ in queries]
    found = []
    for query, error in zip(queries, largest, strict=True):
        wanted = min(k, len(number))
        asked = min(wanted + 16, len(number))
        while True:
            scores, hits = index.search(query[None], asked)
            # Nothing that was left out can be nearer than the k-th.
            sure = scores[0, -1] < scores[0, wanted - 1] - 2 * error
            if sure or asked == len(number):
                break
            asked = min(2 * asked, len(number))
        found.append(number[hits[0]])
    return found


def _gather(
    blocks: Sequence[Rows], starts: NDArray[np.int64], numbers: NDArray[np.int64], width: int
) -> Rows:
    rows = np.empty((len(numbers), width), np.float32)
    which = np.searchsorted(starts, numbers, side="right") - 1
    for b in np.unique(which):
        mine = which == b
        rows[mine] = blocks[b][numbers[mine] - starts[b]]
    return rows


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise DataError("a zero vector has no direction to be compared by cosine")
    return np.asarray(rows / norms)
