"""A query's answer, and what redirection and filtering did to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.retrieval.index import Index
from edgesafe.calib.retrieval.items import DECISIONS, MODALITIES, Item
from edgesafe.calib.retrieval.traversal import Form, limit, path_toward_root, traverse
from edgesafe.calib.retrieval.vectors import Engine, search
from edgesafe.runtime import lorentz
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.manifest import Bounds
from edgesafe.runtime.verdict import Modality

__all__ = [
    "POLICIES",
    "QUANTILES",
    "Answer",
    "Hit",
    "Policy",
    "Quantile",
    "Question",
    "Step",
    "ask",
]

Policy: TypeAlias = Literal["redirect", "original"]
Quantile: TypeAlias = Literal["avg", "low_05", "up_95"]
POLICIES: tuple[Policy, ...] = ("redirect", "original")
QUANTILES: tuple[Quantile, ...] = ("avg", "low_05", "up_95")


@dataclass(frozen=True)
class Question:
    """How to answer.

    Attributes:
        policy: ``redirect`` moves a query that lies beyond the bound; ``original`` does not.
        k: Results wanted.
        filter_unsafe: Leave out what is not safe: the unsafe and the undecided.
        modality: Look among these only; None for all.
        quantile: Of the safe class's root distances, where a redirected query ends; None takes the
            mean, and for the paper's form its 95 % quantile.
        traversal: See :mod:`.traversal`.
        steps: Points of the way toward the root that are looked up.
        engine: See :func:`.vectors.search`.
    """

    policy: Policy = "redirect"
    k: int = 10
    filter_unsafe: bool = False
    modality: Modality | None = None
    quantile: Quantile | None = None
    traversal: Form = "exact"
    steps: int = 5
    engine: Engine = "numpy"


@dataclass(frozen=True)
class Hit:
    """One result.

    Attributes:
        rank: From 1.
        item: What it is.
        distance: Geodesic from the query as it was asked in the end, or one minus the cosine.
        radius: Its distance from the root; None in flat space.
        rank_before: Its rank among the first k of the query as it came, nothing filtered; None
            where it was not among them, so that redirection or filtering brought it here.
    """

    rank: int
    item: Item
    distance: float
    radius: float | None
    rank_before: int | None


@dataclass(frozen=True)
class Step:
    """What lies nearest to one point of the way toward the root."""

    radius: float
    id: str
    verdict: str
    caption: str
    distance: float


@dataclass(frozen=True)
class Answer:
    """What was found, and how.

    Attributes:
        policy: That was asked for.
        redirected: Whether the query was moved.
        radius_before: Its distance from the root as it came; None in flat space.
        radius_after: The same of the query that was answered.
        limit: Root distance (or, in the paper's form, norm) beyond which a query is moved; None
            with the policy ``original``.
        bound: Classes and quantile that the limit is made of; None likewise.
        steps: The way from the query to where it ended; empty where it was not moved.
        hits: Nearest first.
        turned_away: Of the first k as the query came, how many redirection took out of the answer.
        filtered: Of the first k as the query was answered, how many were left out as not safe.
    """

    policy: Policy
    redirected: bool
    radius_before: float | None
    radius_after: float | None
    limit: float | None
    bound: Mapping[str, Any] | None
    steps: tuple[Step, ...]
    hits: tuple[Hit, ...]
    turned_away: int
    filtered: int

    def to_json(self) -> dict[str, Any]:
        """The answer as JSON holds it."""
        return {
            "policy": self.policy,
            "redirected": self.redirected,
            "radius_before": self.radius_before,
            "radius_after": self.radius_after,
            "limit": self.limit,
            "bound": dict(self.bound) if self.bound else None,
            "steps": [asdict(step) for step in self.steps],
            "turned_away": self.turned_away,
            "filtered": self.filtered,
            "results": [_hit_json(hit) for hit in self.hits],
        }


def ask(
    index: Index,
    point: NDArray[np.float64],
    question: Question,
    bounds: Mapping[str, Bounds],
) -> Answer:
    """Answer one query.

    Args:
        index: Where to look.
        point: The query, (d,).
        question: How.
        bounds: Root distances of the classes, of the package.

    Raises:
        UsageError: Redirection was asked for, and the package has no radius or no bound for it; or
            filtering, and nothing in the index was ever judged.
    """
    space, c = index.space, index.space.curvature
    wanted = index.alive.copy()
    if question.modality is not None:
        wanted &= index.modality == MODALITIES.index(question.modality)
    keep = wanted
    if question.filter_unsafe:
        if not (index.decision[wanted] != DECISIONS.index("undecided")).any() and wanted.any():
            raise UsageError(
                f"{index.path} holds no verdict to filter by: its package has no threshold; "
                "calibrate one and index again, or leave out --filter-unsafe"
            )
        keep = wanted & (index.decision == DECISIONS.index("safe"))
    after, tau, bound = point, None, None
    if question.policy == "redirect":
        tau, bound = _limit(index, wanted, question, bounds)
        assert c is not None
        after = np.asarray(traverse(point, tau, c, question.traversal)[0], np.float64)
    redirected = not np.array_equal(after, point)
    way = point[None]
    if redirected and c is not None:
        end = float(lorentz.root_distance(after, c))
        way = np.asarray(path_toward_root(point, end, c, question.steps), np.float64)
    found = search(
        space,
        index.blocks,
        np.concatenate([point[None], after[None]]),
        question.k,
        keep=wanted,
        engine=question.engine,
    )
    final = found[1]
    if question.filter_unsafe:
        final = search(
            space, index.blocks, after[None], question.k, keep=keep, engine=question.engine
        )[0]
    before = {int(row): rank for rank, row in enumerate(found[0].rows, 1)}
    unsafe = index.decision[found[1].rows] != DECISIONS.index("safe")
    return Answer(
        policy=question.policy,
        redirected=redirected,
        radius_before=None if c is None else float(lorentz.root_distance(point, c)),
        radius_after=None if c is None else float(lorentz.root_distance(after, c)),
        limit=tau,
        bound=bound,
        steps=_steps(index, way, keep, question) if redirected else (),
        hits=tuple(
            Hit(
                rank=rank,
                item=index.item(row),
                distance=distance,
                radius=_radius(index, row),
                rank_before=before.get(row),
            )
            for rank, (row, distance) in enumerate(
                zip(final.rows.tolist(), final.distances.tolist(), strict=True), 1
            )
        ),
        turned_away=len(set(before) - set(found[1].rows.tolist())),
        filtered=int(unsafe.sum()) if question.filter_unsafe else 0,
    )


def _limit(
    index: Index,
    wanted: NDArray[np.bool_],
    question: Question,
    bounds: Mapping[str, Bounds],
) -> tuple[float, dict[str, Any]]:
    c = index.space.curvature
    if c is None:
        raise UsageError(
            f"{index.origin.identity} has no radius, so that a query cannot be moved toward the "
            "root: use --policy original"
        )
    present = sorted({MODALITIES[int(m)] for m in np.unique(index.modality[wanted])})
    quantile: Quantile = question.quantile or ("avg" if question.traversal == "exact" else "up_95")
    values = {}
    for modality in present:
        name = f"safe_{modality}"
        if name not in bounds:
            raise UsageError(
                f"{index.origin.identity} has no bound for {name}: use --policy original, or "
                "export the package from a checkpoint that was validated"
            )
        values[name] = float(getattr(bounds[name], quantile))
    if not values:
        raise UsageError(
            f"{index.path} holds nothing of what is looked for: add to it with "
            f"`edgesafe index SOURCE --out {index.path} --add`"
        )
    # Among several classes the safest counts.
    name = min(values, key=lambda key: values[key])
    tau = limit(values[name], c, question.traversal)
    return tau, {"class": name, "quantile": quantile, "value": values[name]}


def _steps(
    index: Index, way: NDArray[np.float64], keep: NDArray[np.bool_], question: Question
) -> tuple[Step, ...]:
    c = index.space.curvature
    assert c is not None
    radii = lorentz.root_distance(way, c)
    found = search(index.space, index.blocks, way, 1, keep=keep, engine=question.engine)
    steps = []
    for radius, one in zip(radii.tolist(), found, strict=True):
        if len(one.rows):
            item = index.item(int(one.rows[0]))
            distance = float(one.distances[0])
            steps.append(Step(radius, item.id, item.verdict, item.caption, distance))
    return tuple(steps)


def _radius(index: Index, row: int) -> float | None:
    c = index.space.curvature
    if c is None:
        return None
    return float(lorentz.root_distance(index.point(row), c))


def _hit_json(hit: Hit) -> dict[str, Any]:
    item = hit.item
    return {
        "rank": hit.rank,
        "rank_before": hit.rank_before,
        "id": item.id,
        "source": item.source,
        "modality": item.modality,
        "distance": hit.distance,
        "radius": hit.radius,
        "verdict": item.verdict,
        "score": item.score,
        "caption": item.caption,
        "meta": dict(item.meta),
    }
