"""Pictures of an audit: frames of every set with true and estimated outlines, and saliency maps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesafe.calib.bop import BopDataset, Frame
from edgesafe.calib.bop.results import Estimates
from edgesafe.calib.markers.audit import Audit
from edgesafe.calib.markers.saliency_maps import SaliencyMap
from edgesafe.calib.render.raster import rasterise
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.mesh import read_ply
from edgesafe.runtime.video import import_cv2

__all__ = ["Tile", "frame_tiles", "map_tiles"]

RGB8 = NDArray[np.uint8]

TRUE, ESTIMATED = (0, 230, 120), (255, 40, 200)
_WIDTH = 320
_QUALITY = 80


class Tile(NamedTuple):
    """A JPEG with a line of text under it."""

    jpeg: bytes
    text: str


@dataclass(frozen=True, eq=False)
class _Outlines:
    surfaces: dict[int, Surface]

    def draw(
        self,
        page: RGB8,
        frame: Frame,
        obj_id: int,
        R: NDArray[np.float64],
        t: NDArray[np.float64],
        colour: tuple[int, int, int],
    ) -> None:
        cv2 = import_cv2()
        height, width = page.shape[:2]
        if not t[2] > 1:
            return
        drawn = rasterise(self.surfaces[obj_id], R, t, frame.K, width, height)
        mask = np.zeros((height, width), np.uint8)
        x, y, w, h = drawn.window
        mask[y : y + h, x : x + w] = drawn.mask
        lines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(page, lines, -1, colour, max(1, round(width / 320)))


def frame_tiles(audit: Audit, keys: Sequence[tuple[int, int]]) -> list[list[Tile]]:
    """Return for each frame a row of tiles: its picture in every set, outlined.

    The true poses are green, those of the first network pink.

    Raises:
        DataError: A picture or a mesh cannot be read.
    """
    opened = {kind: audit.sets.open(kind) for kind in audit.kinds}
    outlines = _Outlines(_surfaces(opened[audit.kinds[0]], audit.objects))
    first = audit.networks[0]
    rows: list[list[Tile]] = [[] for _ in keys]
    for kind, data in opened.items():
        frames = {frame.key: frame for frame in data.frames}
        for row, key in zip(rows, keys, strict=True):
            estimates = first.estimates.get(kind, {})
            row.append(Tile(_jpeg(_page(frames[key], estimates, audit, outlines)), kind))
    return rows


def map_tiles(audit: Audit, kind: str, maps: Sequence[SaliencyMap]) -> list[Tile]:
    """Return the maps over the parts of the pictures that they cover.

    Raises:
        DataError: A picture cannot be read.
    """
    frames = {frame.key: frame for frame in audit.sets.open(kind).frames}
    tiles = []
    for one in maps:
        picture = _cut(frames[one.key].read_rgb(), one.box)
        where = f"{kind} {one.key[0]}/{one.key[1]}, object {one.obj_id}"
        tiles.append(Tile(_jpeg(picture), where))
        for method, values in one.maps.items():
            tiles.append(Tile(_jpeg(_heat(picture, values)), method))
    return tiles


def _page(frame: Frame, estimates: Estimates, audit: Audit, outlines: _Outlines) -> RGB8:
    page = np.ascontiguousarray(frame.read_rgb()).copy()
    for one in frame.instances:
        if one.obj_id in audit.objects:
            outlines.draw(page, frame, one.obj_id, one.R, one.t, TRUE)
            for pose in estimates.get((*frame.key, one.obj_id), ()):
                outlines.draw(page, frame, one.obj_id, pose.R, pose.t, ESTIMATED)
    return page


def _surfaces(data: BopDataset, objects: Sequence[int]) -> dict[int, Surface]:
    paths = data.models("eval")
    return {i: Surface.from_mesh(read_ply(paths[i], texture=False)) for i in objects}


def _cut(rgb: RGB8, box: tuple[float, float, float, float]) -> RGB8:
    cv2 = import_cv2()
    x, y, w, h = box
    scale = w / _WIDTH
    matrix = np.array([[scale, 0, x], [0, scale, y]])
    size = (_WIDTH, max(1, round(h / scale)))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(np.ascontiguousarray(rgb), matrix, size, flags=flags))


def _heat(picture: RGB8, values: NDArray[np.float32]) -> RGB8:
    cv2 = import_cv2()
    top = float(np.quantile(values, 0.99)) or 1.0
    small = np.clip(values / top * 255, 0, 255).astype(np.uint8)
    grown = cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap(grown, cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.asarray(cv2.addWeighted(picture, 0.4, np.ascontiguousarray(colours), 0.6, 0))


def _jpeg(page: RGB8) -> bytes:
    picture = Image.fromarray(page)
    picture.thumbnail((_WIDTH, 2 * _WIDTH))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
