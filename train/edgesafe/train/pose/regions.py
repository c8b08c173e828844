"""Training samples of the network of a region of interest.

A sample is a function of (seed, epoch, instance) alone, so it is the same whoever makes it and
whenever: a resumed run sees the very same pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgesafe.calib.bop.symmetries import symmetry_transforms
from edgesafe.runtime.pose.crop import BORDER, RoiCrop
from edgesafe.runtime.pose.direct import ray_rotation
from edgesafe.train.pose.cache import Pieces
from edgesafe.train.pose.colour import disturb
from edgesafe.train.pose.config import ColourConfig, DataConfig, RoiConfig
from edgesafe.train.pose.objects import KnownObject
from edgesafe.train.pose.occlude import erase, paste, replace_background
from edgesafe.train.pose.photos import PhotoPool
from edgesafe.train.pose.reasons import answer_size
from edgesafe.train.pose.trunks import STRIDE

__all__ = ["RegionSamples", "Symmetries", "View", "reach_of", "to_rgb", "unshrink", "warp"]

Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Rng = np.random.Generator
Sample = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class View:
    """How a region is cut out: a region of interest, turned about its centre.

    Attributes:
        roi: The region without the turn.
        turn: Radians; a positive one turns the picture from x to y.
    """

    roi: RoiCrop
    turn: float = 0.0

    def matrix(self) -> Array:
        """2 x 3, from frame pixels to pixels of the network's input."""
        plain = self.roi.matrix()
        if self.turn == 0:
            return plain
        c, s = math.cos(self.turn), math.sin(self.turn)
        middle = (self.roi.size - 1) / 2
        spin = np.array([[c, -s, middle - c * middle + s * middle]])
        spin = np.vstack([spin, [[s, c, middle - s * middle - c * middle]]])
        return np.asarray(spin @ np.vstack([plain, [[0.0, 0.0, 1.0]]]))


class Symmetries:
    """The poses that look alike, padded so that they stack.

    Attributes:
        transforms: Per object (S, 4, 4), from the object to itself, the identity first; rows
            repeat where an object has fewer than the others.
    """

    def __init__(self, objects: tuple[KnownObject, ...], step: float) -> None:
        """Lists the transforms of each object; see `symmetry_transforms`."""
        found = [
            symmetry_transforms(known.symmetries_discrete, known.symmetries_continuous, step)
            for known in objects
        ]
        most = max(map(len, found))
        self.transforms = np.stack([t[np.arange(most) % len(t)] for t in found])


def reach_of(roi: RoiConfig, data: DataConfig) -> tuple[float, float]:
    """What pieces must hold: their side over the box's, and the finest region's size over the box.

    See `region_pieces`; the second value is in units of the network's input.
    """
    reach = roi.roi_scale * (1 + data.scale) + 2 * data.shift
    if data.rotation > 0:
        angle = math.radians(min(data.rotation, 45))
        reach = roi.roi_scale * (1 + data.scale) * (math.cos(angle) + math.sin(angle))
        reach += 2 * data.shift
    return reach, 1 / (roi.roi_scale * (1 - data.scale))


def warp(picture: Pixels, matrix: Array, size: tuple[int, int], border: int) -> Pixels:
    """Resamples a picture as `edgesafe.runtime.pose.crop.crop_image` does, also turned.

    Args:
        picture: (H, W) or (H, W, C), C <= 4.
        matrix: 2 x 3, a similarity from its pixels to those of the result.
        size: Width and height of the result.
        border: What lies outside the picture.
    """
    source: Any = picture
    block = int(1 / math.hypot(matrix[0, 0], matrix[1, 0]) + 0.5)
    grey = (border,) * 4
    if block > 1:
        height, width = source.shape[:2]
        block = min(block, height, width)
        down, across = -height % block, -width % block
        if down or across:
            source = cv2.copyMakeBorder(source, 0, down, 0, across, cv2.BORDER_CONSTANT, value=grey)
        small = (source.shape[1] // block, source.shape[0] // block)
        source = cv2.resize(source, small, interpolation=cv2.INTER_AREA)
        matrix = matrix @ unshrink(0, 0, block)
    return np.asarray(
        cv2.warpAffine(
            source, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
            borderValue=grey,
        ),
        dtype=np.uint8,
    )  # fmt: skip


def to_rgb(bgr: Pixels) -> Pixels:
    """The picture with its channels in the order of the networks."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def unshrink(x: int, y: int, block: int) -> Array:
    """3 x 3, from pixels of means over blocks to those of the picture, whose first one is x, y."""
    half = (block - 1) / 2
    return np.array([[block, 0.0, x + half], [0.0, block, y + half], [0.0, 0.0, 1.0]])


class RegionSamples:
    """Samples of the instances of a data set.

    Attributes:
        rows: Pieces that are used, those of the network's own objects.
    """

    def __init__(
        self,
        pieces: Pieces,
        objects: tuple[KnownObject, ...],
        roi: RoiConfig,
        size: int,
        data: DataConfig,
        colour: ColourConfig,
        photos: PhotoPool | None,
        seed: int,
    ) -> None:
        """Keeps what a sample is made from."""
        self.pieces = pieces
        self.objects = objects
        self.roi = roi
        self.size = size
        self.data = data
        self.colour = colour
        self.photos = photos if photos is not None and len(photos) else None
        self.seed = seed
        self.symmetries = Symmetries(objects, roi.symmetry_step)
        self._index = {known.id: i for i, known in enumerate(objects)}
        ids = pieces.table["object_id"]
        self.rows = np.flatnonzero(np.isin(ids, list(self._index)))

    def __len__(self) -> int:
        """How many instances there are."""
        return len(self.rows)

    def sample(self, epoch: int, number: int) -> Sample:
        """The augmented sample of an instance.

        Returns:
            ``pixels`` uint8 (S, S, 3) RGB, ``mask`` float32 (1, S/8, S/8), ``object``; and, for
            each symmetry, ``keypoints`` (K, 2), or ``rotation``, ``centre`` and ``log_scale``.
            Where the settings ask for it, ``counterfactual``, the same object before something
            else, and ``directions`` of :func:`edgesafe.train.pose.reasons.reasons`.
        """
        row = int(self.rows[number])
        rng = np.random.default_rng([self.seed, epoch, number])
        view = self._draw_view(row, rng)
        piece, square = self.pieces.read(row), (self.size, self.size)
        matrix = view.matrix() @ self._to_frame(row)
        bgr = warp(piece.bgr, matrix, square, BORDER)
        masks = warp(np.dstack([piece.visible, piece.kept]), matrix, square, 0)
        visible = np.ascontiguousarray(masks[..., 0])
        if self.photos is not None and rng.random() < self.data.background:
            alone = rng.random() < self.data.alone
            kept = visible if alone else np.ascontiguousarray(masks[..., 1])
            photo = self.photos.draw(rng, self.size, self.size)
            bgr = replace_background(bgr, kept, photo)
        if rng.random() < self.data.occlude:
            bgr = self._occlude(bgr, visible, row, view, rng)
        if rng.random() < self.data.erase:
            bgr = erase(bgr, visible, rng, self.data.keep)
        made: Sample = {"pixels": disturb(to_rgb(bgr), rng, self.colour)}
        if self.roi.consistency > 0:
            other = replace_background(bgr, visible, self._backdrop(rng))
            made["counterfactual"] = disturb(to_rgb(other), rng, self.colour)
        if self.roi.reasons > 0:
            count = answer_size(self.roi.head, self.roi.keypoints)
            made["directions"] = rng.standard_normal(count).astype(np.float32)
        return {**made, **self._labels(row, view, visible)}

    def plain(self, number: int) -> tuple[Sample, RoiCrop]:
        """The sample of an instance as a device would see it, and its region."""
        row = int(self.rows[number])
        roi = RoiCrop.from_box(self.pieces.table["box"][row], self.roi.roi_scale, self.size)
        view = View(roi)
        piece, square = self.pieces.read(row), (self.size, self.size)
        matrix = view.matrix() @ self._to_frame(row)
        bgr = warp(piece.bgr, matrix, square, BORDER)
        visible = warp(piece.visible, matrix, square, 0)
        rgb = to_rgb(bgr)
        return {"pixels": rgb, **self._labels(row, view, visible)}, roi

    def truth(self, number: int) -> tuple[KnownObject, Array, Array, Array]:
        """Object, K, R and t of an instance."""
        row, table = int(self.rows[number]), self.pieces.table
        known = self.objects[self._index[int(table["object_id"][row])]]
        return known, table["K"][row], table["R"][row], table["t"][row]

    def _backdrop(self, rng: Rng) -> Pixels:
        """A photo, or without any coarse noise."""
        if self.photos is not None:
            return self.photos.draw(rng, self.size, self.size)
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        square = (self.size, self.size)
        return np.asarray(cv2.resize(coarse, square, interpolation=cv2.INTER_CUBIC), np.uint8)

    def _draw_view(self, row: int, rng: Rng) -> View:
        """DZI (Li et al. 2019): shifts and scales the region, uniformly."""
        x, y, w, h = self.pieces.table["box"][row]
        side = max(w, h)
        shift = rng.uniform(-1, 1, 2) * self.data.shift * side
        scale = 1 + rng.uniform(-1, 1) * self.data.scale
        turn = math.radians(rng.uniform(-1, 1) * self.data.rotation)
        centre = (x + w / 2 - 0.5 + shift[0], y + h / 2 - 0.5 + shift[1])
        return View(RoiCrop(centre, self.roi.roi_scale * scale * side, self.size), turn)

    def _to_frame(self, row: int) -> Array:
        """3 x 3, from pixels of a piece to those of its frame."""
        table = self.pieces.table
        return unshrink(int(table["x"][row]), int(table["y"][row]), int(table["block"][row]))

    def _occlude(self, bgr: Pixels, visible: Pixels, row: int, view: View, rng: Rng) -> Pixels:
        """Pastes another instance, turned and scaled at will, over the edge of the object."""
        other = int(rng.integers(len(self.pieces)))
        table = self.pieces.table
        box, target = table["box"][other], table["box"][row]
        wanted = max(target[2:]) / view.roi.scale * rng.uniform(0.4, 1.1)
        scale = wanted / max(box[2:])
        turn = rng.uniform(-math.pi, math.pi)
        c, s = scale * math.cos(turn), scale * math.sin(turn)
        middle = box[:2] + box[2:] / 2 - 0.5
        angle = rng.uniform(-math.pi, math.pi)
        distance = 0.5 * max(target[2:]) / view.roi.scale * rng.uniform(0.5, 1.3)
        place = view.roi.to_crop(target[:2] + target[2:] / 2 - 0.5)
        place = place + distance * np.array([math.cos(angle), math.sin(angle)])
        linear = np.array([[c, -s], [s, c]])
        matrix = np.hstack([linear, (place - linear @ middle)[:, None]]) @ self._to_frame(other)
        piece, square = self.pieces.read(other), (self.size, self.size)
        picture = warp(piece.bgr, matrix, square, BORDER)
        shape = warp(piece.visible, matrix, square, 0)
        return paste(bgr, visible, picture, shape, self.data.keep)

    def _labels(self, row: int, view: View, visible: Pixels) -> Sample:
        table = self.pieces.table
        index = self._index[int(table["object_id"][row])]
        cells = self.size // STRIDE
        mask = cv2.resize(visible, (cells, cells), interpolation=cv2.INTER_AREA)
        common: Sample = {
            "object": np.array(index, dtype=np.int64),
            "mask": (mask[None] / 255).astype(np.float32),
        }
        K, R, t = table["K"][row], table["R"][row], table["t"][row]
        transforms = self.symmetries.transforms[index]
        if self.roi.head == "vote":
            keypoints = self.objects[index].keypoints
            moved = (
                keypoints @ transforms[:, :3, :3].transpose(0, 2, 1) + transforms[:, None, :3, 3]
            )
            pixels = _project(moved @ R.T + t, K)
            matrix = view.matrix()
            crop = pixels @ matrix[:, :2].T + matrix[:, 2]
            return {**common, "keypoints": crop.astype(np.float32)}
        return {**common, **_direct_labels(K, R, t, transforms, view)}


def _direct_labels(K: Array, R: Array, t: Array, transforms: Array, view: View) -> Sample:
    """Allocentric rotations, centres and scales of all equivalent poses."""
    matrix = view.matrix()
    spin = np.eye(3)
    c, s = math.cos(view.turn), math.sin(view.turn)
    # A turned picture is, to first order, one of a camera turned about the ray of the centre.
    spin[:2, :2] = [[c, -s], [s, c]]
    rotations, centres, scales = [], [], []
    focal = math.sqrt(K[0, 0] * K[1, 1])
    for transform in transforms:
        origin = R @ transform[:3, 3] + t
        rotations.append(spin @ ray_rotation(origin).T @ R @ transform[:3, :3])
        centres.append(matrix[:, :2] @ _project(origin, K) + matrix[:, 2])
        scales.append(math.log(origin[2] * view.roi.scale / focal))
    return {
        "rotation": np.array(rotations, dtype=np.float32),
        "centre": np.array(centres, dtype=np.float32),
        "log_scale": np.array(scales, dtype=np.float32),
    }


def _project(points: Array, K: Array) -> Array:
    """Camera points (..., 3) to pixels (..., 2)."""
    pixels = points @ K.T
    return np.asarray(pixels[..., :2] / np.maximum(pixels[..., 2:], 1e-6))
