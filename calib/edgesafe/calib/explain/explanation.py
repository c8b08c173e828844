"""Where an input lies in the space of a package, and what lies around it.

A hyperbolic package orders content by its distance from the root: near it lies what is general and
safe, far out what is specific and unsafe. Three things make that visible:

* **the path**: the geodesic from the root to the input, and the caption nearest to each of its
  points; captions are read off as they change, from the general to the particular (Desai et al.,
  MERU, ICML 2023, section 5; HySAC, CVPR 2025, figure on traversal). Only captions whose cone
  contains the input take part, as they alone entail it; where there is none, all do.
* **the cones**: of each concept, the exterior angle under which it sees the input, and the half
  aperture of its cone (MERU, equations 10 and 12).
* **the standing**: where the radius lies among those of the classes that the package was made on,
  and of the cases that its threshold was chosen on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime import lorentz
from edgesafe.runtime.concepts import ConceptBank
from edgesafe.runtime.manifest import Bounds, Threshold
from edgesafe.runtime.thresholds import Scores
from edgesafe.runtime.verdict import Verdict

__all__ = ["Calibration", "Caption", "ConceptView", "Explanation", "Met", "Standing", "explain"]

Array: TypeAlias = NDArray[np.float64]
Place: TypeAlias = Literal["below", "within", "above"]

STEPS = 200
_NEAREST = 5


@dataclass(frozen=True)
class Caption:
    """A text of the pool.

    Attributes:
        text: What it says.
        harmless: Whether it stands for something allowed; None where it was not decided.
        point: (d,).
    """

    text: str
    harmless: bool | None
    point: Array = field(repr=False)


@dataclass(frozen=True)
class Met:
    """A caption that the path passes; of the root the text is ``[root]``.

    Attributes:
        text: What it says.
        harmless: See :class:`Caption`; True for the root.
        start: Root distance from where on it is the nearest.
        end: Root distance up to where it is.
        radius: Its own root distance.
        distance: From the nearest point of that stretch.
        direction: Angle at the root between it and the input, radians.
        angle: Exterior angle under which it sees the input, radians.
        half_aperture: Of its cone, radians.
        inside: Whether that holds the input.
    """

    text: str
    harmless: bool | None
    start: float
    end: float
    radius: float
    distance: float
    direction: float
    angle: float
    half_aperture: float
    inside: bool


@dataclass(frozen=True)
class ConceptView:
    """A concept as seen from the input; angles in radians, see :class:`Met`."""

    name: str
    tag: str
    harmless: bool
    score: float
    radius: float
    direction: float
    angle: float
    half_aperture: float
    inside: bool


@dataclass(frozen=True)
class Standing:
    """The radius against one class of the data that the package was made on.

    Attributes:
        name: The class, e.g. ``safe_image``.
        low_05: Its 5 % quantile.
        avg: Its mean.
        up_95: Its 95 % quantile.
        place: Of the radius: below the first, above the last, or within.
    """

    name: str
    low_05: float
    avg: float
    up_95: float
    place: Place


@dataclass(frozen=True)
class Calibration:
    """The radius among the cases that the threshold was chosen on.

    Attributes:
        safe_below: Share of the safe cases that lie nearer to the root, 0..1.
        unsafe_below: The same of the unsafe ones.
        n: Cases, both classes together.
        scores: Quantiles of their radii.
    """

    safe_below: float
    unsafe_below: float
    n: int
    scores: Scores


@dataclass(frozen=True)
class Explanation:
    """Everything that is drawn and told.

    Attributes:
        verdict: Of the input.
        radius: Its root distance.
        curvature: c of the space.
        path: From the root to the input.
        entailed: Whether the path is made of captions whose cones hold the input.
        pool: Captions that could have been met.
        concepts: Best fit first.
        nearest: Captions nearest to the input itself, with their distances.
        standing: Per class, of its own modality first.
        calibration: None where the package does not keep what its threshold was chosen on.
    """

    verdict: Verdict
    radius: float
    curvature: float
    path: tuple[Met, ...]
    entailed: bool
    pool: int
    concepts: tuple[ConceptView, ...]
    nearest: tuple[Met, ...]
    standing: tuple[Standing, ...]
    calibration: Calibration | None = None

    def to_json(self) -> dict[str, Any]:
        """The explanation as JSON holds it, angles in degrees."""
        verdict = self.verdict
        return {
            "modality": verdict.modality,
            "verdict": verdict.decision,
            "score": verdict.score,
            "radius": self.radius,
            "threshold": verdict.threshold,
            "band": list(verdict.band) if verdict.band else None,
            "probability": verdict.probability,
            "reason": verdict.reason,
            "package": verdict.package,
            "standing": [asdict(one) for one in self.standing],
            "calibration": asdict(self.calibration) if self.calibration else None,
            "captions_from": "entailing" if self.entailed else "all",
            "captions": self.pool,
            "path": [_degrees(met) for met in self.path],
            "nearest": [_degrees(met) for met in self.nearest],
            "concepts": [_degrees(concept) for concept in self.concepts],
        }


def explain(
    point: Array,
    verdict: Verdict,
    bank: ConceptBank,
    bounds: Mapping[str, Bounds],
    captions: Sequence[Caption] = (),
    threshold: Threshold | None = None,
) -> Explanation:
    """Explain one input.

    Args:
        point: Its space part, (d,).
        verdict: Of it.
        bank: Of the package, hyperbolic.
        bounds: Of the package.
        captions: The pool of the path; without them the concepts are.
        threshold: Of the package for this modality.
    """
    c, k = bank.geometry.curvature, bank.geometry.min_radius
    pool = list(captions) or [
        Caption(concept.name, concept.safe, place)
        for concept, place in zip(bank.concepts, bank.points, strict=True)
    ]
    path, entailed = _path(point, pool, c, k)
    radius = float(lorentz.root_distance(point, c))
    distances = [float(lorentz.distance(point, caption.point, c)) for caption in pool]
    nearest = sorted(range(len(pool)), key=lambda i: distances[i])[:_NEAREST]
    places = {concept.name: i for i, concept in enumerate(bank.concepts)}
    return Explanation(
        verdict=verdict,
        radius=radius,
        curvature=c,
        path=path,
        entailed=entailed,
        pool=len(pool),
        concepts=tuple(
            ConceptView(
                name=one.name,
                tag=one.tag,
                harmless=one.harmless,
                score=one.score,
                radius=float(lorentz.root_distance(bank.points[places[one.name]], c)),
                direction=_direction(bank.points[places[one.name]], point),
                angle=one.angle or 0.0,
                half_aperture=one.half_aperture or 0.0,
                inside=bool(one.inside),
            )
            for one in bank.score(point)
        ),
        nearest=tuple(_met(pool[i], point, radius, radius, distances[i], c, k) for i in nearest),
        standing=_standing(radius, verdict.modality, bounds),
        calibration=_calibration(radius, threshold),
    )


def _path(
    point: Array, pool: Sequence[Caption], c: float, k: float
) -> tuple[tuple[Met, ...], bool]:
    """The captions met from the root outward, and whether all of them entail the input."""
    points = np.stack([caption.point for caption in pool]) if pool else point[None][:0]
    inside = lorentz.entails(points, point, c, k)
    entailed = bool(inside.any())
    chosen = np.flatnonzero(inside) if entailed else np.arange(len(pool))
    shares = np.linspace(0.0, 1.0, STEPS + 1)
    way = lorentz.exp_map0(shares[:, None] * lorentz.log_map0(point, c), c)
    # The root is in the pool: before anything else is nearer, the path is at nothing particular.
    places = np.concatenate([np.zeros((1, len(point))), points[chosen]])
    distances = np.stack([lorentz.distance(way, place, c) for place in places], axis=1)
    nearest = distances.argmin(axis=1)
    radii = shares * float(lorentz.root_distance(point, c))
    met = []
    start = 0
    for end in range(1, STEPS + 2):
        if end <= STEPS and nearest[end] == nearest[start]:
            continue
        which = int(nearest[start])
        closest = float(distances[start:end, which].min())
        # A stretch ends half way to where the next one is seen first.
        low = 0.0 if start == 0 else float(radii[start - 1] + radii[start]) / 2
        high = float(radii[-1]) if end > STEPS else float(radii[end - 1] + radii[end]) / 2
        if which == 0:
            met.append(Met("[root]", True, low, high, 0.0, closest, 0.0, 0.0, math.pi / 2, True))
        else:
            met.append(_met(pool[int(chosen[which - 1])], point, low, high, closest, c, k))
        start = end
    return tuple(met), entailed


def _met(
    caption: Caption, point: Array, start: float, end: float, distance: float, c: float, k: float
) -> Met:
    angle = float(lorentz.exterior_angle(caption.point, point, c))
    aperture = float(lorentz.half_aperture(caption.point, c, k))
    return Met(
        text=caption.text,
        harmless=caption.harmless,
        start=start,
        end=end,
        radius=float(lorentz.root_distance(caption.point, c)),
        distance=distance,
        direction=_direction(caption.point, point),
        angle=angle,
        half_aperture=aperture,
        inside=angle <= aperture,
    )


def _direction(x: Array, y: Array) -> float:
    """Angle at the root between two points; 0 where one is the root."""
    across = float(np.linalg.norm(x) * np.linalg.norm(y))
    return math.acos(min(max(float(x @ y) / across, -1.0), 1.0)) if across > 0 else 0.0


def _standing(radius: float, modality: str, bounds: Mapping[str, Bounds]) -> tuple[Standing, ...]:
    names = sorted(bounds, key=lambda name: (not name.endswith(modality), name))
    found = []
    for name in names:
        shell = bounds[name]
        place: Place = "within"
        if radius < shell.low_05:
            place = "below"
        elif radius > shell.up_95:
            place = "above"
        found.append(Standing(name, shell.low_05, shell.avg, shell.up_95, place))
    return tuple(found)


def _calibration(radius: float, threshold: Threshold | None) -> Calibration | None:
    # In a hyperbolic package the score is the radius.
    if threshold is None or threshold.scores is None:
        return None
    safe, unsafe = threshold.scores.share_below(radius)
    return Calibration(safe, unsafe, threshold.n, threshold.scores)


def _degrees(value: Met | ConceptView) -> dict[str, Any]:
    angles = ("direction", "angle", "half_aperture")
    return {
        (f"{key}_deg" if key in angles else key): math.degrees(one) if key in angles else one
        for key, one in asdict(value).items()
    }
