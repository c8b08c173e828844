"""From BOP data sets to what pose training reads: frames with instances, and the objects."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgesafe.calib.bop import BopDataset, Frame, read_split
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import read_ply
from edgesafe.train.pose.config import PoseConfig
from edgesafe.train.pose.objects import KnownObject, surface_points

__all__ = ["PoseData", "PoseFrame", "PoseInstance", "read_mask", "read_objects", "read_pose_data"]

Array = npt.NDArray[np.float64]

_MIN_SIDE = 4
"""Boxes with a shorter side, in pixels, are not learnt."""


@dataclass(frozen=True, eq=False)
class PoseInstance:
    """An object in a frame.

    Attributes:
        object_id: Which object.
        R: (3, 3), object to camera.
        t: (3,) mm, object to camera.
        box: x, y, w, h of its visible part, frame pixels.
        visible: Visible share, 0..1.
        mask: File of its visible part.
    """

    object_id: int
    R: Array
    t: Array
    box: tuple[float, float, float, float]
    visible: float
    mask: Path


@dataclass(frozen=True, eq=False)
class PoseFrame:
    """A picture with instances: those to learn first, then what else stands in it.

    Attributes:
        name: Data set, scene and number, for messages and for the split.
        rgb: The file.
        K: (3, 3).
        instances: Those to learn.
        others: Masks of further annotated objects; a new background must not cut them away.
    """

    name: str
    rgb: Path
    K: Array
    instances: tuple[PoseInstance, ...]
    others: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class PoseData:
    """Training or validation data.

    Attributes:
        frames: With at least one instance each.
        objects: In the order of their ids.
        surfaces: Points of each object's surface, for the losses and metrics.
        fingerprint: SHA-256 of annotations and of names and sizes of files.
    """

    frames: tuple[PoseFrame, ...]
    objects: tuple[KnownObject, ...]
    surfaces: dict[int, Array] = field(repr=False)
    fingerprint: str = ""

    @property
    def instances(self) -> int:
        """How many there are to learn."""
        return sum(len(frame.instances) for frame in self.frames)

    def describe(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {
            "fingerprint": self.fingerprint,
            "frames": len(self.frames),
            "instances": self.instances,
            "depth_mm": [
                float(f(i.t[2] for frame in self.frames for i in frame.instances))
                for f in (min, max)
            ],
        }

    def split(self, share: float) -> tuple[PoseData, PoseData]:
        """Holds out every n-th frame, so that the share is about ``share``."""
        step = max(2, round(1 / share)) if share > 0 else 0
        held = [f for i, f in enumerate(self.frames) if step and i % step == step - 1]
        kept = [f for i, f in enumerate(self.frames) if not (step and i % step == step - 1)]
        return tuple(  # type: ignore[return-value]
            PoseData(tuple(part), self.objects, self.surfaces, f"{self.fingerprint}/{name}")
            for name, part in (("train", kept), ("held-out", held))
        )


def read_pose_data(
    folders: Sequence[Path], config: PoseConfig, split: Path | None = None
) -> PoseData:
    """Reads BOP data sets as one.

    Args:
        folders: The data sets; each may name a split as its last part (``lm/train_pbr``).
        config: Which objects, and from which visible share on.
        split: A list of the frames to take, e.g. the usual 15 % of LINEMOD; None for all.

    Raises:
        DataError: A data set is broken, has no masks, or lacks a wanted object.
    """
    opened = [(folder, _open(folder)) for folder in folders]
    if split is not None:
        opened = [(folder, data.subset(read_split(split))) for folder, data in opened]
    objects, surfaces = read_objects([data for _, data in opened], config)
    wanted = {known.id for known in objects}
    frames: list[PoseFrame] = []
    digest = hashlib.sha256()
    for folder, data in opened:
        for frame in data.frames:
            made = _frame(folder, frame, wanted, config.data.min_visible)
            if made is not None:
                frames.append(made)
                _digest(digest, made)
    if not frames:
        names = ", ".join(map(str, folders))
        raise DataError(
            f"{names}: no frame shows one of the objects {sorted(wanted)} with at least "
            f"{config.data.min_visible:.0%} visible."
        )
    return PoseData(tuple(frames), objects, surfaces, digest.hexdigest())


def read_objects(
    datasets: Sequence[BopDataset], config: PoseConfig
) -> tuple[tuple[KnownObject, ...], dict[int, Array]]:
    """Describes the objects of data sets.

    Returns:
        The objects in the order of their ids, and points of their surfaces.

    Raises:
        DataError: An object is unknown, or is not the same in two data sets.
    """
    known: dict[int, KnownObject] = {}
    surfaces: dict[int, Array] = {}
    for data in datasets:
        present = {i.obj_id for frame in data.frames for i in frame.instances}
        for number in sorted(set(config.objects or present) & set(data.models_info)):
            info = data.models_info[number]
            if number in known:
                if abs(known[number].diameter - info.diameter) > 1e-3 * info.diameter:
                    raise DataError(
                        f"object {number} has a diameter of {known[number].diameter:g} mm in one "
                        f"data set and of {info.diameter:g} mm in {data.path}."
                    )
                continue
            mesh = read_ply(data.models("eval")[number])
            surfaces[number] = surface_points(mesh.vertices, mesh.faces)
            name = config.names.get(str(number), f"obj_{number:06d}")
            known[number] = KnownObject.of(
                number, name, info, surfaces[number], config.roi.keypoints
            )
    missing = sorted(set(config.objects) - set(known))
    if missing or not known:
        paths = ", ".join(str(data.path) for data in datasets)
        raise DataError(
            f"{paths}: the models know no object {missing or 'at all'}; name others in `objects` "
            "of the configuration, or complete models_info.json."
        )
    return tuple(known[number] for number in sorted(known)), surfaces


def read_mask(path: Path, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Reads a mask as truth values (H, W).

    Raises:
        DataError: It is missing, broken or of another size than its picture.
    """
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DataError(f"{path} is missing or is no picture; render or download the masks.")
    if mask.shape != shape:
        raise DataError(f"{path} has {mask.shape[::-1]} pixels, its picture {shape[::-1]}.")
    return np.asarray(mask > 0)


def _open(folder: Path) -> BopDataset:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; name the folder of a BOP data set.")
    data = BopDataset.open(folder)
    if data.camera is not None and any(data.camera.dist):
        raise DataError(
            f"{folder}: camera.json has lens distortion. Training takes pictures without: "
            "undistort them, and set dist to zeros."
        )
    return data


def _frame(folder: Path, frame: Frame, wanted: set[int], min_visible: float) -> PoseFrame | None:
    name = f"{folder.name}/{frame.scene_id:06d}/{frame.im_id:06d}"
    instances, others = [], []
    for index, instance in enumerate(frame.instances):
        visible = 1.0 if instance.visib_fract is None else float(instance.visib_fract)
        if visible <= 0:
            continue
        mask = instance.mask_visib_path
        if mask is None:
            raise DataError(
                f"{name}: instance {index} (object {instance.obj_id}) has no mask in mask_visib; "
                "training needs one for each instance."
            )
        box = None
        if instance.obj_id in wanted and visible >= min_visible:
            box = instance.bbox_visib or _box_of(mask)
        if box is not None and min(box[2:]) >= _MIN_SIDE:
            instances.append(
                PoseInstance(instance.obj_id, instance.R, instance.t, box, visible, mask)
            )
        else:
            others.append(mask)
    if not instances:
        return None
    return PoseFrame(name, frame.rgb_path, frame.K, tuple(instances), tuple(others))


def _box_of(mask: Path) -> tuple[float, float, float, float]:
    """The box of a mask, where the data set does not tell it."""
    picture = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise DataError(f"{mask} is missing or is no picture; render or download the masks.")
    x, y, w, h = cv2.boundingRect((picture > 0).astype(np.uint8))
    return float(x), float(y), float(w), float(h)


def _digest(digest: Any, frame: PoseFrame) -> None:
    try:
        size = frame.rgb.stat().st_size
    except OSError as error:
        raise DataError(f"{frame.rgb} cannot be read ({error.strerror or error}).") from error
    digest.update(f"{frame.name}\0{size}\0{len(frame.others)}".encode())
    digest.update(frame.K.astype("<f8").tobytes())
    for instance in frame.instances:
        numbers = [instance.object_id, *instance.box, instance.visible]
        for values in (numbers, instance.R, instance.t):
            digest.update(np.asarray(values, dtype="<f8").tobytes())
