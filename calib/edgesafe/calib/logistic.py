"""Logistic regression in numpy: the linear probe, and probabilities from scores.

Newton's method on ``mean log loss + l2/2 |w|^2``; the bias is not penalised. Targets may be soft.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.statistics import auc_between
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.probe import Probe
from edgesafe.runtime.thresholds import Temperature

__all__ = ["choose_l2", "fit_probe", "fit_temperature", "folds_of", "sigmoid"]

Array: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

GRID = tuple(10.0**k for k in (0, -1, -2, -3, -4, -5))
"""Strengths that `choose_l2` tries, strongest first."""

_STEPS = 50
_FLAT = 1e-7


def sigmoid(values: Array) -> Array:
    """Return ``1 / (1 + exp(-values))`` without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(values / 2.0)))


def fit_probe(features: Array, unsafe: Flags, l2: float, start: Probe | None = None) -> Probe:
    """Fit a linear probe.

    Args:
        features: (n, d), about unit length.
        unsafe: (n,) labels; both must occur.
        l2: Above 0.
        start: Where to begin, e.g. the probe of another strength.

    Raises:
        DataError: One class is absent.
    """
    if not 0 < unsafe.sum() < unsafe.size:
        raise DataError("a probe needs safe and unsafe cases")
    return _newton(features, unsafe.astype(np.float64), l2, start)


def choose_l2(
    features: Array, unsafe: Flags, folds: int = 5, grid: Sequence[float] = GRID
) -> tuple[float, dict[float, float]]:
    """Choose the strength of the penalty by cross-validated log loss.

    Args:
        features: (n, d).
        unsafe: (n,); each class at least ``folds`` times.
        folds: Stratified; the same at every call.
        grid: Strengths to try, strongest first.

    Returns:
        The strength, and the area under the ROC curve of the held-out folds for each strength.

    Raises:
        DataError: There are too few cases of a class.
    """
    losses = np.zeros(len(grid))
    logits = np.zeros((len(grid), unsafe.size))
    for held in folds_of(unsafe, folds):
        probe = None
        for index, l2 in enumerate(grid):
            probe = fit_probe(features[~held], unsafe[~held], l2, probe)
            logits[index, held] = features[held] @ probe.weights + probe.bias
    sign = np.where(unsafe, -1.0, 1.0)
    for index in range(len(grid)):
        losses[index] = np.logaddexp(0.0, sign * logits[index]).mean()
    areas = {
        l2: auc_between(row[~unsafe], row[unsafe]) for l2, row in zip(grid, logits, strict=True)
    }
    return grid[int(np.argmin(losses))], areas


def folds_of(unsafe: Flags, folds: int) -> Iterator[Flags]:
    """Yield the held-out cases of each fold, each class spread evenly over the folds.

    Raises:
        DataError: A class has fewer cases than there are folds.
    """
    fewest = int(min(unsafe.sum(), (~unsafe).sum()))
    if fewest < folds:
        raise DataError(f"{fewest} cases of one class: {folds} of each are needed at least")
    fold = np.empty(unsafe.size, np.int64)
    rng = np.random.default_rng(0)
    for flags in (unsafe, ~unsafe):
        places = rng.permutation(np.flatnonzero(flags))
        fold[places] = np.arange(places.size) % folds
    for index in range(folds):
        yield fold == index


def fit_temperature(
    safe: Array, unsafe: Array, prevalence: float | None = None
) -> Temperature | None:
    """Fit ``sigmoid((score - bias) / scale)`` to the labels (Platt scaling).

    Platt's targets ``(n + 1) / (n + 2)`` and ``1 / (n + 2)`` keep the fit finite where the classes
    are apart (Platt 1999; Lin, Lin & Weng, Machine Learning 68, 2007).

    Args:
        safe: Scores, at least one.
        unsafe: Scores, at least one.
        prevalence: Share of unsafe inputs where the probabilities will be used; None for the
            share among these scores.

    Returns:
        None where the score does not rise with danger: no such probability exists.
    """
    scores = np.concatenate([safe, unsafe])
    centre, spread = float(scores.mean()), float(scores.std())
    if not spread > 0:
        return None
    high, low = (unsafe.size + 1) / (unsafe.size + 2), 1 / (safe.size + 2)
    targets = np.concatenate([np.full(safe.size, low), np.full(unsafe.size, high)])
    found = _newton(((scores - centre) / spread)[:, None], targets, 1e-9, None)
    slope, bias = float(found.weights[0]), found.bias
    if slope <= 1e-6:
        return None
    if prevalence is not None:
        # Bayes: other odds of the classes move the logit by a constant.
        bias += float(np.log(prevalence / (1 - prevalence)) - np.log(unsafe.size / safe.size))
    return Temperature(scale=spread / slope, bias=centre - bias * spread / slope)


def _newton(features: Array, targets: Array, l2: float, start: Probe | None) -> Probe:
    n, d = features.shape
    columns = np.column_stack([features, np.ones(n)])
    penalty = np.full(d + 1, l2)
    penalty[-1] = 0.0
    w = np.zeros(d + 1) if start is None else np.append(start.weights, start.bias)
    loss = _loss(columns, targets, penalty, w)
    for _ in range(_STEPS):
        p = sigmoid(columns @ w)
        gradient = columns.T @ (p - targets) / n + penalty * w
        if np.abs(gradient).max() < _FLAT:
            break
        weights = np.maximum(p * (1 - p), 1e-12)
        hessian = (columns.T * (weights / n)) @ columns
        hessian[np.diag_indices_from(hessian)] += penalty + 1e-12
        step = np.linalg.solve(hessian, gradient)
        share = 1.0
        while (found := _loss(columns, targets, penalty, w - share * step)) > loss and share > 1e-6:
            share /= 2
        if not found < loss:
            break
        w, loss = w - share * step, found
    return Probe(w[:-1], float(w[-1]))


def _loss(columns: Array, targets: Array, penalty: Array, w: Array) -> float:
    logits = columns @ w
    likelihood = np.logaddexp(0.0, logits) - targets * logits
    return float(likelihood.mean() + 0.5 * (penalty * w * w).sum())
