"""Held-out drawings of blood."""

from __future__ import annotations

import math

import numpy as np

from edgesafe.samples.heldout_parts import (
    Color,
    Sketch,
    hsv,
    ragged,
    shade,
)


def _red(rng: np.random.Generator) -> Color:
    """Draws the colour of blood, from fresh to dried."""
    return hsv(rng.uniform(-0.02, 0.015), rng.uniform(0.85, 0.97), rng.uniform(0.42, 0.74))


def _drop(
    s: Sketch, x: float, y: float, r: float, color: Color, tail: float = 1.7, angle: float = 0.0
) -> None:
    """A falling drop, its tail upwards."""
    with s.at(x, y, angle):
        s.blob(
            [
                (0, -r * tail, 1),
                (r * 0.42, -r * 0.75),
                (r, 0.05 * r),
                (r * 0.72, r * 0.78),
                (0, r),
                (-r * 0.72, r * 0.78),
                (-r, 0.05 * r),
                (-r * 0.42, -r * 0.75),
            ],
            color,
            "liquid",
            0.9,
        )


def _spray(
    s: Sketch,
    n: int,
    near: float,
    far: float,
    color: Color,
    squash: float = 1.0,
    grain: float = 1.0,
) -> None:
    """Droplets thrown outwards from the origin."""
    rng = s.rng
    for _ in range(n):
        a, d = rng.uniform(0, 2 * math.pi), rng.uniform(near, far)
        r = grain * rng.uniform(0.012, 0.06) * (1.3 - d * 0.6)
        s.oval(
            d * math.cos(a),
            d * math.sin(a) * squash,
            r * rng.uniform(1, 2.2),
            r,
            color,
            "liquid",
            0.8,
            math.degrees(a),
        )


def blood_drops(s: Sketch) -> None:
    """Falling drops, or drops that fell on the floor."""
    rng, c = s.rng, _red(s.rng)
    if rng.random() < 0.6:
        n = int(rng.integers(1, 5))
        spots = [(-0.05, 0.1), (0.62, -0.35), (-0.62, -0.5), (0.45, 0.7)]
        for i in range(n):
            x, y = spots[i]
            _drop(
                s,
                x,
                y,
                rng.uniform(0.4, 0.5) if i == 0 else rng.uniform(0.15, 0.28),
                c,
                rng.uniform(1.7, 2.2),
            )
        return
    for i in range(int(rng.integers(4, 9))):
        r = rng.uniform(0.08, 0.26)
        x, y = (
            0.8 * math.cos(i * 2.4) * math.sqrt(i / 8),
            0.8 * math.sin(i * 2.4) * math.sqrt(i / 8),
        )
        with s.at(x, y):
            s.blob(ragged(rng, r, r * 0.9, 0.06, 18), c, "liquid", 0.6)
            _spray(s, 8, r * 1.2, r * 1.7, c, 1.0, 0.35)


def blood_splatter(s: Sketch) -> None:
    """A burst of blood with rays and spray."""
    rng, c = s.rng, _red(s.rng)
    n = int(rng.integers(13, 20))
    pts: list[tuple[float, ...]] = []
    for i in range(n):
        a = 2 * math.pi * (i + rng.uniform(-0.2, 0.2)) / n
        step = math.pi / n
        pts.append((0.38 * math.cos(a - step), 0.38 * math.sin(a - step)))
        r = rng.uniform(0.45, 0.98) if rng.random() < 0.6 else 0.42
        k = 0.045 / r
        # A ray with a thin neck and a round end.
        pts += [
            (m * math.cos(a + d), m * math.sin(a + d))
            for m, d in (
                (r * 0.75, -k),
                (r * 0.94, -1.5 * k),
                (r, 0),
                (r * 0.94, 1.5 * k),
                (r * 0.75, k),
            )
        ]
    s.blob(pts, c, "liquid", 0.45)
    _spray(s, int(rng.integers(22, 42)), 0.5, 1.25, c)
    for _ in range(int(rng.integers(0, 4))):
        x = rng.uniform(-0.3, 0.3)
        y = rng.uniform(0.6, 1.2)
        s.stroke([(x, 0.2), (x, y)], [0.09, 0.05, 0.1], c, "liquid", 0.6)


def blood_puddle(s: Sketch) -> None:
    """A pool of blood on the floor."""
    rng, c = s.rng, _red(s.rng)
    squash = rng.uniform(0.4, 0.75)
    with s.at(0, 0, 0, 1, squash):
        s.blob(ragged(rng, 0.95, 0.95, 0.16, int(rng.integers(8, 13))), c, "liquid", 0.18)
        for _ in range(int(rng.integers(1, 4))):
            a = rng.uniform(0, 6.28)
            with s.at(1.15 * math.cos(a), 1.15 * math.sin(a)):
                s.blob(ragged(rng, 0.16, 0.13, 0.12, 8), c, "liquid", 0.3)
    _spray(s, int(rng.integers(4, 12)), 1.0, 1.3, c, squash)


def blood_smear(s: Sketch) -> None:
    """Blood dragged over a surface."""
    rng, c = s.rng, _red(s.rng)
    bend = rng.uniform(-0.35, 0.35)
    s.blob(
        [
            (-1.0, -0.2),
            (-0.75, -0.34),
            (-0.5, -0.27),
            (-0.25, -0.2 + bend * 0.4),
            (-0.2, 0.22 + bend * 0.4),
            (-0.5, 0.28),
            (-0.8, 0.33),
            (-1.02, 0.12),
        ],
        c,
        "smear",
        0.05,
    )
    for y in np.linspace(-0.25, 0.25, int(rng.integers(7, 12))):
        end = rng.uniform(0.3, 1.1)
        y2 = y * rng.uniform(0.85, 1.25)
        s.stroke(
            [
                (-0.8, y),
                (-0.2, y + bend * 0.5),
                (end * 0.4, y2 + bend * 0.5),
                (end, y2 + bend * 0.1),
            ],
            [0.12, rng.uniform(0.05, 0.12), rng.uniform(0.03, 0.09), 0.008],
            shade(c, rng.uniform(0.8, 1.12)),
            "smear",
            0.3,
        )
    for _ in range(int(rng.integers(3, 9))):
        r = rng.uniform(0.015, 0.04)
        s.oval(rng.uniform(-1.1, 1.1), rng.uniform(-0.5, 0.5), r, r, c, "liquid", 0.8)


def blood_handprint(s: Sketch) -> None:
    """The print of a bloody hand."""
    rng, c = s.rng, _red(s.rng)
    s.blob(
        [
            (-0.36, -0.1),
            (-0.12, -0.16),
            (0.15, -0.15),
            (0.37, -0.05),
            (0.36, 0.25),
            (0.25, 0.52),
            (-0.02, 0.6),
            (-0.28, 0.52),
            (-0.4, 0.2),
        ],
        c,
        "smear",
        0.1,
    )
    for x, y, a, n in (
        (-0.33, -0.26, -14, 0.85),
        (-0.11, -0.32, -4, 1.0),
        (0.12, -0.31, 5, 0.95),
        (0.35, -0.2, 16, 0.72),
        (-0.5, 0.2, -56, 0.72),
    ):
        with s.at(x, y, a + rng.uniform(-5, 5), n):
            s.oval(0, 0.04, 0.095, 0.13, c, "smear", 0.1)
            s.oval(0.0, -0.2, 0.088, 0.12, c, "smear", 0.1)
            s.oval(0.0, -0.44, 0.095, 0.13, c, "smear", 0.1)
    for x in rng.uniform(-0.3, 0.3, int(rng.integers(0, 5))):
        s.stroke(
            [(x, 0.3), (x + 0.01, rng.uniform(0.7, 1.1))], [0.06, 0.035, 0.06], c, "liquid", 0.6
        )
    _spray(s, int(rng.integers(0, 9)), 0.7, 1.0, c)


def blood_drip(s: Sketch) -> None:
    """Blood running down from an upper edge."""
    rng, c = s.rng, _red(s.rng)
    pts: list[tuple[float, ...]] = [(-1.0, -0.8, 1), (1.0, -0.8, 1)]
    n = int(rng.integers(6, 10))
    step = 2.0 / n
    pts.append((1.0, -0.62, 1))
    for i in range(n):
        x = 1.0 - (i + 0.5) * step
        low = -0.45 + rng.uniform(0.1, 1.2) * (1 if rng.random() < 0.75 else 0.1)
        h = step * rng.uniform(0.22, 0.3)
        pts += [
            (x + h * 0.8, -0.4),
            (x + h, low - 0.1),
            (x + h * 0.6, low),
            (x, low + h * 0.5),
            (x - h * 0.6, low),
            (x - h, low - 0.1),
            (x - h * 0.8, -0.4),
        ]
        if i < n - 1:
            pts.append((x - step / 2, -0.58 + rng.uniform(-0.04, 0.03)))
        if rng.random() < 0.3:
            _drop(s, x, low + 0.3, 0.07, c)
    pts.append((-1.0, -0.62, 1))
    s.blob(pts, c, "liquid", 0.5)
