"""Saliency maps from files: how much of them lies on markers and on the object.

A folder holds ``KIND/SCENE_IMAGE_OBJECT.npz`` (six digits each) with ``box``, the x, y, w, h of the
part of the frame that the maps cover, and any number of 2-D arrays, each a map by the name of its
method. `edgesafe.train.pose.saliency` writes such files.

With S a map, made not negative, and M the share of each of its cells that is on markers:

    mass = sum S M / sum S,      lift = mass / mean M       (1 is chance).

Diagnostic only: networks that fail without a board have had as little saliency on markers as ones
that do not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop import BopDataset, Frame
from edgesafe.calib.bop.frame import read_picture
from edgesafe.calib.markers.audit_figures import Interval, median_of
from edgesafe.calib.markers.counterfactual_dataset import Sets
from edgesafe.calib.markers.protect import Silhouettes
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.video import import_cv2

__all__ = ["MapSet", "SaliencyMap", "SaliencyScores", "read_maps", "score_maps"]

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

_NAME = re.compile(r"(\d{6})_(\d{6})_(\d{6})\.npz")
# Too little of a thing in the map tells nothing about its share.
_LEAST_AREA = 0.005


@dataclass(frozen=True, eq=False)
class SaliencyMap:
    """Maps of one object in one picture.

    Attributes:
        key: (scene, picture).
        obj_id: Number of the object.
        box: (x, y, w, h) that they cover, pixels of the frame.
        maps: By method, (h, w), not negative.
    """

    key: tuple[int, int]
    obj_id: int
    box: tuple[float, float, float, float]
    maps: Mapping[str, Float] = field(repr=False)


@dataclass(frozen=True)
class SaliencyScores:
    """Medians over objects and frames, of one method on one set.

    Attributes:
        marker_mass: Share of the map on markers.
        marker_lift: The same over the markers' share of the area.
        object_mass: Share of the map on the object.
        object_lift: The same over the object's share of the area.
    """

    marker_mass: Interval
    marker_lift: Interval
    object_mass: Interval
    object_lift: Interval

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "marker_mass": self.marker_mass.to_json(),
            "marker_lift": self.marker_lift.to_json(),
            "object_mass": self.object_mass.to_json(),
            "object_lift": self.object_lift.to_json(),
        }


@dataclass(frozen=True, eq=False)
class MapSet:
    """Maps of one set, and their scores by method."""

    maps: Sequence[SaliencyMap] = field(repr=False)
    scores: Mapping[str, SaliencyScores]


def read_maps(folder: Path) -> dict[str, list[SaliencyMap]]:
    """Read the maps of a folder, by set.

    Raises:
        DataError: There are none, or a file is damaged.
    """
    found: dict[str, list[SaliencyMap]] = defaultdict(list)
    for path in sorted(folder.glob("*/*.npz")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise DataError(f"{path}: the name must be SCENE_IMAGE_OBJECT.npz, six digits each")
        scene, im_id, obj_id = map(int, match.groups())
        found[path.parent.name].append(_read(path, (scene, im_id), obj_id))
    if not found:
        raise DataError(
            f"{folder} holds no maps KIND/SCENE_IMAGE_OBJECT.npz: write them with "
            "python -m edgesafe.train.pose.saliency"
        )
    return dict(found)


def score_maps(sets: Sets, maps: Mapping[str, Sequence[SaliencyMap]]) -> dict[str, MapSet]:
    """Compare maps with the markers and objects in their pictures.

    Raises:
        DataError: A map is of a picture or object that is not in the sets.
    """
    found = {}
    for kind, some in maps.items():
        if kind not in sets.made:
            raise DataError(f"there are maps of a set {kind}, and {sets.path} has no such set")
        found[kind] = MapSet(some, _scores(sets, kind, some))
    return found


def _scores(sets: Sets, kind: str, maps: Sequence[SaliencyMap]) -> dict[str, SaliencyScores]:
    rows: dict[str, dict[str, dict[tuple[int, int], list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for one, markers, thing in _with_masks(sets, kind, maps):
        for method, values in one.maps.items():
            total = float(values.sum())
            for name, mask in (("marker", markers), ("object", thing)):
                cells = _in_box(mask, one.box, (values.shape[0], values.shape[1]))
                area = float(cells.mean())
                if total > 0 and area >= _LEAST_AREA:
                    mass = float((values * cells).sum()) / total
                    rows[method][f"{name}_mass"][one.key].append(mass)
                    rows[method][f"{name}_lift"][one.key].append(mass / area)
    names = ("marker_mass", "marker_lift", "object_mass", "object_lift")
    return {
        method: SaliencyScores(*(median_of(columns[name]) for name in names))
        for method, columns in rows.items()
    }


def _with_masks(
    sets: Sets, kind: str, maps: Sequence[SaliencyMap]
) -> Iterator[tuple[SaliencyMap, Mask, Mask]]:
    data: BopDataset = sets.open(kind)
    frames: dict[tuple[int, int], Frame] = {frame.key: frame for frame in data.frames}
    silhouettes = Silhouettes(data)
    for one in maps:
        frame = frames.get(one.key)
        if frame is None or one.obj_id not in [each.obj_id for each in frame.instances]:
            raise DataError(f"there is a map of {kind} {one.key}, object {one.obj_id}: no such one")
        width, height = frame.picture_size()
        path = sets.marker_mask(kind, one.key)
        markers = np.zeros((height, width), bool)
        if path is not None:
            markers = read_picture(path)[..., 0] > 0
        pixels = silhouettes.of(frame, width, height)
        thing = np.zeros((height, width), bool)
        for each, visible in zip(frame.instances, pixels.visible, strict=True):
            if each.obj_id == one.obj_id:
                thing |= visible
        yield one, markers, thing


def _in_box(mask: Mask, box: tuple[float, float, float, float], shape: tuple[int, int]) -> Float:
    """Return which share of each cell of a map is on a mask, (h, w)."""
    cv2 = import_cv2()
    rows, columns = shape
    x, y, w, h = box
    # So many samples a cell that none of the frame's pixels is passed over.
    finer = max(1, int(np.ceil(max(w / columns, h / rows))))
    scale = np.array([[w / columns / finer, 0, x], [0, h / rows / finer, y]])
    # From the middles of the samples to the middles of pixels, which are whole numbers.
    scale[:, 2] += (scale[0, 0] - 1) / 2, (scale[1, 1] - 1) / 2
    fine = cv2.warpAffine(
        mask.astype(np.float32),
        scale,
        (columns * finer, rows * finer),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    return cast(Float, cv2.resize(fine, (columns, rows), interpolation=cv2.INTER_AREA))


def _read(path: Path, key: tuple[int, int], obj_id: int) -> SaliencyMap:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float32) for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}): write the maps again") from None
    box = arrays.pop("box", np.zeros(0)).ravel()
    good = len(box) == 4 and np.isfinite(box).all() and min(box[2:], default=0) > 0
    if not good or not arrays or any(v.ndim != 2 or not v.size for v in arrays.values()):
        raise DataError(f"{path} must hold box (x, y, w, h) and maps (h, w)")
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise DataError(f"{path} has values that are not finite: write the maps again")
    x, y, w, h = box.tolist()
    maps = {name: np.asarray(np.abs(values), np.float32) for name, values in arrays.items()}
    return SaliencyMap(key, obj_id, (x, y, w, h), maps)
