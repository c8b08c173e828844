"""Building blocks of the held-out drawings: outlines with a colour, a material and a relief.

A subject is described once, as an ordered list of parts in a unit square (x right, y down);
every drawing style renders the same parts in its own way.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Color = tuple[float, float, float]
Control = Sequence[tuple[float, ...]]

STEEL: tuple[Color, ...] = ((0.75, 0.77, 0.8), (0.62, 0.65, 0.69), (0.82, 0.82, 0.81))
WOODS: tuple[Color, ...] = ((0.55, 0.35, 0.2), (0.42, 0.25, 0.14), (0.72, 0.52, 0.32))
BLACK: Color = (0.13, 0.13, 0.15)
WHITE: Color = (0.95, 0.95, 0.94)


@dataclass(frozen=True)
class Part:
    """One outline of a drawing.

    Attributes:
        loops: Closed outlines, filled by the even-odd rule.
        color: Base colour, each channel in 0..1.
        mat: Material: matte, metal, gloss, liquid, glass, wood, glow, powder or smoke.
        bulge: Relief, from 0 (a slab with sharp edges) to 1 (fully round).
        line: Whether this is a surface mark without an edge or a body of its own.
        ink: Whether its outline may be drawn.
    """

    loops: tuple[Points, ...]
    color: Color
    mat: str = "matte"
    bulge: float = 0.5
    line: bool = False
    ink: bool = True


def shade(color: Color, factor: float) -> Color:
    """Returns `color` darkened (factor below 1) or moved towards white (above 1)."""
    if factor <= 1:
        return (color[0] * factor, color[1] * factor, color[2] * factor)
    k = min(1.0, factor - 1)
    return (
        color[0] + (1 - color[0]) * k,
        color[1] + (1 - color[1]) * k,
        color[2] + (1 - color[2]) * k,
    )


def hsv(hue: float, sat: float, val: float) -> Color:
    """Returns the colour of a hue in turns, a saturation and a value."""
    return colorsys.hsv_to_rgb(hue % 1.0, sat, val)


def vivid(rng: np.random.Generator) -> Color:
    """Draws a random colour fit for plastic, cloth or paint."""
    return hsv(rng.random(), rng.uniform(0.45, 0.95), rng.uniform(0.45, 0.95))


def pick(rng: np.random.Generator, colors: Sequence[Color], jitter: float = 0.06) -> Color:
    """Draws one of `colors`, slightly changed."""
    base = np.asarray(colors[int(rng.integers(len(colors)))])
    out = np.clip(base * rng.uniform(0.9, 1.1) + rng.normal(0, jitter / 2, 3), 0.03, 0.98)
    return (float(out[0]), float(out[1]), float(out[2]))


def spline(control: Control, *, closed: bool = True, steps: int = 8) -> Points:
    """Returns a Catmull-Rom curve; a control point with a third entry is a sharp corner."""
    pts: list[tuple[float, float]] = []
    for c in control:
        pts.append((c[0], c[1]))
        if len(c) > 2:
            # A doubled point breaks the tangent there.
            pts.append((c[0], c[1]))
    p = np.asarray(pts, dtype=np.float64)
    if closed:
        a, b, c_, d = np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0)
    else:
        ext = np.concatenate([p[:1], p, p[-1:]])
        a, b, c_, d = ext[:-3], ext[1:-2], ext[2:-1], ext[3:]
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c_, d = a[:, None], b[:, None], c_[:, None], d[:, None]
    out = 0.5 * (
        2 * b + (c_ - a) * t + (2 * a - 5 * b + 4 * c_ - d) * t**2 + (3 * b - a - 3 * c_ + d) * t**3
    )
    # The doubled points themselves would make a small loop.
    keep = np.abs(b - c_).sum((1, 2)) > 1e-12
    flat = out[keep].reshape(-1, 2)
    return flat if closed else np.concatenate([flat, p[-1:]])


def dense(pts: Points, gap: float = 0.05) -> Points:
    """Returns a closed polygon with extra points, so that bends and warps stay smooth."""
    way = np.roll(pts, -1, 0) - pts
    count = np.maximum(1, (np.hypot(way[:, 0], way[:, 1]) / gap).astype(int))
    index = np.repeat(np.arange(len(pts)), count)
    part = (np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)) / count[index]
    out: Points = pts[index] + way[index] * part[:, None]
    return out


def ribbon(path: Points, widths: Points) -> Points:
    """Returns the outline of a line along `path` with a width at each point and round ends."""
    step = np.gradient(path, axis=0)
    step /= np.maximum(np.hypot(step[:, :1], step[:, 1:]), 1e-9)
    side = np.stack([-step[:, 1], step[:, 0]], 1) * widths[:, None] / 2
    turn = np.linspace(0, math.pi, 7)[1:-1, None]
    end = path[-1] + np.cos(turn) * side[-1] + np.sin(turn) * step[-1] * widths[-1] / 2
    start = path[0] - np.cos(turn) * side[0] - np.sin(turn) * step[0] * widths[0] / 2
    return np.concatenate([path + side, end, (path - side)[::-1], start])


class Sketch:
    """Collects the parts of one subject, back to front."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Starts an empty sketch.

        Args:
            rng: Source of every random choice of the subject.
        """
        self.rng = rng
        self.parts: list[Part] = []
        self.ink = True
        self._frame = np.eye(3)

    @contextmanager
    def at(
        self, x: float, y: float, angle: float = 0.0, size: float = 1.0, squash: float = 1.0
    ) -> Iterator[None]:
        """Draws what follows at (x, y), turned by degrees, scaled, and then flattened in y."""
        a = math.radians(angle)
        c, s = math.cos(a) * size, math.sin(a) * size
        kept = self._frame
        self._frame = kept @ np.array([[c, -s, x], [s * squash, c * squash, y], [0, 0, 1]])
        yield
        self._frame = kept

    def loops(
        self,
        loops: Sequence[Points],
        color: Color,
        mat: str = "matte",
        bulge: float = 0.5,
        line: bool = False,
    ) -> None:
        """Adds a part of several outlines, filled by the even-odd rule."""
        f = self._frame
        self.parts.append(
            Part(
                tuple(dense(p @ f[:2, :2].T + f[:2, 2]) for p in loops),
                color,
                mat,
                bulge,
                line,
                self.ink,
            )
        )

    def poly(self, pts: Control, color: Color, mat: str = "matte", bulge: float = 0.3) -> None:
        """Adds a polygon."""
        self.loops([np.asarray([p[:2] for p in pts], dtype=np.float64)], color, mat, bulge)

    def blob(self, pts: Control, color: Color, mat: str = "matte", bulge: float = 0.6) -> None:
        """Adds a smooth closed outline through `pts`."""
        self.loops([spline(pts)], color, mat, bulge)

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        color: Color,
        mat: str = "matte",
        bulge: float = 1.0,
        angle: float = 0.0,
        line: bool = False,
    ) -> None:
        """Adds an ellipse."""
        t = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        a = math.radians(angle)
        u, v = rx * np.cos(t), ry * np.sin(t)
        pts = np.stack(
            [x + u * math.cos(a) - v * math.sin(a), y + u * math.sin(a) + v * math.cos(a)], 1
        )
        self.loops([pts], color, mat, bulge, line)

    def box(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        color: Color,
        mat: str = "matte",
        bulge: float = 0.2,
        r: float = 0.05,
        line: bool = False,
    ) -> None:
        """Adds a rectangle with rounded corners."""
        r = min(r, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
        t = np.linspace(0, math.pi / 2, 5)
        pts = []
        for cx, cy, k in (
            (x1 - r, y1 - r, 0),
            (x0 + r, y1 - r, 1),
            (x0 + r, y0 + r, 2),
            (x1 - r, y0 + r, 3),
        ):
            a = t + k * math.pi / 2
            pts.append(np.stack([cx + r * np.cos(a), cy + r * np.sin(a)], 1))
        self.loops([np.concatenate(pts)], color, mat, bulge, line)

    def turned(
        self,
        profile: Control,
        color: Color,
        mat: str = "matte",
        bulge: float = 1.0,
        smooth: bool = True,
    ) -> None:
        """Adds a body turned about the x axis, from its (x, radius[, corner]) profile."""
        half = (
            spline(profile, closed=False)
            if smooth
            else np.asarray([p[:2] for p in profile], dtype=np.float64)
        )
        self.loops([np.concatenate([half, half[::-1] * (1, -1)])], color, mat, bulge)

    def stroke(
        self,
        path: Control,
        width: float | Sequence[float],
        color: Color,
        mat: str = "matte",
        bulge: float = 1.0,
        smooth: bool = True,
        line: bool = False,
    ) -> None:
        """Adds a line with a width, or with widths spread evenly along it."""
        pts = (
            spline(path, closed=False)
            if smooth
            else np.asarray([p[:2] for p in path], dtype=np.float64)
        )
        if not smooth or len(path) == 2:
            t = np.linspace(0, 1, 24)
            s = np.linspace(0, 1, len(pts))
            pts = np.stack([np.interp(t, s, pts[:, 0]), np.interp(t, s, pts[:, 1])], 1)
        w = np.asarray([width] if isinstance(width, (int, float)) else width, dtype=np.float64)
        widths = np.interp(np.linspace(0, 1, len(pts)), np.linspace(0, 1, len(w)), w)
        self.loops([ribbon(pts, widths)], color, mat, bulge, line)

    def mark(self, path: Control, width: float, color: Color, smooth: bool = True) -> None:
        """Adds a thin surface mark along `path`."""
        self.stroke(path, width, color, bulge=0.0, smooth=smooth, line=True)


def ragged(
    rng: np.random.Generator, rx: float, ry: float, rough: float, n: int = 14
) -> list[tuple[float, float]]:
    """Returns the control points of an irregular round outline about the origin."""
    t = np.sort(np.linspace(0, 2 * math.pi, n, endpoint=False) + rng.uniform(-0.15, 0.15, n))
    r = 1 + rng.normal(0, rough, n)
    return [
        (float(rx * k * math.cos(a)), float(ry * k * math.sin(a)))
        for a, k in zip(t, r, strict=True)
    ]


def outline(parts: Sequence[Part]) -> Points:
    """Returns every point of every part."""
    return np.concatenate([p for part in parts for p in part.loops])
