"""Reader of data sets in the format of BOP (bop_toolkit, docs/bop_datasets_format.md)."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop.frame import Frame
from edgesafe.calib.bop.models_info import MODELS_INFO, ModelInfo, read_models_info
from edgesafe.calib.bop.scene import CAMERA, Scene, read_scene
from edgesafe.runtime.errors import DataError, SourceError, UsageError
from edgesafe.runtime.pose.intrinsics import Camera

__all__ = ["BopDataset", "Frames", "FrameId", "split_names"]

FrameId = int | tuple[int, int]
"""The number of a picture, or (scene, picture)."""

_MODEL_FOLDERS = {
    "eval": ("models_eval", "models", "models_cad", "models_reconst"),
    "full": ("models", "models_reconst", "models_cad", "models_eval"),
}
_LAYOUT = "a BOP data set is a folder with SPLIT/%06d/scene_camera.json"


class Frames(Sequence[Frame]):
    """Frames of some scenes, made when asked for.

    Args:
        scenes: All scenes.
        rows: (n, 2) for each frame, which scene and which of its frames.
    """

    def __init__(self, scenes: tuple[Scene, ...], rows: NDArray[np.int64]) -> None:
        """Hold what the frames are made of."""
        self._scenes = scenes
        self._rows = rows

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Frames: ...
    def __getitem__(self, index: int | slice) -> Frame | Frames:
        """Return a frame, or some of them."""
        if isinstance(index, slice):
            return Frames(self._scenes, self._rows[index])
        scene, row = map(int, self._rows[index])
        return self._scenes[scene].frame(row)


@dataclass(frozen=True, eq=False)
class BopDataset:
    """One split of a BOP data set; make with :meth:`open`.

    Attributes:
        path: Folder of the data set.
        split: Name of the split.
        scenes: Its scenes, by rising number.
        missing: (scene, picture) of annotated pictures that are not there; they have no frame.
    """

    path: Path
    split: str
    scenes: tuple[Scene, ...] = field(repr=False)
    missing: tuple[tuple[int, int], ...] = field(repr=False)
    _rows: NDArray[np.int64] = field(repr=False)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], split: str | None = None, *, prefer: str | None = None
    ) -> BopDataset:
        """Read the annotations of a split.

        Args:
            path: Folder of the data set, or of one of its splits.
            split: Which one; None takes the only one.
            prefer: Of several, take this one if it is there and ``split`` is None.

        Raises:
            DataError: The folder is no BOP data set, has several splits and none is named, or a
                file in it is damaged.
        """
        root = Path(path)
        if split is None and root.is_dir() and _scene_folders(root):
            root = root if root.name else root.resolve()
            root, split = root.parent, root.name
        names = split_names(root)
        if split is None:
            if len(names) > 1 and prefer not in names:
                raise DataError(
                    f"{root} has the splits {', '.join(names)}: name one, e.g. {root / names[0]}"
                )
            split = prefer if prefer in names else names[0]
        elif split not in names:
            raise DataError(f"{root} has no split {split!r}, only {', '.join(names)}")
        scenes = tuple(read_scene(folder) for folder in _scene_folders(root / split))
        rows, missing = [], []
        for i, scene in enumerate(scenes):
            for j, im_id in enumerate(scene.im_ids.tolist()):
                if im_id in scene.images:
                    rows.append((i, j))
                else:
                    missing.append((scene.number, im_id))
        if not rows:
            raise DataError(
                f"{root / split} has no pictures for its annotations: they belong into "
                "%06d/rgb/%06d.png (or .jpg, or gray/)"
            )
        return cls(root, split, scenes, tuple(missing), np.array(rows, np.int64))

    @property
    def frames(self) -> Frames:
        """The frames with a picture, by scene and number."""
        return Frames(self.scenes, self._rows)

    @property
    def objects(self) -> list[int]:
        """Numbers of the objects in its frames, rising."""
        found: set[int] = set()
        for scene, row in self._rows:
            one = self.scenes[scene]
            found.update(one.obj_id[one.starts[row] : one.starts[row + 1]].tolist())
        return sorted(found)

    @property
    def keys(self) -> list[tuple[int, int]]:
        """(scene, picture) of each frame."""
        return [
            (self.scenes[scene].number, int(self.scenes[scene].im_ids[row]))
            for scene, row in self._rows
        ]

    def subset(self, ids: Collection[FrameId], *, complement: bool = False) -> BopDataset:
        """Return only some frames, e.g. the usual 15 % of LINEMOD; see `read_split`.

        Args:
            ids: Numbers of pictures, in every scene, or pairs (scene, picture).
            complement: All other frames instead.

        Raises:
            DataError: An id is of no frame, or no frame is left.
        """
        wanted = set(ids)
        keys = self.keys
        inside = np.array([key in wanted or key[1] in wanted for key in keys], bool)
        lost = wanted - set(keys) - {im_id for _, im_id in keys}
        if lost:
            some = ", ".join(str(one) for one in sorted(lost, key=str)[:5])
            raise DataError(
                f"{self.path / self.split} lacks {len(lost)} of the {len(wanted)} frames of the "
                f"list, e.g. {some}: the list is of another data set or split"
            )
        rows = self._rows[inside != complement]
        if not len(rows):
            raise DataError(f"no frame of {self.path / self.split} is left after the selection")
        return replace(self, _rows=rows)

    def thinned(self, count: int) -> BopDataset:
        """Return ``count`` frames spread evenly over all; all where there are no more.

        Raises:
            UsageError: ``count`` is not positive.
        """
        if count < 1:
            raise UsageError(f"{count} frames were asked for: at least 1")
        total = len(self._rows)
        if count >= total:
            return self
        return replace(self, _rows=self._rows[np.arange(count) * total // count])

    @cached_property
    def models_info(self) -> Mapping[int, ModelInfo]:
        """The objects by their numbers, from the models of the metrics, else the full ones.

        Raises:
            DataError: There is none, or it is damaged.
        """
        for name in _MODEL_FOLDERS["eval"]:
            if (self.path / name / MODELS_INFO).is_file():
                return read_models_info(self.path / name / MODELS_INFO)
        raise DataError(
            f"{self.path} has no models/{MODELS_INFO} (diameter, box and symmetries of the "
            "objects): fetch the models of the data set"
        )

    def models(self, prefer: Literal["eval", "full"] = "full") -> Mapping[int, Path]:
        """Return the PLY files by the number of the object.

        Args:
            prefer: ``eval``, the ones for metrics in ``models_eval``, else those in ``models``;
                ``full``, the other way about.

        Raises:
            DataError: There are none.
        """
        for name in _MODEL_FOLDERS[prefer]:
            found = {
                int(file.stem[4:]): file
                for file in sorted((self.path / name).glob("obj_*.ply"))
                if file.stem[4:].isdecimal()
            }
            if found:
                return found
        raise DataError(
            f"{self.path} has no meshes models_eval/obj_%06d.ply or models/obj_%06d.ply: fetch "
            "the models of the data set"
        )

    @cached_property
    def camera(self) -> Camera | None:
        """The camera of ``camera.json`` with its lens, where there is one.

        Raises:
            DataError: It is damaged.
        """
        path = self.path / "camera.json"
        if not path.is_file():
            return None
        try:
            return Camera.from_json(path)
        except (SourceError, UsageError) as error:
            raise DataError(str(error)) from None

    def camera_of(self, frame: Frame, width: int, height: int) -> Camera:
        """Return the camera of a frame: its own K, the lens of ``camera.json``.

        Args:
            frame: Of this data set.
            width: Columns of its picture.
            height: Rows of its picture.

        Raises:
            DataError: K or the lens can be of no camera.
        """
        try:
            return Camera(frame.K, width, height, self.camera.dist if self.camera else ())
        except UsageError as error:
            raise DataError(f"{frame.rgb_path}: {error}") from None


def split_names(path: Path) -> list[str]:
    """Return the names of the splits of a data set.

    Raises:
        DataError: It is no data set.
    """
    try:
        found = sorted(folder.name for folder in path.iterdir() if folder.is_dir())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; {_LAYOUT}") from None
    names = [name for name in found if _scene_folders(path / name)]
    if not names:
        raise DataError(f"{path} has no split: {_LAYOUT}")
    return names


def _scene_folders(folder: Path) -> list[Path]:
    found = [
        child for child in folder.iterdir() if child.name.isdecimal() and (child / CAMERA).is_file()
    ]
    return sorted(found, key=lambda child: int(child.name))
