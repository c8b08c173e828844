"""Training samples of the detector: whole frames, scaled, shifted and disturbed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.pose.crop import BORDER
from edgesafe.runtime.pose.detector import Letterbox
from edgesafe.train.pose.cache import Pieces
from edgesafe.train.pose.colour import disturb
from edgesafe.train.pose.config import ColourConfig, DataConfig, DetectorConfig
from edgesafe.train.pose.objects import KnownObject
from edgesafe.train.pose.occlude import replace_background
from edgesafe.train.pose.photos import PhotoPool
from edgesafe.train.pose.regions import to_rgb, unshrink, warp
from edgesafe.train.pose.trunks import STRIDE

__all__ = ["FrameSamples", "heat_targets"]

Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Sample = dict[str, npt.NDArray[Any]]

_MIN_SIDE = 4.0
_MIN_INSIDE = 0.4
_SPREAD = 0.13
"""Standard deviation of the heat over the side of the box."""
_NEAR = 0.5
"""Cells with more heat than this learn the box too."""


class FrameSamples:
    """Samples of the frames of a data set."""

    def __init__(
        self,
        pieces: Pieces,
        objects: tuple[KnownObject, ...],
        detector: DetectorConfig,
        data: DataConfig,
        colour: ColourConfig,
        photos: PhotoPool | None,
        seed: int,
    ) -> None:
        """Keeps what a sample is made from."""
        self.pieces = pieces
        self.detector = detector
        self.data = data
        self.colour = colour
        self.photos = photos if photos is not None and len(photos) else None
        self.seed = seed
        self.objects = objects
        self._index = {known.id: i for i, known in enumerate(objects)}

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self.pieces)

    def sample(self, epoch: int, number: int) -> Sample:
        """The augmented sample of a frame; what is drawn depends on its arguments alone.

        Returns:
            ``pixels`` uint8 (H, W, 3) RGB, and the arrays of `heat_targets`.
        """
        rng = np.random.default_rng([self.seed, epoch, number])
        width, height = self.detector.width_px, self.detector.height_px
        piece = self.pieces.read(number)
        matrix = self._draw(number, rng)
        block = int(self.pieces.table["block"][number])
        from_piece = matrix @ unshrink(0, 0, block)
        bgr = warp(piece.bgr, from_piece, (width, height), BORDER)
        boxes, ids = self._boxes(number, matrix)
        if self.photos is not None and rng.random() < self.data.background:
            kept = warp(piece.kept, from_piece, (width, height), 0)
            bgr = replace_background(bgr, kept, self.photos.draw(rng, height, width))
        rgb = disturb(to_rgb(bgr), rng, self.colour)
        return {"pixels": rgb, **heat_targets(boxes, ids, len(self._index), width, height)}

    def plain(self, number: int) -> tuple[Sample, Array, npt.NDArray[np.int64]]:
        """A frame as a device would see it, its boxes (n, 4) in the input and their objects."""
        piece = self.pieces.read(number)
        width, height = self.detector.width_px, self.detector.height_px
        columns, rows = (int(v) for v in self.pieces.table["frame_size"][number])
        rgb = to_rgb(piece.bgr)
        pixels = Letterbox(rgb.shape[1], rgb.shape[0], width, height).image(rgb)
        frame = Letterbox(columns, rows, width, height)
        a, b = frame.to_input([(0.0, 0.0), (1.0, 1.0)])
        matrix = np.array([[b[0] - a[0], 0, a[0]], [0, b[1] - a[1], a[1]]])
        boxes, ids = self._boxes(number, matrix)
        targets = heat_targets(boxes, ids, len(self._index), width, height)
        return {"pixels": pixels, **targets}, boxes, ids

    def _draw(self, number: int, rng: np.random.Generator) -> Array:
        """2 x 3, from frame pixels to input pixels: zoomed, shifted, perhaps mirrored."""
        columns, rows = (float(v) for v in self.pieces.table["frame_size"][number])
        width, height = self.detector.width_px, self.detector.height_px
        low, high = self.detector.zoom
        zoom = math.exp(rng.uniform(math.log(low), math.log(high)))
        scale = min(width / columns, height / rows) * zoom
        free = np.array([width - columns * scale, height - rows * scale])
        # Anywhere that covers the input, or within it.
        corner = rng.uniform(np.minimum(free, 0), np.maximum(free, 0))
        shift = (scale - 1) / 2 + corner
        mirror = rng.random() < self.detector.flip
        if mirror:
            return np.array([[-scale, 0, width - 1 - shift[0]], [0, scale, shift[1]]])
        return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])

    def _boxes(self, number: int, matrix: Array) -> tuple[Array, npt.NDArray[np.int64]]:
        """Left, top, right, bottom (n, 4) in the input, cut at its border, and objects (n,)."""
        table = self.pieces.table
        ids = table["ids"][number]
        known = np.array([int(i) in self._index for i in ids])
        x, y, w, h = table["boxes"][number][known].T
        # Outer edges of the pixels x .. x + w - 1.
        low = np.stack([x, y], axis=1) - 0.5
        high = low + np.stack([w, h], axis=1)
        ends = np.stack([low, high]) @ matrix[:, :2].T + matrix[:, 2]
        low, high = ends.min(axis=0), ends.max(axis=0)
        limits = np.array([self.detector.width_px, self.detector.height_px]) - 0.5
        inside_low, inside_high = np.clip(low, -0.5, limits), np.clip(high, -0.5, limits)
        side = inside_high - inside_low
        share = side.prod(axis=1) / np.maximum((high - low).prod(axis=1), 1e-6)
        good = (side >= _MIN_SIDE).all(axis=1) & (share >= _MIN_INSIDE)
        objects = np.array([self._index[int(i)] for i in ids[known]], dtype=np.int64)
        return np.hstack([inside_low, inside_high])[good], objects[good]


def heat_targets(
    boxes: Array, objects: npt.NDArray[np.int64], count: int, width: int, height: int
) -> Sample:
    """Draws what the detector should say.

    Args:
        boxes: (n, 4) edges left, top, right, bottom, input pixels, centres at whole numbers.
        objects: (n,) channel of each.
        count: Number of channels O.
        width: Of the input.
        height: Of the input.

    Returns:
        ``heat`` (O, h, w), ``box`` (4, h, w) and ``weight`` (1, h, w), float32.
    """
    rows, columns = height // STRIDE, width // STRIDE
    heat = np.zeros((count, rows, columns), dtype=np.float32)
    box = np.zeros((4, rows, columns), dtype=np.float32)
    weight = np.zeros((1, rows, columns), dtype=np.float32)
    half = (STRIDE - 1) / 2
    across = np.arange(columns) * STRIDE + half
    down = np.arange(rows) * STRIDE + half
    # A cell learns the box whose middle is nearest. Small boxes last: of two that share a middle
    # the smaller one is the likelier to be in front.
    for i in np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable"):
        low, high = boxes[i, :2], boxes[i, 2:]
        middle, spread = (low + high) / 2, np.maximum((high - low) * _SPREAD, STRIDE / 3)
        bump = np.exp(
            -(((across - middle[0]) / spread[0]) ** 2)[None] / 2
            - (((down - middle[1]) / spread[1]) ** 2)[:, None] / 2
        ).astype(np.float32)
        row = int(np.clip(round((middle[1] - half) / STRIDE), 0, rows - 1))
        column = int(np.clip(round((middle[0] - half) / STRIDE), 0, columns - 1))
        bump[row, column] = 1.0
        heat[objects[i]] = np.maximum(heat[objects[i]], bump)
        near = (bump > _NEAR) & (bump >= weight[0])
        weight[0][near] = bump[near]
        y, x = np.nonzero(near)
        edges = np.stack(
            [across[x] - low[0], down[y] - low[1], high[0] - across[x], high[1] - down[y]]
        )
        box[:, y, x] = np.maximum(edges, 0.5)
    return {"heat": heat, "box": box, "weight": weight}
