"""Figures of an audit: means and medians over frames and seeds, with bootstrap intervals.

Objects in a frame share its light and blur, so that frames are drawn again, not objects; where
there are several seeds, seeds are drawn too. Figures of two sets are drawn in pairs: the same
frames of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.pose_scores import Target
from edgesafe.calib.statistics import bootstrap_interval, clopper_pearson

__all__ = ["Hits", "Interval", "difference", "median_of", "ratio", "recall", "share"]

Array = NDArray[np.float64]

_CLOSE = 0.1
_REPEATS = 500


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval.

    Attributes:
        value: The figure.
        low: Lower end.
        high: Upper end.
        n: How many it rests on.
    """

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; what is not finite is None."""
        known = [float(v) if np.isfinite(v) else None for v in (self.value, self.low, self.high)]
        return {"value": known[0], "interval": known[1:], "n": self.n}


@dataclass(frozen=True, eq=False)
class Hits:
    """How often a network's poses of one set were right.

    Attributes:
        table: (seeds, frames, 2) poses right, and targets.
    """

    table: Array

    @classmethod
    def of(cls, seeds: Sequence[Sequence[Target]], frames: Sequence[tuple[int, int]]) -> Hits:
        """Count poses with ADD(-S) below a tenth of the diameter.

        Args:
            seeds: The targets of each seed.
            frames: (scene, picture) of the rows.
        """
        row = {frame: i for i, frame in enumerate(frames)}
        table = np.zeros((len(seeds), len(frames), 2))
        for i, targets in enumerate(seeds):
            for target in targets:
                if target.frame in row:
                    right = target.error < _CLOSE * target.diameter
                    table[i, row[target.frame]] += (right, 1)
        return cls(table)

    @property
    def targets(self) -> int:
        """Targets of one seed."""
        return int(self.table[0, :, 1].sum())

    @property
    def by_seed(self) -> list[float]:
        """Accuracy of each seed."""
        return [_accuracy(seed) for seed in self.table]


def recall(hits: Hits) -> Interval:
    """Return the share of poses that are right."""
    found = _bootstrap(lambda a: _accuracy(a[0]), hits.targets, hits)
    return _exact(found, hits.table.shape[1])


def difference(first: Hits, second: Hits) -> Interval:
    """Return by how much the first share is larger; of the same frames and seeds."""
    return _bootstrap(lambda a: _accuracy(a[0]) - _accuracy(a[1]), first.targets, first, second)


def ratio(first: Hits, second: Hits) -> Interval:
    """Return the first share over the second; NaN where that is 0."""
    return _bootstrap(
        lambda a: _over(_accuracy(a[0]), _accuracy(a[1])), first.targets, first, second
    )


def median_of(values: Mapping[tuple[int, int], Sequence[float]]) -> Interval:
    """Return the median of values that belong to frames."""
    return _by_frame(values, lambda drawn: float(np.median(drawn)))


def share(flags: Mapping[tuple[int, int], Sequence[float]]) -> Interval:
    """Return the mean of values in 0..1 that belong to frames."""
    return _exact(_by_frame(flags, lambda drawn: float(np.mean(drawn))), len(flags))


def _exact(found: Interval, frames: int) -> Interval:
    """Give a share of all or none the exact interval of so many frames.

    Drawing again from frames that agree finds no spread.
    """
    if found.value not in (0.0, 1.0) or not frames:
        return found
    low, high = clopper_pearson(frames if found.value else 0, frames)
    return Interval(found.value, low, high, found.n)


def _by_frame(
    values: Mapping[tuple[int, int], Sequence[float]], statistic: Callable[[Array], float]
) -> Interval:
    groups = [np.asarray(group, np.float64) for group in values.values() if len(group)]
    if not groups:
        return Interval(np.nan, np.nan, np.nan, 0)
    everything = np.concatenate(groups)

    def drawn(places: NDArray[np.int64]) -> float:
        return statistic(np.concatenate([groups[at] for at in places]))

    low, high = bootstrap_interval(drawn, np.arange(len(groups)), repeats=_REPEATS)
    return Interval(statistic(everything), low, high, len(everything))


def _bootstrap(statistic: Callable[[list[Array]], float], n: int, *hits: Hits) -> Interval:
    seeds, frames = hits[0].table.shape[:2]

    def drawn(which: NDArray[np.int64], runs: NDArray[np.int64]) -> float:
        return statistic([one.table[np.ix_(runs, which)] for one in hits])

    value = statistic([one.table for one in hits])
    if not np.isfinite(value):
        return Interval(np.nan, np.nan, np.nan, n)
    with np.errstate(invalid="ignore"):
        low, high = bootstrap_interval(drawn, np.arange(frames), np.arange(seeds), repeats=_REPEATS)
    return Interval(value, low, high, n)


def _accuracy(table: Array) -> float:
    right, targets = table.reshape(-1, 2).sum(axis=0)
    return float(right / targets) if targets else 0.0


def _over(first: float, second: float) -> float:
    return first / second if second else float("nan")
