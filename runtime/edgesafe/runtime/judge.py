"""From an encoder's output to a verdict."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.encoders import Encoded
from edgesafe.runtime.scorers import BadOutput, Scorer
from edgesafe.runtime.thresholds import Threshold
from edgesafe.runtime.verdict import Modality, Timings, Verdict, decide, worst

__all__ = ["Judge"]


@dataclass(frozen=True)
class Judge:
    """Everything that turns an encoder's output of one modality into a verdict.

    Attributes:
        modality: ``"image"`` or ``"text"``.
        package: Identity of the package, for the verdicts.
        threshold: Of this modality; None where the package has none.
        scorer: Of the package's method; None where the package has no encoder of this modality.
    """

    modality: Modality
    package: str
    threshold: Threshold | None
    scorer: Scorer | None

    def judge(self, encoded: Encoded, ms: Timings) -> Verdict:
        """Judge all rows of ``encoded``, which are views of one input; the worst one counts."""
        started = time.perf_counter()
        verdict = worst([self._row(output, stated) for output, stated in encoded.rows()])
        post = (time.perf_counter() - started) * 1e3
        return replace(verdict, ms=replace(ms, post=post))

    def undecided(self, reason: str, detail: str | None, ms: Timings | None = None) -> Verdict:
        """Build the verdict of an input that could not be judged."""
        return Verdict.undecided(
            reason,
            detail,
            modality=self.modality,
            package=self.package,
            threshold=self.threshold.value if self.threshold else None,
            ms=ms,
        )

    def _row(self, output: npt.NDArray[np.float32], stated: float | None) -> Verdict:
        assert self.scorer is not None
        try:
            found = self.scorer.score(output, stated)
        except BadOutput as error:
            return self.undecided(error.code, error.detail)
        threshold = self.threshold
        limit = threshold.of(found.concepts) if threshold else None
        band = (limit.band.lower, limit.band.upper) if limit and limit.band else None
        decision = decide(found.score, limit.value if limit else None, band)
        reason: str | None = None
        detail: str | None = None
        if threshold is None:
            reason, detail = "no_threshold", f"the package has no threshold for {self.modality}s"
        elif decision == "undecided":
            lower, upper = band or (threshold.value, threshold.value)
            reason, detail = "in_band", f"a score between {lower:.4f} and {upper:.4f} is undecided"
        temperature = threshold.temperature if threshold else None
        return Verdict(
            decision=decision,
            score=found.score,
            radius=found.radius,
            threshold=limit.value if limit else None,
            concepts=found.concepts,
            reason=reason,
            detail=detail,
            modality=self.modality,
            ms=Timings(),
            package=self.package,
            probability=temperature.probability(found.score) if temperature else None,
            band=band,
        )
