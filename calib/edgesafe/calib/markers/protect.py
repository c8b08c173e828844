"""Which pixels of a frame are annotated objects: the projections of their meshes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop import BopDataset, Frame
from edgesafe.calib.bop.frame import read_picture
from edgesafe.calib.render.raster import rasterise
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import read_ply
from edgesafe.runtime.video import import_cv2

__all__ = ["ObjectPixels", "Silhouettes", "grown"]

Mask = NDArray[np.bool_]

# Pixels around a projection that are the object's too: simplified meshes and rounding differ by
# one, and the lens mixes colours over another.
_RIM_PX = 2


@dataclass(frozen=True, eq=False)
class ObjectPixels:
    """The objects of a frame.

    Attributes:
        whole: (H, W) for each instance, its silhouette as if it were alone.
        visible: (H, W) for each instance, its ``mask_visib``, else where no other annotated object
            is before it.
    """

    whole: tuple[Mask, ...] = field(repr=False)
    visible: tuple[Mask, ...] = field(repr=False)
    shape: tuple[int, int]

    @property
    def any(self) -> Mask:
        """(H, W) all of them."""
        found = np.zeros(self.shape, bool)
        for mask in self.whole:
            found |= mask
        return found

    @property
    def seen(self) -> Mask:
        """(H, W) what is visible of them."""
        found = np.zeros(self.shape, bool)
        for mask in self.visible:
            found |= mask
        return found

    @property
    def protected(self) -> Mask:
        """(H, W) all of them with a rim: pixels that must not change."""
        return grown(self.any, _RIM_PX)


class Silhouettes:
    """Draws the silhouettes of a data set's objects.

    Args:
        dataset: Its meshes are read when first needed.
    """

    def __init__(self, dataset: BopDataset) -> None:
        """Look where the meshes are."""
        self._paths = dataset.models("eval") if dataset.objects else {}
        self._surfaces: dict[int, Surface] = {}

    def of(self, frame: Frame, width: int, height: int) -> ObjectPixels:
        """Return the pixels of a frame's objects.

        Raises:
            DataError: A mesh is missing or damaged.
        """
        nearest = np.zeros((height, width), np.float32)
        owner = np.full((height, width), -1, np.int32)
        whole = []
        for at, instance in enumerate(frame.instances):
            surface = self._surface(instance.obj_id)
            drawn = rasterise(surface, instance.R, instance.t, frame.K, width, height)
            box = (
                slice(drawn.window.y, drawn.window.y + drawn.window.height),
                slice(drawn.window.x, drawn.window.x + drawn.window.width),
            )
            mask = np.zeros((height, width), bool)
            mask[box] = drawn.mask
            whole.append(mask)
            nearness = np.zeros(drawn.mask.shape, np.float32)
            nearness.reshape(-1)[drawn.index] = drawn.inverse_depth
            before = nearness > nearest[box]
            nearest[box][before] = nearness[before]
            owner[box][before] = at
        visible = tuple(
            _read_mask(one.mask_visib_path, owner == at) for at, one in enumerate(frame.instances)
        )
        return ObjectPixels(tuple(whole), visible, (height, width))

    def _surface(self, obj_id: int) -> Surface:
        if obj_id not in self._surfaces:
            if obj_id not in self._paths:
                folder = next(iter(self._paths.values())).parent if self._paths else "models"
                raise DataError(
                    f"{folder} has no mesh of object {obj_id}, which is annotated: its pixels "
                    "could not be kept; fetch the models of the data set"
                )
            mesh = read_ply(self._paths[obj_id], texture=False)
            self._surfaces[obj_id] = Surface.from_mesh(mesh)
        return self._surfaces[obj_id]


def _read_mask(path: Path | None, drawn: Mask) -> Mask:
    """Return a mask's file (H, W), or what was drawn where there is none."""
    if path is None or not path.is_file():
        return drawn
    mask = read_picture(path)[..., 0] > 0
    if mask.shape != drawn.shape:
        raise DataError(f"{path} has another size than its frame: write the masks again")
    return mask


def grown(mask: Mask, pixels: int) -> Mask:
    """Return a mask (H, W) with so many pixels more all around."""
    cv2 = import_cv2()
    kernel = np.ones((2 * pixels + 1,) * 2, np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel)) > 0
