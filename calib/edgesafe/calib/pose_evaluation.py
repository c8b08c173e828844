"""Run a pose package over a data set, and compare poses with the truth.

The two halves meet in BOP's results: what is scored is what stands in the file that is written, so
that somebody else's program gets the same figures from it.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from edgesafe.calib.bop import BopDataset, Frame, Instance
from edgesafe.calib.bop.results import Estimate, Estimates
from edgesafe.calib.pose_scores import EvalModel, Target, Truth, judge
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import read_ply
from edgesafe.runtime.pose.bop_csv import result_lines
from edgesafe.runtime.pose.result import Pose, PoseTimings

if TYPE_CHECKING:
    from edgesafe.runtime.pose.estimator import PoseEstimator

__all__ = ["TRUTH_SD", "PoseRun", "compare", "eval_models", "estimate_poses", "targets_of"]

Region = Literal["truth", "detector"]

STAGES = tuple(stage.name for stage in fields(PoseTimings))

TRUTH_SD = 0.01
"""Standard deviation of the edges of an annotated ``bbox_visib``, a share of its longer side."""


@dataclass(frozen=True)
class PoseRun:
    """What an estimator said about the frames of a data set.

    Attributes:
        estimates: The poses, by (scene, picture, object).
        lines: The same as lines of a result file of BOP, without its header.
        refused: Of each object, how many poses were refused for which reason.
        ms: Milliseconds per frame: the mean of each stage over all frames.
        refined: How many of the poses were fitted to outlines.
    """

    estimates: Estimates = field(repr=False)
    lines: tuple[str, ...] = field(repr=False)
    refused: Mapping[int, Counter[str]]
    ms: Mapping[str, float]
    refined: int = 0


def targets_of(frame: Frame, objects: Collection[int], min_visib: float) -> list[Instance]:
    """Return the instances that are to be found: of these objects, and visible enough.

    Where the data set does not tell how visible they are, all are.
    """
    return [
        instance
        for instance in frame.instances
        if instance.obj_id in objects
        and (instance.visib_fract is None or instance.visib_fract >= min_visib)
    ]


def eval_models(dataset: BopDataset, objects: Collection[int]) -> dict[int, EvalModel]:
    """Read the meshes of objects, from ``models_eval`` where there is one.

    Raises:
        DataError: A mesh or its entry in ``models_info.json`` is missing or damaged.
    """
    paths, infos = dataset.models("eval"), dataset.models_info
    missing = sorted(set(objects) - (set(paths) & set(infos)))
    if missing:
        raise DataError(
            f"{dataset.path} lacks a mesh or an entry in models_info.json for the objects "
            f"{', '.join(map(str, missing))}: fetch the models, or leave the objects out"
        )
    return {
        obj_id: EvalModel(read_ply(paths[obj_id], texture=False).vertices, infos[obj_id])
        for obj_id in sorted(objects)
    }


def estimate_poses(
    estimator: PoseEstimator,
    dataset: BopDataset,
    objects: Collection[int],
    *,
    roi: Region = "truth",
    min_visib: float = 0.1,
    refine: bool = True,
    progress: Callable[[int], None] = lambda done: None,
) -> PoseRun:
    """Estimate the poses of all targets of a data set.

    Args:
        estimator: Knows the objects.
        dataset: The frames.
        objects: Which objects.
        roi: ``truth`` looks where ``bbox_visib`` says, and takes it for as tight as it
            is; ``detector`` lets the package find the
            objects that the frame is known to hold, as in the localisation task of BOP.
        min_visib: Least visible share of a target.
        refine: Whether poses are fitted to outlines, where the package has outlines.
        progress: Called with the number of frames that are done.

    Raises:
        DataError: A picture cannot be read, or its K is of no camera; or ``truth`` is asked for
            and a target has no ``bbox_visib``.
    """
    estimates: dict[tuple[int, int, int], list[Estimate]] = defaultdict(list)
    lines: list[str] = []
    refused: dict[int, Counter[str]] = {obj_id: Counter() for obj_id in sorted(objects)}
    ms = dict.fromkeys(STAGES, 0.0)
    refined = 0
    for done, frame in enumerate(dataset.frames, 1):
        wanted = targets_of(frame, objects, min_visib)
        if wanted:
            started = time.perf_counter()
            poses = _estimate(estimator, dataset, frame, wanted, roi, refine)
            seconds = time.perf_counter() - started
            lines += result_lines(*frame.key, poses, seconds)
            for pose in poses:
                refined += pose.refined
                if pose.R is not None and pose.t_mm is not None:
                    found = Estimate(pose.confidence, pose.R, pose.t_mm)
                    estimates[(*frame.key, pose.object_id)].append(found)
                else:
                    refused[pose.object_id][str(pose.reason)] += 1
                for stage in STAGES:
                    ms[stage] += getattr(pose.ms, stage)
            ms["decode"] += 1e3 * seconds - sum(pose.ms.total for pose in poses)
        progress(done)
    frames = len(dataset.frames)
    per_frame = {stage: total / frames for stage, total in ms.items()}
    return PoseRun(estimates, tuple(lines), refused, per_frame, refined)


def compare(
    dataset: BopDataset,
    models: Mapping[int, EvalModel],
    estimates: Estimates,
    *,
    min_visib: float = 0.1,
) -> list[Target]:
    """Compare estimates with the truth of a data set.

    Args:
        dataset: The frames.
        models: The objects that count.
        estimates: By (scene, picture, object); what is no target is passed over.
        min_visib: Least visible share of a target.

    Raises:
        DataError: There is no target, or a picture cannot be read.
    """
    found: list[Target] = []
    for frame in dataset.frames:
        groups: dict[int, list[Truth]] = defaultdict(list)
        for instance in targets_of(frame, models, min_visib):
            groups[instance.obj_id].append(Truth(instance.R, instance.t))
        width = frame.picture_size()[0] if groups else 0
        for obj_id, truths in sorted(groups.items()):
            some: Sequence[Estimate] = estimates.get((*frame.key, obj_id), ())
            found += judge(frame.key, obj_id, truths, some, models[obj_id], frame.K, width)
    if not found:
        raise DataError(
            f"{dataset.path / dataset.split} shows none of the objects "
            f"{', '.join(map(str, sorted(models)))} with a visible share of {min_visib:g} or more"
        )
    return found


def _estimate(
    estimator: PoseEstimator,
    dataset: BopDataset,
    frame: Frame,
    wanted: Sequence[Instance],
    roi: Region,
    refine: bool,
) -> list[Pose]:
    rgb: npt.NDArray[np.uint8] = frame.read_rgb()
    camera = dataset.camera_of(frame, rgb.shape[1], rgb.shape[0])
    if roi == "detector":
        ids = sorted({one.obj_id for one in wanted})
        return estimator.estimate(rgb, camera, objects=ids, refine=refine)
    boxes = [(one.obj_id, _visible_box(frame, one)) for one in wanted]
    return estimator.estimate(rgb, camera, boxes, roi_sd=TRUTH_SD, refine=refine)


def _visible_box(frame: Frame, instance: Instance) -> tuple[float, float, float, float]:
    if instance.bbox_visib is None:
        raise DataError(
            f"{frame.rgb_path}: object {instance.obj_id} has no bbox_visib in scene_gt_info.json, "
            "which is where --roi truth looks: write that file (edgesafe render does; bop_toolkit "
            "has calc_gt_info.py), or use --roi detector"
        )
    return instance.bbox_visib
