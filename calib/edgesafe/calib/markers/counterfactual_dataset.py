"""Counterfactual pictures of a whole data set: one BOP data set, a split for each kind.

``OUT/models*`` are the source's; ``OUT/KIND/%06d/rgb/%06d.png`` has the scenes and numbers of the
source, the same frames in every kind, so that results of two kinds can be compared frame by frame.
``mask_marker/%06d.png`` tells where markers are seen, ``counterfactuals.json`` at which pose.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop import BopDataset, Frame, LabelledObject
from edgesafe.calib.bop.jsonfile import read_json
from edgesafe.calib.bop.scene import GT_INFO
from edgesafe.calib.markers.copies import check_lens, copy_head, copy_tables, write_png
from edgesafe.calib.markers.counterfactual import OF_TWO, CounterfactualMaker, Kind, Shot
from edgesafe.calib.markers.poses import BoardFrame, look_at_all
from edgesafe.calib.markers.protect import Silhouettes
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_folder, atomic_write

__all__ = [
    "INDEX",
    "MARKER_MASKS",
    "Made",
    "Sets",
    "instance_infos",
    "make_sets",
    "paired_frames",
    "read_sets",
    "take_shot",
    "write_index",
    "write_masks",
]

Array = NDArray[np.float64]

INDEX = "counterfactuals.json"
MARKER_MASKS = "mask_marker"

_FORMAT = "edgesafe.counterfactuals/1"
_LEAST_ANGLE = 30.0


@dataclass(frozen=True, eq=False)
class Made:
    """How a picture was made.

    Attributes:
        true: (4, 4) T_cam_board of the frame.
        shown: (4, 4) T_cam_board that the markers in the picture tell; None without a board.
        other: (scene, picture) of the other frame, for kinds of two.
        painted: Pixels painted over, for kinds that paint over.
    """

    true: Array = field(repr=False)
    shown: Array | None = field(repr=False)
    other: tuple[int, int] | None
    painted: int | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "true": [float(value) for value in self.true.ravel()],
            "shown": None if self.shown is None else [float(v) for v in self.shown.ravel()],
            "other": None if self.other is None else list(self.other),
            "painted": self.painted,
        }


@dataclass(frozen=True, eq=False)
class Sets:
    """Counterfactual sets that were written.

    Attributes:
        path: Their folder.
        source: Name of the data set they were made of, and its split.
        made: For each kind, how each picture (scene, picture) was made.
    """

    path: Path
    source: str
    made: Mapping[str, Mapping[tuple[int, int], Made]] = field(repr=False)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds, in the order of their names' definition."""
        order = list(get_args(Kind))
        return tuple(sorted(self.made, key=lambda kind: (order.index(kind), kind)))

    def open(self, kind: str) -> BopDataset:
        """Open one set.

        Raises:
            DataError: It is not there or damaged.
        """
        return BopDataset.open(self.path, kind)

    def marker_mask(self, kind: str, key: tuple[int, int]) -> Path | None:
        """Return the file of a picture's markers; None without any."""
        path = self.path / kind / f"{key[0]:06d}" / MARKER_MASKS / f"{key[1]:06d}.png"
        return path if path.is_file() else None


def make_sets(
    data: BopDataset,
    maker: CounterfactualMaker,
    kinds: Sequence[Kind],
    out: Path,
    *,
    masks: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Sets:
    """Write counterfactual sets of a split's frames in which the board is found.

    Args:
        data: The split.
        maker: Of its board.
        kinds: Which kinds.
        out: Folder to make.
        masks: Also write the objects' masks, which training wants.
        overwrite: Replace what is there.
        progress: Called with the number of frames that are done.

    Raises:
        DataError: A picture or mesh cannot be read, the lens distorts, or too few frames show the
            board.
        UsageError: ``out`` exists.
    """
    posed, others = paired_frames(data, maker, kinds)
    part = data.subset([one.frame.key for one in posed])
    by_key = {one.frame.key: one for one in posed}
    silhouettes = Silhouettes(data)
    made: dict[str, dict[tuple[int, int], Made]] = {kind: {} for kind in kinds}
    with atomic_folder(out, overwrite=overwrite) as folder:
        copy_head(data, folder, targets=False)
        for kind in kinds:
            copy_tables(part, folder / kind)
        infos: dict[int, dict[str, Any]] = {}
        for number, one in enumerate(posed, 1):
            shot = take_shot(one, silhouettes)
            key = shot.key
            infos.setdefault(key[0], {})[str(key[1])] = instance_infos(one.frame, shot)
            other = None
            if key in others:
                other = take_shot(by_key.get(others[key], one), silhouettes)
            for kind in kinds:
                picture = maker.make(kind, shot, other)
                place = folder / kind / f"{key[0]:06d}"
                write_png(place / "rgb" / f"{key[1]:06d}.png", picture.rgb)
                if picture.markers is not None:
                    mask = picture.markers.astype(np.uint8) * 255
                    write_png(place / MARKER_MASKS / f"{key[1]:06d}.png", mask)
                if masks:
                    write_masks(place, key[1], shot)
                made[kind][key] = Made(
                    shot.T,
                    picture.shown,
                    others.get(key) if kind in OF_TWO else None,
                    picture.painted,
                )
            progress(number)
        for scene, table in infos.items():
            for kind in kinds:
                path = folder / kind / f"{scene:06d}" / GT_INFO
                if not path.exists():
                    path.write_text(json.dumps(table, indent=1) + "\n", encoding="ascii")
        source = f"{data.path.resolve().name}, split {data.split}"
        write_index(folder, source, maker.seed, made)
    return Sets(out, source, made)


def write_index(
    folder: Path,
    source: str,
    seed: int,
    made: Mapping[str, Mapping[tuple[int, int], Made]],
) -> None:
    """Write what `read_sets` reads, beside the splits.

    Args:
        folder: Of the sets.
        source: What they were made of.
        seed: Of their randomness.
        made: For each kind, how each picture (scene, picture) was made.
    """
    index = {
        "format": _FORMAT,
        "source": source,
        "seed": seed,
        "kinds": {
            kind: {f"{key[0]}/{key[1]}": entry.to_json() for key, entry in entries.items()}
            for kind, entries in made.items()
        },
    }
    atomic_write(folder / INDEX, (json.dumps(index) + "\n").encode())


def read_sets(path: str | os.PathLike[str]) -> Sets:
    """Open counterfactual sets.

    Raises:
        DataError: The folder holds none, or its index is damaged.
    """
    root = Path(path)
    index = read_json(root / INDEX)
    try:
        if index["format"] != _FORMAT:
            raise ValueError
        made = {
            kind: {_key(name): _made(entry) for name, entry in entries.items()}
            for kind, entries in index["kinds"].items()
        }
        if not set(made) <= set(get_args(Kind)) or not made:
            raise ValueError
        return Sets(root, str(index["source"]), made)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(
            f"{root / INDEX} is damaged or of another version: make the sets again "
            "(edgesafe markers counterfactual)"
        ) from None


def _key(name: str) -> tuple[int, int]:
    scene, im_id = name.split("/")
    return int(scene), int(im_id)


def _made(entry: Mapping[str, Any]) -> Made:
    true, shown, other = (entry[name] for name in ("true", "shown", "other"))
    return Made(
        np.array(true, np.float64).reshape(4, 4),
        None if shown is None else np.array(shown, np.float64).reshape(4, 4),
        None if other is None else (int(other[0]), int(other[1])),
        entry["painted"],
    )


def paired_frames(
    data: BopDataset, maker: CounterfactualMaker, kinds: Collection[Kind]
) -> tuple[list[BoardFrame], dict[tuple[int, int], tuple[int, int]]]:
    """Return the frames in which the board is found, and for each its other frame.

    Where a kind needs another frame, frames without one are left out of all kinds.

    Raises:
        DataError: No frame is left, a picture cannot be read, or the lens distorts.
    """
    check_lens(data)
    posed = [one for one in look_at_all(data, maker.board) if one.pose is not None]
    two = bool(OF_TWO & set(kinds))
    others = _others(posed, maker.seed) if two else {}
    if two:
        posed = [one for one in posed if one.frame.key in others]
    if not posed:
        raise DataError(
            f"{data.path / data.split}: no frame shows the board"
            + (" together with another of the same camera" if two else "")
            + ": name the board that lies under the objects (edgesafe markers detect shows what "
            "is found), or fewer kinds"
        )
    return posed, others


def take_shot(one: BoardFrame, silhouettes: Silhouettes) -> Shot:
    """Read the picture of a frame whose board was found."""
    assert one.pose is not None
    rgb = one.frame.read_rgb()
    pixels = silhouettes.of(one.frame, rgb.shape[1], rgb.shape[0])
    return Shot(one.frame.key, rgb, one.frame.K, one.pose.matrix, pixels)


def instance_infos(frame: Frame, shot: Shot) -> list[dict[str, Any]]:
    """Return the entries of a frame in ``scene_gt_info.json``."""
    return [
        LabelledObject(one.obj_id, one.R, one.t, whole, visible & whole).info()
        for one, whole, visible in zip(
            frame.instances, shot.pixels.whole, shot.pixels.visible, strict=True
        )
    ]


def write_masks(place: Path, im_id: int, shot: Shot) -> None:
    """Write ``mask`` and ``mask_visib`` of a frame's objects into a scene's folder."""
    for name, some in (("mask", shot.pixels.whole), ("mask_visib", shot.pixels.visible)):
        for at, mask in enumerate(some):
            write_png(place / name / f"{im_id:06d}_{at:06d}.png", mask.astype(np.uint8) * 255)


def _others(posed: Sequence[BoardFrame], seed: int) -> dict[tuple[int, int], tuple[int, int]]:
    """Choose for each frame another one of the same camera that sees the board turned.

    Where none is turned by 30 degrees or more, the one that is turned most.
    """
    sizes = [one.frame.picture_size() for one in posed]
    chosen: dict[tuple[int, int], tuple[int, int]] = {}
    for at, one in enumerate(posed):
        assert one.pose is not None
        angles = np.full(len(posed), -1.0)
        for i, two in enumerate(posed):
            same = sizes[i] == sizes[at] and np.allclose(two.frame.K, one.frame.K, atol=0.5)
            if i != at and same and two.pose is not None:
                cosine = (np.trace(one.pose.R.T @ two.pose.R) - 1) / 2
                angles[i] = math.degrees(math.acos(float(np.clip(cosine, -1, 1))))
        turned = np.flatnonzero(angles >= _LEAST_ANGLE)
        if len(turned):
            rng = np.random.default_rng([seed, *one.frame.key])
            chosen[one.frame.key] = posed[int(rng.choice(turned))].frame.key
        elif angles.max(initial=-1) >= 0:
            chosen[one.frame.key] = posed[int(angles.argmax())].frame.key
    return chosen
