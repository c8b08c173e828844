"""Held-out drawings of harmless toys and small things."""

from __future__ import annotations

import math

import numpy as np

from edgesafe.samples.heldout_parts import (
    BLACK,
    STEEL,
    WHITE,
    Sketch,
    hsv,
    pick,
    shade,
    vivid,
)


def buttons(s: Sketch) -> None:
    """Sewing buttons."""
    rng = s.rng
    one = vivid(rng)
    many = rng.random() < 0.5
    for i in range(int(rng.integers(3, 8))):
        c = vivid(rng) if many else one
        r = rng.uniform(0.22, 0.32)
        d = 0.8 * math.sqrt(i / 7)
        with s.at(d * math.cos(i * 2.4), d * math.sin(i * 2.4), rng.uniform(0, 90)):
            s.oval(0, 0, r, r, c, "gloss", 0.3)
            s.oval(0, 0, r * 0.7, r * 0.7, shade(c, 0.82), "gloss", 0.2)
            for x, y in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
                s.oval(x * r * 0.22, y * r * 0.22, r * 0.13, r * 0.13, shade(c, 0.22), "matte", 0)


def candies(s: Sketch) -> None:
    """Wrapped sweets, sugar-coated beans, or a lollipop."""
    rng = s.rng
    kind = rng.random()
    if kind < 0.45:
        for i in range(int(rng.integers(1, 5))):
            c, x, y = vivid(rng), ((0, 0), (0.55, 0.6), (-0.6, 0.55), (0.1, -0.7))[i][0], 0.0
            y = (0, 0.6, 0.55, -0.7)[i]
            with s.at(x, y, rng.uniform(-40, 40), 0.72):
                for k in (-1, 1):
                    s.poly(
                        [
                            (0.3 * k, 0),
                            (0.72 * k, -0.28),
                            (0.64 * k, -0.08),
                            (0.74 * k, 0.0),
                            (0.64 * k, 0.1),
                            (0.72 * k, 0.28),
                        ],
                        shade(c, 1.25),
                        "gloss",
                        0.4,
                    )
                s.oval(0, 0, 0.4, 0.32, c, "gloss")
                for x in (-0.18, 0.0, 0.18):
                    s.mark([(x - 0.08, -0.26), (x + 0.04, 0), (x + 0.02, 0.27)], 0.06, WHITE)
    elif kind < 0.75:
        for i in range(int(rng.integers(6, 13))):
            d = 0.85 * math.sqrt(i / 12)
            with s.at(d * math.cos(i * 2.4), d * math.sin(i * 2.4), rng.uniform(0, 180)):
                s.oval(0, 0, 0.2, 0.18, hsv(rng.random(), 0.85, 0.9), "gloss")
                s.stroke(
                    [(-0.05, 0.06), (-0.05, -0.06), (0, 0.02), (0.05, -0.06), (0.05, 0.06)],
                    0.025,
                    WHITE,
                    line=True,
                    smooth=False,
                )
    else:
        c = vivid(rng)
        s.stroke([(0, 0.2), (0, 1.1)], 0.07, WHITE)
        s.oval(0, -0.2, 0.55, 0.55, c, "gloss", 0.5)
        t = np.linspace(0, 13, 40)
        s.mark([(0.04 * a * math.cos(a), -0.2 + 0.04 * a * math.sin(a)) for a in t], 0.09, WHITE)


def marbles(s: Sketch) -> None:
    """Glass marbles with a coloured twist inside."""
    rng = s.rng
    for i in range(int(rng.integers(3, 8))):
        c, r = vivid(rng), rng.uniform(0.24, 0.33)
        d = 0.85 * math.sqrt(i / 7)
        with s.at(d * math.cos(i * 2.4), d * math.sin(i * 2.4), rng.uniform(0, 360)):
            s.oval(0, 0, r, r, shade(c, 1.45), "gloss")
            s.stroke(
                [
                    (-r * 0.8, r * 0.1),
                    (-r * 0.3, -r * 0.35),
                    (r * 0.3, r * 0.35),
                    (r * 0.8, -r * 0.1),
                ],
                [0.02, r * 0.5, r * 0.5, 0.02],
                c,
                line=True,
            )
            s.stroke(
                [(-r * 0.7, r * 0.3), (0, r * 0.1), (r * 0.7, -r * 0.3)],
                [0.01, r * 0.2, 0.01],
                vivid(rng),
                line=True,
            )


def toy_car(s: Sketch) -> None:
    """A toy car seen from the side."""
    rng, c = s.rng, vivid(s.rng)
    h = rng.uniform(0.38, 0.52)
    s.blob(
        [(-0.55, -0.05, 1), (-0.42, -h), (-0.1, -h - 0.06), (0.3, -h), (0.58, -0.05, 1)],
        c,
        "gloss",
        0.7,
    )
    for x0, x1 in ((-0.42, 0.0), (0.07, 0.42)):
        s.poly(
            [
                (x0, -0.05),
                (x0 + 0.07 * (x0 < 0), -h + 0.08),
                (x1 - 0.12 * (x0 > 0), -h + 0.08),
                (x1, -0.05),
            ],
            (0.65, 0.82, 0.93),
            "gloss",
            0.2,
        )
    s.blob(
        [
            (-1.0, 0.3),
            (-1.0, 0.02),
            (-0.6, -0.08),
            (0.55, -0.08),
            (0.95, 0.02),
            (1.03, 0.3),
            (0.9, 0.36, 1),
            (-0.9, 0.36, 1),
        ],
        c,
        "gloss",
        0.7,
    )
    s.oval(0.95, 0.12, 0.06, 0.07, (1, 0.95, 0.7), "gloss")
    s.box(-1.02, 0.08, -0.94, 0.18, (0.8, 0.15, 0.1), "gloss", 0.5)
    s.mark([(0.03, -0.05), (0.03, 0.3)], 0.02, shade(c, 0.6))
    for x in (-0.55, 0.55):
        s.oval(x, 0.36, 0.23, 0.23, (0.14, 0.14, 0.15), "matte", 0.4)
        s.oval(x, 0.36, 0.12, 0.12, pick(rng, (STEEL[0], (0.95, 0.85, 0.3))), "metal", 0.6)


def teddy_bear(s: Sketch) -> None:
    """A sitting teddy bear."""
    rng = s.rng
    c = pick(rng, ((0.62, 0.42, 0.24), (0.78, 0.6, 0.4), (0.45, 0.3, 0.2), (0.9, 0.85, 0.78)))
    pale = shade(c, 1.45)
    for k in (-1, 1):
        s.oval(0.36 * k, -0.82, 0.17, 0.17, c)
        s.oval(0.36 * k, -0.82, 0.09, 0.09, pale, bulge=0.4)
        s.oval(0.52 * k, 0.18, 0.17, 0.34, c, angle=-35 * k)
    s.oval(0, 0.35, 0.48, 0.55, c)
    s.oval(0, 0.38, 0.28, 0.36, pale, bulge=0.5)
    for k in (-1, 1):
        s.oval(0.45 * k, 0.8, 0.25, 0.23, c)
        s.oval(0.48 * k, 0.82, 0.14, 0.14, pale, bulge=0.4)
    s.oval(0, -0.48, 0.5, 0.43, c)
    s.oval(0, -0.36, 0.22, 0.17, pale)
    s.oval(0, -0.42, 0.08, 0.055, (0.15, 0.1, 0.1), "gloss")
    s.mark(
        [(-0.1, -0.29), (-0.04, -0.26), (0, -0.33), (0.04, -0.26), (0.1, -0.29)],
        0.025,
        (0.2, 0.12, 0.1),
    )
    for k in (-1, 1):
        s.oval(0.19 * k, -0.55, 0.055, 0.06, (0.08, 0.06, 0.06), "gloss")
    if rng.random() < 0.6:
        red = vivid(rng)
        for k in (-1, 1):
            s.poly([(0, -0.05), (0.24 * k, -0.17), (0.24 * k, 0.08)], red, "gloss", 0.6)
        s.oval(0, -0.05, 0.06, 0.06, shade(red, 0.8), "gloss")


def ball(s: Sketch) -> None:
    """A football, a beach ball, or a basketball."""
    rng = s.rng
    kind = rng.random()
    r = 0.9
    if kind < 0.35:
        s.oval(0, 0, r, r, WHITE, "gloss")
        dark = pick(rng, (BLACK, (0.1, 0.15, 0.4), (0.6, 0.1, 0.1)))
        for cx, cy, n, a in (
            (0, 0, 0.3, -90),
            *(
                (0.72 * math.cos(t), 0.72 * math.sin(t), 0.2, math.degrees(t))
                for t in np.radians([-54, 18, 90, 162, 234])
            ),
        ):
            with s.at(cx, cy, a):
                x0 = n if n > 0.25 else 0.15
                s.loops(
                    [
                        np.asarray(
                            [
                                (x0 * math.cos(t), n * math.sin(t))
                                for t in np.linspace(0, 2 * math.pi, 6)[:-1]
                            ]
                        )
                    ],
                    dark,
                    "gloss",
                    0.0,
                    True,
                )
        for t in np.radians([-90, -18, 54, 126, 198]):
            s.mark(
                [(0.3 * math.cos(t), 0.3 * math.sin(t)), (0.62 * math.cos(t), 0.62 * math.sin(t))],
                0.025,
                shade(dark, 0.9),
            )
    elif kind < 0.7:
        s.oval(0, 0, r, r, WHITE, "gloss")
        cols = [vivid(rng) for _ in range(3)]
        for i in range(6):
            a0, a1 = i * math.pi / 3, (i + 0.5) * math.pi / 3
            pts = [
                (0.2, -0.25, 1),
                *[
                    (r * 0.99 * math.cos(a), r * 0.99 * math.sin(a), 1)
                    for a in np.linspace(a0, a1, 7)
                ],
            ]
            s.blob(pts, cols[i % 3], "gloss", 0.0)
            p = s.parts.pop()
            s.loops(p.loops, p.color, "gloss", 0.0, True)
        s.oval(0.2, -0.25, 0.12, 0.11, WHITE, "gloss", 0.2, line=True)
    else:
        c = pick(rng, ((0.85, 0.42, 0.12), (0.75, 0.35, 0.15)))
        s.oval(0, 0, r, r, c, "matte")
        for path in (
            [(-r, 0), (0, 0.08), (r, 0)],
            [(0, -r), (0.08, 0), (0, r)],
            [(-0.6, -0.66), (-0.28, 0), (-0.6, 0.66)],
            [(0.6, -0.66), (0.38, 0), (0.6, 0.66)],
        ):
            s.mark(path, 0.035, (0.12, 0.08, 0.06))


def book(s: Sketch) -> None:
    """A closed book, or an open one."""
    rng, c = s.rng, vivid(s.rng)
    if rng.random() < 0.5:
        s.poly(
            [(-0.6, -0.85), (0.72, -0.75), (0.72, 0.9), (-0.6, 0.92)], shade(c, 0.7), "matte", 0.1
        )
        s.poly(
            [(-0.55, -0.8), (0.69, -0.72), (0.69, 0.84), (-0.55, 0.86)],
            (0.95, 0.93, 0.86),
            "matte",
            0.1,
        )
        s.poly([(-0.68, -0.92), (0.6, -0.92), (0.6, 0.8), (-0.68, 0.8)], c, "matte", 0.08)
        s.poly(
            [(-0.68, -0.92), (-0.52, -0.92), (-0.52, 0.8), (-0.68, 0.8)],
            shade(c, 0.75),
            "matte",
            0.3,
        )
        s.box(-0.35, -0.6, 0.42, -0.25, shade(c, 1.7), bulge=0, r=0.02, line=True)
        for y in (-0.5, -0.36):
            s.mark([(-0.25, y), (0.3, y)], 0.05, shade(c, 0.4))
        s.oval(0.03, 0.28, 0.22, 0.22, vivid(rng), bulge=0, line=True)
    else:
        s.blob(
            [
                (-1.05, -0.55, 1),
                (0, -0.5, 1),
                (1.05, -0.55, 1),
                (1.05, 0.62, 1),
                (0, 0.68, 1),
                (-1.05, 0.62, 1),
            ],
            c,
            "matte",
            0.1,
        )
        for k in (-1, 1):
            s.blob(
                [
                    (0, -0.48, 1),
                    (0.4 * k, -0.66),
                    (0.98 * k, -0.56, 1),
                    (0.98 * k, 0.52, 1),
                    (0.4 * k, 0.46),
                    (0, 0.62, 1),
                ],
                (0.96, 0.94, 0.88),
                "matte",
                0.35,
            )
            for y in np.linspace(-0.38, 0.3, 7):
                s.mark(
                    [(0.15 * k, y), (0.5 * k, y - 0.07), (0.86 * k, y)], 0.025, (0.45, 0.45, 0.48)
                )


def mug(s: Sketch) -> None:
    """A mug with a drink."""
    rng, c = s.rng, vivid(s.rng)
    s.stroke(
        [(0.45, -0.35), (0.85, -0.38), (0.98, 0.0), (0.8, 0.35), (0.42, 0.42)], 0.14, c, "gloss"
    )
    s.blob(
        [
            (-0.6, -0.6, 1),
            (-0.57, 0.5),
            (-0.45, 0.74),
            (0, 0.82),
            (0.45, 0.74),
            (0.57, 0.5),
            (0.6, -0.6, 1),
        ],
        c,
        "gloss",
        0.9,
    )
    s.oval(0, -0.6, 0.6, 0.16, shade(c, 1.3), "gloss", 0.1)
    s.oval(0, -0.58, 0.53, 0.12, pick(rng, ((0.3, 0.18, 0.1), (0.6, 0.4, 0.25))), "gloss", 0.05)
    if rng.random() < 0.5:
        s.box(-0.59, -0.05, 0.59, 0.2, shade(c, 1.6), bulge=0, r=0.01, line=True)
    elif rng.random() < 0.5:
        s.oval(0, 0.1, 0.25, 0.25, WHITE, bulge=0, line=True)


def phone(s: Sketch) -> None:
    """A mobile phone, front or back."""
    rng = s.rng
    c = pick(rng, (BLACK, WHITE, (0.75, 0.6, 0.6), (0.3, 0.4, 0.55)))
    s.box(-0.52, -1.0, 0.52, 1.0, c, "gloss", 0.12, 0.13)
    if rng.random() < 0.65:
        screen = hsv(rng.random(), rng.uniform(0.3, 0.8), rng.uniform(0.5, 0.9))
        s.box(-0.46, -0.93, 0.46, 0.93, screen, "gloss", 0.0, 0.09)
        for j in range(4):
            for i in range(3):
                s.box(
                    -0.36 + i * 0.27,
                    -0.6 + j * 0.3,
                    -0.18 + i * 0.27,
                    -0.42 + j * 0.3,
                    vivid(rng),
                    bulge=0,
                    r=0.05,
                    line=True,
                )
        s.box(-0.12, -0.89, 0.12, -0.83, BLACK, bulge=0, r=0.03, line=True)
    else:
        s.box(-0.44, -0.92, -0.05, -0.5, shade(c, 0.8), "gloss", 0.3, 0.1)
        for y in (-0.82, -0.6):
            s.oval(-0.25, y, 0.09, 0.09, (0.08, 0.08, 0.1), "gloss", 0.6)
        s.oval(0, 0.1, 0.1, 0.1, shade(c, 0.7), bulge=0, line=True)


def heart(s: Sketch) -> None:
    """A red heart."""
    rng = s.rng
    c = hsv(rng.uniform(-0.05, 0.02), rng.uniform(0.75, 0.95), rng.uniform(0.65, 0.95))
    d = rng.uniform(0.2, 0.4)
    s.blob(
        [
            (0, -0.75 + d, 1),
            (0.2, -0.72),
            (0.55, -0.8),
            (0.92, -0.45),
            (0.75, 0.1),
            (0.35, 0.5),
            (0, 0.85, 1),
            (-0.35, 0.5),
            (-0.75, 0.1),
            (-0.92, -0.45),
            (-0.55, -0.8),
            (-0.2, -0.72),
        ],
        c,
        "gloss" if rng.random() < 0.6 else "matte",
        0.9,
    )


def balloon(s: Sketch) -> None:
    """A balloon on a string, often red."""
    rng = s.rng
    c = hsv(rng.uniform(-0.03, 0.06), 0.85, 0.85) if rng.random() < 0.6 else vivid(rng)
    s.stroke([(0, 0.3), (0.08, 0.55), (-0.06, 0.85), (0.04, 1.2)], 0.022, (0.4, 0.4, 0.42))
    s.poly([(-0.08, 0.4), (0.08, 0.4), (0, 0.26)], shade(c, 0.8), "gloss")
    w = rng.uniform(0.55, 0.65)
    s.blob(
        [
            (0, -1.05),
            (w * 0.75, -0.85),
            (w, -0.4),
            (w * 0.7, 0.05),
            (0.06, 0.32),
            (-0.06, 0.32),
            (-w * 0.7, 0.05),
            (-w, -0.4),
            (-w * 0.75, -0.85),
        ],
        c,
        "gloss",
        1.0,
    )
