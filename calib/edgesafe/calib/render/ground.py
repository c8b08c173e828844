"""The table that parts stand on: a painted rectangle with papers, a marker board and soft shadows.

Frame of the ground: origin in the middle of what is looked at, z up, millimetres.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.board import MarkerBoard
from edgesafe.calib.render.photos import Photos, lay, noise_picture
from edgesafe.calib.render.scene import BoardPlace
from edgesafe.calib.render.surface import Surface

__all__ = ["Ground"]

Array = NDArray[np.float64]
RGB8 = NDArray[np.uint8]
Rng = np.random.Generator

_NEAR = 10.0
_SHADOW_CELL = 4.0  # mm; shadows are soft, their grid may be coarse


class Ground:
    """A rectangle of the plane z = 0 with a picture on it.

    Args:
        half: Half of its sides along x and y, mm.
        px_per_mm: Resolution of its picture.
        texture: The picture seen from above, x to the right and y up; painted on in place.
    """

    def __init__(self, half: tuple[float, float], px_per_mm: float, texture: RGB8) -> None:
        """Take the picture."""
        self.half = half
        self.px_per_mm = px_per_mm
        self.texture = texture
        grid = (round(2 * half[1] / _SHADOW_CELL), round(2 * half[0] / _SHADOW_CELL))
        self._light = np.ones(grid, np.float32)

    @classmethod
    def random(cls, rng: Rng, photos: Photos, px_per_mm: float) -> Ground:
        """Return a table top of random size: a photo, noise, or nearly one colour."""
        half = (rng.uniform(350, 900), rng.uniform(350, 900))
        size = (round(2 * half[0] * px_per_mm), round(2 * half[1] * px_per_mm))
        kind = rng.random()
        if kind < 0.45:
            texture = photos.picture(rng, *size)
        elif kind < 0.65:
            texture = noise_picture(rng, *size)
        else:
            colour = np.full(3, rng.uniform(15, 245)) + rng.normal(0, 14, 3)
            grain = rng.normal(0, rng.uniform(0.5, 6), (size[1], size[0], 1)).astype(np.float32)
            texture = np.clip(grain + colour.astype(np.float32), 0, 255).astype(np.uint8)
        ground = cls(half, px_per_mm, np.ascontiguousarray(texture))
        for _ in range(rng.integers(0, 13)):
            side = rng.uniform(80, 400)
            ground.lay_paper(
                rng, photos.picture(rng, round(side * px_per_mm), round(side * px_per_mm * 1.3))
            )
        return ground

    def lay_paper(self, rng: Rng, picture: RGB8) -> None:
        """Lay a picture down somewhere, turned anyhow."""
        middle = np.array([rng.uniform(-half, half) for half in self.half])
        self._lay(picture, rng.uniform(0, 2 * np.pi), middle)

    def lay_board(
        self, rng: Rng, board: MarkerBoard, photos: Photos, place: BoardPlace | None = None
    ) -> None:
        """Lay a marker board down with a picture between its markers.

        Its tones and the picture are random: only the ink's geometry is the board's.

        Args:
            rng: Of its looks, and of its place where none is given.
            board: What to lay.
            photos: Of the picture between its markers.
            place: Where; None: about the middle, turned anyhow.
        """
        white = board.draw(self.px_per_mm)[..., None]
        paper = rng.uniform(190, 255) + rng.normal(0, 4, 3)
        ink = rng.uniform(5, 60) + rng.normal(0, 4, 3)
        picture = np.clip(ink + white * (paper - ink), 0, 255).astype(np.uint8)
        free = int(board.free_half * self.px_per_mm * rng.uniform(0.7, 1))
        if free > 8 and rng.random() < 0.8:
            middle = len(picture) // 2
            inside = slice(middle - free, middle + free)
            picture[inside, inside] = photos.picture(rng, 2 * free, 2 * free)
        if place is None:
            place = BoardPlace(rng.uniform(0, 2 * np.pi), rng.normal(0, 40, 2))
        self._lay(picture, place.angle, place.middle)

    def cast_shadow(
        self, surface: Surface, R: Array, t: Array, towards: Array, strength: float, blur_mm: float
    ) -> None:
        """Darken the ground where a body keeps the light off.

        Args:
            surface: The body.
            R: (3, 3) rotation of T_ground_body.
            t: (3,) translation of T_ground_body, mm.
            towards: (3,) direction to the light, ground frame, z > 0.
            strength: Share of the light that is kept off, 0..1.
            blur_mm: Standard deviation of its edge.
        """
        import cv2

        body = surface.vertices @ R.T + t
        spot = body[:, :2] - body[:, 2:] * (towards[:2] / towards[2])
        rows, columns = self._light.shape
        column = ((spot[:, 0] + self.half[0]) / _SHADOW_CELL).astype(np.int64)
        row = ((self.half[1] - spot[:, 1]) / _SHADOW_CELL).astype(np.int64)
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        dark = np.zeros((rows, columns), np.uint8)
        dark[row[inside], column[inside]] = 255
        # Fill what lies between the vertices of coarse meshes.
        filled = cv2.morphologyEx(dark, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
        soft = cv2.GaussianBlur(filled, (0, 0), max(0.5, blur_mm / _SHADOW_CELL))
        self._light *= 1 - soft.astype(np.float32) * np.float32(strength / 255)

    def paint(self, frame: RGB8, R: Array, t: Array, K: Array, light: Array) -> RGB8:
        """Return ``frame`` with the ground drawn into it.

        Args:
            frame: (height, width, 3) what lies behind.
            R: (3, 3) rotation of T_cam_ground.
            t: (3,) translation of T_cam_ground, mm.
            K: (3, 3) camera matrix.
            light: (3,) gain of its colours.
        """
        import cv2

        height, width = frame.shape[:2]
        outline = _outline(self.half, R, t, K)
        if len(outline) < 3:
            return frame
        covered = np.zeros((height, width), np.uint8)
        # Sixteenths of a pixel; far corners would overflow the integers of the drawing.
        corners = np.clip(np.round(outline * 16), -(2**22), 2**22).astype(np.int32)
        cv2.fillPoly(covered, [corners], 255, cv2.LINE_AA, 4)
        scale = 1 / self.px_per_mm
        to_plane = np.array(
            [
                [scale, 0, scale / 2 - self.half[0]],
                [0, -scale, self.half[1] - scale / 2],
                [0, 0, 1],
            ]
        )
        to_frame = K @ np.column_stack([R[:, 0], R[:, 1], t]) @ to_plane
        seen = cv2.warpPerspective(
            self._lit(light),
            to_frame,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        alpha = covered[..., None].astype(np.float32) / 255
        return cast(RGB8, (frame * (1 - alpha) + seen * alpha).astype(np.uint8))

    def _lit(self, light: Array) -> RGB8:
        import cv2

        size = (self.texture.shape[1], self.texture.shape[0])
        shadow = cv2.resize(self._light, size, interpolation=cv2.INTER_LINEAR)[..., None]
        shown = self.texture * (shadow * light.astype(np.float32))
        return cast(RGB8, np.minimum(shown, 255).astype(np.uint8))

    def _lay(self, picture: RGB8, angle: float, middle: Array) -> None:
        """Lay a picture, of the resolution of the ground, with its centre at ``middle`` (mm)."""
        x, y = (middle + self.half) * self.px_per_mm
        # Here the border of a picture is at 0; `lay` has the middle of its first pixel there.
        c, s = np.cos(angle) / 2, np.sin(angle) / 2
        x, y = x + c - s - 0.5, 2 * self.half[1] * self.px_per_mm - y + s + c - 0.5
        lay(picture, self.texture, angle, (x, y))


def _outline(half: tuple[float, float], R: Array, t: Array, K: Array) -> Array:
    """Return the corners of the rectangle in the frame, (n, 2), cut off before the camera."""
    corners = np.array(
        [[-half[0], -half[1]], [half[0], -half[1]], [half[0], half[1]], [-half[0], half[1]]]
    )
    camera = np.column_stack([corners, np.zeros(4)]) @ R.T + t
    kept: list[Array] = []
    for here, there in zip(camera, np.roll(camera, -1, axis=0), strict=True):
        if here[2] > _NEAR:
            kept.append(here)
        if (here[2] > _NEAR) != (there[2] > _NEAR):
            kept.append(here + (there - here) * ((_NEAR - here[2]) / (there[2] - here[2])))
    if not kept:
        return np.empty((0, 2))
    points = np.array(kept)
    return np.asarray((points @ K.T)[:, :2] / points[:, 2:])
