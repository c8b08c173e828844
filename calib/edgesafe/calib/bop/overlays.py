"""Annotations drawn over their pictures: outline of the mesh, its box and axes, and the 2D box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop.dataset import BopDataset
from edgesafe.calib.bop.frame import Frame
from edgesafe.calib.bop.models_info import ModelInfo
from edgesafe.runtime.manifest_pose import PoseObject
from edgesafe.runtime.mesh import Mesh
from edgesafe.runtime.pose.draw import draw_poses
from edgesafe.runtime.pose.result import Pose

__all__ = ["draw_annotations", "draw_frames"]

_BOX = (255, 255, 255)


def draw_frames(
    dataset: BopDataset, meshes: Mapping[int, Mesh], count: int
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield a name and a picture (H, W, 3) for frames that are spread evenly over a split.

    Args:
        dataset: A split.
        meshes: By the number of the object; others are not drawn.
        count: How many frames.

    Raises:
        DataError: A picture cannot be read.
        MissingExtraError: OpenCV is not installed.
    """
    for frame in dataset.thinned(count).frames:
        name = f"{dataset.split}_{frame.scene_id:06d}_{frame.im_id:06d}.png"
        yield name, draw_annotations(dataset, frame, meshes)


def draw_annotations(
    dataset: BopDataset, frame: Frame, meshes: Mapping[int, Mesh]
) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) with what is annotated in it.

    Behind the name stands the visible share, 1 where it is not known.

    Raises:
        DataError: The picture cannot be read, or K can be of no camera.
        MissingExtraError: OpenCV is not installed.
    """
    rgb = frame.read_rgb()
    camera = dataset.camera_of(frame, rgb.shape[1], rgb.shape[0])
    infos = dataset.models_info
    known = [one for one in frame.instances if one.obj_id in meshes and one.obj_id in infos]
    poses = [
        Pose(
            one.obj_id,
            f"obj {one.obj_id}",
            R=one.R,
            t_mm=one.t,
            confidence=1.0 if one.visib_fract is None else one.visib_fract,
        )
        for one in known
    ]
    objects = {one.obj_id: _object(one.obj_id, infos[one.obj_id]) for one in known}
    page = draw_poses(rgb, poses, objects, camera, meshes)
    for one in frame.instances:
        if one.bbox_visib is not None:
            _rectangle(page, *(round(value) for value in one.bbox_visib))
    return page


def _object(obj_id: int, info: ModelInfo) -> PoseObject:
    nothing = np.zeros((0, 3))
    return PoseObject(
        obj_id, "", info.diameter, info.min, info.size, nothing, nothing, np.zeros((0, 4, 4)), ()
    )


def _rectangle(page: NDArray[np.uint8], x: int, y: int, w: int, h: int) -> None:
    """Draw a box one pixel wide, as far as it lies in the picture."""
    height, width = page.shape[:2]
    rows, columns = slice(max(y, 0), y + h), slice(max(x, 0), x + w)
    for row in (y, y + h - 1):
        if 0 <= row < height:
            page[row, columns] = _BOX
    for column in (x, x + w - 1):
        if 0 <= column < width:
            page[rows, column] = _BOX
