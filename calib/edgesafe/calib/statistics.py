"""Figures that carry their uncertainty: AUC, proportions, bootstrap, decision thresholds.

Scores rise with danger throughout: an item is flagged when ``score > threshold``, and a label is
true for unsafe. Numpy alone; no scipy on a device.

* ``roc_auc``: Hanley & McNeil, "The meaning and use of the area under a ROC curve", Radiology 143
  (1982): the AUC is the Mann-Whitney statistic, ties counted one half.
* ``clopper_pearson``: Clopper & Pearson, "The use of confidence or fiducial limits illustrated in
  the case of the binomial", Biometrika 26 (1934).
* ``bootstrap_interval``: Efron, "Bootstrap methods: another look at the jackknife", Annals of
  Statistics 7 (1979), percentile form.
* ``threshold_at_fpr``: order statistics of the safe scores bound a quantile of their distribution
  without assuming its shape; Wilks, "Determination of sample sizes for setting tolerance limits",
  Annals of Mathematical Statistics 12 (1941).
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgesafe.calib.beta import beta_quantile, regularized_beta
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.files import canonical_json, sha256_hex
from edgesafe.runtime.manifest import Rate, Threshold

__all__ = [
    "auc_between",
    "binomial_at_least",
    "bootstrap_interval",
    "check_share",
    "clopper_pearson",
    "finite_scores",
    "quantile_interval",
    "rate_of",
    "roc_auc",
    "scores_digest",
    "threshold_at_fpr",
    "threshold_under_fpr",
]

Array: TypeAlias = NDArray[np.float64]


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the probability that an unsafe item scores above a safe one, ties counted one half.

    Args:
        scores: Shape (n,), finite; higher is more unsafe.
        labels: Shape (n,), true or 1 for unsafe.

    Raises:
        DataError: The shapes differ, a score is not finite, or one class is absent.
    """
    values = finite_scores(scores, "scores")
    positive = np.asarray(labels).astype(bool)
    if positive.shape != values.shape:
        raise DataError(f"{values.size} scores but {positive.size} labels: one label per score")
    n_positive = int(positive.sum())
    n_negative = values.size - n_positive
    if n_positive == 0 or n_negative == 0:
        raise DataError("the AUC needs at least one safe and one unsafe score")
    # Mid-ranks: tied scores share the mean of the ranks they cover.
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mid_rank = np.cumsum(counts) - (counts - 1) / 2.0
    rank_sum = float(mid_rank[inverse][positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def auc_between(safe: ArrayLike, unsafe: ArrayLike) -> float:
    """Return the `roc_auc` of two samples of scores, one per class.

    Args:
        safe: Shape (n,).
        unsafe: Shape (m,).

    Raises:
        DataError: See `roc_auc`.
    """
    scores = np.concatenate([np.asarray(safe), np.asarray(unsafe)])
    return roc_auc(scores, np.arange(scores.size) >= np.size(safe))


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact binomial interval for ``k`` events in ``n`` trials.

    It covers the true rate with at least ``confidence`` for every rate; with no trials at all it
    is (0, 1).

    Raises:
        UsageError: ``k`` is not in 0..n, or ``confidence`` is not inside (0, 1).
    """
    check_share(confidence, "confidence")
    if not 0 <= k <= n:
        raise UsageError(f"{k} events in {n} trials: k must be in 0..n")
    tail = (1 - confidence) / 2
    low = beta_quantile(tail, k, n - k + 1) if k > 0 else 0.0
    high = beta_quantile(1 - tail, k + 1, n - k) if k < n else 1.0
    return low, high


def bootstrap_interval(
    statistic: Callable[..., float],
    *samples: ArrayLike,
    confidence: float = 0.95,
    repeats: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic of one or more samples.

    Each sample is drawn again on its own, so ``bootstrap_interval(auc, safe, unsafe)`` keeps the
    class sizes.

    Args:
        statistic: Called with one resampled array per sample.
        *samples: Arrays resampled along their first axis.
        confidence: Inside (0, 1).
        repeats: Number of resamples.
        seed: Of the resampling; the same seed gives the same interval.

    Raises:
        UsageError: ``confidence`` or ``repeats`` make no sense.
        DataError: A sample is empty.
    """
    check_share(confidence, "confidence")
    if repeats < 1 or not samples:
        raise UsageError("the bootstrap needs at least one sample and one repeat")
    arrays = [np.asarray(sample) for sample in samples]
    if any(array.ndim == 0 or len(array) == 0 for array in arrays):
        raise DataError("the bootstrap cannot draw from an empty sample")
    generator = np.random.default_rng(seed)
    values = np.empty(repeats)
    for i in range(repeats):
        draws = [array[generator.integers(0, len(array), len(array))] for array in arrays]
        values[i] = statistic(*draws)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def threshold_at_fpr(
    safe_scores: ArrayLike,
    unsafe_scores: ArrayLike,
    max_fpr: float = 0.05,
    confidence: float = 0.95,
) -> Threshold:
    """Choose the smallest threshold that flags at most ``max_fpr`` of the safe scores.

    The smallest such threshold is itself a safe score (flagging is ``score > threshold``), which
    misses the fewest unsafe items. It is an estimate from a sample: ``interval`` bounds where the
    true quantile lies, ``fpr.interval`` what the deployed rate may be. An end of ``interval`` is
    the smallest or largest safe score where the sample is too small to bound that side; ``rule``
    then says so.

    Args:
        safe_scores: Shape (n,), finite.
        unsafe_scores: Shape (m,), finite.
        max_fpr: Inside [0, 1): the share of safe items that may be flagged.
        confidence: Of all intervals, inside (0, 1).

    Returns:
        What a package manifest stores (``dataclasses.asdict`` gives its JSON form); ``n`` counts
        safe and unsafe scores together.

    Raises:
        DataError: A class has no scores, or a score is not finite.
        UsageError: ``max_fpr`` or ``confidence`` is out of range.
    """
    if not 0 <= max_fpr < 1:
        raise UsageError(f"max_fpr is {max_fpr}: it must be at least 0 and below 1")
    check_share(confidence, "confidence")
    safe = np.sort(finite_scores(safe_scores, "safe scores"))
    unsafe = np.sort(finite_scores(unsafe_scores, "unsafe scores"))
    if safe.size == 0 or unsafe.size == 0:
        raise DataError("a threshold needs at least one safe and one unsafe score")
    # Ties count against us, so the tied run as a whole must fit: nothing above index n-1-allowed.
    # The epsilon keeps 0.05 * 100 at 5 where the product comes out a hair below it.
    allowed = math.floor(max_fpr * safe.size + 1e-9)
    value = float(safe[safe.size - 1 - allowed])
    interval, open_sides = quantile_interval(safe, 1 - max_fpr, confidence)
    rule = (
        f"smallest threshold that flags at most {max_fpr:g} of the safe scores; interval of the"
        f" {1 - max_fpr:g} quantile by order statistics"
    )
    if open_sides:
        rule += f"; too few safe scores to bound it {' or '.join(open_sides)}"
    return Threshold(
        value=value,
        interval=interval,
        confidence=confidence,
        n=safe.size + unsafe.size,
        fpr=rate_of(int((safe > value).sum()), safe.size, confidence),
        miss_rate=rate_of(int((unsafe <= value).sum()), unsafe.size, confidence),
        rule=rule,
        data_sha256=scores_digest(safe, unsafe),
    )


def threshold_under_fpr(
    safe_scores: ArrayLike,
    unsafe_scores: ArrayLike,
    max_fpr: float = 0.05,
    confidence: float = 0.95,
) -> Threshold:
    """Choose the threshold with the best balanced accuracy among those within ``max_fpr``.

    Where the classes are nearly apart, `threshold_at_fpr` cuts into the safe scores although a
    larger threshold would miss no more; this one lies in the middle of the gap. ``interval`` is
    the percentile bootstrap of the whole choice, not of the quantile.

    Args and raises: see `threshold_at_fpr`.
    """
    least = threshold_at_fpr(safe_scores, unsafe_scores, max_fpr, confidence)
    safe, unsafe = (
        finite_scores(safe_scores, "safe scores"),
        finite_scores(unsafe_scores, "unsafe scores"),
    )

    def choose(safe: Array, unsafe: Array) -> float:
        safe, unsafe = np.sort(safe), np.sort(unsafe)
        allowed = math.floor(max_fpr * safe.size + 1e-9)
        cuts = np.unique(np.r_[safe[safe.size - 1 - allowed], safe, unsafe])
        cuts = cuts[cuts >= safe[safe.size - 1 - allowed]]
        flagged = 1 - np.searchsorted(safe, cuts, side="right") / safe.size
        missed = np.searchsorted(unsafe, cuts, side="right") / unsafe.size
        best = int(np.argmin(flagged + missed))
        # Every cut up to the next score decides alike: stay clear of both classes.
        return float(cuts[best : best + 2].mean())

    value = choose(safe, unsafe)
    return dataclasses.replace(
        least,
        value=value,
        interval=bootstrap_interval(choose, safe, unsafe, confidence=confidence, repeats=1000),
        fpr=rate_of(int((safe > value).sum()), safe.size, confidence),
        miss_rate=rate_of(int((unsafe <= value).sum()), unsafe.size, confidence),
        rule=(
            f"best balanced accuracy among thresholds that flag at most {max_fpr:g} of the safe"
            " scores; interval by bootstrap"
        ),
    )


def quantile_interval(
    ordered: Array, q: float, confidence: float
) -> tuple[tuple[float, float], list[str]]:
    """Bound the q-quantile between two order statistics, each side with half of the risk.

    With B ~ Binomial(n, q) the number of draws at or below the quantile, the i-th smallest draw
    (1-based) lies above the quantile with probability P(B < i) = P(B <= i - 1) and below it with
    P(B >= i). The interval takes the largest i and the smallest j whose risk is within the tail.
    """
    n = ordered.size
    tail = (1 - confidence) / 2
    # P(B >= i) falls with i, so both ends are found by bisection.
    ranks = range(1, n + 1)
    low = bisect_left(ranks, True, key=lambda i: binomial_at_least(i, n, q) < 1 - tail)
    high = 1 + bisect_left(ranks, True, key=lambda i: binomial_at_least(i, n, q) <= tail)
    open_sides = ["below"] * (low == 0) + ["above"] * (high > n)
    bounds = (float(ordered[max(low, 1) - 1]), float(ordered[min(high, n) - 1]))
    return bounds, open_sides


def binomial_at_least(i: int, n: int, q: float) -> float:
    """Return P(Binomial(n, q) >= i) for 1 <= i <= n."""
    return regularized_beta(q, i, n - i + 1)


def rate_of(k: int, n: int, confidence: float) -> Rate:
    """Return the share of ``k`` in ``n`` cases with its `clopper_pearson` interval."""
    return Rate(value=k / n, interval=clopper_pearson(k, n, confidence), n=n)


def scores_digest(safe: ArrayLike, unsafe: ArrayLike) -> str:
    """Return the digest of scores and labels that a threshold states; the order does not count."""
    ordered = {"safe": np.sort(np.asarray(safe)), "unsafe": np.sort(np.asarray(unsafe))}
    return sha256_hex(canonical_json({name: scores.tolist() for name, scores in ordered.items()}))


def finite_scores(scores: ArrayLike, what: str) -> Array:
    """Return the scores as float64 (n,).

    Raises:
        DataError: They have another shape, or one is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise DataError(f"{what} have shape {values.shape}: pass one number per item")
    if not np.isfinite(values).all():
        raise DataError(f"{int((~np.isfinite(values)).sum())} of the {what} are not finite")
    return values


def check_share(value: float, name: str) -> None:
    """Refuse what is not inside (0, 1).

    Raises:
        UsageError: It is not.
    """
    if not 0 < value < 1:
        raise UsageError(f"{name} is {value}: it must lie between 0 and 1")
