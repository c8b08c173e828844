"""Training images of a data set with a board: each frame as one kind of counterfactual, by shares.

What a network must not learn has to vary in its training. A frame may be used several times, each
time drawn anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgesafe.calib.bop import BopDataset
from edgesafe.calib.bop.scene import CAMERA, GT, GT_INFO
from edgesafe.calib.markers.copies import copy_head, write_png
from edgesafe.calib.markers.counterfactual import OF_TWO, CounterfactualMaker, Kind
from edgesafe.calib.markers.counterfactual_dataset import (
    instance_infos,
    paired_frames,
    take_shot,
    write_masks,
)
from edgesafe.calib.markers.protect import Silhouettes
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.files import atomic_folder

__all__ = ["MIX", "make_mix"]

MIX = "markers_mix.json"

_SPLIT = "train"
_PER_SCENE = 1000


def make_mix(
    data: BopDataset,
    maker: CounterfactualMaker,
    shares: Mapping[Kind, float],
    out: Path,
    *,
    repeats: int = 1,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Counter[str]:
    """Write a BOP data set with a split ``train`` and masks; return how many frames of each kind.

    Frames are numbered anew; ``markers_mix.json`` tells of each its kind and its source.

    Args:
        data: A split that shows the board.
        maker: Of its board.
        shares: Of the kinds; they need not add up to 1.
        out: Folder to make.
        repeats: How often each frame is used.
        overwrite: Replace what is there.
        progress: Called with the number of frames that are done.

    Raises:
        DataError: A picture or mesh cannot be read, the lens distorts, or too few frames show the
            board.
        UsageError: ``out`` exists, or the shares are none.
    """
    kinds = [kind for kind, share in shares.items() if share > 0]
    if not kinds or min(shares.values()) < 0:
        raise UsageError("a mix needs shares that are not negative, and one that is positive")
    chances = np.array([shares[kind] for kind in kinds]) / sum(shares[kind] for kind in kinds)
    posed, others = paired_frames(data, maker, kinds)
    by_key = {one.frame.key: one for one in posed}
    silhouettes = Silhouettes(data)
    counts: Counter[str] = Counter()
    sources: dict[str, Any] = {}
    tables: dict[Path, dict[str, dict[str, Any]]] = {}
    with atomic_folder(out, overwrite=overwrite) as folder:
        copy_head(data, folder, targets=False)
        for number, (turn, one) in enumerate((t, p) for t in range(repeats) for p in posed):
            shot = take_shot(one, silhouettes)
            rng = np.random.default_rng([maker.seed, turn, *shot.key])
            kind = kinds[int(rng.choice(len(kinds), p=chances))]
            other = None
            if kind in OF_TWO:
                other = take_shot(by_key[others[shot.key]], silhouettes)
            picture = maker.make(kind, shot, other, turn=turn)
            scene, im_id = divmod(number, _PER_SCENE)
            place = folder / _SPLIT / f"{scene:06d}"
            write_png(place / "rgb" / f"{im_id:06d}.png", picture.rgb)
            write_masks(place, im_id, shot)
            files = tables.setdefault(place, {CAMERA: {}, GT: {}, GT_INFO: {}})
            K = [float(value) for value in one.frame.K.ravel()]
            files[CAMERA][str(im_id)] = {"cam_K": K, "depth_scale": one.frame.depth_scale}
            files[GT][str(im_id)] = [
                {
                    "obj_id": instance.obj_id,
                    "cam_R_m2c": [float(value) for value in instance.R.ravel()],
                    "cam_t_m2c": [float(value) for value in instance.t.ravel()],
                }
                for instance in one.frame.instances
            ]
            files[GT_INFO][str(im_id)] = instance_infos(one.frame, shot)
            counts[kind] += 1
            sources[f"{scene}/{im_id}"] = {"kind": kind, "source": list(shot.key)}
            progress(number + 1)
        for place, files in tables.items():
            for name, table in files.items():
                (place / name).write_text(json.dumps(table) + "\n", encoding="ascii")
        report = {
            "format": "edgesafe.markers-mix/1",
            "shares": dict(shares),
            "seed": maker.seed,
            "frames": sources,
        }
        (folder / MIX).write_text(json.dumps(report) + "\n", encoding="ascii")
    return counts
