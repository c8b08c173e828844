"""Writer of data sets in the format of BOP, one frame after another in bounded memory."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgesafe.calib.bop.models_info import MODELS_INFO, ModelInfo
from edgesafe.calib.bop.scene import CAMERA, GT, GT_INFO
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.files import atomic_folder
from edgesafe.runtime.mesh import Mesh, write_ply
from edgesafe.runtime.pose.intrinsics import Camera

__all__ = ["BopWriter", "LabelledObject", "box_of_mask"]

TARGETS = "test_targets_bop19.json"

Array: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

# An object belongs to the targets of a test split from this visible share on (BOP Challenge 2019).
_TARGET_VISIBLE = 0.1
_JPEG_QUALITY = 95


@dataclass(frozen=True, eq=False)
class LabelledObject:
    """An object to be written, T_cam_obj: X_cam = R X_obj + t.

    Attributes:
        obj_id: Number of the object.
        R: (3, 3).
        t: (3,) mm.
        mask: (H, W) its silhouette as if it were alone; None to write no masks and boxes.
        mask_visib: (H, W) where it is seen; None takes ``mask``.
        bbox_obj: (x, y, w, h) of the whole silhouette where that goes beyond the frame.
        px_count_all: Pixels of the whole silhouette where that goes beyond the frame.
    """

    obj_id: int
    R: Array
    t: Array
    mask: Mask | None = field(default=None, repr=False)
    mask_visib: Mask | None = field(default=None, repr=False)
    bbox_obj: Sequence[float] | None = None
    px_count_all: int | None = None

    @property
    def visible(self) -> Mask | None:
        """Where it is seen, (H, W)."""
        return self.mask if self.mask_visib is None else self.mask_visib

    def truth(self) -> dict[str, Any]:
        """Return its entry in ``scene_gt.json``."""
        return {
            "cam_R_m2c": [float(value) for value in np.ravel(self.R)],
            "cam_t_m2c": [float(value) for value in np.ravel(self.t)],
            "obj_id": int(self.obj_id),
        }

    def info(self) -> dict[str, Any]:
        """Return its entry in ``scene_gt_info.json``; it must have a mask."""
        assert self.mask is not None and self.visible is not None
        inside, seen = int(self.mask.sum()), int(self.visible.sum())
        whole = inside if self.px_count_all is None else int(self.px_count_all)
        return {
            "bbox_obj": _plain(box_of_mask(self.mask) if self.bbox_obj is None else self.bbox_obj),
            "bbox_visib": _plain(box_of_mask(self.visible)),
            "px_count_all": whole,
            "px_count_valid": inside,
            "px_count_visib": seen,
            "visib_fract": seen / whole if whole else 0.0,
        }


class BopWriter:
    """Writes a data set into a folder that appears when all of it is written.

    Example:
        >>> with BopWriter("parts", camera) as writer:  # doctest: +SKIP
        ...     writer.add_model(1, mesh)
        ...     for picture, objects in shots:
        ...         writer.add_frame(picture, camera.K, objects)
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        camera: Camera | None = None,
        *,
        about: str = "",
        overwrite: bool = False,
    ) -> None:
        """Remember what to write; nothing is written before ``with``.

        Args:
            out: Folder of the data set.
            camera: For ``camera.json``.
            about: For ``dataset_info.md``: origin, licence.
            overwrite: Replace what is there.
        """
        self._out, self._camera, self._about = Path(out), camera, about
        self._overwrite = overwrite
        self._stack = ExitStack()
        self._folder: Path | None = None
        self._frames: Counter[Path] = Counter()
        self._with_info: dict[Path, bool] = {}
        self._models: dict[str, dict[int, ModelInfo]] = {}
        self._targets = 0

    def __enter__(self) -> BopWriter:
        """Make a temporary folder beside the wanted one.

        Raises:
            UsageError: The wanted folder exists.
        """
        self._folder = self._stack.enter_context(
            atomic_folder(self._out, overwrite=self._overwrite)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the files and move the folder into place; throw all away after an error."""
        self._stack.push(self._finish_if_whole)
        self._stack.__exit__(kind, error, trace)

    def add_model(
        self,
        obj_id: int,
        mesh: Mesh,
        discrete: ArrayLike = (),
        continuous: Sequence[Any] = (),
        *,
        folder: Literal["models", "models_eval"] = "models",
    ) -> ModelInfo:
        """Write a mesh and measure it.

        Args:
            obj_id: Its number.
            mesh: Millimetres.
            discrete: (n, 4, 4) symmetries without the identity.
            continuous: Axes of symmetry.
            folder: ``models_eval`` for a simplified mesh for metrics.
        """
        place = self._root / folder
        place.mkdir(exist_ok=True)
        write_ply(place / f"obj_{obj_id:06d}.ply", mesh)
        info = ModelInfo.of_mesh(mesh, discrete, continuous)
        self._models.setdefault(folder, {})[obj_id] = info
        return info

    def add_frame(
        self,
        rgb: NDArray[np.uint8],
        K: ArrayLike,
        objects: Sequence[LabelledObject],
        *,
        split: str = "train",
        scene_id: int = 0,
        depth_scale: float = 1.0,
        picture: Literal["png", "jpg"] = "png",
    ) -> int:
        """Append a frame to a scene and return its number, counted from 0.

        Args:
            rgb: uint8 (H, W, 3), or (H, W) grey.
            K: (3, 3).
            objects: What is seen; with masks all or none of a scene.
            split: Name of the split.
            scene_id: Number of the scene.
            depth_scale: Of depth images that somebody adds, mm per unit.
            picture: Format of the frame; masks are PNG.

        Raises:
            UsageError: Masks are missing or have another size than the frame.
        """
        from PIL import Image

        folder = self._root / split / f"{scene_id:06d}"
        masked = self._masked(folder, rgb, objects)
        im_id = self._frames[folder]
        self._frames[folder] += 1
        (folder / "rgb").mkdir(parents=True, exist_ok=True)
        # PNG knows no quality and leaves it alone.
        file = folder / "rgb" / f"{im_id:06d}.{picture}"
        Image.fromarray(rgb).save(file, quality=_JPEG_QUALITY, subsampling=0)
        for i, entry in enumerate(objects if masked else ()):
            for name, mask in (("mask", entry.mask), ("mask_visib", entry.visible)):
                (folder / name).mkdir(exist_ok=True)
                pixels = np.asarray(mask, bool).astype(np.uint8) * 255
                Image.fromarray(pixels).save(folder / name / f"{im_id:06d}_{i:06d}.png")
        K = [float(value) for value in np.ravel(np.asarray(K, np.float64))]
        _append(folder / CAMERA, im_id, {"cam_K": K, "depth_scale": depth_scale})
        _append(folder / GT, im_id, [entry.truth() for entry in objects])
        if masked:
            infos = [entry.info() for entry in objects]
            _append(folder / GT_INFO, im_id, infos)
            if split.startswith("test"):
                self._add_targets(scene_id, im_id, objects, infos)
        return im_id

    @property
    def _root(self) -> Path:
        if self._folder is None:
            raise UsageError("a BopWriter is used inside of a with statement")
        return self._folder

    def _masked(
        self, folder: Path, rgb: NDArray[np.uint8], objects: Sequence[LabelledObject]
    ) -> bool:
        masks = [mask for entry in objects for mask in (entry.mask, entry.visible)]
        known = [mask for mask in masks if mask is not None]
        if not objects:
            return self._with_info.get(folder, False)
        masked = self._with_info.setdefault(folder, len(known) == len(masks))
        if len(known) != (len(masks) if masked else 0):
            raise UsageError("either all objects of a scene have masks or none has")
        if any(mask.shape != rgb.shape[:2] for mask in known):
            raise UsageError(f"a mask has another size than the frame of {rgb.shape[:2]}")
        return masked

    def _add_targets(
        self,
        scene_id: int,
        im_id: int,
        objects: Sequence[LabelledObject],
        infos: Sequence[dict[str, Any]],
    ) -> None:
        counts = Counter(
            entry.obj_id
            for entry, info in zip(objects, infos, strict=True)
            if info["visib_fract"] >= _TARGET_VISIBLE
        )
        with open(self._root / TARGETS, "a", encoding="ascii") as file:
            for obj_id, count in sorted(counts.items()):
                target = {
                    "im_id": im_id,
                    "inst_count": count,
                    "obj_id": obj_id,
                    "scene_id": scene_id,
                }
                file.write((",\n" if self._targets else "[\n") + json.dumps(target))
                self._targets += 1

    def _finish_if_whole(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._finish()

    def _finish(self) -> None:
        for folder in self._frames:
            for name in (CAMERA, GT, GT_INFO):
                if (folder / name).exists():
                    _end(folder / name, "}")
        if self._targets:
            _end(self._root / TARGETS, "]")
        for name, infos in self._models.items():
            content = {str(obj_id): info.to_json() for obj_id, info in sorted(infos.items())}
            _write(self._root / name / MODELS_INFO, content)
        if self._camera is not None:
            _write(self._root / "camera.json", self._camera.to_dict())
        if self._about:
            (self._root / "dataset_info.md").write_text(self._about + "\n", encoding="utf-8")


def box_of_mask(mask: Mask) -> tuple[int, int, int, int]:
    """Return (x, y, w, h) of the true pixels of a mask (H, W); all -1 where there are none."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return -1, -1, -1, -1
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


def _plain(box: Sequence[float]) -> list[float]:
    return [int(value) if value == int(value) else float(value) for value in box]


def _append(path: Path, im_id: int, value: Any) -> None:
    with open(path, "a", encoding="ascii") as file:
        start = ",\n" if file.tell() else "{\n"
        file.write(f'{start}"{im_id}": {json.dumps(value, allow_nan=False)}')


def _end(path: Path, bracket: str) -> None:
    with open(path, "a", encoding="ascii") as file:
        file.write(f"\n{bracket}\n")


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="ascii")
