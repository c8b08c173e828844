"""Probes and probabilities, against what they must be."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.calib.logistic import choose_l2, fit_probe, fit_temperature, sigmoid
from edgesafe.calib.reliability import measure_reliability
from edgesafe.runtime.errors import DataError


def test_the_gradient_vanishes_at_the_fit() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 4))
    unsafe = features @ [1.0, -2, 0, 0.5] + rng.normal(size=200) > 0.3
    found = fit_probe(features, unsafe, 0.01)
    error = sigmoid(features @ found.weights + found.bias) - unsafe
    assert features.T @ error / 200 + 0.01 * found.weights == pytest.approx(0, abs=1e-6)
    assert error.mean() == pytest.approx(0, abs=1e-6)


def test_a_strong_penalty_is_chosen_where_there_is_nothing_to_learn() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(80, 40)) / np.sqrt(40)
    noise, _ = choose_l2(features, rng.random(80) < 0.5)
    real, areas = choose_l2(features, features[:, 0] > 0)
    assert noise > real
    assert areas[real] > 0.8


def test_a_class_with_too_few_cases_is_refused() -> None:
    with pytest.raises(DataError, match="5 of each are needed"):
        choose_l2(np.eye(20), np.arange(20) < 4)
    with pytest.raises(DataError, match="safe and unsafe"):
        fit_probe(np.eye(3), np.zeros(3, bool), 1.0)


def test_normal_scores_give_the_logistic_of_bayes() -> None:
    rng = np.random.default_rng(2)
    safe, unsafe = rng.normal(0, 1, 20_000), rng.normal(2, 1, 20_000)
    found = fit_temperature(safe, unsafe)
    # log odds of N(2, 1) against N(0, 1) are 2 s - 2.
    assert found is not None
    assert found.scale == pytest.approx(0.5, rel=0.03)
    assert found.bias == pytest.approx(1.0, rel=0.03)
    rare = fit_temperature(safe, unsafe, prevalence=0.01)
    assert rare is not None
    expected = 0.01 / (0.01 + 0.99)  # where both densities are equal
    assert rare.probability(1.0) == pytest.approx(expected, rel=0.1)


def test_classes_that_are_apart_give_a_finite_fit() -> None:
    found = fit_temperature(np.linspace(0, 1, 30), np.linspace(2, 3, 30))
    assert found is not None and 0 < found.scale < 1
    assert found.probability(0) < 0.1 and found.probability(3) > 0.9


def test_scores_that_fall_with_danger_have_no_probability() -> None:
    assert fit_temperature(np.linspace(2, 3, 30), np.linspace(0, 1, 30)) is None
    assert fit_temperature(np.ones(9), np.ones(9)) is None


def test_reliability_finds_true_and_false_probabilities() -> None:
    rng = np.random.default_rng(3)
    good = measure_reliability(rng.normal(0, 1, 600), rng.normal(2, 1, 600))
    assert good is not None and good.error < 0.05 and sum(b.n for b in good.bins) == 1200
    assert all(b.interval[0] <= b.share <= b.interval[1] for b in good.bins)
    # Two humps of the unsafe about the safe: no logistic of the score is true of them.
    humps = np.r_[rng.normal(-4, 0.3, 200), rng.normal(5, 0.3, 400)]
    bad = measure_reliability(rng.normal(0, 0.3, 600), humps)
    assert bad is not None and bad.error > 2 * good.error
    assert measure_reliability(np.arange(3.0), np.arange(3.0)) is None
