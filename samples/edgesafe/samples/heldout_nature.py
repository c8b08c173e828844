"""Held-out drawings of harmless plants and food in the colours of blood and fire."""

from __future__ import annotations

import math

import numpy as np

from edgesafe.samples.heldout_parts import Color, Sketch, hsv, pick, ragged, shade

_LEAF: tuple[Color, ...] = ((0.25, 0.5, 0.2), (0.35, 0.58, 0.22), (0.18, 0.42, 0.22))


def _red(rng: np.random.Generator, spread: float = 0.02) -> Color:
    """Draws the red of a fruit or a petal."""
    return hsv(rng.uniform(-spread, spread), rng.uniform(0.75, 0.93), rng.uniform(0.65, 0.9))


def _leaf(s: Sketch, x: float, y: float, angle: float, size: float, color: Color) -> None:
    """A pointed leaf that starts at (x, y)."""
    with s.at(x, y, angle, size):
        s.blob(
            [(0, 0, 1), (0.3, -0.22), (0.7, -0.2), (1.0, 0.02, 1), (0.65, 0.2), (0.28, 0.18)],
            color,
            "matte",
            0.3,
        )
        s.mark([(0.05, 0), (0.5, -0.02), (0.9, 0.02)], 0.03, shade(color, 0.65))


def baguette(s: Sketch) -> None:
    """A loaf of French bread."""
    rng = s.rng
    c = pick(rng, ((0.78, 0.52, 0.26), (0.7, 0.43, 0.2)))
    w = rng.uniform(0.16, 0.22)
    s.turned(
        [(-1.05, 0.02, 1), (-0.9, w * 0.75), (-0.5, w), (0.5, w), (0.9, w * 0.75), (1.05, 0.02, 1)],
        c,
        "matte",
    )
    for x in np.linspace(-0.75, 0.65, 6):
        s.blob(
            [
                (x - 0.09, w * 0.55),
                (x, -w * 0.15),
                (x + 0.14, -w * 0.7),
                (x + 0.12, -w * 0.2),
                (x + 0.02, w * 0.35),
            ],
            shade(c, 1.45),
            "matte",
            0.4,
        )


def carrot(s: Sketch) -> None:
    """A carrot with its greens."""
    rng = s.rng
    c = hsv(rng.uniform(0.05, 0.09), 0.88, rng.uniform(0.85, 0.98))
    green = pick(rng, _LEAF)
    for a in (-28, 24, -12, 10, 0):
        with s.at(-0.5, 0, a):
            s.stroke(
                [(0, 0), (-0.3, 0.02), (-0.62, 0.0)],
                [0.05, 0.05, 0.02],
                shade(green, rng.uniform(0.8, 1.15)),
            )
            for x in (-0.25, -0.4, -0.55):
                for k in (-1, 1):
                    s.stroke([(x, 0), (x - 0.1, 0.1 * k)], [0.04, 0.015], green)
    w = rng.uniform(0.17, 0.25)
    s.turned(
        [
            (-0.58, 0.0, 1),
            (-0.55, w * 0.8),
            (-0.4, w),
            (0.1, w * 0.72),
            (0.7, w * 0.3),
            (1.05, 0.0, 1),
        ],
        c,
        "matte",
    )
    for x, k in ((-0.35, 1), (-0.15, -1), (0.1, 1), (0.35, -1), (0.5, 1)):
        s.mark([(x, w * 0.55 * k), (x + 0.02, w * 0.15 * k)], 0.022, shade(c, 0.7))


def autumn_leaves(s: Sketch) -> None:
    """Maple leaves or plain ones in red and orange."""
    rng = s.rng
    maple = rng.random() < 0.6
    n = int(rng.integers(1, 5))
    for i in range(n):
        c = hsv(rng.uniform(-0.01, 0.11), rng.uniform(0.75, 0.95), rng.uniform(0.6, 0.92))
        x, y = ((0, 0), (0.75, 0.5), (-0.75, 0.55), (0.15, -0.85))[i]
        with s.at(x, y, rng.uniform(-60, 60), 0.8 if i == 0 else 0.55):
            if not maple:
                _leaf(s, -0.6, 0, 0, 1.3, c)
                for k in (-1, 1):
                    for u in (-0.25, 0.05, 0.3):
                        s.mark([(u, 0), (u + 0.18, 0.16 * k)], 0.02, shade(c, 0.65))
                s.stroke([(-0.6, 0), (-0.9, 0.06)], 0.04, shade(c, 0.6))
                continue
            s.stroke([(0, 0.35), (0.05, 0.95)], 0.05, shade(c, 0.6))
            half = [
                (0.0, -0.95),
                (0.13, -0.68),
                (0.3, -0.76),
                (0.24, -0.38),
                (0.42, -0.52),
                (0.52, -0.46),
                (0.84, -0.5),
                (0.76, -0.3),
                (0.92, -0.2),
                (0.55, 0.1),
                (0.6, 0.26),
                (0.2, 0.28),
                (0.0, 0.4),
            ]
            pts = half + [(-u, v) for u, v in half[-2:0:-1]]
            s.poly(pts, c, "matte", 0.35)
            for u, v in ((0, -0.85), (0.72, -0.38), (-0.72, -0.38), (0.48, 0.2), (-0.48, 0.2)):
                s.mark([(0, 0.35), (u, v)], 0.025, shade(c, 0.65))


def sun(s: Sketch) -> None:
    """A sun with rays."""
    rng = s.rng
    c = hsv(rng.uniform(0.09, 0.14), rng.uniform(0.75, 0.95), 0.98)
    n = int(rng.integers(8, 17))
    ray = hsv(rng.uniform(0.06, 0.13), 0.9, 0.97)
    straight = rng.random() < 0.6
    for i in range(n):
        with s.at(0, 0, i * 360 / n):
            long = 0.98 if i % 2 == 0 else rng.uniform(0.82, 0.98)
            if straight:
                s.poly([(0.62, -0.11), (long, 0), (0.62, 0.11)], ray, "matte", 0.3)
            else:
                s.box(0.66, -0.045, long, 0.045, ray, "matte", 0.5, 0.045)
    s.oval(0, 0, 0.55, 0.55, c, "matte", 0.7)
    if rng.random() < 0.4:
        for k in (-1, 1):
            s.oval(0.18 * k, -0.1, 0.05, 0.07, (0.3, 0.18, 0.08), "gloss")
        s.mark([(-0.22, 0.12), (0, 0.24), (0.22, 0.12)], 0.05, (0.3, 0.18, 0.08))


def orange(s: Sketch) -> None:
    """An orange, whole or cut."""
    rng = s.rng
    c = hsv(rng.uniform(0.06, 0.1), 0.9, rng.uniform(0.9, 0.98))
    if rng.random() < 0.6:
        s.oval(0, 0, 0.85, rng.uniform(0.76, 0.85), c, "gloss")
        for _ in range(60):
            a, d = rng.uniform(0, 6.28), 0.72 * math.sqrt(rng.random())
            s.oval(d * math.cos(a), d * math.sin(a), 0.014, 0.014, shade(c, 0.8), line=True)
        s.oval(0, -0.62, 0.07, 0.05, (0.35, 0.4, 0.15))
        _leaf(s, 0.0, -0.65, -25, 0.65, pick(rng, _LEAF))
    else:
        s.oval(0, 0, 0.85, 0.85, c, "gloss", 0.1)
        s.oval(0, 0, 0.77, 0.77, (0.98, 0.92, 0.78), bulge=0.05)
        for i in range(10):
            with s.at(0, 0, i * 36):
                s.blob(
                    [
                        (0.08, 0, 1),
                        (0.4, -0.13),
                        (0.66, -0.17),
                        (0.72, 0),
                        (0.66, 0.17),
                        (0.4, 0.13),
                    ],
                    shade(c, 1.1),
                    "gloss",
                    0.5,
                )


def tulip(s: Sketch) -> None:
    """A red or orange tulip."""
    rng = s.rng
    c = _red(rng, 0.05)
    green = pick(rng, _LEAF)
    s.stroke([(0, -0.2), (0.03, 0.4), (-0.02, 1.1)], 0.07, green)
    for k in (-1, 1):
        s.blob(
            [(0, 1.0, 1), (0.22 * k, 0.6), (0.42 * k, 0.1, 1), (0.42 * k, 0.5), (0.25 * k, 0.85)],
            shade(green, 0.9),
            "matte",
            0.5,
        )
    s.blob([(0, -0.1), (-0.25, -0.5), (0.0, -1.0, 1), (0.25, -0.5)], shade(c, 0.72), "matte", 0.6)
    for k in (-1, 1):
        s.blob(
            [
                (0.02 * k, -0.05, 1),
                (0.3 * k, -0.1),
                (0.45 * k, -0.45),
                (0.36 * k, -0.98, 1),
                (0.08 * k, -0.55),
            ],
            c if k > 0 else shade(c, 0.88),
            "matte",
            0.7,
        )
    s.blob(
        [(0, -0.02), (-0.22, -0.2), (-0.17, -0.55), (0, -0.8, 1), (0.17, -0.55), (0.22, -0.2)],
        shade(c, 1.1),
        "matte",
        0.8,
    )


def rose(s: Sketch) -> None:
    """A red rose."""
    rng = s.rng
    c = _red(rng, 0.03)
    green = pick(rng, _LEAF)
    s.stroke([(0, 0.0), (0.04, 0.6), (-0.03, 1.15)], 0.06, green)
    _leaf(s, 0.03, 0.62, -25, 0.5, green)
    _leaf(s, 0.0, 0.78, 205, 0.5, green)
    with s.at(0, -0.4):
        for k in (-1, 1):
            s.blob(
                [(0, 0.5, 1), (0.3 * k, 0.5), (0.62 * k, 0.15), (0.55 * k, -0.3), (0.1 * k, -0.1)],
                shade(c, 0.8),
                "matte",
                0.6,
            )
        s.oval(0, 0.0, 0.5, 0.5, c, bulge=0.8)
        for i, r in enumerate((0.44, 0.34, 0.25, 0.16)):
            for j in range(3):
                with s.at(0, -0.05 * i, j * 120 + i * 50):
                    s.blob(
                        [
                            (r, 0),
                            (r * 0.75, r * 0.72),
                            (0.1 * r, r),
                            (-r * 0.3, r * 0.8),
                            (0.2 * r, r * 0.45),
                            (r * 0.45, r * 0.05),
                        ],
                        shade(c, 0.74 + 0.12 * ((i + j) % 3)),
                        "matte",
                        0.5,
                    )
        s.oval(0, -0.15, 0.08, 0.08, shade(c, 0.6))
        for a in (200, 270, 340):
            with s.at(0, 0.45, -a, 0.3):
                s.blob([(0, -0.2), (0.6, -0.15), (1.0, 0.1, 1), (0.5, 0.25), (0, 0.2)], green)


def apple(s: Sketch) -> None:
    """A red apple."""
    rng = s.rng
    c = _red(rng)
    w = rng.uniform(0.78, 0.9)
    s.blob(
        [
            (0, -0.55, 1),
            (0.3, -0.72),
            (w * 0.85, -0.55),
            (w, -0.1),
            (w * 0.75, 0.55),
            (0.3, 0.85),
            (0, 0.78),
            (-0.3, 0.85),
            (-w * 0.75, 0.55),
            (-w, -0.1),
            (-w * 0.85, -0.55),
            (-0.3, -0.72),
        ],
        c,
        "gloss",
        1.0,
    )
    s.oval(0, -0.53, 0.2, 0.07, shade(c, 0.6), bulge=0, line=True)
    s.stroke([(0, -0.5), (0.03, -0.75), (0.13, -0.98)], [0.05, 0.05, 0.08], (0.35, 0.22, 0.12))
    _leaf(s, 0.06, -0.75, -20, 0.55, pick(rng, _LEAF))


def strawberry(s: Sketch) -> None:
    """A strawberry."""
    rng = s.rng
    c = _red(rng)
    w = rng.uniform(0.65, 0.78)
    s.blob(
        [
            (0, -0.55),
            (w * 0.7, -0.58),
            (w, -0.2),
            (w * 0.7, 0.35),
            (0.2, 0.85),
            (-0.2, 0.85),
            (-w * 0.7, 0.35),
            (-w, -0.2),
            (-w * 0.7, -0.58),
        ],
        c,
        "gloss",
        1.0,
    )
    for j, y in enumerate(np.linspace(-0.32, 0.65, 6)):
        half = w * (0.85 - 0.75 * max(0.0, y) - 0.1)
        for x in np.arange(-half, half + 0.01, 0.25) + (0.12 if j % 2 else 0):
            if abs(x) < half:
                s.oval(x, y, 0.028, 0.042, (0.96, 0.85, 0.45), "gloss", line=True)
    green = pick(rng, _LEAF)
    s.stroke([(0, -0.55), (0.05, -0.95)], 0.06, green)
    for a in (-160, -20, 150, 30, 90, 60, 120):
        _leaf(s, 0, -0.58, a, 0.48, green)


def tomato(s: Sketch) -> None:
    """A tomato."""
    rng = s.rng
    c = hsv(rng.uniform(-0.005, 0.035), 0.88, rng.uniform(0.78, 0.92))
    s.blob(
        [
            (0, -0.55),
            (0.45, -0.66),
            (0.88, -0.3),
            (0.92, 0.15),
            (0.6, 0.62),
            (0, 0.72),
            (-0.6, 0.62),
            (-0.92, 0.15),
            (-0.88, -0.3),
            (-0.45, -0.66),
        ],
        c,
        "gloss",
        1.0,
    )
    green = pick(rng, _LEAF)
    for a in (-170, -10, 30, 70, 110, 150):
        with s.at(0, -0.5, a + rng.uniform(-8, 8), 0.42):
            s.blob([(0, -0.12), (0.5, -0.12), (1.0, 0.06, 1), (0.5, 0.1), (0, 0.12)], green)
    s.stroke([(0, -0.5), (0.02, -0.65), (0.1, -0.78)], 0.08, shade(green, 0.85))


def eggs(s: Sketch) -> None:
    """Eggs, at times in a nest."""
    rng = s.rng
    c = pick(rng, ((0.94, 0.9, 0.84), (0.85, 0.65, 0.48), (0.75, 0.88, 0.9)))
    nest = rng.random() < 0.4
    if nest:
        s.oval(0, 0.4, 1.0, 0.5, (0.45, 0.33, 0.18), "matte", 0.5)
        for _ in range(26):
            a = rng.uniform(0, 6.28)
            x, y = 0.85 * math.cos(a), 0.4 + 0.4 * math.sin(a)
            b = a + 1.57 + rng.normal(0, 0.4)
            dx, dy = 0.25 * math.cos(b), 0.15 * math.sin(b)
            s.stroke(
                [(x - dx, y - dy), (x + dx, y + dy)],
                0.035,
                shade((0.6, 0.45, 0.25), rng.uniform(0.7, 1.2)),
            )
    for i in range(int(rng.integers(1, 4))):
        x, y = ((0, 0.1), (-0.5, 0.18), (0.5, 0.2))[i]
        with s.at(x, y, rng.uniform(-35, 35), 0.9 if nest else 1.05):
            e = shade(c, rng.uniform(0.93, 1.05))
            s.blob(
                [
                    (0, -0.48),
                    (0.2, -0.36),
                    (0.33, -0.02),
                    (0.26, 0.27),
                    (0, 0.38),
                    (-0.26, 0.27),
                    (-0.33, -0.02),
                    (-0.2, -0.36),
                ],
                e,
                "matte",
                1.0,
            )
            if c[2] > 0.86:
                for dx, dy in ragged(rng, 0.18, 0.2, 0.3, 8):
                    s.oval(dx, dy, 0.018, 0.015, shade(e, 0.6), bulge=0, line=True)
