"""False alarms of thresholds by concept: the price of each promise, concept by concept."""

from __future__ import annotations

from collections.abc import Iterable

from edgesafe.calib.judged import Judged
from edgesafe.calib.statistics import rate_of
from edgesafe.runtime.thresholds import Rate, Threshold, decide_by

__all__ = ["concept_alarms"]


def concept_alarms(judged: Iterable[Judged], threshold: Threshold) -> dict[str, Rate]:
    """Return which share of the safe cases each concept's own threshold flags.

    Args:
        judged: The cases that it was chosen on, of one modality.
        threshold: With its concepts.

    Returns:
        By concept; those without a safe case are left out, as there is nothing to flag.
    """
    cases: dict[str, list[float]] = {}
    for item in judged:
        if item.concept in threshold.concepts and not item.record.unsafe:
            cases.setdefault(str(item.concept), []).append(item.score)
    found = {}
    for name, own in threshold.concepts.items():
        if scores := cases.get(name):
            flagged = sum(decide_by(own, score) == "unsafe" for score in scores)
            found[name] = rate_of(flagged, len(scores), own.confidence)
    return found
