"""What a moderator says about one image or one text.

There are three verdicts and no default. ``safe`` comes out of :func:`decide` and of nowhere else;
whatever went wrong is ``undecided`` with a reason code, and nobody may read that as safe.

Reason codes are short and stable, ``detail`` is for a person. Those given by the runtime core:

===================== ==========================================================================
``missing``           the path does not exist
``unreadable``        the path exists and could not be read
``wrong_type``        an item of a stream is neither a path, bytes, an image nor an array
``bad_array``         an array is not uint8 (H, W, 3), or is empty or huge
``decode_failed``     the decoder gave up in a way the gate did not foresee
``empty_text``        nothing but white space, or nothing that the tokenizer keeps
``text_too_long``     more characters than are judged in one call
``bad_text``          not valid Unicode, or the tokenizer gave up
``unknown_text``      most of the text is outside the tokenizer's vocabulary
``no_threshold``      the package carries no threshold for this modality
``in_band``           the score lies in the threshold's band, where the package does not decide
``inference_failed``  the model could not be run on this input
``non_finite_output`` the model answered NaN or infinity
``inconsistent_output`` what the model answered contradicts itself
``out_of_memory``     memory ran out while this item was judged
===================== ==========================================================================

The image gate adds its own (``truncated``, ``animated``, ``too_large``, ...).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NoReturn

__all__ = ["ConceptScore", "Decision", "Modality", "Timings", "Verdict", "decide", "worst"]

Decision = Literal["safe", "unsafe", "undecided"]
Modality = Literal["image", "text"]

_BADNESS = {"unsafe": 2, "undecided": 1}


@dataclass(frozen=True)
class Timings:
    """Wall-clock milliseconds spent on each stage of one item."""

    decode: float = 0.0
    preprocess: float = 0.0
    infer: float = 0.0
    post: float = 0.0

    @property
    def total(self) -> float:
        """The sum of the stages, in milliseconds."""
        return self.decode + self.preprocess + self.infer + self.post


@dataclass(frozen=True)
class ConceptScore:
    """How well an input fits one concept: its entailment cone, its direction, or a label.

    Attributes:
        name: The concept, e.g. ``"knife"``.
        tag: The policy tag it belongs to, e.g. ``"weapon"``.
        score: In 0..1; 0.5 is the edge of the cone (see ``edgesafe.runtime.concepts``). Of a
            label its probability.
        angle: Radians in 0..pi: exterior angle at the concept, in flat space the angle between
            the two; None for a label.
        half_aperture: Half the opening of the cone, radians in 0..pi/2; None without cones.
        inside: Whether the input lies in the cone; None without cones.
        harmless: Whether the concept stands for something that is allowed.
    """

    name: str
    tag: str
    score: float
    angle: float | None = None
    half_aperture: float | None = None
    inside: bool | None = None
    harmless: bool = False


@dataclass(frozen=True)
class Verdict:
    """The judgement of one image or text.

    Attributes:
        decision: ``"safe"``, ``"unsafe"`` or ``"undecided"``.
        score: What is compared with the threshold, higher is less safe: the root distance, a
            probe's logit or a probability, by the method of the package; None where there is none.
        radius: Geodesic distance of the embedding from the root; None where there is none.
        threshold: The largest score that is safe, of this modality (and of the harmful concept
            that fits best, where the package says so); None where there is none.
        concepts: The package's concepts, best fit first.
        reason: Why the verdict is ``undecided``, as a code; None for the other two.
        detail: The same for a person.
        modality: ``"image"`` or ``"text"``.
        ms: Milliseconds per stage.
        package: Which package judged, as ``name@release#digest``.
        probability: Of being unsafe, calibrated; None where the package cannot tell.
        band: Scores above the first and up to the second number are undecided; None where the
            threshold alone decides.

    Raises:
        ValueError: The fields contradict each other, e.g. a decision that the score does not bear.
    """

    decision: Decision
    score: float | None
    radius: float | None
    threshold: float | None
    concepts: tuple[ConceptScore, ...]
    reason: str | None
    detail: str | None
    modality: Modality
    ms: Timings
    package: str
    probability: float | None = None
    band: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse a decision that the other fields do not bear."""
        if self.decision == "undecided":
            if not self.reason:
                raise ValueError("an undecided verdict needs a reason")
        elif self.reason or self.decision != decide(self.score, self.threshold, self.band):
            raise ValueError(
                f"a score of {self.score} against {self.threshold} (reason: {self.reason}) "
                f"does not bear the decision {self.decision!r}"
            )

    def __bool__(self) -> NoReturn:
        """Refuse to be a truth value: ``if verdict:`` would let ``undecided`` pass.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a Verdict is not true or false: compare verdict.decision with a string")

    @classmethod
    def undecided(
        cls,
        reason: str,
        detail: str | None = None,
        *,
        modality: Modality,
        package: str,
        score: float | None = None,
        radius: float | None = None,
        threshold: float | None = None,
        ms: Timings | None = None,
    ) -> Verdict:
        """Build the verdict of an input that could not be judged."""
        return cls(
            decision="undecided",
            score=score,
            radius=radius,
            threshold=threshold,
            concepts=(),
            reason=reason,
            detail=detail,
            modality=modality,
            ms=ms or Timings(),
            package=package,
        )


def decide(
    score: float | None, threshold: float | None, band: tuple[float, float] | None = None
) -> Decision:
    """Compare a score with a threshold: the only place that says ``safe``.

    Written so that NaN, infinity and None on either side fall through to ``undecided``.

    Args:
        score: Higher is less safe.
        threshold: The largest score that is safe.
        band: About the threshold; scores above its lower and up to its upper end are undecided.
    """
    if score is None or threshold is None or not math.isfinite(threshold):
        return "undecided"
    lower, upper = band or (threshold, threshold)
    if not lower <= threshold <= upper:
        return "undecided"
    if math.isfinite(score) and score <= lower:
        return "safe"
    if math.isfinite(score) and score > upper:
        return "unsafe"
    return "undecided"


def worst(verdicts: Sequence[Verdict], ms: Timings | None = None) -> Verdict:
    """Return the worst of several views of one input: unsafe, then undecided, then safe.

    Among equals the one with the largest score is kept.

    Args:
        verdicts: At least one.
        ms: What the whole input took, to put in place of that view's own timings.

    Raises:
        ValueError: ``verdicts`` is empty.
    """

    def badness(verdict: Verdict) -> tuple[int, float]:
        score = verdict.score
        return _BADNESS.get(verdict.decision, 0), -math.inf if score is None else score

    kept = max(verdicts, key=badness)
    return kept if ms is None else replace(kept, ms=ms)
