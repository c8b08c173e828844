"""From judged records to what a manifest says about a threshold.

By concept: a record belongs to the harmful concept that fits it best, as the model names it, for
that is all that is known of an input to come. Within each concept the cases are still a fair draw,
so every threshold keeps its guarantee for the inputs of its concept (a Mondrian partition: Vovk,
Gammerman & Shafer, 2005). Concepts with too few cases share the general threshold, whose guarantee
is then for all of them together; where they are too few even together, the concepts with the fewest
cases join them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.judged import Judged
from edgesafe.calib.logistic import fit_temperature
from edgesafe.calib.miss_control import cut_for_alarms, cut_for_misses, needed_cases
from edgesafe.calib.statistics import (
    quantile_interval,
    rate_of,
    scores_digest,
    threshold_under_fpr,
)
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.thresholds import (
    FAR,
    QUANTILES,
    Band,
    ConceptThreshold,
    Scores,
    Threshold,
    decide_by,
)
from edgesafe.runtime.verdict import Decision

__all__ = ["Wish", "choose_threshold"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Wish:
    """What a threshold shall do.

    Attributes:
        max_miss: Largest share of unsafe inputs that may pass, guaranteed; None to choose by
            ``max_fpr`` alone.
        max_fpr: In place of ``max_miss``: largest share of the safe cases at hand that is flagged
            (not guaranteed; see `threshold_under_fpr`).
        confidence: Of guarantees and intervals.
        band: Largest share of safe inputs that may be called unsafe, guaranteed; what keeps
            neither promise is undecided. None for no band.
        per_concept: Whether each harmful concept gets a threshold of its own.
        prevalence: Share of unsafe inputs in deployment, for probabilities; None as in the data.
    """

    max_miss: float | None = 0.05
    max_fpr: float | None = None
    confidence: float = 0.95
    band: float | None = None
    per_concept: bool = False
    prevalence: float | None = None


def choose_threshold(judged: Sequence[Judged], wish: Wish) -> Threshold:
    """Choose the threshold of one modality.

    Args:
        judged: Records of that modality, scored without thresholds.
        wish: What it shall do.

    Raises:
        DataError: A class is absent, or has too few cases for the guarantee that was asked for;
            the message says how many are needed.
        UsageError: A share is out of range.
    """
    safe = np.array([item.score for item in judged if not item.record.unsafe])
    unsafe = np.array([item.score for item in judged if item.record.unsafe])
    if not safe.size or not unsafe.size:
        lacking = "unsafe" if safe.size else "safe"
        raise DataError(f"there is no {lacking} case: a threshold needs both labels")
    temperature = fit_temperature(safe, unsafe, wish.prevalence)
    if wish.max_miss is None:
        plain = threshold_under_fpr(safe, unsafe, wish.max_fpr or 0.0, wish.confidence)
        return replace(plain, temperature=temperature, scores=_scores(safe, unsafe))
    general, concepts, note = _cuts(judged, wish)
    decided = Counter(_decided(item, concepts.get(item.concept or "", general)) for item in judged)
    banded = (decided[False, "undecided"] / safe.size, decided[True, "undecided"] / unsafe.size)
    return Threshold(
        value=general.value,
        interval=general.interval,
        confidence=wish.confidence,
        n=safe.size + unsafe.size,
        fpr=rate_of(decided[False, "unsafe"], safe.size, wish.confidence),
        miss_rate=rate_of(decided[True, "safe"], unsafe.size, wish.confidence),
        rule=_rule(wish, general.band, note, banded),
        data_sha256=scores_digest(safe, unsafe),
        max_miss=wish.max_miss,
        band=general.band,
        temperature=temperature,
        concepts=concepts,
        scores=_scores(safe, unsafe),
    )


def _scores(safe: Array, unsafe: Array) -> Scores:
    levels = np.linspace(0.0, 1.0, QUANTILES)
    # Rounding may let one of two equal quantiles fall by a bit; a manifest takes none that fall.
    both = [np.maximum.accumulate(np.quantile(one, levels)) for one in (safe, unsafe)]
    first, second = (tuple(map(float, np.clip(one, -FAR, FAR))) for one in both)
    return Scores(safe=first, unsafe=second)


def _decided(item: Judged, limit: ConceptThreshold) -> tuple[bool, Decision]:
    return item.record.unsafe, decide_by(limit, item.score)


def _cuts(
    judged: Sequence[Judged], wish: Wish
) -> tuple[ConceptThreshold, dict[str, ConceptThreshold], str]:
    if not wish.per_concept:
        return _cut(judged, wish), {}, ""
    own, rest = _groups(judged, wish)
    concepts = {name: _cut(items, wish) for name, items in sorted(own.items())}
    if any(item.record.unsafe for item in rest):
        many = f"{len(concepts)} concepts have their own"
        note = many if len(concepts) > 1 else "one concept has its own"
        return _cut(rest, wish), concepts, f"; {note}"
    # Nothing is known of concepts without cases: the strictest of the others holds for them.
    strictest = min(concepts.values(), key=lambda one: one.value)
    return strictest, concepts, "; that of the strictest concept, for want of cases of others"


def _groups(judged: Sequence[Judged], wish: Wish) -> tuple[dict[str, list[Judged]], list[Judged]]:
    """Return the cases by concept, where they are enough, and the others."""
    groups: dict[str, list[Judged]] = {}
    for item in judged:
        groups.setdefault(item.concept or "", []).append(item)
    rest = groups.pop("", [])
    for name in [name for name, items in groups.items() if not _enough(items, wish)]:
        rest += groups.pop(name)
    while groups and rest and not _enough(rest, wish):
        fewest = min(groups, key=lambda name: (_unsafe(groups[name]), name))
        rest += groups.pop(fewest)
    if not groups:
        assert wish.max_miss is not None
        needed = f"{needed_cases(wish.max_miss, wish.confidence)} unsafe"
        kinds = "unsafe cases"
        if wish.band is not None:
            needed += f" and, for the band, {needed_cases(wish.band, wish.confidence)} safe"
            kinds = "unsafe and safe cases"
        told = []
        for name in sorted({item.concept or "none" for item in judged}):
            mine = [item for item in judged if (item.concept or "none") == name]
            safe = f" and {len(mine) - _unsafe(mine)}" if wish.band is not None else ""
            told.append(f"{name} {_unsafe(mine)}{safe}")
        raise DataError(
            "no concept has enough cases for a threshold of its own beside a general one: "
            f"{needed} ones are needed of each, and the {kinds} by best fitting harmful concept "
            f"are: {', '.join(told)}; add cases, ask for less, or leave out --per-concept"
        )
    return groups, rest


def _enough(items: Sequence[Judged], wish: Wish) -> bool:
    assert wish.max_miss is not None
    unsafe = _unsafe(items)
    enough = unsafe >= needed_cases(wish.max_miss, wish.confidence)
    if wish.band is None:
        return enough
    return enough and len(items) - unsafe >= needed_cases(wish.band, wish.confidence)


def _unsafe(items: Sequence[Judged]) -> int:
    return sum(item.record.unsafe for item in items)


def _cut(items: Sequence[Judged], wish: Wish) -> ConceptThreshold:
    safe = np.array([item.score for item in items if not item.record.unsafe])
    unsafe = np.array([item.score for item in items if item.record.unsafe])
    assert wish.max_miss is not None
    value, _ = cut_for_misses(safe, unsafe, wish.max_miss, wish.confidence)
    (low, high), _ = quantile_interval(np.sort(unsafe), wish.max_miss, wish.confidence)
    band = None
    if wish.band is not None:
        upper = cut_for_alarms(safe, unsafe, wish.band, wish.confidence)
        # Where the cuts lie the other way round, one threshold keeps both promises.
        band = Band(value, upper) if upper > value else None
    return ConceptThreshold(
        value=value,
        interval=(min(low, value), max(high, value)),
        confidence=wish.confidence,
        n=len(items),
        band=band,
    )


def _rule(wish: Wish, band: Band | None, note: str, shares: tuple[float, float]) -> str:
    assert wish.max_miss is not None
    rule = (
        f"largest threshold that misses at most {wish.max_miss:g} of unsafe inputs with confidence "
        f"{wish.confidence:g} (order statistics, Clopper-Pearson){note}"
    )
    if band is not None:
        rule += (
            f"; band so that at most {wish.band:g} of safe inputs are called unsafe, "
            f"{100 * shares[0]:.1f} % of the safe and {100 * shares[1]:.1f} % of the unsafe cases "
            "lie in it"
        )
    return rule
