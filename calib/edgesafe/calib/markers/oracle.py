"""How well the markers alone give an object's pose: an oracle that never looks at the object.

From one frame, the reference, the transform from board to object is taken, T_bo = T_cb^-1 T_co. In
another frame it gives the object's pose from that frame's markers, T_cb T_bo, whose ADD against the
annotation is

    mean_x | T_bo(reference) x - T_bo(frame) x |,

the camera cancels. Every frame is the reference in turn; of each the median over the other frames
of its scene, and of these the median is reported: a frame whose annotation is wrong is a bad
reference. An object with symmetries counts with the nearest equivalent pose.

An object that was moved on the board between recordings has several placements, in each of which
the markers tell its pose. A placement is at least three frames whose transforms agree with one of
them; frames in none are suspicious: their annotation is off, or the object was moved for them only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.markers.poses import BoardFrame
from edgesafe.calib.pose_scores import EvalModel

__all__ = ["ALARM", "ObjectOracle", "Suspicious", "board_to_objects", "consult"]

Array = NDArray[np.float64]

ALARM = 0.05
"""Under this median ADD, as a share of the diameter, the data set is called leaky."""

# Frames agree if their transforms differ by an ADD below this share of the diameter. Annotations of
# LINEMOD agree within about 0.5 %, wrong ones are off by 4 % and more.
_AGREE = 0.03
_FEWEST = 3
_NUMBERS_AT_ONCE = 20_000_000
_MOST_NUMBERS = 2_000_000_000


@dataclass(frozen=True)
class Suspicious:
    """A frame that agrees with no placement.

    Attributes:
        frame: (scene, picture).
        add_over_diameter: ADD to the nearest placement of its scene.
    """

    frame: tuple[int, int]
    add_over_diameter: float


@dataclass(frozen=True)
class ObjectOracle:
    """What the markers tell of one object.

    Attributes:
        obj_id: Number of the object.
        frames: In which the object is annotated and the board found.
        median_add_over_diameter: Over all references; None with fewer than two frames.
        placements: Frames in each placement, most first.
        median_within: The same median, only of frames of the same placement; None without one.
        suspicious: Frames in no placement, where there is one.
        alarm: The share of the diameter under which it leaks.
    """

    obj_id: int
    frames: int
    median_add_over_diameter: float | None
    placements: tuple[int, ...]
    median_within: float | None
    suspicious: tuple[Suspicious, ...]
    alarm: float = ALARM

    @property
    def leak(self) -> bool:
        """Whether the markers give the pose away."""
        return (
            self.median_add_over_diameter is not None and self.median_add_over_diameter < self.alarm
        )

    @property
    def leak_within_placements(self) -> bool:
        """Whether they do so until the object is moved on the board."""
        return self.median_within is not None and self.median_within < self.alarm

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "obj_id": self.obj_id,
            "median_add_over_diameter": self.median_add_over_diameter,
            "leak": self.leak,
            "frames_used": self.frames,
            "placements": list(self.placements),
            "median_within_placements": self.median_within,
            "leak_within_placements": self.leak_within_placements,
            "suspicious_frames": [
                {
                    "scene_id": one.frame[0],
                    "im_id": one.frame[1],
                    "add_over_diameter": one.add_over_diameter,
                }
                for one in self.suspicious
            ],
        }


def board_to_objects(
    frames: Sequence[BoardFrame], objects: Sequence[int]
) -> dict[int, list[tuple[tuple[int, int], Array]]]:
    """Return for each object (scene, picture) and T_board_obj (4, 4) of its instances."""
    found: dict[int, list[tuple[tuple[int, int], Array]]] = {obj_id: [] for obj_id in objects}
    for one in frames:
        if one.pose is None:
            continue
        from_camera = np.linalg.inv(one.pose.matrix)
        for instance in one.frame.instances:
            if instance.obj_id in found:
                in_camera = np.eye(4)
                in_camera[:3, :3], in_camera[:3, 3] = instance.R, instance.t
                found[instance.obj_id].append((one.frame.key, from_camera @ in_camera))
    return found


def consult(
    frames: Sequence[BoardFrame],
    models: Mapping[int, EvalModel],
    *,
    alarm: float = ALARM,
) -> list[ObjectOracle]:
    """Ask the oracle about every object.

    Args:
        frames: With their boards.
        models: The objects that count.
        alarm: Share of the diameter under which an object leaks.
    """
    transforms = board_to_objects(frames, sorted(models))
    return [_of_object(i, transforms[i], models[i], alarm) for i in sorted(models)]


def _of_object(
    obj_id: int,
    transforms: Sequence[tuple[tuple[int, int], Array]],
    model: EvalModel,
    alarm: float,
) -> ObjectOracle:
    scenes: dict[int, list[int]] = defaultdict(list)
    for at, (key, _) in enumerate(transforms):
        scenes[key[0]].append(at)
    groups = list(scenes.values())
    if max(map(len, groups), default=0) < 2:
        # A data set of one frame per scene: all of them together.
        groups = [list(range(len(transforms)))]
    medians: list[float] = []
    within: list[float] = []
    sizes: list[int] = []
    strange: list[Suspicious] = []
    for group in groups:
        if len(group) < 2:
            continue
        apart = _distances(np.array([transforms[at][1] for at in group]), model)
        medians += _medians(apart)
        placements = _placements(apart)
        sizes += map(len, placements)
        for placement in placements:
            within += _medians(apart[np.ix_(placement, placement)])
        centres = [placement[0] for placement in placements]
        inside = {at for placement in placements for at in placement}
        strange += [
            Suspicious(transforms[group[at]][0], float(apart[at, centres].min()))
            for at in range(len(group))
            if centres and at not in inside
        ]
    return ObjectOracle(
        obj_id,
        len(transforms),
        float(np.median(medians)) if medians else None,
        tuple(sorted(sizes, reverse=True)),
        float(np.median(within)) if within else None,
        tuple(strange),
        alarm,
    )


def _distances(transforms: Array, model: EvalModel) -> Array:
    """Return ADD over the diameter between all pairs, (n, n), to the nearest symmetry."""
    n = len(transforms)
    symmetries = _few(model.symmetries)
    # All vertices where that is quick, else evenly many of them.
    most = max(300, _MOST_NUMBERS // (3 * n * n * len(symmetries)))
    points = model.points[:: max(1, -(-len(model.points) // most))].astype(np.float32)
    placed = _placed(transforms, points)
    apart = np.full((n, n), np.inf)
    step = max(1, _NUMBERS_AT_ONCE // placed.size)
    for symmetry in symmetries:
        same = points @ symmetry[:3, :3].T.astype(np.float32) + symmetry[:3, 3].astype(np.float32)
        equal = _placed(transforms, same)
        for i in range(0, n, step):
            gaps = placed[i : i + step, None] - equal[None]
            mean = np.sqrt(np.einsum("abpx,abpx->abp", gaps, gaps)).mean(axis=2)
            apart[i : i + step] = np.minimum(apart[i : i + step], mean)
    return apart / model.info.diameter


def _few(symmetries: Array) -> Array:
    """Keep some of many turns about an axis: 32 are within half a per cent of the diameter."""
    return symmetries[:: max(1, len(symmetries) // 64)]


def _placed(transforms: Array, points: NDArray[np.float32]) -> NDArray[np.float32]:
    turned = np.einsum("nij,pj->npi", transforms[:, :3, :3].astype(np.float32), points)
    return np.asarray(turned + transforms[:, None, :3, 3].astype(np.float32))


def _medians(apart: Array) -> list[float]:
    """Return for each reference the median over the others."""
    others = ~np.eye(len(apart), dtype=bool)
    return [float(np.median(row[other])) for row, other in zip(apart, others, strict=True)]


def _placements(apart: Array) -> list[list[int]]:
    """Group what agrees with one of the group, the largest group first; its centre comes first."""
    left = np.ones(len(apart), bool)
    close = apart < _AGREE
    np.fill_diagonal(close, True)
    found: list[list[int]] = []
    while left.any():
        counts = (close & left[None]).sum(axis=1) * left
        centre = int(counts.argmax())
        if counts[centre] < _FEWEST:
            break
        members = np.flatnonzero(close[centre] & left)
        found.append([centre, *(at for at in members.tolist() if at != centre)])
        left[members] = False
    return found
