"""One training image: a scene, drawn, photographed, with the truth about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.board import MarkerBoard
from edgesafe.calib.bop.writer import LabelledObject, box_of_mask
from edgesafe.calib.render.camera_effects import CameraEffects, photograph
from edgesafe.calib.render.canvas import SAMPLES, Canvas, Silhouette, finer, silhouette
from edgesafe.calib.render.ground import Ground
from edgesafe.calib.render.looks import (
    darken_below,
    random_lighting,
    random_material,
    recolour,
    wrap_photo,
)
from edgesafe.calib.render.photos import Photos
from edgesafe.calib.render.raster import rasterise
from edgesafe.calib.render.scene import Body, Scene, SceneOptions, random_scene
from edgesafe.calib.render.shade import Lighting, shade
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.pose.intrinsics import Camera

__all__ = ["Rendered", "Studio"]

Array = NDArray[np.float64]
RGB8 = NDArray[np.uint8]
Rng = np.random.Generator

# How far beyond the border an object is drawn to learn its whole size, in samples.
_MARGIN = 800
# Shares of clutter with a photo as its texture, and of backgrounds out of many photos.
_PHOTO_WRAPPED = 0.4
_COLLAGE = 0.6


@dataclass(frozen=True, eq=False)
class Rendered:
    """A frame, (height, width, 3) uint8 RGB, and the parts in it."""

    rgb: RGB8
    objects: tuple[LabelledObject, ...]


@dataclass(frozen=True, eq=False)
class Studio:
    """All that frames are made of; the same random generator gives the same frame.

    Attributes:
        parts: The surfaces to learn, by the number of the object.
        camera: K and the size of the frames; its distortion is not applied.
        photos: Backgrounds and textures.
        board: The marker board of :attr:`SceneOptions.board`, or None.
        scenes: Where things are.
        effects: What the camera does.
    """

    parts: Mapping[int, Surface]
    camera: Camera
    photos: Photos
    board: MarkerBoard | None
    scenes: SceneOptions
    effects: CameraEffects

    def frame(self, rng: Rng) -> Rendered:
        """Return a random frame."""
        scene = random_scene(self.parts, self.camera, self.scenes, rng)
        lighting = random_lighting(rng, scene.R_ground[:, 2])
        background = self._background(scene, lighting, rng)
        canvas = Canvas(self.camera.width, self.camera.height)
        outlines: dict[int, Silhouette] = {}
        nearest_first = sorted(enumerate(scene.bodies), key=lambda item: float(item[1].t[2]))
        for owner, body in nearest_first:
            outlines[owner] = self._draw(canvas, body, owner, scene, lighting, rng)
        rgb = photograph(canvas.over(background), rng, self.effects)
        objects = tuple(
            self._truth(canvas, body, owner, outlines[owner])
            for owner, body in enumerate(scene.bodies)
            if body.part is not None
        )
        return Rendered(rgb, objects)

    def _background(self, scene: Scene, lighting: Lighting, rng: Rng) -> RGB8:
        pieces = int(rng.integers(1, 12)) if rng.random() < _COLLAGE else 0
        picture = self.photos.collage(rng, self.camera.width, self.camera.height, pieces)
        if scene.t_ground is None:
            return picture
        # About one texel for each pixel at the middle of the table.
        px_per_mm = float(np.clip(self.camera.K[0, 0] / scene.t_ground[2], 0.2, 1.2))
        ground = Ground.random(rng, self.photos, px_per_mm)
        if self.board is not None and rng.random() < self.scenes.board:
            ground.lay_board(rng, self.board, self.photos, scene.board)
        if rng.random() < 0.8:
            self._shadows(ground, scene, lighting, rng)
        gain = np.asarray(lighting.sky) ** (1 / 2.2) * rng.uniform(0.8, 1.2)
        return ground.paint(picture, scene.R_ground, scene.t_ground, self.camera.K, gain)

    def _shadows(self, ground: Ground, scene: Scene, lighting: Lighting, rng: Rng) -> None:
        assert scene.t_ground is not None
        strength, blur = rng.uniform(0.1, 0.6), rng.uniform(4, 40)
        lamp = scene.R_ground.T @ np.asarray(lighting.lamps[0].towards)
        # A lamp near the horizon would throw shadows of metres.
        lamp[2] = max(lamp[2], 0.5)
        above = np.array([0, 0, 1.0])
        for body in scene.bodies:
            R = scene.R_ground.T @ body.R
            t = scene.R_ground.T @ (body.t - scene.t_ground)
            ground.cast_shadow(body.surface, R, t, lamp, strength, blur)
            ground.cast_shadow(body.surface, R, t, above, strength * 0.7, 8.0)

    def _draw(
        self,
        canvas: Canvas,
        body: Body,
        owner: int,
        scene: Scene,
        lighting: Lighting,
        rng: Rng,
    ) -> Silhouette:
        surface = body.surface
        if body.part is not None:
            surface = recolour(surface, rng)
        elif rng.random() < _PHOTO_WRAPPED:
            surface = wrap_photo(surface, rng, self.photos)
        if scene.t_ground is not None:
            up = scene.R_ground[:, 2]
            height = surface.vertices @ (up @ body.R) + up @ (body.t - scene.t_ground)
            surface = darken_below(surface, height, rng)
        buffers = rasterise(
            surface,
            body.R,
            body.t,
            finer(self.camera.K),
            self.camera.width * SAMPLES,
            self.camera.height * SAMPLES,
            margin=_MARGIN if body.part is not None else 0,
        )
        seen = canvas.claim(buffers, owner)
        material = random_material(rng)
        canvas.paint(seen, shade(surface, seen, body.R, finer(self.camera.K), lighting, material))
        return silhouette(buffers)

    def _truth(self, canvas: Canvas, body: Body, owner: int, outline: Silhouette) -> LabelledObject:
        assert body.part is not None
        x, y, w, h = box_of_mask(outline.mask)
        return LabelledObject(
            body.part,
            body.R,
            body.t,
            outline.in_frame(self.camera.width, self.camera.height),
            canvas.visible(owner, outline.window),
            (x + outline.window.x, y + outline.window.y, w, h) if w > 0 else (x, y, w, h),
            int(outline.mask.sum()),
        )
