"""Does a pose network read the markers? Interventions on them, and what its poses do then.

* Accuracy on every counterfactual set: the share of targets with ADD(-S) below 0.1 diameters.
* Marker reliance gap = accuracy(orig) - accuracy(erased), beside the same gap of the control, whose
  painted area has the same size but lies elsewhere: the difference is what the markers themselves
  are worth to the network, without the harm of painting as such.
* Pose shift: how far the pose moves from orig to erased; it needs no labels. A large shift proves
  reliance; a small one proves nothing: a network can ignore the ink and yet need the board.
* Follow rate on conflict sets: how often the pose is nearer, in rotation, to the one that the
  markers tell than to the object's own. And how often it lands on it (ADD(-S) < 0.1 diameters).
* What is kept without a board = accuracy(noboard) / accuracy(orig), on backgrounds that no training
  has seen. This is the figure that counts where there are no boards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop import BopDataset
from edgesafe.calib.bop.results import Estimate, Estimates
from edgesafe.calib.markers.audit_figures import (
    Hits,
    Interval,
    difference,
    median_of,
    ratio,
    recall,
    share,
)
from edgesafe.calib.markers.counterfactual import CONFLICTS
from edgesafe.calib.markers.counterfactual_dataset import Sets
from edgesafe.calib.markers.networks import Run
from edgesafe.calib.pose_errors import add, adi, rotation_translation
from edgesafe.calib.pose_evaluation import compare, eval_models, targets_of
from edgesafe.calib.pose_scores import EvalModel, Target
from edgesafe.runtime.errors import DataError, UsageError

__all__ = ["Audit", "Follow", "NetworkAudit", "Shift", "audit_sets"]

Array: TypeAlias = NDArray[np.float64]
Key: TypeAlias = "tuple[int, int]"

# Poses that the markers tell must differ from the objects' by so much to be told apart.
_LEAST_APART = 15.0
_CLOSE = 0.1
_POINTS, _POINTS_SYMMETRIC = 500, 3000
_SHIFTED = ("erased", "random_patch", "permuted", "board_removed", "conflict")


@dataclass(frozen=True)
class Shift:
    """How far poses move from orig to another set.

    Attributes:
        rotation_deg: Median angle, to the nearest symmetry.
        translation: Median distance over the diameter.
    """

    rotation_deg: Interval
    translation: Interval


@dataclass(frozen=True)
class Follow:
    """Poses on a conflict set.

    Attributes:
        nearer: Share nearer in rotation to the pose that the markers tell than to the object's.
        lands: Share with ADD(-S) < 0.1 diameters to the pose that the markers tell.
    """

    nearer: Interval
    lands: Interval


@dataclass(frozen=True, eq=False)
class NetworkAudit:
    """What was measured of one network.

    Attributes:
        name: As it was called.
        identities: Of each seed.
        accuracy: Per set, over seeds and frames.
        by_seed: Per set, the accuracy of each seed.
        by_object: Per set and object, the accuracy over seeds.
        median_error: Per set, median ADD(-S) over the diameter; infinite where most have no pose.
        gap: accuracy(orig) - accuracy(erased).
        control_gap: accuracy(orig) - accuracy(random_patch).
        net_gap: accuracy(random_patch) - accuracy(erased).
        kept: Per set, its accuracy over that of orig.
        shift: Per set.
        follow: Per conflict set.
        estimates: Per set, the poses of the first seed.
    """

    name: str
    identities: tuple[str, ...]
    accuracy: Mapping[str, Interval]
    by_seed: Mapping[str, list[float]]
    by_object: Mapping[str, Mapping[int, float]]
    median_error: Mapping[str, float]
    gap: Interval | None
    control_gap: Interval | None
    net_gap: Interval | None
    kept: Mapping[str, Interval]
    shift: Mapping[str, Shift]
    follow: Mapping[str, Follow]
    estimates: Mapping[str, Estimates] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        gaps = {"gap": self.gap, "control_gap": self.control_gap, "net_gap": self.net_gap}
        return {
            "identities": list(self.identities),
            "sets": {
                kind: {
                    "accuracy": self.accuracy[kind].to_json(),
                    "by_seed": self.by_seed[kind],
                    "by_object": {str(i): v for i, v in self.by_object[kind].items()},
                    "median_add_over_diameter": _finite(self.median_error[kind]),
                    "kept": self.kept[kind].to_json(),
                }
                for kind in self.accuracy
            },
            **{name: None if gap is None else gap.to_json() for name, gap in gaps.items()},
            "pose_shift": {
                kind: {
                    "rotation_deg": one.rotation_deg.to_json(),
                    "translation_over_diameter": one.translation.to_json(),
                }
                for kind, one in self.shift.items()
            },
            "marker_follow": {
                kind: {"nearer": one.nearer.to_json(), "lands": one.lands.to_json()}
                for kind, one in self.follow.items()
            },
        }


@dataclass(frozen=True, eq=False)
class Audit:
    """What was measured.

    Attributes:
        sets: On what.
        kinds: Which sets.
        objects: Numbers of the objects that count.
        frames: (scene, picture) that count.
        networks: In the order they were given.
    """

    sets: Sets
    kinds: tuple[str, ...]
    objects: tuple[int, ...]
    frames: tuple[Key, ...]
    networks: tuple[NetworkAudit, ...]


def audit_sets(
    sets: Sets,
    networks: Mapping[str, Sequence[Run]],
    *,
    objects: Sequence[int] | None = None,
    min_visib: float = 0.1,
    progress: Callable[[str, str], None] = lambda name, kind: None,
) -> Audit:
    """Audit networks on counterfactual sets.

    Args:
        sets: With at least ``orig``.
        networks: Runs, one per seed, by the name of the network. `FunctionRun` takes any function.
        objects: Which count; None: those that all packages know.
        min_visib: Least visible share of an object that counts.
        progress: Called with the name of a network and of the set it is run on.

    Raises:
        UsageError: There is no network, no set ``orig``, or no object that all know.
        DataError: A set, a mesh or a result file is missing or damaged.
    """
    if not networks or not all(networks.values()):
        raise UsageError("there is no network to audit")
    if "orig" not in sets.made:
        raise UsageError(f"{sets.path} has no set orig, against which the others are compared")
    opened = {kind: sets.open(kind) for kind in sets.kinds}
    chosen = _objects(opened["orig"], networks, objects)
    models = {
        obj_id: _simplified(model) for obj_id, model in eval_models(opened["orig"], chosen).items()
    }
    frames = tuple(opened["orig"].keys)
    found = tuple(
        _audit_network(name, runs, sets, opened, models, frames, min_visib, progress)
        for name, runs in networks.items()
    )
    return Audit(sets, tuple(opened), tuple(chosen), frames, found)


def _simplified(model: EvalModel) -> EvalModel:
    """Keep evenly many vertices: an audit compares thousands of poses.

    ADD, a mean, hardly changes. ADD-S grows with the distance of neighbouring vertices, so that
    objects with symmetries keep more of them.
    """
    most = _POINTS_SYMMETRIC if model.info.symmetric else _POINTS
    step = max(1, -(-len(model.points) // most))
    return EvalModel(model.points[::step], model.info)


def _objects(
    data: BopDataset, networks: Mapping[str, Sequence[Run]], objects: Sequence[int] | None
) -> list[int]:
    known = set(data.objects)
    for runs in networks.values():
        for run in runs:
            known &= run.objects if run.objects is not None else known
    if objects is not None:
        unknown = sorted(set(objects) - known)
        if unknown:
            raise UsageError(
                f"the objects {', '.join(map(str, unknown))} are in no frame or not known to all "
                f"networks; there are {', '.join(map(str, sorted(known))) or 'none'}"
            )
        known = set(objects)
    if not known:
        raise UsageError("the networks and the data set have no object in common")
    return sorted(known)


def _audit_network(
    name: str,
    runs: Sequence[Run],
    sets: Sets,
    opened: Mapping[str, BopDataset],
    models: Mapping[int, EvalModel],
    frames: Sequence[Key],
    min_visib: float,
    progress: Callable[[str, str], None],
) -> NetworkAudit:
    # A set counts if every seed has it.
    kinds = [kind for kind in opened if all(run.has(kind) for run in runs)]
    targets: dict[str, list[list[Target]]] = {}
    estimates: dict[str, list[Estimates]] = {}
    for kind in kinds:
        progress(name, kind)
        data = opened[kind]
        estimates[kind] = [run.estimates(kind, data, sorted(models), min_visib) for run in runs]
        targets[kind] = [compare(data, models, one, min_visib=min_visib) for one in estimates[kind]]
    hits = {kind: Hits.of(targets[kind], frames) for kind in kinds}

    def gap(first: str, second: str) -> Interval | None:
        if first not in hits or second not in hits:
            return None
        return difference(hits[first], hits[second])

    truth = _single_instances(opened["orig"], models, min_visib)
    return NetworkAudit(
        name=name,
        identities=tuple(run.identity for run in runs),
        accuracy={kind: recall(hits[kind]) for kind in kinds},
        by_seed={kind: hits[kind].by_seed for kind in kinds},
        by_object={kind: _by_object(targets[kind]) for kind in kinds},
        median_error={kind: _median_error(targets[kind]) for kind in kinds},
        gap=gap("orig", "erased"),
        control_gap=gap("orig", "random_patch"),
        net_gap=gap("random_patch", "erased"),
        kept={kind: ratio(hits[kind], hits["orig"]) for kind in kinds},
        shift={
            kind: _shift(estimates["orig"], estimates[kind], truth, models)
            for kind in _SHIFTED
            if kind in kinds
        },
        follow={
            kind: _follow(sets, kind, estimates[kind], truth, models)
            for kind in kinds
            if kind in CONFLICTS
        },
        estimates={kind: estimates[kind][0] for kind in kinds},
    )


def _single_instances(
    data: BopDataset, models: Mapping[int, EvalModel], min_visib: float
) -> dict[tuple[int, int, int], tuple[Array, Array]]:
    """Return R and t of the objects that are in a frame once: only these tell who is who."""
    found: dict[tuple[int, int, int], tuple[Array, Array]] = {}
    for frame in data.frames:
        wanted = targets_of(frame, models, min_visib)
        everywhere = [one.obj_id for one in frame.instances]
        for one in wanted:
            if everywhere.count(one.obj_id) == 1:
                found[(*frame.key, one.obj_id)] = one.R, one.t
    return found


def _shift(
    before: Sequence[Estimates],
    after: Sequence[Estimates],
    truth: Mapping[tuple[int, int, int], tuple[Array, Array]],
    models: Mapping[int, EvalModel],
) -> Shift:
    angles: dict[Key, list[float]] = {}
    shifts: dict[Key, list[float]] = {}
    for first, second in zip(before, after, strict=True):
        for scene, im_id, obj_id in truth:
            one, two = (_best(some, (scene, im_id, obj_id)) for some in (first, second))
            if one is None or two is None:
                continue
            model = models[obj_id]
            angle, shift = rotation_translation(two.R, two.t, one.R, one.t, model.symmetries)
            angles.setdefault((scene, im_id), []).append(angle)
            shifts.setdefault((scene, im_id), []).append(shift / model.info.diameter)
    return Shift(median_of(angles), median_of(shifts))


def _follow(
    sets: Sets,
    kind: str,
    seeds: Sequence[Estimates],
    truth: Mapping[tuple[int, int, int], tuple[Array, Array]],
    models: Mapping[int, EvalModel],
) -> Follow:
    nearer: dict[Key, list[float]] = {}
    lands: dict[Key, list[float]] = {}
    for (scene, im_id, obj_id), (R, t) in truth.items():
        made, model = sets.made[kind].get((scene, im_id)), models[obj_id]
        if made is None or made.shown is None:
            continue
        motion = made.shown @ np.linalg.inv(made.true)
        R_told, t_told = motion[:3, :3] @ R, motion[:3, :3] @ t + motion[:3, 3]
        if rotation_translation(R_told, t_told, R, t, model.symmetries)[0] < _LEAST_APART:
            continue
        for estimates in seeds:
            pose = _best(estimates, (scene, im_id, obj_id))
            if pose is None:
                continue
            told = rotation_translation(pose.R, pose.t, R_told, t_told, model.symmetries)[0]
            own = rotation_translation(pose.R, pose.t, R, t, model.symmetries)[0]
            nearer.setdefault((scene, im_id), []).append(float(told < own))
            apart = (
                adi(pose.R, pose.t, R_told, t_told, model.points, model.index)
                if model.info.symmetric
                else add(pose.R, pose.t, R_told, t_told, model.points)
            )
            close = apart < _CLOSE * model.info.diameter
            lands.setdefault((scene, im_id), []).append(float(close))
    return Follow(share(nearer), share(lands))


def _best(estimates: Estimates, key: tuple[int, int, int]) -> Estimate | None:
    return max(estimates.get(key, ()), key=lambda one: one.score, default=None)


def _by_object(seeds: Sequence[Sequence[Target]]) -> dict[int, float]:
    right: dict[int, list[bool]] = {}
    for target in (target for targets in seeds for target in targets):
        right.setdefault(target.obj_id, []).append(target.error < _CLOSE * target.diameter)
    return {obj_id: float(np.mean(some)) for obj_id, some in sorted(right.items())}


def _median_error(seeds: Sequence[Sequence[Target]]) -> float:
    errors = [target.error / target.diameter for targets in seeds for target in targets]
    if not errors:
        raise DataError("a set has no targets")
    with np.errstate(invalid="ignore"):
        return float(np.median(errors))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
