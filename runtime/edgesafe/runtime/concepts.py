"""The concept bank: how well an embedding fits the entailment cone of each named concept.

A concept is a point ``x`` of the hyperboloid (the embedding of its prompts). Its entailment cone
opens away from the root with half aperture ``aperture(x)``; an input ``y`` is inside where the
exterior angle of ``y`` seen from ``x`` is at most that (Desai et al., MERU, ICML 2023, equations
10 and 12).

The score is the margin ``aperture - angle`` through a logistic function::

    score = 1 / (1 + exp(-(aperture - angle) / 0.1 rad))

so it rises with the margin, is above 0.5 exactly inside the cone, and orders the concepts. In
models of low curvature all apertures saturate at 90 degrees (HySAC: c = 0.1, all radii below
0.632); the order is then that of the exterior angles alone, which still tells concepts apart by
direction, and also tells shells apart: what lies nearer to the root than a concept is outside its
cone. The score is absolute, not a share of the bank: for a harmless photo all concepts may be low.

In flat space (packages of the method ``safeclip``) there are no cones: there the score is
``(1 + cos) / 2`` of the angle between input and concept, which orders them just as the cosine does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgesafe.runtime import lorentz
from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.fields import Fields, parse_json
from edgesafe.runtime.manifest_parts import Geometry
from edgesafe.runtime.package import Package
from edgesafe.runtime.verdict import ConceptScore

__all__ = ["Concept", "ConceptBank", "parse_concepts", "read_bank"]

SOFTNESS = 0.1
"""Margin, in radians, over which the score goes from 0.5 to 0.73."""

_MAX_CONCEPTS = 10_000
_FAR = 1e6


@dataclass(frozen=True)
class Concept:
    """A named point of the bank: ``name``, policy ``tag``, and whether it is allowed."""

    name: str
    tag: str
    safe: bool


@dataclass(frozen=True)
class ConceptBank:
    """The concepts of a package.

    Attributes:
        concepts: What the rows of ``points`` stand for.
        points: float64 (n, d) space parts.
        geometry: Of the space they live in.
    """

    concepts: tuple[Concept, ...]
    points: npt.NDArray[np.float64] = field(repr=False)
    geometry: Geometry

    def harmful(self) -> set[str]:
        """Return the names of the concepts that are not allowed."""
        return {concept.name for concept in self.concepts if not concept.safe}

    def score(self, embedding: npt.NDArray[np.float64]) -> tuple[ConceptScore, ...]:
        """Compare one embedding, (d,) and finite, with every concept; best fit first."""
        if not self.concepts:
            return ()
        if self.geometry.model == "euclidean":
            return self._cosines(embedding)
        c = self.geometry.curvature
        angles = lorentz.exterior_angle(self.points, embedding, c)
        apertures = lorentz.half_aperture(self.points, c, self.geometry.min_radius)
        margins = apertures - angles
        scores = 0.5 * (1.0 + np.tanh(margins / (2.0 * SOFTNESS)))
        # Ordered by margin, not by score: the score saturates to equal values far away.
        order = np.argsort(-margins, kind="stable")
        return tuple(
            ConceptScore(
                name=self.concepts[i].name,
                tag=self.concepts[i].tag,
                score=float(scores[i]),
                angle=float(angles[i]),
                half_aperture=float(apertures[i]),
                inside=bool(angles[i] <= apertures[i]),
                harmless=self.concepts[i].safe,
            )
            for i in order
        )

    def _cosines(self, embedding: npt.NDArray[np.float64]) -> tuple[ConceptScore, ...]:
        lengths = np.linalg.norm(self.points, axis=1) * np.linalg.norm(embedding)
        cosines = np.clip(self.points @ embedding / lengths, -1.0, 1.0)
        return tuple(
            ConceptScore(
                name=self.concepts[i].name,
                tag=self.concepts[i].tag,
                score=float((1.0 + cosines[i]) / 2.0),
                angle=float(np.arccos(cosines[i])),
                harmless=self.concepts[i].safe,
            )
            for i in np.argsort(-cosines, kind="stable")
        )


def read_bank(package: Package) -> ConceptBank:
    """Read the concept bank of a verified package.

    Raises:
        PackageError: It has none, being a classifier, or it is not as the format says.
    """
    manifest = package.manifest
    if manifest.concepts is None or manifest.geometry is None:
        raise PackageError(f"{package.path} is a classifier: it has labels and no concept bank")
    return parse_concepts(
        package.files[manifest.concepts],
        manifest.geometry,
        str(package.path / manifest.concepts),
    )


def parse_concepts(data: bytes, geometry: Geometry, where: str) -> ConceptBank:
    """Read ``concepts.json``.

    Raises:
        PackageError: Not as the format says, a concept named twice, or a wrong dimension.
    """
    top = parse_json(data, where)
    top.only("concepts")
    items = top.items("concepts")
    if len(items) > _MAX_CONCEPTS:
        raise PackageError(f"{where}: more than {_MAX_CONCEPTS} concepts")
    concepts, rows = [], []
    for index, item in enumerate(items):
        fields = Fields(item, f"{where}: concepts[{index}]")
        fields.only("name", "tag", "safe", "embedding")
        concepts.append(Concept(fields.text("name"), fields.text("tag"), fields.flag("safe")))
        rows.append(fields.numbers("embedding", -_FAR, _FAR, count=geometry.dim))
    if len({concept.name for concept in concepts}) != len(concepts):
        raise PackageError(f"{where}: a concept is named twice")
    points = np.array(rows, dtype=np.float64).reshape(len(rows), geometry.dim)
    if rows and not np.linalg.norm(points, axis=1).min() > 0:
        raise PackageError(f"{where}: a concept lies at the root, where a cone has no direction")
    return ConceptBank(tuple(concepts), points, geometry)
