"""Figures of many poses: recall, AUC, average recall, medians, with bootstrap intervals.

Of each target, an object in a frame that is visible enough, with error e of its estimate (infinite
where there is none) and the object's diameter d:

* ``recall`` = share with ADD(-S) < 0.1 d; ADD-S for objects with symmetries, ADD for the others.
  Hinterstoisser et al., ACCV 2012.
* ``auc`` (ADD(-S)), ``auc_add_s`` (ADD-S for all): area under the share of targets with
  an error below a threshold, over thresholds of 0 to 100 mm. Xiang et al., "PoseCNN", RSS 2018.
  The area of these steps is exact: the mean of max(0, 1 - e / 100 mm). (The original program takes
  the upper corner of every step, which gives slightly more.)
* ``auc_diameter``: the same with ADD(-S) over thresholds of 0 to 0.1 d.
* ``ar_mssd`` and ``ar_mspd``: mean recall over the thresholds 0.05 d, 0.1 d ... 0.5 d, and 5, 10
  ... 50 px times the width of the picture over 640. Hodan et al., "BOP Challenge 2020", ECCVW 2020.
* ``median_rotation_deg`` and ``median_translation_mm`` are of the targets that have an estimate.

Intervals are percentile bootstraps over frames, because objects in one frame share its light,
blur and occlusion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgesafe.calib.bop.models_info import ModelInfo
from edgesafe.calib.bop.results import Estimate
from edgesafe.calib.nearest import NearestPoints
from edgesafe.calib.pose_errors import add, adi, mspd, mssd, rotation_translation
from edgesafe.calib.statistics import bootstrap_interval

__all__ = ["METRICS", "EvalModel", "Figure", "Scores", "Target", "Truth", "judge", "score"]

Array: TypeAlias = NDArray[np.float64]

METRICS = ("recall", "auc", "auc_add_s", "auc_diameter", "ar_mssd", "ar_mspd")

_CLOSE = 0.1
_AUC_MM = 100.0
_MSSD = 0.05 * np.arange(1, 11)
_MSPD = 5.0 * np.arange(1, 11)
_MSPD_WIDTH = 640
_REPEATS = 1000


@dataclass(frozen=True, eq=False)
class EvalModel:
    """An object as the metrics see it.

    Attributes:
        points: (N, 3) vertices of its mesh, mm.
        info: Its diameter and symmetries.
    """

    points: Array = field(repr=False)
    info: ModelInfo

    @cached_property
    def index(self) -> NearestPoints:
        """The points, sorted for ADD-S."""
        return NearestPoints(self.points)

    @cached_property
    def symmetries(self) -> Array:
        """(S, 4, 4) with the identity."""
        return self.info.symmetry_transforms()


@dataclass(frozen=True, eq=False)
class Truth:
    """A true pose, T_cam_obj: R (3, 3), t (3,) mm."""

    R: Array
    t: Array


@dataclass(frozen=True)
class Target:
    """How one object in one frame was estimated; errors are infinite where it was not.

    Attributes:
        frame: (scene, picture).
        obj_id: Number of the object.
        diameter: Of the object, mm.
        add: mm.
        adi: mm, ADD-S.
        symmetric: Whether ADD(-S) is ADD-S.
        mssd: mm.
        mspd: Pixels, of a picture 640 pixels wide.
        rotation_deg: To the nearest symmetry.
        translation_mm: To the same.
    """

    frame: tuple[int, int]
    obj_id: int
    diameter: float
    symmetric: bool
    add: float = np.inf
    adi: float = np.inf
    mssd: float = np.inf
    mspd: float = np.inf
    rotation_deg: float = np.inf
    translation_mm: float = np.inf

    @property
    def found(self) -> bool:
        """Whether there was an estimate."""
        return bool(np.isfinite(self.add))

    @property
    def error(self) -> float:
        """ADD(-S), mm."""
        return self.adi if self.symmetric else self.add

    @property
    def credits(self) -> tuple[float, ...]:
        """What it adds to each of `METRICS`, 0..1."""
        return (
            float(self.error < _CLOSE * self.diameter),
            max(0.0, 1 - self.error / _AUC_MM),
            max(0.0, 1 - self.adi / _AUC_MM),
            max(0.0, 1 - self.error / (_CLOSE * self.diameter)),
            float((self.mssd < _MSSD * self.diameter).mean()),
            float((self.mspd < _MSPD).mean()),
        )


@dataclass(frozen=True)
class Figure:
    """A mean in 0..1 and its bootstrap interval."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Scores:
    """Of one object, of all targets together, or the mean over objects.

    Attributes:
        targets: How many.
        frames: In how many frames.
        found: How many have an estimate.
        figures: By the names of `METRICS`.
        median_rotation_deg: Of those found; NaN where none is. The mean over objects is of their
            medians.
        median_translation_mm: Of those found; NaN where none is.
    """

    targets: int
    frames: int
    found: int
    figures: Mapping[str, Figure]
    median_rotation_deg: float
    median_translation_mm: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; what is not known is None."""
        return {
            "targets": self.targets,
            "frames": self.frames,
            "found": self.found,
            **{
                name: {"value": figure.value, "interval": list(figure.interval)}
                for name, figure in self.figures.items()
            },
            "median_rotation_deg": _known(self.median_rotation_deg),
            "median_translation_mm": _known(self.median_translation_mm),
        }


def judge(
    frame: tuple[int, int],
    obj_id: int,
    truths: Sequence[Truth],
    estimates: Iterable[Estimate],
    model: EvalModel,
    K: ArrayLike,
    width: int,
) -> list[Target]:
    """Compare the estimates of one object in one frame with the truth.

    As many estimates as there are instances count, those of the highest score. Of several
    instances, the pair of estimate and instance with the least MSSD belongs together, then the next
    least of the others. With one instance per object and frame this is what bop_toolkit does; with
    more, it pairs anew for every threshold.

    Args:
        frame: (scene, picture).
        obj_id: Number of the object.
        truths: The instances.
        estimates: Any number.
        model: The object.
        K: (3, 3).
        width: Columns of the picture.

    Returns:
        One entry per instance, in their order.
    """
    best = sorted(estimates, key=lambda estimate: -estimate.score)[: len(truths)]
    syms, points = model.symmetries, model.points
    apart = np.array(
        [[mssd(e.R, e.t, g.R, g.t, points, syms) for g in truths] for e in best]
    ).reshape(len(best), len(truths))
    missed = Target(frame, obj_id, model.info.diameter, model.info.symmetric)
    found = [missed] * len(truths)
    for _ in best:
        i, j = map(int, np.unravel_index(int(apart.argmin()), apart.shape))
        pair = (best[i].R, best[i].t, truths[j].R, truths[j].t)
        angle, shift = rotation_translation(*pair, syms)
        found[j] = Target(
            frame=frame,
            obj_id=obj_id,
            diameter=model.info.diameter,
            symmetric=model.info.symmetric,
            add=add(*pair, points),
            adi=adi(*pair, points, model.index),
            mssd=float(apart[i, j]),
            mspd=mspd(*pair, points, syms, K=K) * _MSPD_WIDTH / width,
            rotation_deg=angle,
            translation_mm=shift,
        )
        apart[i], apart[:, j] = np.inf, np.inf
    return found


def score(targets: Sequence[Target]) -> tuple[dict[int, Scores], Scores, Scores]:
    """Return the scores of each object, of all targets together, and their mean over objects.

    Args:
        targets: At least one.
    """
    numbers = sorted({target.obj_id for target in targets})
    frames = sorted({target.frame for target in targets})
    row = {frame: i for i, frame in enumerate(frames)}
    column = {obj_id: j for j, obj_id in enumerate(numbers)}
    # Per frame and object: the sums of the credits, and how many targets there are.
    table = np.zeros((len(frames), len(numbers), len(METRICS) + 1))
    for target in targets:
        table[row[target.frame], column[target.obj_id]] += (*target.credits, 1.0)
    groups = [[target for target in targets if target.obj_id == obj_id] for obj_id in numbers]
    objects = {}
    for j, obj_id in enumerate(numbers):
        own = table[:, [j]]
        objects[obj_id] = _scores([groups[j]], own[own[:, 0, -1] > 0])
    pooled = _scores([targets], table.sum(axis=1, keepdims=True))
    return objects, pooled, _scores(groups, table)


def _scores(groups: Sequence[Sequence[Target]], table: Array) -> Scores:
    """Score a table (frames, groups, metrics + 1): every figure is the mean of the groups."""
    found = [[target for target in group if target.found] for group in groups]
    angles = [np.median([target.rotation_deg for target in group]) for group in found if group]
    shifts = [np.median([target.translation_mm for target in group]) for group in found if group]
    return Scores(
        targets=sum(map(len, groups)),
        frames=len(table),
        found=sum(map(len, found)),
        figures={name: _figure(table[..., [i, -1]]) for i, name in enumerate(METRICS)},
        median_rotation_deg=float(np.mean(angles)) if angles else np.nan,
        median_translation_mm=float(np.mean(shifts)) if shifts else np.nan,
    )


def _figure(sums: Array) -> Figure:
    low, high = bootstrap_interval(_mean_of_groups, sums, repeats=_REPEATS)
    return Figure(_mean_of_groups(sums), (low, high))


def _mean_of_groups(sums: Array) -> float:
    """Mean over groups of credits per target; sums (frames, groups, 2)."""
    credit, count = sums.sum(axis=0).T
    # An object can be in none of the frames that were drawn.
    return float((credit[count > 0] / count[count > 0]).mean())


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
