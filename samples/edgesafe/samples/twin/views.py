"""From where the twin is filmed: LINEMOD's camera at half its resolution, all around the board."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgesafe.samples.twin.part import TwinPart

__all__ = ["HEIGHT", "WIDTH", "K", "View", "draw_view"]

Array = NDArray[np.float64]
Rng = np.random.Generator

WIDTH, HEIGHT = 320, 240
# Halving a picture moves the centre of its first pixel.
K: Array = np.array(
    [[572.4114 / 2, 0, 325.2611 / 2 - 0.25], [0, 573.57043 / 2, 242.04899 / 2 - 0.25], [0, 0, 1]]
)

_NEAR, _FAR = 650.0, 1050.0
_LOW, _HIGH = np.radians(20), np.radians(85)
_ROLL = np.radians(10)
_LOOK = 30.0


@dataclass(frozen=True, eq=False)
class View:
    """A camera over the board.

    Attributes:
        number: Counts the views of a seed.
        T: (4, 4) T_cam_board.
        R: (3, 3) of T_cam_obj.
        t: (3,) of T_cam_obj, mm.
        box: (x, y, w, h) of the object in the frame, by its vertices.
    """

    number: int
    T: Array = field(repr=False)
    R: Array = field(repr=False)
    t: Array = field(repr=False)
    box: tuple[float, float, float, float]


def draw_view(part: TwinPart, seed: int, number: int) -> View:
    """Return a view that depends on seed and number alone."""
    rng = np.random.default_rng([seed, number, 0])
    azimuth, roll = rng.uniform(0, 2 * np.pi), rng.uniform(-_ROLL, _ROLL)
    # Even in height, so that views are spread evenly over the dome.
    elevation = np.arcsin(rng.uniform(np.sin(_LOW), np.sin(_HIGH)))
    away = np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
         -np.sin(elevation)]
    )  # fmt: skip
    # Looking at the board from where its z does not point, the table below.
    right = np.cross(-away, [0.0, 0, -1])
    right /= np.linalg.norm(right)
    down = np.cross(-away, right)
    turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    T = np.eye(4)
    T[:3, :3] = turn @ np.stack([right, down, -away])
    target = np.array([*rng.uniform(-_LOOK, _LOOK, 2), -20.0])
    T[:3, 3] = [0, 0, rng.uniform(_NEAR, _FAR)] - T[:3, :3] @ target
    T_co = T @ part.on_board
    R, t = T_co[:3, :3], T_co[:3, 3]
    seen = (part.mesh.vertices @ R.T + t) @ K.T
    pixels = seen[:, :2] / seen[:, 2:]
    low, high = pixels.min(axis=0) - 0.5, pixels.max(axis=0) + 0.5
    x, y, w, h = (float(value) for value in (*(low + 0.5), *(high - low)))
    return View(number, T, R, t, (x, y, w, h))
