"""The outlines of a mesh from all sides, as :mod:`edgesafe.runtime.pose.silhouettes` keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.render.raster import rasterise
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.pose.silhouettes import view_directions

__all__ = ["POINTS", "VIEWS", "draw_silhouettes"]

VIEWS = 400
"""About ten degrees from one to the next."""
POINTS = 96

Array = NDArray[np.float64]

_SIDE = 160
_FILLED = 0.92
_DISTANCE = 6.0
"""Of the camera, diameters; what is seen of an object changes little beyond."""
_LEAST_AREA = 0.003
"""Of a hole, or of a part by itself, as a share of the silhouette; smaller ones are noise."""
_LEAST_LENGTH = 12
_MOST_LOOPS = 8
_LEAST_IN_LOOP = 5
_SMOOTH = np.array([1, 2, 3, 2, 1]) / 9


def draw_silhouettes(
    surface: Surface,
    centre: Array,
    diameter: float,
    *,
    views: int = VIEWS,
    points: int = POINTS,
) -> NDArray[np.float16]:
    """Draws an object from all sides and follows its outline.

    Args:
        surface: The object.
        centre: (3,) of its box, millimetres.
        diameter: Largest distance of two of its points, millimetres.
        views: V, how many sides.
        points: P, of each view's outline with its holes.

    Returns:
        (V, P, 4) x, y, z from the centre in millimetres and the loop, see
        :mod:`edgesafe.runtime.pose.silhouettes`.

    Raises:
        DataError: From some side there is hardly anything to be seen.
    """
    depth = _DISTANCE * diameter
    # The ball about the centre that holds it all is seen whole, from whatever side.
    radius = float(np.linalg.norm(surface.vertices - centre, axis=1).max())
    focal = _FILLED * _SIDE / 2 * np.sqrt(max(depth**2 - radius**2, 0.0)) / radius
    middle = (_SIDE - 1) / 2
    K = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    found = np.empty((views, points, 4), np.float16)
    for index, direction in enumerate(view_directions(views)):
        R = _look_from(direction)
        t = np.array([0, 0, depth]) - R @ centre
        seen = _draw(surface, R, t, K)
        loops = _loops(seen > 0)
        if not loops:
            raise DataError(
                f"from the side {np.round(direction, 2).tolist()} hardly anything is to be seen of "
                "the mesh: it needs faces, and a size that fits its diameter"
            )
        shares = _shares([len(loop) for loop in loops], points)
        begin = 0
        for number, (loop, count) in enumerate(zip(loops, shares, strict=True)):
            chosen = (np.arange(count) * len(loop) / count).astype(np.intp)
            pixels, z = _smoothed(loop)[chosen], _depths(seen, loop[chosen])
            rays = np.column_stack([(pixels - middle) / focal, np.ones(count)])
            found[index, begin : begin + count, :3] = (rays * z[:, None] - t) @ R - centre
            found[index, begin : begin + count, 3] = number
            begin += count
    return found


def _look_from(direction: Array) -> Array:
    """Return R of a camera that looks at the object from a direction."""
    forward = -direction
    up = np.array([0.0, 0, 1] if abs(direction[2]) < 0.9 else [1.0, 0, 0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def _draw(surface: Surface, R: Array, t: Array, K: Array) -> NDArray[np.float32]:
    """Return the depth of every pixel (S, S), 0 where nothing is seen."""
    buffers = rasterise(surface, R, t, K, _SIDE, _SIDE)
    depth = np.zeros((_SIDE, _SIDE), np.float32)
    x, y, width, height = buffers.window
    depth[y : y + height, x : x + width] = buffers.depth
    return depth


def _loops(body: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return the border of a silhouette, pixels (N, 2) each, longest first.

    They go round so that the body lies to the right.
    """
    import cv2

    # A scan has pin holes.
    filled = cv2.morphologyEx(body.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    contours: Any = cv2.findContours(filled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
    least = _LEAST_AREA * np.count_nonzero(filled)
    kept = [
        contour[::-1, 0].astype(np.int64)
        for contour in contours
        # As many pixels as it encloses with its border (Pick), so that a line has an area too.
        if len(contour) >= _LEAST_LENGTH and cv2.contourArea(contour) + len(contour) / 2 + 1 > least
    ]
    return sorted(kept, key=len, reverse=True)[:_MOST_LOOPS]


def _shares(lengths: list[int], total: int) -> list[int]:
    """Divide points among loops by their length."""
    shares = [max(_LEAST_IN_LOOP, round(total * one / sum(lengths))) for one in lengths]
    # The first is the longest, and takes what rounding leaves.
    shares[0] += total - sum(shares)
    return shares


def _smoothed(loop: NDArray[np.int64]) -> Array:
    """Return the border itself (N, 2), half a pixel outside of the outermost pixels."""
    around = np.concatenate([loop[-2:], loop, loop[:2]]).astype(np.float64)
    smooth = np.stack([np.convolve(around[:, axis], _SMOOTH, "valid") for axis in (0, 1)], axis=1)
    along = np.roll(smooth, -2, axis=0) - np.roll(smooth, 2, axis=0)
    outwards = np.stack([along[:, 1], -along[:, 0]], axis=1)
    length = np.linalg.norm(outwards, axis=1, keepdims=True)
    # Where a line one pixel wide turns back there is no outside.
    return np.asarray(smooth + outwards / (2 * np.maximum(length, 1e-9)))


def _depths(seen: NDArray[np.float32], pixels: NDArray[np.int64]) -> Array:
    """Return the depth at border pixels; of a closed pin hole, that around it."""
    found = seen[pixels[:, 1], pixels[:, 0]].astype(np.float64)
    for index in np.flatnonzero(found <= 0):
        x, y = pixels[index]
        near = seen[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        found[index] = near[near > 0].mean()
    return found
