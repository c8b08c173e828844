"""Do probabilities mean what they say? Reliability of scores turned into probabilities.

The probabilities are those of folds that were left out of the fit, so the picture is no better
than the truth. Expected calibration error: Naeini et al., AAAI 2015, here with bins of equal mass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgesafe.calib.logistic import Array, fit_temperature, folds_of
from edgesafe.calib.statistics import clopper_pearson
from edgesafe.runtime.errors import DataError

__all__ = ["Bin", "Reliability", "measure_reliability"]

_FOLDS = 5
_BINS = 10


@dataclass(frozen=True)
class Bin:
    """Cases of similar probability.

    Attributes:
        probability: Their mean.
        share: Of them that are unsafe.
        interval: Its 95 % Clopper-Pearson interval.
        n: Cases.
    """

    probability: float
    share: float
    interval: tuple[float, float]
    n: int


@dataclass(frozen=True)
class Reliability:
    """How well probabilities agree with shares.

    Attributes:
        bins: From low to high probability.
        error: Expected calibration error: mean over all cases of the difference in their bin.
        brier: Mean squared difference of probability and label.
    """

    bins: tuple[Bin, ...]
    error: float
    brier: float


def measure_reliability(safe: Array, unsafe: Array) -> Reliability | None:
    """Measure by cross-validation how well `fit_temperature` does on these scores.

    Returns:
        None where there are too few cases, or a fold's scores do not rise with danger.
    """
    scores = np.concatenate([safe, unsafe])
    flags = np.arange(scores.size) >= safe.size
    probabilities = np.empty(scores.size)
    try:
        for held in folds_of(flags, _FOLDS):
            found = fit_temperature(scores[~held & ~flags], scores[~held & flags])
            if found is None:
                return None
            probabilities[held] = [found.probability(score) for score in scores[held]]
    except DataError:
        return None
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if part.size]
    bins = tuple(
        Bin(
            probability=float(probabilities[part].mean()),
            share=float(flags[part].mean()),
            interval=clopper_pearson(int(flags[part].sum()), part.size),
            n=part.size,
        )
        for part in parts
    )
    error = sum(one.n * abs(one.probability - one.share) for one in bins) / scores.size
    brier = float(((probabilities - flags) ** 2).mean())
    return Reliability(bins, error, brier)
