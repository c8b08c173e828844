"""From an encoder's output to a verdict."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgesafe.runtime import lorentz
from edgesafe.runtime.concepts import ConceptBank
from edgesafe.runtime.encoders import Encoded
from edgesafe.runtime.verdict import Modality, Timings, Verdict, decide, worst

__all__ = ["Judge"]

# float32 sums over a thousand dimensions stay well below this.
_LARGEST_CONTRADICTION = 1e-3


@dataclass(frozen=True)
class Judge:
    """Everything that turns an embedding of one modality into a verdict.

    Attributes:
        modality: ``"image"`` or ``"text"``.
        package: Identity of the package, for the verdicts.
        threshold: Of this modality; None where the package has none.
        bank: The concepts.
    """

    modality: Modality
    package: str
    threshold: float | None
    bank: ConceptBank

    def judge(self, encoded: Encoded, ms: Timings) -> Verdict:
        """Judge all rows of ``encoded``, which are views of one input; the worst one counts."""
        started = time.perf_counter()
        rows = zip(encoded.embedding, encoded.root_distance, strict=True)
        verdict = worst([self._row(embedding, float(score)) for embedding, score in rows])
        post = (time.perf_counter() - started) * 1e3
        return replace(verdict, ms=replace(ms, post=post))

    def undecided(self, reason: str, detail: str | None, ms: Timings | None = None) -> Verdict:
        """Build the verdict of an input that could not be judged."""
        return Verdict.undecided(
            reason,
            detail,
            modality=self.modality,
            package=self.package,
            threshold=self.threshold,
            ms=ms,
        )

    def _row(self, embedding: npt.NDArray[np.float32], score: float) -> Verdict:
        geometry = self.bank.geometry
        if embedding.shape != (geometry.dim,):
            return self.undecided("inconsistent_output", f"{len(embedding)} dimensions")
        if not (np.isfinite(embedding).all() and math.isfinite(score)):
            return self.undecided("non_finite_output", "the model answered NaN or infinity")
        point = embedding.astype(np.float64)
        radius = float(lorentz.root_distance(point, geometry.curvature))
        # The model states the radius twice; a device that gets one of them wrong is not believed.
        if not abs(score - radius) <= _LARGEST_CONTRADICTION * max(radius, 1e-3):
            return self.undecided(
                "inconsistent_output", f"root distance {score:.6f}, of its embedding {radius:.6f}"
            )
        if self.threshold is None:
            reason, detail = "no_threshold", f"the package has no threshold for {self.modality}s"
            return replace(self.undecided(reason, detail), score=score, radius=radius)
        return Verdict(
            decision=decide(score, self.threshold),
            score=score,
            radius=radius,
            threshold=self.threshold,
            concepts=self.bank.score(point),
            reason=None,
            detail=None,
            modality=self.modality,
            ms=Timings(),
            package=self.package,
        )
