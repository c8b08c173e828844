"""The threshold in the middle of the gap, within a bound on the false alarms."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.calib.statistics import threshold_at_fpr, threshold_under_fpr
from edgesafe.runtime.errors import DataError


def test_separated_classes_are_cut_in_the_middle_of_the_gap() -> None:
    found = threshold_under_fpr(np.linspace(0, 1, 50), np.linspace(2, 3, 50))
    assert found.value == pytest.approx(1.5)
    assert found.fpr is not None and found.miss_rate is not None
    assert found.fpr.value == 0
    assert found.miss_rate.value == 0


def test_overlap_keeps_the_bound_and_beats_the_bare_quantile() -> None:
    rng = np.random.default_rng(0)
    safe, unsafe = rng.normal(0, 1, 400), rng.normal(2.5, 1, 400)
    found, bare = threshold_under_fpr(safe, unsafe, 0.2), threshold_at_fpr(safe, unsafe, 0.2)
    assert (safe > found.value).mean() <= 0.2
    errors = []
    for threshold in (found, bare):
        assert threshold.fpr is not None and threshold.miss_rate is not None
        errors.append(threshold.fpr.value + threshold.miss_rate.value)
    assert errors[0] <= errors[1]
    assert found.interval[0] <= found.value <= found.interval[1]
    # Equal classes of normal scores meet in the middle.
    assert found.value == pytest.approx(1.25, abs=0.35)


def test_a_strict_bound_is_kept_although_more_are_missed() -> None:
    rng = np.random.default_rng(1)
    safe, unsafe = rng.normal(0, 1, 200), rng.normal(0.5, 1, 200)
    found = threshold_under_fpr(safe, unsafe, 0.05)
    assert found.fpr is not None and found.fpr.value <= 0.05


def test_an_empty_class_is_refused() -> None:
    with pytest.raises(DataError, match="at least one"):
        threshold_under_fpr([], [1.0])
