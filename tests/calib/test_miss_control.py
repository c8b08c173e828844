"""Thresholds with a guarantee: the formula, the guarantee itself, and what is too little for it."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from edgesafe.calib.miss_control import cut_for_alarms, cut_for_misses, needed_cases
from edgesafe.calib.statistics import clopper_pearson
from edgesafe.runtime.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("rate", "confidence", "cases"),
    [(0.05, 0.95, 59), (0.01, 0.95, 299), (0.1, 0.9, 22), (0.5, 0.5, 1), (0.5, 0.75, 2)],
)
def test_the_fewest_cases_are_those_of_wilks(rate: float, confidence: float, cases: int) -> None:
    assert needed_cases(rate, confidence) == cases


def test_one_case_less_is_an_error_that_says_so() -> None:
    scores = np.arange(59.0)
    assert cut_for_misses([-1.0], scores, 0.05, 0.95)[1] == 1
    with pytest.raises(DataError, match="58 unsafe cases .* 59 are needed, 1 more"):
        cut_for_misses([-1.0], scores[:58], 0.05, 0.95)
    with pytest.raises(DataError, match="58 safe cases .* 59 are needed, 1 more"):
        cut_for_alarms(scores[:58], [99.0], 0.05, 0.95)


@pytest.mark.parametrize("n", [59, 100, 311, 2000])
def test_the_rank_is_the_largest_that_clopper_pearson_allows(n: int) -> None:
    cut, rank = cut_for_misses([], np.arange(float(n)), 0.05, 0.95)
    # A two-sided interval of .9 has tails of .05.
    assert clopper_pearson(rank - 1, n, 0.9)[1] <= 0.05 < clopper_pearson(rank, n, 0.9)[1]
    assert (np.arange(n) <= cut).sum() == rank - 1


def test_the_promise_is_kept_as_often_as_stated() -> None:
    rng = np.random.default_rng(0)
    broken_miss = broken_alarm = 0
    for _ in range(400):
        safe, unsafe = rng.normal(0, 1, 120), rng.normal(2, 1, 120)
        low, _ = cut_for_misses(safe, unsafe, 0.1, 0.9)
        high = cut_for_alarms(safe, unsafe, 0.1, 0.9)
        broken_miss += NormalDist(2, 1).cdf(low) > 0.1
        broken_alarm += 1 - NormalDist(0, 1).cdf(high) > 0.1
    # At most one in ten, plus three standard deviations of 400 draws; and not never.
    assert 0 < broken_miss <= 58 and 0 < broken_alarm <= 58


def test_ties_count_against_us() -> None:
    unsafe = np.r_[np.zeros(10), np.ones(90)]
    cut, _ = cut_for_misses([-1.0, 0.5], unsafe, 0.05, 0.95)
    assert cut < 0  # any cut at 0 would miss all ten
    upper = cut_for_alarms(np.r_[np.zeros(90), np.ones(10)], [2.0], 0.05, 0.95)
    assert upper == pytest.approx(1.5)


def test_the_cut_stays_clear_of_both_neighbours() -> None:
    cut, _ = cut_for_misses(np.linspace(0, 1, 100), np.linspace(3, 4, 60), 0.05, 0.95)
    assert cut == pytest.approx(2.0)
    assert cut_for_alarms(np.linspace(0, 1, 60), np.linspace(3, 4, 9), 0.05, 0.95) == 2.0


@pytest.mark.parametrize(("rate", "confidence"), [(0.0, 0.9), (1.0, 0.9), (0.1, 1.0), (0.1, 0.0)])
def test_shares_are_inside_0_and_1(rate: float, confidence: float) -> None:
    with pytest.raises(UsageError):
        cut_for_misses([0.0], np.arange(100.0), rate, confidence)
