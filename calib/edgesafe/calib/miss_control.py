"""Thresholds with a finite-sample guarantee: order statistics and the Clopper-Pearson bound.

Let ``u(1) <= ... <= u(m)`` be the scores of m unsafe cases that are drawn like those to come, and
flag what scores above the threshold. A threshold below ``u(j)`` misses at most the share
``F(u(j)-)`` of the cases to come, which is stochastically at most Beta(j, m - j + 1) whatever the
distribution (Wilks, Annals of Mathematical Statistics 12, 1941), so

    P(miss rate > a) <= P(Binomial(m, a) <= j - 1).

The largest j whose right side is at most 1 - confidence gives the largest threshold, so the fewest
false alarms. It is the same as asking that the one-sided Clopper-Pearson bound of j - 1 misses in
m cases is at most a, and a case of "learn then test" with fixed-sequence testing (Angelopoulos et
al., arXiv 2110.01052). No shape of the scores is assumed. The confidence is over the draw of the
calibration cases: at .95, one such data set in twenty gives a threshold that misses more.

The guarantee against false alarms, for the upper end of a band, is the same with the classes
exchanged.
"""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
from numpy.typing import ArrayLike

from edgesafe.calib.statistics import binomial_at_least, check_share, finite_scores
from edgesafe.runtime.errors import DataError

__all__ = ["cut_for_alarms", "cut_for_misses", "needed_cases"]


def needed_cases(max_rate: float, confidence: float) -> int:
    """Return the fewest cases of one class that can bound its error rate at all.

    With n cases and no error among them the bound is ``1 - (1 - confidence)^(1/n)``.
    """
    check_share(max_rate, "the largest rate")
    check_share(confidence, "confidence")
    # The epsilon keeps exact cases, such as 1 - confidence = (1 - rate)^n, from one too many.
    return max(1, math.ceil(math.log(1 - confidence) / math.log(1 - max_rate) - 1e-9))


def cut_for_misses(
    safe: ArrayLike, unsafe: ArrayLike, max_miss: float, confidence: float
) -> tuple[float, int]:
    """Choose the largest threshold that misses at most ``max_miss`` with the stated confidence.

    Args:
        safe: Scores; they only place the threshold in the middle of a gap, which costs nothing.
        unsafe: Scores, of which the guarantee speaks.
        max_miss: Largest share of unsafe cases to come that may be at or below the threshold.
        confidence: Of that.

    Returns:
        The threshold, and the rank j of the unsafe score that it stays below.

    Raises:
        DataError: There are too few unsafe cases; the message says how many are needed.
        UsageError: A share is out of range.
    """
    ordered = np.sort(finite_scores(unsafe, "unsafe scores"))
    needed = needed_cases(max_miss, confidence)
    if ordered.size < needed:
        raise DataError(_too_few("unsafe", "missing", ordered.size, needed, max_miss, confidence))
    n = ordered.size
    # P(Bin >= j) falls with j: the first j that is too unlikely, less one, is the largest allowed.
    rank = bisect_left(
        range(1, n + 1), True, key=lambda j: binomial_at_least(j, n, max_miss) < confidence
    )
    limit = float(ordered[max(rank, 1) - 1])
    scores = np.concatenate([ordered, finite_scores(safe, "safe scores")])
    below = scores[scores < limit]
    # Decides alike for every case at hand, and stays clear of both neighbours.
    cut = (limit + float(below.max())) / 2 if below.size else float(np.nextafter(limit, -np.inf))
    return min(cut, float(np.nextafter(limit, -np.inf))), max(rank, 1)


def cut_for_alarms(safe: ArrayLike, unsafe: ArrayLike, max_fpr: float, confidence: float) -> float:
    """Choose the smallest cut above which lie at most ``max_fpr`` of the safe cases to come.

    Args and raises: as `cut_for_misses`, with the classes exchanged.
    """
    ordered = np.sort(finite_scores(safe, "safe scores"))
    needed = needed_cases(max_fpr, confidence)
    if ordered.size < needed:
        raise DataError(_too_few("safe", "flagging", ordered.size, needed, max_fpr, confidence))
    n = ordered.size
    rank = 1 + bisect_left(
        range(1, n + 1),
        True,
        key=lambda i: binomial_at_least(i, n, 1 - max_fpr) <= 1 - confidence,
    )
    limit = float(ordered[min(rank, n) - 1])
    scores = np.concatenate([ordered, finite_scores(unsafe, "unsafe scores")])
    above = scores[scores > limit]
    return (limit + float(above.min())) / 2 if above.size else limit


def _too_few(kind: str, doing: str, n: int, needed: int, rate: float, confidence: float) -> str:
    return (
        f"{n} {kind} cases cannot guarantee {doing} at most {100 * rate:g} % with confidence "
        f"{confidence:g}: {needed} are needed, {needed - n} more; or ask for less"
    )
