"""What a row of an encoder's output scores, by the method of the package.

==============  ==========================================  =======================================
method          score                                       concepts
==============  ==========================================  =======================================
``hysac``       distance from the root (also the radius)    entailment cones
``safeclip``    logit of the package's probe                cosine with the concept's point
``classifier``  sum of the unsafe labels' probabilities     the labels themselves
==============  ==========================================  =======================================

A higher score is less safe. Nothing is decided here: see :mod:`edgesafe.runtime.judge`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgesafe.runtime import lorentz
from edgesafe.runtime.concepts import ConceptBank, read_bank
from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.manifest import Label, Threshold
from edgesafe.runtime.package import Package
from edgesafe.runtime.probe import Probe, parse_probe
from edgesafe.runtime.verdict import ConceptScore, Modality

__all__ = [
    "BadOutput",
    "Labels",
    "ProbeLogit",
    "RootDistance",
    "Scored",
    "Scorer",
    "make_scorer",
    "no_probe",
]

# float32 sums over a thousand dimensions stay well below this.
_LARGEST_CONTRADICTION = 1e-3

Row = npt.NDArray[np.float32]


class BadOutput(Exception):
    """The model's answer cannot be scored.

    Attributes:
        code: The reason of the verdict.
        detail: The same for a person.
    """

    def __init__(self, code: str, detail: str) -> None:
        """Say why."""
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Scored:
    """What is known of one view of an input; ``radius`` is None in flat space."""

    score: float
    radius: float | None
    concepts: tuple[ConceptScore, ...]


class Scorer(Protocol):
    """Scores rows of one encoder's output."""

    def concept_names(self) -> set[str]:
        """Return the names of the harmful concepts, of which a threshold may speak."""

    def score(self, output: Row, stated: float | None) -> Scored:
        """Score one row.

        Args:
            output: (d,), the encoder's first output.
            stated: Its root distance as the model says; None where the model says none.

        Raises:
            BadOutput: It is not finite, or contradicts itself.
        """


@dataclass(frozen=True)
class RootDistance:
    """Of hyperbolic packages."""

    bank: ConceptBank

    def concept_names(self) -> set[str]:
        """See :class:`Scorer`."""
        return self.bank.harmful()

    def score(self, output: Row, stated: float | None) -> Scored:
        """See :class:`Scorer`."""
        geometry = self.bank.geometry
        _check_row(output, geometry.dim)
        if stated is None or not math.isfinite(stated):
            raise BadOutput("non_finite_output", "the model answered NaN or infinity")
        point = output.astype(np.float64)
        radius = float(lorentz.root_distance(point, geometry.curvature))
        # The model states the radius twice; a device that gets one of them wrong is not believed.
        if not abs(stated - radius) <= _LARGEST_CONTRADICTION * max(radius, 1e-3):
            raise BadOutput(
                "inconsistent_output", f"root distance {stated:.6f}, of its embedding {radius:.6f}"
            )
        return Scored(stated, radius, self.bank.score(point))


@dataclass(frozen=True)
class ProbeLogit:
    """Of flat packages with a probe."""

    probe: Probe
    bank: ConceptBank

    def concept_names(self) -> set[str]:
        """See :class:`Scorer`."""
        return self.bank.harmful()

    def score(self, output: Row, stated: float | None) -> Scored:
        """See :class:`Scorer`."""
        _check_row(output, self.bank.geometry.dim)
        point = output.astype(np.float64)
        length = float(np.linalg.norm(point))
        # The probe was fitted on unit vectors; another length scales its answer.
        if not abs(length - 1.0) <= _LARGEST_CONTRADICTION:
            raise BadOutput("inconsistent_output", f"the embedding has the length {length:.6f}")
        return Scored(self.probe.logit(point), None, self.bank.score(point))


@dataclass(frozen=True)
class Labels:
    """Of classifiers.

    Attributes:
        labels: In the order of the model's scores.
        activation: What makes probabilities of these: ``softmax``, ``sigmoid`` or ``none``.
    """

    labels: tuple[Label, ...]
    activation: str

    def concept_names(self) -> set[str]:
        """See :class:`Scorer`."""
        return {label.name for label in self.labels if label.unsafe}

    def score(self, output: Row, stated: float | None) -> Scored:
        """See :class:`Scorer`."""
        _check_row(output, len(self.labels))
        shares = self._probabilities(output.astype(np.float64))
        order = np.argsort(-shares, kind="stable")
        unsafe = [share for share, label in zip(shares, self.labels, strict=True) if label.unsafe]
        return Scored(
            score=float(sum(unsafe)),
            radius=None,
            concepts=tuple(
                ConceptScore(
                    name=self.labels[i].name,
                    tag=self.labels[i].name,
                    score=float(shares[i]),
                    harmless=not self.labels[i].unsafe,
                )
                for i in order
            ),
        )

    def _probabilities(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if self.activation == "sigmoid":
            return 0.5 * (1.0 + np.tanh(values / 2.0))
        if self.activation == "softmax":
            powers = np.exp(values - values.max())
            return np.asarray(powers / powers.sum())
        if not (values.min() >= -_LARGEST_CONTRADICTION and values.max() <= 1.001):
            raise BadOutput(
                "inconsistent_output",
                f"scores from {values.min():.3f} to {values.max():.3f} are no probabilities",
            )
        return np.clip(values, 0.0, 1.0)


def make_scorer(package: Package, modality: Modality) -> Scorer | None:
    """Build what scores one modality; None where the package has no encoder or no probe for it.

    Raises:
        PackageError: The package has no probe at all (the message says how to add one), or one of
            its files is not as the format says.
    """
    manifest = package.manifest
    if getattr(manifest, modality) is None:
        return None
    scorer = _of_method(package, modality)
    if scorer is None:
        return None
    _check_concepts(manifest.thresholds.get(modality), scorer, f"{package.path}: {modality}")
    return scorer


def no_probe(package: Package, *modalities: str) -> PackageError:
    """Return the error for modalities that the package cannot score."""
    kinds = " or ".join(f"{name}s" for name in modalities)
    return PackageError(
        f"{package.path} is of the method 'safeclip', whose embeddings have no radius, and holds "
        f"no probe for {kinds}, so that it cannot judge; add one: "
        f"edgesafe calibrate probe DATA --model {package.path} --out PKG2"
    )


def _of_method(package: Package, modality: Modality) -> Scorer | None:
    manifest = package.manifest
    if manifest.method == "classifier":
        return Labels(manifest.labels, manifest.activation or "none")
    bank = read_bank(package)
    if manifest.method == "hysac":
        return RootDistance(bank)
    probes = {}
    if manifest.probe is not None:
        where = str(package.path / manifest.probe)
        probes = parse_probe(package.files[manifest.probe], manifest.dim, where)
    for name in probes:
        if getattr(manifest, name) is None:
            raise PackageError(f"{package.path} has a probe for {name}s and no encoder of them")
    if not probes:
        # Nobody has said yet what is to be judged.
        raise no_probe(package, *(n for n in ("image", "text") if getattr(manifest, n)))
    if modality not in probes:
        return None
    return ProbeLogit(probes[modality], bank)


def _check_concepts(threshold: Threshold | None, scorer: Scorer, where: str) -> None:
    unknown = sorted(set(threshold.concepts) - scorer.concept_names()) if threshold else []
    if unknown:
        raise PackageError(f"{where} has thresholds for unknown harmful concepts: {unknown}")


def _check_row(output: Row, dim: int) -> None:
    if output.shape != (dim,):
        raise BadOutput("inconsistent_output", f"{len(output)} numbers, not {dim}")
    if not np.isfinite(output).all():
        raise BadOutput("non_finite_output", "the model answered NaN or infinity")
