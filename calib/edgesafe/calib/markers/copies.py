"""Parts of a BOP data set that a changed copy keeps: models, cameras, annotations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop import BopDataset
from edgesafe.calib.bop.jsonfile import read_json
from edgesafe.calib.bop.scene import CAMERA, GT, GT_INFO, IMAGE_FOLDERS
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.video import import_cv2

__all__ = ["check_lens", "copy_head", "copy_scenes", "copy_tables", "write_png"]

# Fast; the files are a tenth larger than the smallest.
_COMPRESSION = 3


def copy_head(data: BopDataset, out: Path, *, targets: bool = True) -> None:
    """Copy the files beside the splits, and the models.

    Args:
        data: The data set.
        out: Folder of the copy.
        targets: Also the lists of targets, which name frames.
    """
    for entry in sorted(data.path.iterdir()):
        if entry.is_dir() and entry.name.startswith("models"):
            shutil.copytree(entry, out / entry.name)
        elif entry.is_file() and (targets or not entry.name.startswith("test_targets")):
            shutil.copy2(entry, out / entry.name)


def copy_tables(data: BopDataset, out: Path) -> None:
    """Copy scene_camera, scene_gt and scene_gt_info of the frames of a split.

    Args:
        data: The data set; only its frames are kept.
        out: Folder of the copy's split.
    """
    keys = data.keys
    for scene in data.scenes:
        kept = {im_id for number, im_id in keys if number == scene.number}
        for name in (CAMERA, GT, GT_INFO):
            source = scene.folder / name
            if source.is_file() and kept:
                _copy_table(source, out / scene.folder.name / name, kept)


def copy_scenes(data: BopDataset, out: Path) -> None:
    """Copy all of a split's scenes but their pictures; see `copy_tables`."""
    copy_tables(data, out)
    scenes = {scene for scene, _ in data.keys}
    for scene in data.scenes:
        if scene.number not in scenes:
            continue
        for entry in sorted(scene.folder.iterdir()):
            target = out / scene.folder.name / entry.name
            if entry.is_dir() and entry.name not in IMAGE_FOLDERS:
                shutil.copytree(entry, target)
            elif entry.is_file() and not target.exists():
                shutil.copy2(entry, target)


def check_lens(data: BopDataset) -> None:
    """Refuse a camera with distortion: a homography draws no curved lines.

    Raises:
        DataError: The camera has distortion.
    """
    if data.camera is not None and data.camera.distorted:
        raise DataError(
            f"{data.path / 'camera.json'} has lens distortion, under which a board is not drawn "
            "right: undistort the pictures first (and take dist out of that file)"
        )


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture, (H, W, 3) RGB or (H, W), lossless.

    Raises:
        OSError: The disk is full or the folder not writable.
    """
    cv2 = import_cv2()
    shown = picture[..., ::-1] if picture.ndim == 3 else picture
    _, data = cv2.imencode(".png", shown, [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


def _copy_table(source: Path, target: Path, kept: Collection[int]) -> None:
    table = {name: value for name, value in read_json(source).items() if int(name) in kept}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(table, indent=1) + "\n", encoding="ascii")
