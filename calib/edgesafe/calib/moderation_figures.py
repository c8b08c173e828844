"""How well scores and verdicts agree with labels: figures that carry their uncertainty.

Unsafe is the positive class. FPR is the share of safe records that came out ``unsafe``, FNR the
share of unsafe records that came out ``safe``; a record that came out ``undecided`` is neither, and
counts as wrong in the accuracy. Intervals of the area under the ROC curve, of the accuracy and of
the FNR at a fixed FPR are percentile bootstraps, each class drawn again on its own; those of FPR
and FNR are Clopper-Pearson, because a bootstrap of no event says 0 to 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.statistics import auc_between, bootstrap_interval, clopper_pearson
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.verdict import Decision

__all__ = ["FIXED_FPR", "Figure", "Figures", "Outcome", "TagFigures", "measure_figures"]

FIXED_FPR = 0.05
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What a model said of one record; ``decision`` is None where it has no threshold."""

    unsafe: bool
    tag: str | None
    score: float
    decision: Decision | None


@dataclass(frozen=True)
class Figure:
    """A figure with its interval."""

    value: float
    interval: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"value": self.value, "interval": list(self.interval)}


@dataclass(frozen=True)
class TagFigures:
    """Of the records of one tag and one label.

    Attributes:
        tag: The tag.
        unsafe: The label.
        n: Records.
        auc: Of these records against all of the other label.
        wrong: FNR of an unsafe tag, FPR of a safe one; None without a threshold.
    """

    tag: str
    unsafe: bool
    n: int
    auc: Figure
    wrong: Figure | None


@dataclass(frozen=True)
class Figures:
    """Of one model on the records of one modality.

    Attributes:
        safe: Records with that label.
        unsafe: Records with that label.
        auc: Area under the ROC curve.
        fnr_at_fpr: FNR where the FPR on these very records is at most 5 %: compares scores,
            whatever the thresholds.
        fpr: None without a threshold, as are the next three.
        fnr: Share of unsafe records called safe.
        accuracy: Share called what they are.
        undecided: Share that is undecided.
        tags: By tag.
    """

    safe: int
    unsafe: int
    auc: Figure
    fnr_at_fpr: Figure
    fpr: Figure | None
    fnr: Figure | None
    accuracy: Figure | None
    undecided: float | None
    tags: tuple[TagFigures, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        figures = ("auc", "fnr_at_fpr", "fpr", "fnr", "accuracy")
        plain: dict[str, Any] = {"safe": self.safe, "unsafe": self.unsafe}
        for name in figures:
            value = getattr(self, name)
            plain[name] = value.to_json() if value else None
        plain["undecided"] = self.undecided
        plain["tags"] = [
            {
                "tag": one.tag,
                "label": "unsafe" if one.unsafe else "safe",
                "n": one.n,
                "auc": one.auc.to_json(),
                "fnr" if one.unsafe else "fpr": one.wrong.to_json() if one.wrong else None,
            }
            for one in self.tags
        ]
        return plain


def measure_figures(
    outcomes: Sequence[Outcome], *, confidence: float = 0.95, repeats: int = 1000
) -> Figures:
    """Measure one model.

    Args:
        outcomes: Of all records that could be judged.
        confidence: Of all intervals.
        repeats: Of the bootstrap.

    Raises:
        DataError: One label is absent.
    """
    safe = np.array([one.score for one in outcomes if not one.unsafe])
    unsafe = np.array([one.score for one in outcomes if one.unsafe])
    if not safe.size or not unsafe.size:
        raise DataError("an evaluation needs safe and unsafe records that can be judged")

    def boot(statistic: Any, *samples: Array) -> Figure:
        interval = bootstrap_interval(statistic, *samples, confidence=confidence, repeats=repeats)
        return Figure(float(statistic(*samples)), interval)

    decided = outcomes[0].decision is not None
    right = [
        np.array([one.decision == word for one in outcomes if one.unsafe == label], np.float64)
        for label, word in ((False, "safe"), (True, "unsafe"))
    ]
    tags = []
    for tag, label in sorted({(one.tag, one.unsafe) for one in outcomes if one.tag}):
        own = [one for one in outcomes if one.tag == tag and one.unsafe == label]
        scores = np.array([one.score for one in own])
        pair = (safe, scores) if label else (scores, unsafe)
        wrong = _share(own, label, confidence) if decided else None
        tags.append(TagFigures(str(tag), label, len(own), boot(auc_between, *pair), wrong))
    return Figures(
        safe=safe.size,
        unsafe=unsafe.size,
        auc=boot(auc_between, safe, unsafe),
        fnr_at_fpr=boot(_missed_at, safe, unsafe),
        fpr=_share([o for o in outcomes if not o.unsafe], False, confidence) if decided else None,
        fnr=_share([o for o in outcomes if o.unsafe], True, confidence) if decided else None,
        accuracy=boot(_mean_of_both, *right) if decided else None,
        undecided=(
            sum(one.decision == "undecided" for one in outcomes) / len(outcomes)
            if decided
            else None
        ),
        tags=tuple(tags),
    )


def _share(outcomes: Sequence[Outcome], unsafe: bool, confidence: float) -> Figure:
    wrong = sum(one.decision == ("safe" if unsafe else "unsafe") for one in outcomes)
    n = len(outcomes)
    return Figure(wrong / n, clopper_pearson(wrong, n, confidence))


def _missed_at(safe: Array, unsafe: Array) -> float:
    allowed = math.floor(FIXED_FPR * safe.size + 1e-9)
    cut = np.sort(safe)[safe.size - 1 - allowed]
    return float((unsafe <= cut).mean())


def _mean_of_both(first: Array, second: Array) -> float:
    return float(np.concatenate([first, second]).mean())
