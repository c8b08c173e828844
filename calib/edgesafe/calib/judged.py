"""Records with what a package says of them, before any threshold.

Scores come from the moderator itself, along the way that verdicts take, so that a threshold is
chosen on just the numbers that it will be compared with. The thresholds that the package has are
left out meanwhile: of several views of one input the one with the largest score then counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.labelled import Labelled
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.moderator import Moderator
from edgesafe.runtime.package import Package
from edgesafe.runtime.thresholds import top_harmful
from edgesafe.runtime.verdict import Modality, Verdict

__all__ = ["Judged", "Unjudged", "by_class", "judge_records", "score_records", "unjudged_report"]

_SHOWN = 10


@dataclass(frozen=True)
class Judged:
    """A record with its score.

    Attributes:
        record: With its label.
        score: Finite; higher is less safe.
        radius: Distance from the root; None in packages without one.
        concept: The harmful concept that fits best; None where there is none.
        verdict: All that the package said.
    """

    record: Labelled
    score: float
    radius: float | None
    concept: str | None
    verdict: Verdict


@dataclass(frozen=True)
class Unjudged:
    """A record that could not be judged, with the reason of its verdict."""

    record: Labelled
    reason: str
    detail: str


def score_records(
    package: Package,
    records: Sequence[Labelled],
    *,
    backend: str = "auto",
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[Judged], list[Unjudged]]:
    """Score records with a package, as if it had no thresholds.

    Args:
        package: Verified.
        records: Of modalities that the package has an encoder for.
        backend: What computes.
        progress: Called after each record with how many are done.

    Raises:
        UsageError: The package has no encoder for a modality of the records.
        DataError: Not one could be judged.
    """
    bare = replace(package, manifest=replace(package.manifest, thresholds={}))
    return judge_records(Moderator(bare, backend=backend), records, progress=progress)


def judge_records(
    moderator: Moderator,
    records: Sequence[Labelled],
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[Judged], list[Unjudged]]:
    """Judge records with a moderator and its thresholds; otherwise as `score_records`."""
    judged: list[Judged] = []
    unjudged: list[Unjudged] = []
    for done, (record, verdict) in enumerate(_verdicts(moderator, records), 1):
        if verdict.score is None:
            unjudged.append(Unjudged(record, verdict.reason or "", verdict.detail or ""))
        else:
            concept = top_harmful(verdict.concepts)
            judged.append(Judged(record, verdict.score, verdict.radius, concept, verdict))
        progress(done)
    if not judged:
        raise DataError(f"not one record could be judged: {unjudged_report(unjudged)}")
    return judged, unjudged


def _verdicts(
    moderator: Moderator, records: Sequence[Labelled]
) -> Iterable[tuple[Labelled, Verdict]]:
    images = [record for record in records if record.modality == "image"]
    if images:
        stream = moderator.check_many(record.content for record in images)
        yield from zip(images, stream, strict=True)
    for record in records:
        if record.modality == "text":
            yield record, moderator.check_text(str(record.content))


def by_class(
    judged: Iterable[Judged], modality: Modality
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scores of the safe and of the unsafe records of one modality."""
    chosen = [item for item in judged if item.record.modality == modality]
    return (
        np.array([item.score for item in chosen if not item.record.unsafe]),
        np.array([item.score for item in chosen if item.record.unsafe]),
    )


def unjudged_report(unjudged: Sequence[Unjudged]) -> str:
    """Return how many could not be judged, and the first of them with their reasons."""
    named = [f"{item.record.name}: {item.reason}: {item.detail}" for item in unjudged[:_SHOWN]]
    more = [f"and {len(unjudged) - _SHOWN} more"] if len(unjudged) > _SHOWN else []
    return "\n  ".join([f"{len(unjudged)} could not be judged", *named, *more])
