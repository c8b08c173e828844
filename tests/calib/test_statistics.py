"""Intervals, AUC and thresholds against known values and against their own promises."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesafe.calib.statistics import (
    auc_between,
    bootstrap_interval,
    clopper_pearson,
    roc_auc,
    threshold_at_fpr,
)
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.fields import Fields
from edgesafe.runtime.manifest_parts import read_threshold

SCORES = st.lists(st.integers(0, 12).map(lambda i: i / 4), min_size=1, max_size=60)


@settings(max_examples=200)
@given(safe=SCORES, unsafe=SCORES)
def test_auc_is_the_share_of_ordered_pairs(safe: list[float], unsafe: list[float]) -> None:
    pairs = [(u > s) + 0.5 * (u == s) for u in unsafe for s in safe]
    labels = [0] * len(safe) + [1] * len(unsafe)
    assert roc_auc(safe + unsafe, labels) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


def test_auc_of_known_orders() -> None:
    assert roc_auc([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]) == 1.0
    assert roc_auc([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1]) == 0.0
    assert roc_auc([0.5, 0.5, 0.5], [True, False, True]) == 0.5
    assert roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) == 0.75


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([1.0, 2.0], [1, 1], "at least one safe"),
        ([1.0, 2.0], [0], "2 scores but 1 labels"),
        ([1.0, math.nan], [0, 1], "not finite"),
        ([[1.0], [2.0]], [0, 1], "shape"),
    ],
)
def test_auc_refuses_bad_input(scores: list[float], labels: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        roc_auc(scores, labels)


# Values of R's binom.test(k, n)$conf.int and of the closed forms at the ends.
@pytest.mark.parametrize(
    ("k", "n", "confidence", "low", "high"),
    [
        (0, 10, 0.95, 0.0, 1 - 0.025 ** (1 / 10)),
        (10, 10, 0.95, 0.025 ** (1 / 10), 1.0),
        (1, 10, 0.95, 1 - 0.975 ** (1 / 10), 0.445016117028195),
        (5, 10, 0.95, 0.187086028447398, 0.812913971552602),
        (5, 100, 0.95, 0.0164318796440128, 0.112834911105238),
        (0, 0, 0.95, 0.0, 1.0),
    ],
)
def test_clopper_pearson_known_values(
    k: int, n: int, confidence: float, low: float, high: float
) -> None:
    assert clopper_pearson(k, n, confidence) == pytest.approx((low, high), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 400), share=st.floats(0, 1), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_clopper_pearson_solves_its_own_equations(n: int, share: float, confidence: float) -> None:
    k = round(share * n)
    low, high = clopper_pearson(k, n, confidence)
    tail = (1 - confidence) / 2

    def at_least(first: int, p: float) -> float:
        return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(first, n + 1))

    assert low <= k / n <= high
    if k > 0:
        assert at_least(k, low) == pytest.approx(tail, abs=1e-9)
    if k < n:
        assert 1 - at_least(k + 1, high) == pytest.approx(tail, abs=1e-9)


@pytest.mark.parametrize(("k", "n", "confidence"), [(-1, 5, 0.9), (6, 5, 0.9), (1, 5, 1.0)])
def test_clopper_pearson_refuses_nonsense(k: int, n: int, confidence: float) -> None:
    with pytest.raises(UsageError):
        clopper_pearson(k, n, confidence)


def test_bootstrap_is_seeded_and_brackets_the_mean() -> None:
    sample = np.random.default_rng(1).normal(3.0, 1.0, 400)
    first = bootstrap_interval(lambda x: float(np.mean(x)), sample, repeats=500)
    assert first == bootstrap_interval(lambda x: float(np.mean(x)), sample, repeats=500)
    assert first != bootstrap_interval(lambda x: float(np.mean(x)), sample, repeats=500, seed=1)
    # The normal theory: 1.96 standard errors to each side of the sample mean.
    half = 1.96 * sample.std(ddof=1) / 20
    assert first == pytest.approx((sample.mean() - half, sample.mean() + half), abs=0.02)


def test_bootstrap_draws_each_sample_on_its_own() -> None:
    def difference(a: np.ndarray, b: np.ndarray) -> float:
        assert (len(a), len(b)) == (30, 7)
        return float(a.mean() - b.mean())

    assert bootstrap_interval(difference, np.ones(30), np.zeros(7), repeats=20) == (1.0, 1.0)


def test_bootstrap_refuses_an_empty_sample() -> None:
    with pytest.raises(DataError, match="empty"):
        bootstrap_interval(lambda x: 0.0, [])


@settings(deadline=None, max_examples=150)
@given(safe=SCORES, unsafe=SCORES, max_fpr=st.sampled_from([0.0, 0.05, 0.1, 0.5]))
def test_the_threshold_is_the_smallest_that_keeps_the_rate(
    safe: list[float], unsafe: list[float], max_fpr: float
) -> None:
    chosen = threshold_at_fpr(safe, unsafe, max_fpr)

    def flagged(t: float) -> float:
        return sum(s > t for s in safe) / len(safe)

    assert flagged(chosen.value) <= max_fpr + 1e-12
    smaller = [s for s in safe if s < chosen.value]
    assert all(flagged(s) > max_fpr for s in smaller)
    assert chosen.fpr is not None and chosen.miss_rate is not None
    assert chosen.fpr.value == pytest.approx(flagged(chosen.value))
    assert chosen.miss_rate.value == pytest.approx(
        sum(u <= chosen.value for u in unsafe) / len(unsafe)
    )
    assert chosen.interval[0] <= chosen.value <= chosen.interval[1]
    assert (chosen.fpr.n, chosen.miss_rate.n, chosen.n) == (
        len(safe),
        len(unsafe),
        len(safe) + len(unsafe),
    )


def test_the_threshold_of_a_hundred_scores() -> None:
    safe = np.arange(1, 101, dtype=float)
    chosen = threshold_at_fpr(safe, safe + 50, max_fpr=0.05)
    assert chosen.value == 95.0
    assert chosen.fpr is not None and chosen.miss_rate is not None
    assert chosen.fpr.value == 0.05
    assert chosen.fpr.interval == pytest.approx((0.0164318796, 0.1128349111), abs=1e-9)
    assert chosen.miss_rate.value == 0.45
    # The usual table for the .95 quantile of n=100: order statistics 90 and 99 or so.
    assert 89 <= chosen.interval[0] <= 92
    assert 98 <= chosen.interval[1] <= 100
    assert "too few" not in chosen.rule


def test_a_small_sample_says_that_one_side_is_open() -> None:
    chosen = threshold_at_fpr([1.0, 2.0, 3.0], [4.0], max_fpr=0.05)
    assert chosen.interval[1] == 3.0
    assert "too few safe scores to bound it above" in chosen.rule


def test_the_interval_holds_the_quantile_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    held = 0
    for _ in range(300):
        chosen = threshold_at_fpr(generator.uniform(size=150), [1.0], 0.1, confidence=0.9)
        held += chosen.interval[0] <= 0.9 <= chosen.interval[1]
    # Conservative by construction: 0.9 less three standard errors of 300 trials.
    assert held / 300 >= 0.9 - 3 * math.sqrt(0.09 / 300)


def test_the_manifest_reads_the_threshold_back() -> None:
    chosen = threshold_at_fpr([1.0, 2.0], [3.0, 4.0], 0.5)
    entry = json.loads(json.dumps(dataclasses.asdict(chosen)))
    assert read_threshold(Fields(entry, "threshold")) == chosen


def test_the_digest_depends_on_the_scores_and_not_on_their_order() -> None:
    one = threshold_at_fpr([1.0, 2.0], [3.0]).data_sha256
    assert one == threshold_at_fpr([2.0, 1.0], [3.0]).data_sha256
    assert one != threshold_at_fpr([1.0, 2.5], [3.0]).data_sha256


@pytest.mark.parametrize(
    ("safe", "unsafe", "max_fpr", "error"),
    [
        ([], [1.0], 0.05, DataError),
        ([1.0], [], 0.05, DataError),
        ([math.inf], [1.0], 0.05, DataError),
        ([1.0], [1.0], 1.0, UsageError),
        ([1.0], [1.0], -0.1, UsageError),
    ],
)
def test_the_threshold_refuses_bad_input(
    safe: list[float], unsafe: list[float], max_fpr: float, error: type[Exception]
) -> None:
    with pytest.raises(error):
        threshold_at_fpr(safe, unsafe, max_fpr)


def test_auc_between_two_samples_is_the_auc_of_their_union() -> None:
    safe, unsafe = [0.1, 0.4, 0.4], [0.4, 0.9]
    assert auc_between(safe, unsafe) == roc_auc([*safe, *unsafe], [0, 0, 0, 1, 1])
    assert auc_between([0.0, 1.0], [2.0]) == 1.0
