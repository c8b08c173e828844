"""One scene of a BOP data set: its annotations as arrays, its frames made on demand.

A data set of photorealistic renders has hundreds of thousands of instances; as arrays they fit
into memory where objects would not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop.frame import Box, Frame, Instance
from edgesafe.calib.bop.jsonfile import read_json
from edgesafe.runtime.errors import DataError

__all__ = ["CAMERA", "GT", "GT_INFO", "IMAGE_FOLDERS", "PICTURE_SUFFIXES", "Scene", "read_scene"]

CAMERA = "scene_camera.json"
GT = "scene_gt.json"
GT_INFO = "scene_gt_info.json"
IMAGE_FOLDERS = ("rgb", "gray")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scene:
    """Annotations of n frames with m instances in all; the folder is ``SPLIT/%06d``.

    Attributes:
        folder: Of the scene.
        split: Its split, e.g. ``test``.
        number: Of the scene.
        images: Files by the number of the image, of those that are there.
        im_ids: (n,) rising numbers of the annotated images.
        K: (n, 3, 3).
        depth_scale: (n,) mm per unit of the depth images.
        starts: (n + 1,) instances ``starts[i]`` to ``starts[i + 1] - 1`` belong to frame i.
        obj_id: (m,).
        R: (m, 3, 3) T_cam_obj.
        t: (m, 3) T_cam_obj, mm.
        bbox_obj: (m, 4) NaN where unknown.
        bbox_visib: (m, 4) NaN where unknown or nothing is seen.
        visib_fract: (m,) NaN where unknown.
        has_masks: Whether there is a folder ``mask``.
        has_visible_masks: Whether there is a folder ``mask_visib``.
    """

    folder: Path
    split: str
    number: int
    images: Mapping[int, Path]
    im_ids: NDArray[np.int64]
    K: Array
    depth_scale: Array
    starts: NDArray[np.int64]
    obj_id: NDArray[np.int64]
    R: Array
    t: Array
    bbox_obj: Array
    bbox_visib: Array
    visib_fract: Array
    has_masks: bool
    has_visible_masks: bool

    def frame(self, index: int) -> Frame:
        """Return the frame at a place of ``im_ids``; its image must be there."""
        im_id = int(self.im_ids[index])
        start, end = self.starts[index], self.starts[index + 1]
        return Frame(
            scene_id=self.number,
            im_id=im_id,
            split=self.split,
            rgb_path=self.images[im_id],
            K=self.K[index],
            depth_scale=float(self.depth_scale[index]),
            instances=tuple(self._instance(im_id, i, i - start) for i in range(start, end)),
        )

    def _instance(self, im_id: int, row: int, gt_id: int) -> Instance:
        name = f"{im_id:06d}_{gt_id:06d}.png"
        visible = float(self.visib_fract[row])
        return Instance(
            obj_id=int(self.obj_id[row]),
            R=self.R[row],
            t=self.t[row],
            bbox_obj=_box(self.bbox_obj[row]),
            bbox_visib=_box(self.bbox_visib[row]),
            visib_fract=None if np.isnan(visible) else visible,
            mask_path=self.folder / "mask" / name if self.has_masks else None,
            mask_visib_path=self.folder / "mask_visib" / name if self.has_visible_masks else None,
        )


def read_scene(folder: Path) -> Scene:
    """Read ``SPLIT/%06d``: scene_camera, and scene_gt and scene_gt_info where they are there.

    Raises:
        DataError: A file cannot be read, an entry is missing or no number, or the files do not
            belong together.
    """
    cameras = _by_image(folder / CAMERA)
    truth = _by_image(folder / GT) if (folder / GT).exists() else {}
    infos = _by_image(folder / GT_INFO) if (folder / GT_INFO).exists() else {}
    unknown = sorted(set(truth) - set(cameras))
    if unknown:
        raise DataError(
            f"{folder / GT} has {len(unknown)} images that {CAMERA} lacks, the first is "
            f"{unknown[0]}: fetch both again"
        )
    im_ids = sorted(cameras)
    entries = [truth.get(im_id, []) for im_id in im_ids]
    for im_id, found in zip(im_ids, entries, strict=True):
        if infos and len(infos.get(im_id, [])) != len(found):
            raise DataError(
                f"{folder / GT_INFO}: image {im_id} has {len(infos.get(im_id, []))} entries but "
                f"{len(found)} in {GT}: the files do not belong together, fetch both again"
            )
    instances = [entry for found in entries for entry in found]
    facts = [entry for im_id in im_ids for entry in infos.get(im_id, [])] if infos else []
    views = [cameras[im_id] for im_id in im_ids]
    where = folder / GT
    obj_id = _numbers(instances, "obj_id", 1, where)[:, 0]
    if (obj_id != np.round(obj_id)).any() or (obj_id < 0).any():
        raise DataError(f"{where}: obj_id must be a whole number that is not negative")
    K = _numbers(views, "cam_K", 9, folder / CAMERA).reshape(-1, 3, 3)
    if not ((K[:, 0, 0] > 0) & (K[:, 1, 1] > 0)).all():
        raise DataError(f"{folder / CAMERA}: cam_K has a focal length that is not positive")
    return Scene(
        folder=folder,
        split=folder.parent.name,
        number=int(folder.name),
        images=_images(folder),
        im_ids=np.array(im_ids, np.int64),
        K=K,
        depth_scale=_numbers(views, "depth_scale", 1, folder / CAMERA, 1.0)[:, 0],
        starts=np.cumsum([0, *map(len, entries)]),
        obj_id=obj_id.astype(np.int64),
        R=_numbers(instances, "cam_R_m2c", 9, where).reshape(-1, 3, 3),
        t=_numbers(instances, "cam_t_m2c", 3, where),
        bbox_obj=_boxes(facts, "bbox_obj", len(instances), folder / GT_INFO),
        bbox_visib=_boxes(facts, "bbox_visib", len(instances), folder / GT_INFO),
        visib_fract=_visible(facts, len(instances), folder / GT_INFO),
        has_masks=(folder / "mask").is_dir(),
        has_visible_masks=(folder / "mask_visib").is_dir(),
    )


def _by_image(path: Path) -> dict[int, Any]:
    found = read_json(path)
    try:
        return {int(name): value for name, value in found.items()}
    except ValueError:
        raise DataError(f"{path}: every key must be the number of an image") from None


def _images(folder: Path) -> dict[int, Path]:
    for name in IMAGE_FOLDERS:
        if (folder / name).is_dir():
            files = sorted((folder / name).iterdir())
            return {
                int(file.stem): file
                for file in files
                if file.stem.isdecimal() and file.suffix.lower() in PICTURE_SUFFIXES
            }
    return {}


def _numbers(
    entries: list[Any], key: str, width: int, path: Path, missing: float | None = None
) -> Array:
    """Return one row of ``width`` finite numbers per entry, (n, width)."""
    try:
        if missing is None:
            rows = [entry[key] for entry in entries]
        else:
            rows = [entry.get(key, missing) for entry in entries]
        found = np.array(rows, np.float64).reshape(len(entries), width)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(
            f"{path}: every entry needs {key} with {width} number{'s' * (width > 1)}"
        ) from None
    if not np.isfinite(found).all():
        raise DataError(f"{path}: {key} has numbers that are not finite")
    return found


def _boxes(facts: list[Any], key: str, count: int, path: Path) -> Array:
    if not facts:
        return np.full((count, 4), np.nan)
    found = _numbers(facts, key, 4, path)
    # BOP writes -1 throughout where nothing of the object is in the picture.
    found[(found[:, 2:] <= 0).any(axis=1)] = np.nan
    return found


def _visible(facts: list[Any], count: int, path: Path) -> Array:
    return _numbers(facts, "visib_fract", 1, path)[:, 0] if facts else np.full(count, np.nan)


def _box(values: Array) -> Box | None:
    if np.isnan(values).any():
        return None
    x, y, w, h = values.tolist()
    return x, y, w, h
