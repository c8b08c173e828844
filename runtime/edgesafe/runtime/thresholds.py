"""Decision thresholds: what a package says about them, and which one holds for an input.

A threshold may stand alone, or carry

* ``band``: two guarantees need two cuts, one against missing what is unsafe (``lower``) and one
  against false alarms (``upper``); what lies between is ``undecided``;
* ``concepts``: other values for inputs whose best fitting harmful concept is the named one;
* ``temperature``: ``sigmoid((score - bias) / scale)`` is the probability of being unsafe (Platt,
  "Probabilistic outputs for support vector machines", 1999; Guo et al., ICML 2017);
* ``scores``: how the scores that it was chosen on are distributed, so that an explanation can say
  where an input lies among them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from edgesafe.runtime.fields import Fields
from edgesafe.runtime.verdict import ConceptScore, Decision, decide

__all__ = [
    "Band",
    "ConceptThreshold",
    "QUANTILES",
    "Rate",
    "Scores",
    "Temperature",
    "Threshold",
    "decide_by",
    "read_rate",
    "read_threshold",
    "top_harmful",
]

FAR = 1e3
"""No score, root distance or threshold is ever this large."""

QUANTILES = 21
"""Of each class of scores: 0, 5, ..., 100 %."""

_MAX_CONCEPTS = 10_000


@dataclass(frozen=True)
class Rate:
    """A share of ``n`` cases, in 0..1, with its confidence interval."""

    value: float
    interval: tuple[float, float]
    n: int


@dataclass(frozen=True)
class Band:
    """Scores above ``lower`` and up to ``upper`` are undecided."""

    lower: float
    upper: float


@dataclass(frozen=True)
class Temperature:
    """From a score to the probability of being unsafe: ``sigmoid((score - bias) / scale)``."""

    scale: float
    bias: float

    def probability(self, score: float) -> float:
        """Return the probability of a finite score, in 0..1."""
        # tanh does not overflow, whatever the score.
        return 0.5 * (1.0 + math.tanh((score - self.bias) / (2.0 * self.scale)))

    @property
    def formula(self) -> str:
        """The same for a person."""
        sign = "-" if self.bias >= 0 else "+"
        return f"sigmoid((score {sign} {abs(self.bias):.4f}) / {self.scale:.4f})"


@dataclass(frozen=True)
class Scores:
    """The scores that a threshold was chosen on: 0, 5, ..., 100 % quantiles of both classes.

    Attributes:
        safe: Of the safe cases, rising.
        unsafe: Of the unsafe ones.
    """

    safe: tuple[float, ...]
    unsafe: tuple[float, ...]

    def share_below(self, score: float) -> tuple[float, float]:
        """Return the shares of the safe and of the unsafe cases that score less, in 0..1.

        Between two quantiles by linear interpolation.
        """
        return _share_below(self.safe, score), _share_below(self.unsafe, score)


@dataclass(frozen=True)
class ConceptThreshold:
    """The largest score that is safe for inputs that one harmful concept fits best.

    Attributes:
        value: The threshold itself.
        interval: Its confidence interval.
        confidence: Of the interval.
        n: Cases of this concept that it was chosen on.
        band: See :class:`Band`; None where there is none.
    """

    value: float
    interval: tuple[float, float]
    confidence: float
    n: int
    band: Band | None = None


@dataclass(frozen=True)
class Threshold:
    """The largest score that is still safe, and how it was found.

    Attributes:
        value: The threshold itself.
        interval: Its confidence interval.
        confidence: Of all the intervals here, e.g. 0.95.
        n: Cases that it was chosen on.
        fpr: Share of safe cases that it flags; None where it was not measured.
        miss_rate: Share of unsafe cases that it lets pass; None where it was not measured.
        rule: How it was chosen, for a person.
        data_sha256: Digest of the scores and labels that it was chosen on.
        max_miss: Largest miss rate that it was chosen for; None where it was chosen otherwise.
        band: Scores that are undecided; None where every score is decided.
        temperature: From scores to probabilities; None where it was not fitted.
        concepts: Thresholds that hold in place of this one, by the name of the harmful concept
            that fits best.
        scores: What it was chosen on; None where the package does not keep it.
    """

    value: float
    interval: tuple[float, float]
    confidence: float
    n: int
    fpr: Rate | None
    miss_rate: Rate | None
    rule: str
    data_sha256: str
    max_miss: float | None = None
    band: Band | None = None
    temperature: Temperature | None = None
    concepts: Mapping[str, ConceptThreshold] = field(default_factory=dict)
    scores: Scores | None = None

    def of(self, concepts: Sequence[ConceptScore]) -> ConceptThreshold | Threshold:
        """Return what holds for an input with these concepts, best fit first."""
        return self.concepts.get(top_harmful(concepts) or "", self)


def top_harmful(concepts: Sequence[ConceptScore]) -> str | None:
    """Return the name of the harmful concept that fits best; None where there is none."""
    return next((concept.name for concept in concepts if not concept.harmless), None)


def read_threshold(fields: Fields, low: float = 0.0) -> Threshold:
    """Read one entry of ``thresholds``.

    Args:
        fields: The entry.
        low: The smallest score that the package's method can give.

    Raises:
        PackageError: A value is missing, of a wrong type or out of its range.
    """
    fields.only(*Threshold.__dataclass_fields__)
    own = _read_concept(fields, low)
    return Threshold(
        value=own.value,
        interval=own.interval,
        confidence=own.confidence,
        n=own.n,
        fpr=read_rate(fields.fields("fpr")) if "fpr" in fields else None,
        miss_rate=read_rate(fields.fields("miss_rate")) if "miss_rate" in fields else None,
        rule=fields.text("rule"),
        data_sha256=fields.hex64("data_sha256"),
        max_miss=fields.number("max_miss", 0.0, 1.0) if "max_miss" in fields else None,
        band=own.band,
        temperature=_read_temperature(fields) if "temperature" in fields else None,
        concepts=_read_concepts(fields.fields("concepts"), low) if "concepts" in fields else {},
        scores=_read_scores(fields.fields("scores"), low) if "scores" in fields else None,
    )


def decide_by(limit: ConceptThreshold | Threshold, score: float) -> Decision:
    """`decide` with a threshold and its band, where it has one."""
    band = (limit.band.lower, limit.band.upper) if limit.band else None
    return decide(score, limit.value, band)


def read_rate(fields: Fields) -> Rate:
    """Read a share with its interval.

    Raises:
        PackageError: A value is missing, of a wrong type or out of its range.
    """
    fields.only("value", "interval", "n")
    return Rate(
        value=fields.number("value", 0.0, 1.0),
        interval=fields.interval("interval", 0.0, 1.0),
        n=fields.integer("n", 1, 2**53),
    )


def _read_concepts(fields: Fields, low: float) -> dict[str, ConceptThreshold]:
    if len(fields.value) > _MAX_CONCEPTS:
        raise fields.fail("concepts", f"are more than {_MAX_CONCEPTS}")
    found = {}
    for name in fields.value:
        entry = fields.fields(name)
        entry.only(*ConceptThreshold.__dataclass_fields__)
        found[name] = _read_concept(entry, low)
    return found


def _read_concept(fields: Fields, low: float) -> ConceptThreshold:
    value = fields.number("value", low, FAR)
    return ConceptThreshold(
        value=value,
        interval=fields.interval("interval", low, FAR),
        confidence=fields.number("confidence", 0.5, 1.0),
        n=fields.integer("n", 1, 2**53),
        band=_read_band(fields.fields("band"), value, low) if "band" in fields else None,
    )


def _read_band(fields: Fields, value: float, low: float) -> Band:
    fields.only("lower", "upper")
    band = Band(fields.number("lower", low, FAR), fields.number("upper", low, FAR))
    if not band.lower <= value <= band.upper:
        raise fields.fail("lower", f"and upper must lie about the value {value}")
    return band


def _read_temperature(fields: Fields) -> Temperature:
    entry = fields.fields("temperature")
    entry.only("scale", "bias")
    return Temperature(entry.number("scale", 1e-6, 1e6), entry.number("bias", -1e6, 1e6))


def _read_scores(fields: Fields, low: float) -> Scores:
    fields.only("safe", "unsafe")
    return Scores(_read_quantiles(fields, "safe", low), _read_quantiles(fields, "unsafe", low))


def _read_quantiles(fields: Fields, name: str, low: float) -> tuple[float, ...]:
    found = fields.numbers(name, low, FAR, count=QUANTILES)
    if any(one > after for one, after in pairwise(found)):
        raise fields.fail(name, "must rise: they are quantiles")
    return tuple(found)


def _share_below(quantiles: Sequence[float], score: float) -> float:
    after = bisect_left(quantiles, score)
    if after in (0, len(quantiles)):
        return float(after > 0)
    low, high = quantiles[after - 1], quantiles[after]
    return (after - 1 + (score - low) / (high - low)) / (len(quantiles) - 1)
