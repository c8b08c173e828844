"""A z-buffered, perspective-correct triangle rasteriser in numpy.

A scanned part has tens of thousands of triangles that each cover a pixel or less, a primitive has
a few that cover thousands. Both go one way: every triangle is cut into its pixel rows, every row
into its pixels, all triangles at once, so the cost follows the number of triangles plus the number
of covered pixels, and no Python loop runs per triangle.

Conventions: ``X_cam = R X + t`` in millimetres, ``K`` with the centre of the top-left pixel at
(0, 0), depth is ``z`` of the camera frame. A pixel belongs to a triangle if its centre does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.render.surface import Surface

__all__ = ["RasterBuffers", "Window", "rasterise"]

Array = NDArray[np.float64]

# Twice the area, in square pixels, under which a triangle is a line: it can cover no pixel that
# its neighbours do not, and its plane equation would be noise.
_SLIVER = 1e-9
# Pixels on the edge between two triangles belong to both, whatever the rounding.
_ON_EDGE = 1e-7


class Window(NamedTuple):
    """The pixels that are looked at: columns x..x+width-1 and rows y..y+height-1."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class RasterBuffers:
    """What is seen in each covered pixel of a window; n covered pixels.

    Attributes:
        window: The pixels the buffers speak of.
        index: (n,) rising flat indices of the covered pixels, row-major in the window.
        inverse_depth: (n,) 1/mm.
        face: (n,) which face is seen.
        weights: (n, 3) perspective-correct weights of its corners; each row sums to 1.
    """

    window: Window
    index: NDArray[np.intp]
    inverse_depth: NDArray[np.float32]
    face: NDArray[np.intp]
    weights: NDArray[np.float32]

    @property
    def depth(self) -> NDArray[np.float32]:
        """Depth of every pixel of the window, (height, width), mm; 0 where nothing is seen."""
        depth = np.zeros(self.window.height * self.window.width, np.float32)
        depth[self.index] = 1 / self.inverse_depth
        return depth.reshape(self.window.height, self.window.width)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where something is seen, (height, width)."""
        mask = np.zeros(self.window.height * self.window.width, np.bool_)
        mask[self.index] = True
        return mask.reshape(self.window.height, self.window.width)

    def some(self, which: NDArray[np.intp]) -> RasterBuffers:
        """Return only some of the covered pixels, by their place in ``index``."""
        return RasterBuffers(
            self.window,
            self.index[which],
            self.inverse_depth[which],
            self.face[which],
            self.weights[which],
        )

    def interpolate(self, surface: Surface, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolate values of vertices, (V, c), over the covered pixels: (n, c)."""
        out = np.zeros((len(self.face), values.shape[1]), np.float32)
        for corner in range(3):
            at = np.take(surface.corners[corner], self.face)
            out += np.take(values, at, axis=0) * self.weights[:, corner : corner + 1]
        return out


def rasterise(
    surface: Surface,
    R: Array,
    t: Array,
    K: Array,
    width: int,
    height: int,
    *,
    margin: int = 0,
    near: float = 1.0,
) -> RasterBuffers:
    """Draw one object into a z-buffer of its own.

    Args:
        surface: The object; where it is closed, faces that look away are skipped.
        R: (3, 3) rotation of T_cam_obj.
        t: (3,) translation of T_cam_obj, mm.
        K: (3, 3) camera matrix without skew.
        width: Columns of the frame.
        height: Rows of the frame.
        margin: Pixels around the frame that are drawn too, for the size of an object that the
            border of the frame cuts.
        near: Triangles with a corner nearer than this, mm, are left out.

    Returns:
        Buffers whose window is the box around the object within the frame and its margin.
    """
    camera = surface.vertices @ np.asarray(R, np.float64).T + np.asarray(t, np.float64).ravel()
    z = camera[:, 2]
    inverse = 1 / np.where(z > near, z, np.inf)
    x = K[0, 0] * camera[:, 0] * inverse + K[0, 2]
    y = K[1, 1] * camera[:, 1] * inverse + K[1, 2]
    window = _window(x, y, z > near, width, height, margin)
    # From here on pixels count from the corner of the window.
    x, y = x - window.x, y - window.y
    triangles = _triangles(surface, x, y, inverse, window)
    owner, column, row = _pixels(triangles, window)
    return _nearest(triangles, owner, column, row, window)


class _Triangles(NamedTuple):
    """T triangles on the screen.

    ``a, b, c`` are (3, T): ``a x + b y + c`` is twice the area of the part opposite to the edge's
    third corner, positive inside. ``plane`` (3, T): inverse depth is ``p0 x + p1 y + p2``.
    """

    face: NDArray[np.intp]
    a: Array
    b: Array
    c: Array
    inverse: Array
    plane: Array
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]


def _window(
    x: Array, y: Array, ahead: NDArray[np.bool_], width: int, height: int, margin: int
) -> Window:
    if not ahead.any():
        return Window(0, 0, 0, 0)
    low_x = max(int(np.ceil(x[ahead].min())), -margin)
    low_y = max(int(np.ceil(y[ahead].min())), -margin)
    high_x = min(int(np.floor(x[ahead].max())), width - 1 + margin)
    high_y = min(int(np.floor(y[ahead].max())), height - 1 + margin)
    return Window(low_x, low_y, max(0, high_x - low_x + 1), max(0, high_y - low_y + 1))


def _triangles(surface: Surface, x: Array, y: Array, inverse: Array, window: Window) -> _Triangles:
    corners = surface.corners
    x, y = x[corners], y[corners]
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    # Counter-clockwise seen from outside is clockwise on a screen whose y points down.
    face = np.flatnonzero(area < -_SLIVER if surface.closed else np.abs(area) > _SLIVER)
    x, y, area = x[:, face], y[:, face], area[face]
    inverse = inverse[corners[:, face]]
    # Without a pixel row or column between its extremes a triangle covers nothing.
    top, bottom = np.ceil(_least(y)), np.floor(_most(y))
    left, right = np.ceil(_least(x)), np.floor(_most(x))
    keep = (top <= bottom) & (left <= right) & (_least(inverse) > 0)
    keep &= (bottom >= 0) & (top < window.height) & (right >= 0) & (left < window.width)
    kept = np.flatnonzero(keep)
    x, y, inverse, area = x[:, kept], y[:, kept], inverse[:, kept], area[kept]
    after, last = [1, 2, 0], [2, 0, 1]
    sign = np.sign(area)
    a = (y[after] - y[last]) * sign
    b = (x[last] - x[after]) * sign
    c = (x[after] * y[last] - x[last] * y[after]) * sign
    size = np.abs(area)
    plane = np.stack([(side * inverse).sum(0) / size for side in (a, b, c)])
    return _Triangles(
        face[kept],
        a,
        b,
        c,
        inverse,
        plane,
        np.clip(top[kept], 0, None).astype(np.int64),
        np.clip(bottom[kept], None, window.height - 1).astype(np.int64),
    )


def _least(of: Array) -> Array:
    return np.asarray(np.minimum(np.minimum(of[0], of[1]), of[2]))


def _most(of: Array) -> Array:
    return np.asarray(np.maximum(np.maximum(of[0], of[1]), of[2]))


def _runs(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``starts[0], starts[0]+1, …`` (``counts[0]`` of them), then ``starts[1], …``."""
    ends = np.cumsum(counts)
    steps = np.arange(ends[-1] if len(ends) else 0)
    return np.asarray(steps + np.repeat(starts - (ends - counts), counts))


def _pixels(
    triangles: _Triangles, window: Window
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """Return (triangle, column, row) of every pixel centre inside a triangle."""
    rows_each = triangles.bottom - triangles.top + 1
    owner = np.repeat(np.arange(len(rows_each)), rows_each)
    row = _runs(triangles.top, rows_each)
    low = np.zeros(len(owner))
    high = np.full(len(owner), window.width - 1.0)
    for edge in range(3):
        a = triangles.a[edge][owner]
        rest = triangles.b[edge][owner] * row + triangles.c[edge][owner]
        # a x + rest >= 0 bounds the row on the left, on the right, or wholly.
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = -rest / a
        np.maximum(low, crossing, out=low, where=a > 0)
        np.minimum(high, crossing, out=high, where=a < 0)
        np.copyto(high, -1, where=(a == 0) & (rest < -_ON_EDGE))
    np.minimum(low, window.width, out=low)
    first = np.ceil(low - _ON_EDGE).astype(np.int64)
    count = np.maximum(np.floor(high + _ON_EDGE).astype(np.int64) - first + 1, 0)
    return np.repeat(owner, count), _runs(first, count), np.repeat(row, count)


def _nearest(
    triangles: _Triangles,
    owner: NDArray[np.intp],
    column: NDArray[np.int64],
    row: NDArray[np.int64],
    window: Window,
) -> RasterBuffers:
    plane = triangles.plane
    inverse = plane[0][owner] * column + plane[1][owner] * row + plane[2][owner]
    inverse = np.maximum(inverse, np.finfo(np.float32).tiny).astype(np.float32)
    # The bits of positive floats rise with their value: one integer holds "nearer, then who".
    key = inverse.view(np.uint32).astype(np.uint64) << np.uint64(32)
    key |= np.arange(len(owner), dtype=np.uint64)
    buffer = np.zeros(window.width * window.height, np.uint64)
    np.maximum.at(buffer, row * window.width + column, key)
    index = np.flatnonzero(buffer)
    seen = (buffer[index] & np.uint64(0xFFFFFFFF)).astype(np.intp)
    owner, inverse = owner[seen], inverse[seen]
    x, y = column[seen], row[seen]
    weights = np.empty((len(seen), 3), np.float32)
    for corner in range(3):
        side = triangles.a[corner][owner] * x
        side += triangles.b[corner][owner] * y
        side += triangles.c[corner][owner]
        weights[:, corner] = np.maximum(side, 0) * triangles.inverse[corner][owner]
    weights /= np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float32).tiny)
    return RasterBuffers(window, index, inverse, triangles.face[owner], weights)
