"""The poses of the sample frames: estimated, and compared with the true ones.

Each frame is looked at twice: where the package's detector says, as a user would, and in the true
boxes, which tells the errors of the detector from those of the pose.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from edgesafe.calib.bop import BopDataset, Frame, Instance
from edgesafe.calib.pose_errors import add, rotation_translation
from edgesafe.calib.pose_evaluation import TRUTH_SD
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.intake import elapsed
from edgesafe.runtime.manifest_pose import PoseObject
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.result import Pose, PoseTimings

if TYPE_CHECKING:
    from edgesafe.runtime.pose.estimator import PoseEstimator

__all__ = [
    "DETECTOR",
    "TRUTH",
    "FramePoses",
    "PoseRow",
    "Refusal",
    "estimate_frames",
    "hits",
    "refuse_on_purpose",
]

Way = Literal["detector", "truth"]
DETECTOR: Way = "detector"
TRUTH: Way = "truth"

_HIT = 0.1  # of the diameter, the usual limit of ADD
_MIN_VISIBLE = 0.1  # as the targets of BOP


@dataclass(frozen=True, eq=False)
class PoseRow:
    """One object in a frame, looked at in one way.

    Attributes:
        name: Of the object.
        way: Who said where to look.
        pose: What came of it; None where the detector did not find the object.
        truth: The true pose; None where the object is not in the frame.
        rotation_deg: Angle to the truth, or to the nearest of the poses that look the same.
        translation_mm: Distance to the truth, or to the same pose.
        add_share: ADD over the diameter. The points are the keypoints and hull points of the
            package; of a symmetric object, the least over the poses that look the same.
    """

    name: str
    way: Way
    pose: Pose | None
    truth: Instance | None
    rotation_deg: float | None = None
    translation_mm: float | None = None
    add_share: float | None = None

    @property
    def hit(self) -> bool:
        """Whether the pose is right by the usual measure: ADD below a tenth of the diameter."""
        return self.add_share is not None and self.add_share < _HIT


@dataclass(frozen=True, eq=False)
class FramePoses:
    """A sample frame with everything that is known about it.

    Attributes:
        name: Of its file.
        rgb: (H, W, 3).
        camera: K and lens.
        rows: The objects, first as the detector sees them, then in the true boxes.
        ms: Milliseconds by stage, of all objects of the frame, the way of the first rows.
    """

    name: str
    rgb: npt.NDArray[np.uint8] = field(repr=False)
    camera: Camera
    rows: tuple[PoseRow, ...]
    ms: dict[str, float]

    def by(self, way: Way) -> tuple[PoseRow, ...]:
        """The rows of one way."""
        return tuple(row for row in self.rows if row.way == way)


@dataclass(frozen=True)
class Refusal:
    """Something that no pose can come of, and what was answered."""

    title: str
    reason: str
    detail: str


def estimate_frames(estimator: PoseEstimator, folder: Path) -> Iterator[FramePoses]:
    """Estimate the poses in each frame of a BOP data set of one split.

    Objects that the package does not know do not count.

    Raises:
        DataError: It is no such data set, has no boxes, or shows no object of the package.
    """
    data = BopDataset.open(folder)
    known = estimator.objects
    if not set(data.objects) & set(known):
        raise DataError(f"{folder} shows none of the objects of {estimator.manifest.identity}")
    symmetries = {n: info.symmetry_transforms() for n, info in data.models_info.items()}
    ways: tuple[Way, ...] = (DETECTOR, TRUTH) if estimator.has_detector else (TRUTH,)
    for frame in data.frames:
        started = time.perf_counter()
        rgb = frame.read_rgb()
        decode = elapsed(started)
        camera = data.camera_of(frame, rgb.shape[1], rgb.shape[0])
        truths = [
            one
            for one in frame.instances
            if one.obj_id in known and (one.visib_fract is None or one.visib_fract >= _MIN_VISIBLE)
        ]
        rows: list[PoseRow] = []
        ms: dict[str, float] = {}
        for way in ways:
            boxes = None if way == DETECTOR else _boxes(frame, truths)
            sd = None if boxes is None else TRUTH_SD
            poses = estimator.estimate(rgb, camera, boxes, roi_sd=sd)
            rows += _rows(poses, truths, way, known, symmetries)
            ms = ms or _stages(poses, decode)
        yield FramePoses(frame.rgb_path.name, rgb, camera, tuple(rows), ms)


def hits(frames: Sequence[FramePoses], way: Way) -> tuple[int, int]:
    """Return how many poses are right, and of how many objects."""
    rows = [row for frame in frames for row in frame.by(way) if row.truth is not None]
    return sum(row.hit for row in rows), len(rows)


def refuse_on_purpose(estimator: PoseEstimator, frame: FramePoses) -> list[Refusal]:
    """Hand over what no right pose can come of, and return the answers."""
    number, entry = next(iter(estimator.objects.items()))
    height, width = frame.rgb.shape[:2]
    side = min(width, height) / 4
    grey = np.full_like(frame.rgb, 128)
    middle = (width / 2 - side / 2, height / 2 - side / 2, side, side)
    tries = (
        (f"{entry.name}, looked for on a grey wall", grey, middle),
        (f"{entry.name}, in a box beyond the border", frame.rgb, (width + 5.0, 10.0, side, side)),
        (f"{entry.name}, in a box without an area", frame.rgb, (10.0, 10.0, 0.0, side)),
    )
    found = []
    for title, rgb, box in tries:
        (pose,) = estimator.estimate(rgb, frame.camera, [(number, box)])
        found.append(Refusal(title, pose.reason or "", pose.detail or ""))
    for title, rgb in (
        ("A frame of another resolution than K", frame.rgb[::2, ::2]),
        ("A grey picture", frame.rgb[..., 0]),
    ):
        try:
            estimator.estimate(rgb, frame.camera, [(number, middle)])
        except UsageError as error:
            found.append(Refusal(title, "UsageError", str(error)))
    return found


def _boxes(
    frame: Frame, truths: Sequence[Instance]
) -> list[tuple[int, tuple[float, float, float, float]]]:
    boxes = []
    for one in truths:
        if one.bbox_visib is None:
            raise DataError(f"{frame.rgb_path}: object {one.obj_id} has no bbox_visib")
        boxes.append((one.obj_id, one.bbox_visib))
    return boxes


def _rows(
    poses: Sequence[Pose],
    truths: Sequence[Instance],
    way: Way,
    known: Mapping[int, PoseObject],
    symmetries: Mapping[int, npt.NDArray[np.float64]],
) -> Iterator[PoseRow]:
    """Give every true object its pose; what is left over is of no object in the frame."""
    left = sorted(poses, key=lambda pose: (pose.ok, pose.confidence), reverse=True)
    for truth in truths:
        entry = known[truth.obj_id]
        pose = next((one for one in left if one.object_id == truth.obj_id), None)
        if pose is not None:
            left.remove(pose)
        yield _judge(entry, way, pose, truth, symmetries[truth.obj_id])
    for pose in left:
        yield PoseRow(pose.name, way, pose, None)


def _judge(
    entry: PoseObject,
    way: Way,
    pose: Pose | None,
    truth: Instance,
    symmetries: npt.NDArray[np.float64],
) -> PoseRow:
    if pose is None or pose.R is None or pose.t_mm is None:
        return PoseRow(entry.name, way, pose, truth)
    points = np.vstack([entry.keypoints, entry.hull])
    same = [(truth.R @ s[:3, :3], truth.R @ s[:3, 3] + truth.t) for s in symmetries]
    angle, shift = rotation_translation(pose.R, pose.t_mm, truth.R, truth.t, symmetries)
    error = min(add(pose.R, pose.t_mm, R, t, points) for R, t in same)
    return PoseRow(entry.name, way, pose, truth, angle, shift, error / entry.diameter)


def _stages(poses: Sequence[Pose], decode: float) -> dict[str, float]:
    stages = [stage.name for stage in fields(PoseTimings)]
    return {name: sum(getattr(pose.ms, name) for pose in poses) for name in stages} | {
        "decode": decode
    }
