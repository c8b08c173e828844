"""Held-out drawings of harmless tools and household things."""

from __future__ import annotations

import math

import numpy as np

from edgesafe.samples.heldout_parts import (
    BLACK,
    STEEL,
    WHITE,
    WOODS,
    Sketch,
    hsv,
    pick,
    shade,
    vivid,
)

_GOLD = (0.8, 0.66, 0.3)


def spoon(s: Sketch) -> None:
    """A table spoon or a wooden one."""
    rng = s.rng
    wood = rng.random() < 0.3
    c = pick(rng, WOODS) if wood else pick(rng, (*STEEL, _GOLD), 0.03)
    mat = "wood" if wood else "metal"
    s.turned([(-1.0, 0.05), (-0.92, 0.1), (-0.7, 0.07), (0.0, 0.045), (0.4, 0.04)], c, mat, 0.7)
    w = rng.uniform(0.21, 0.27)
    s.turned(
        [(0.33, 0.0, 1), (0.36, 0.05), (0.5, w * 0.85), (0.68, w), (0.9, w * 0.75), (1.02, 0.0, 1)],
        c,
        mat,
        0.3,
    )
    s.oval(0.7, 0.0, 0.26, w * 0.74, shade(c, 0.75), mat, 0.5)


def ladle(s: Sketch) -> None:
    """A soup ladle with a hooked end."""
    rng = s.rng
    c = pick(rng, (*STEEL, (0.2, 0.2, 0.22), (0.7, 0.2, 0.2)), 0.03)
    s.stroke(
        [(-1.0, 0.0), (-1.08, -0.1), (-1.0, -0.2), (-0.88, -0.14), (-0.5, -0.08), (0.45, 0.0)],
        [0.05, 0.05, 0.07, 0.09, 0.08, 0.07, 0.06],
        c,
        "metal",
        0.7,
    )
    s.blob([(0.35, 0.0, 1), (0.4, 0.3), (0.68, 0.5), (0.96, 0.3), (1.02, 0.0, 1)], c, "metal", 1.0)
    s.oval(0.685, 0.0, 0.335, 0.1, shade(c, 0.6), "metal", 0.3)
    if rng.random() < 0.5:
        s.stroke([(-0.92, -0.15), (-0.35, -0.06)], 0.12, pick(rng, (BLACK, WOODS[0])), "matte")


def hammer(s: Sketch) -> None:
    """A claw hammer, or a sledge hammer."""
    rng = s.rng
    steel = pick(rng, (*STEEL, (0.3, 0.31, 0.33)))
    if rng.random() < 0.5:
        s.stroke([(-1.0, 0), (0.6, 0)], [0.13, 0.12, 0.09], pick(rng, WOODS), "wood", 0.8)
    else:
        grip = vivid(rng)
        s.stroke([(-0.5, 0), (0.6, 0)], 0.085, steel, "metal")
        s.stroke([(-1.0, 0), (-0.35, 0)], [0.17, 0.15, 0.16], grip, "matte")
        for x in (-0.85, -0.7, -0.55):
            s.mark([(x, -0.07), (x, 0.07)], 0.03, shade(grip, 0.6))
    if rng.random() < 0.7:
        s.blob(
            [
                (0.5, 0.08, 1),
                (0.5, -0.1),
                (0.42, -0.3),
                (0.22, -0.5, 1),
                (0.28, -0.53),
                (0.56, -0.4),
                (0.72, -0.15),
                (0.74, 0.08, 1),
            ],
            steel,
            "metal",
            0.5,
        )
        s.box(0.5, 0.05, 0.74, 0.28, steel, "metal", 0.6, 0.03)
        s.box(0.44, 0.25, 0.8, 0.44, shade(steel, 0.9), "metal", 0.6, 0.04)
    else:
        s.box(0.42, -0.4, 0.8, 0.4, steel, "metal", 0.5, 0.05)
        for k in (-1, 1):
            s.box(0.39, 0.34 * k - 0.06, 0.83, 0.34 * k + 0.06, shade(steel, 1.2), "metal", 0.5)


def hair_dryer(s: Sketch) -> None:
    """A hair dryer seen from the side."""
    rng, c = s.rng, vivid(s.rng)
    dark = pick(rng, (BLACK, (0.3, 0.3, 0.33), shade(c, 0.5)))
    s.stroke([(-0.5, 0.75), (-0.62, 0.95), (-0.4, 1.1), (-0.1, 1.05)], 0.05, dark)
    s.blob(
        [
            (-0.45, -0.1),
            (-0.1, -0.1),
            (-0.15, 0.3),
            (-0.3, 0.78, 1),
            (-0.58, 0.74, 1),
            (-0.48, 0.3),
        ],
        c,
        "gloss",
        0.8,
    )
    s.box(-0.33, 0.18, -0.22, 0.4, dark, "matte", 0.5, 0.03)
    s.poly([(0.45, -0.52), (0.95, -0.58), (0.95, 0.02), (0.45, -0.06)], dark, "matte", 0.8)
    s.blob(
        [
            (-0.72, -0.32),
            (-0.6, -0.62),
            (-0.25, -0.7),
            (0.2, -0.56),
            (0.52, -0.52, 1),
            (0.52, -0.06, 1),
            (0.2, -0.05),
            (-0.25, 0.1),
            (-0.6, 0.0),
        ],
        c,
        "gloss",
        1.0,
    )
    s.oval(-0.5, -0.3, 0.12, 0.26, dark, "matte", 0.2)
    for y in (-0.42, -0.3, -0.18):
        s.mark([(-0.59, y), (-0.41, y)], 0.025, shade(c, 0.8))
    s.mark([(0.36, -0.53), (0.36, -0.06)], 0.03, shade(c, 0.6))


def water_tap(s: Sketch) -> None:
    """A kitchen tap."""
    rng = s.rng
    c = pick(rng, (*STEEL, _GOLD), 0.03)
    s.box(-0.55, 0.75, 0.15, 0.92, c, "metal", 0.7, 0.05)
    s.box(-0.34, -0.2, -0.06, 0.8, c, "metal", 0.95, 0.03)
    h = rng.uniform(0.55, 0.85)
    s.stroke(
        [(-0.2, 0.05), (-0.2, -h * 0.6), (0.0, -h), (0.35, -h), (0.6, -h * 0.7), (0.62, -h * 0.25)],
        [0.2, 0.2, 0.19, 0.18, 0.17],
        c,
        "metal",
    )
    s.box(0.51, -h * 0.3, 0.73, -h * 0.3 + 0.13, shade(c, 0.8), "metal", 0.9, 0.02)
    s.stroke([(-0.3, 0.3), (-0.55, 0.18), (-0.8, 0.1)], [0.15, 0.09, 0.13], c, "metal")
    s.oval(-0.2, 0.32, 0.09, 0.09, pick(rng, ((0.75, 0.2, 0.2), (0.2, 0.35, 0.8), c)), "gloss")
    if rng.random() < 0.6:
        s.blob(
            [(0.62, 0.1, 1), (0.72, 0.32), (0.62, 0.44), (0.52, 0.32)],
            (0.5, 0.75, 0.95),
            "liquid",
            0.9,
        )


def umbrella(s: Sketch) -> None:
    """An open umbrella, or a folded one."""
    rng, c = s.rng, vivid(s.rng)
    two = shade(c, 0.75) if rng.random() < 0.6 else vivid(rng)
    hook = pick(rng, (*WOODS, BLACK))
    if rng.random() < 0.65:
        s.stroke([(0, -0.75), (0, 0.7)], 0.045, STEEL[1], "metal")
        s.stroke([(0, 0.55), (0, 0.82), (0.1, 0.95), (0.24, 0.9), (0.27, 0.78)], 0.09, hook, "wood")
        s.stroke([(0, -0.95), (0, -0.75)], 0.05, STEEL[1], "metal")
        edge = np.linspace(-1, 1, 5)
        for i in range(4):
            a, b = float(edge[i]), float(edge[i + 1])
            s.blob(
                [
                    (0, -0.85, 1),
                    (a * 0.72, -0.6),
                    (a, 0.0, 1),
                    ((a + b) / 2, -0.1),
                    (b, 0.0, 1),
                    (b * 0.72, -0.6),
                ],
                two if i % 2 else c,
                "matte",
                0.6,
            )
    else:
        s.stroke([(0.6, 0), (1.0, 0), (1.12, 0.1), (1.05, 0.24), (0.93, 0.22)], 0.075, hook, "wood")
        s.stroke([(-1.1, 0), (-0.8, 0)], 0.035, STEEL[1], "metal")
        s.turned([(-1.0, 0.02, 1), (-0.3, 0.13), (0.3, 0.18), (0.6, 0.2), (0.68, 0.05)], c)
        for y in (-0.1, 0.0, 0.1):
            s.mark([(-0.85, y * 0.2), (0.62, y * 1.2)], 0.02, shade(two, 0.7))
        s.box(0.1, -0.185, 0.18, 0.185, shade(c, 0.6), "matte", 0.6, 0.01)


def pen(s: Sketch) -> None:
    """A ball-point pen, or a pencil."""
    rng, c = s.rng, vivid(s.rng)
    if rng.random() < 0.5:
        s.turned([(-1.0, 0.075, 1), (0.6, 0.085), (0.75, 0.085, 1)], c, "gloss")
        s.turned(
            [(0.75, 0.08, 1), (0.95, 0.03, 1), (1.0, 0.012, 1)], STEEL[0], "metal", smooth=False
        )
        s.box(-1.08, -0.04, -0.98, 0.04, STEEL[0], "metal", 0.9, 0.02)
        s.box(-1.0, -0.12, -0.4, -0.07, STEEL[0], "metal", 0.6, 0.02)
        s.box(0.3, -0.088, 0.72, 0.088, shade(c, 0.5), "matte", 0.9, 0.01)
    else:
        s.box(-0.85, -0.08, 0.7, 0.08, c, "gloss", 0.6, 0.01)
        s.mark([(-0.85, -0.025), (0.7, -0.025)], 0.016, shade(c, 0.65))
        s.mark([(-0.85, 0.03), (0.7, 0.03)], 0.016, shade(c, 0.65))
        s.poly([(0.7, -0.08), (1.0, 0), (0.7, 0.08)], (0.9, 0.74, 0.52), "wood", 0.8)
        s.poly([(0.9, -0.027), (1.0, 0), (0.9, 0.027)], (0.2, 0.2, 0.22), "matte", 0.8)
        s.box(-0.95, -0.082, -0.83, 0.082, STEEL[0], "metal", 0.8, 0.01)
        s.box(-1.1, -0.078, -0.95, 0.078, (0.92, 0.6, 0.62), "matte", 0.8, 0.05)


def ruler(s: Sketch) -> None:
    """A ruler with its divisions."""
    rng = s.rng
    c = (
        pick(rng, ((0.9, 0.75, 0.4), (0.75, 0.77, 0.8), (0.95, 0.85, 0.3)))
        if (rng.random() < 0.6)
        else vivid(rng)
    )
    h = rng.uniform(0.13, 0.2)
    s.box(-1.05, -h, 1.05, h, c, "gloss", 0.05, 0.02)
    for i, x in enumerate(np.linspace(-0.98, 0.98, 41)):
        d = h * (0.95 if i % 10 == 0 else 0.7 if i % 5 == 0 else 0.42)
        s.mark([(x, -h), (x, -h + d)], 0.014, (0.1, 0.1, 0.12), smooth=False)
    s.oval(0.9, h * 0.4, 0.04, 0.04, shade(c, 0.3), "matte", 0.0)


def scissors(s: Sketch) -> None:
    """Open scissors."""
    rng, c, steel = s.rng, vivid(s.rng), pick(s.rng, STEEL, 0.03)
    a = rng.uniform(8, 17)
    t = np.linspace(0, 2 * math.pi, 16)
    for k in (1, -1):
        with s.at(0, 0, a * k):
            s.poly(
                [
                    (-0.2, -0.06 * k),
                    (0.3, -0.1 * k),
                    (1.05, 0.02 * k),
                    (0.3, 0.06 * k),
                    (-0.2, 0.06 * k),
                ],
                steel,
                "metal",
                0.25,
            )
            s.stroke([(-0.15, 0), (-0.4, 0.04 * k)], [0.1, 0.12], c, "gloss")
            s.stroke(
                [(-0.68 + 0.27 * math.cos(x), 0.11 * k + 0.17 * math.sin(x)) for x in t],
                0.1,
                c,
                "gloss",
            )
    s.oval(0, 0, 0.045, 0.045, shade(steel, 0.7), "metal")


def toothbrush(s: Sketch) -> None:
    """A toothbrush seen from the side."""
    rng, c = s.rng, vivid(s.rng)
    bristle = WHITE if rng.random() < 0.5 else hsv(rng.random(), 0.4, 0.95)
    for i, x in enumerate(np.linspace(0.62, 0.98, 7)):
        s.box(
            x - 0.028,
            -0.25 - 0.025 * (i % 2),
            x + 0.028,
            0.0,
            bristle if i % 3 else shade(c, 0.9),
            "matte",
            0.5,
            0.02,
        )
    s.stroke(
        [(-1.05, 0.06), (-0.6, 0.08), (-0.2, 0.03), (0.2, 0.02), (0.55, 0.03), (1.04, 0.03)],
        [0.1, 0.16, 0.14, 0.08, 0.07, 0.09, 0.08],
        c,
        "gloss",
    )
    s.stroke([(-0.8, 0.06), (-0.3, 0.04)], [0.04, 0.07, 0.04], shade(c, 1.5), "matte", 0.5)


def thermometer(s: Sketch) -> None:
    """A glass thermometer, or a digital one."""
    rng = s.rng
    if rng.random() < 0.6:
        s.box(-1.0, -0.12, 0.85, 0.12, (0.93, 0.95, 0.97), "gloss", 0.8, 0.12)
        s.oval(0.85, 0, 0.19, 0.19, pick(rng, ((0.85, 0.12, 0.12), (0.2, 0.35, 0.85))), "gloss")
        red = s.parts[-1].color
        s.box(rng.uniform(-0.6, 0.2), -0.035, 0.8, 0.035, red, "gloss", 0.6, 0.03)
        for i, x in enumerate(np.linspace(-0.85, 0.55, 15)):
            s.mark([(x, -0.11), (x, -0.03 if i % 5 == 0 else -0.065)], 0.016, (0.15, 0.15, 0.2))
    else:
        c = vivid(rng)
        s.turned([(0.5, 0.08), (0.8, 0.045), (1.05, 0.04)], STEEL[0], "metal")
        s.turned(
            [(-1.0, 0.13), (-0.9, 0.16), (0.0, 0.17), (0.5, 0.09), (0.65, 0.07, 1)], WHITE, "gloss"
        )
        s.turned([(-1.02, 0.12), (-0.95, 0.16), (-0.75, 0.165, 1)], c, "gloss")
        s.box(-0.6, -0.1, 0.02, 0.1, (0.6, 0.7, 0.6), "gloss", 0.1, 0.02)
        for x in (-0.48, -0.34, -0.14):
            s.stroke(
                [(x, -0.05), (x + 0.08, -0.05), (x + 0.02, 0.06)],
                0.025,
                (0.1, 0.15, 0.1),
                line=True,
                smooth=False,
            )
        s.oval(0.2, 0, 0.07, 0.07, c, "gloss")


def lipstick(s: Sketch) -> None:
    """An open lipstick."""
    rng = s.rng
    case = pick(rng, (BLACK, _GOLD, (0.75, 0.75, 0.78), (0.35, 0.1, 0.2)))
    red = hsv(rng.uniform(-0.08, 0.03), rng.uniform(0.6, 0.9), rng.uniform(0.6, 0.9))
    s.blob(
        [
            (-0.19, 0.1, 1),
            (-0.19, -0.5),
            (-0.12, -0.62),
            (0.1, -0.88),
            (0.18, -0.85),
            (0.19, -0.7),
            (0.19, 0.1, 1),
        ],
        red,
        "gloss",
        0.9,
    )
    s.blob(
        [(-0.17, -0.5), (0.12, -0.86), (0.17, -0.8), (0.14, -0.62), (-0.02, -0.46)],
        shade(red, 1.25),
        "matte",
        0.1,
    )
    s.box(-0.24, -0.15, 0.24, 0.28, pick(rng, (_GOLD, STEEL[0])), "metal", 0.9, 0.02)
    s.box(-0.32, 0.25, 0.32, 1.0, case, "gloss", 0.9, 0.03)
    s.mark([(-0.31, 0.34), (0.31, 0.34)], 0.03, shade(case, 1.4))


def paint_pot(s: Sketch) -> None:
    """A tin of red or orange paint with runs of paint."""
    rng = s.rng
    c = hsv(rng.uniform(-0.03, 0.09), rng.uniform(0.75, 0.95), rng.uniform(0.6, 0.95))
    tin = pick(rng, STEEL)
    t = np.linspace(0, math.pi, 12)
    s.stroke([(0.62 * math.cos(a), -0.4 - 0.6 * math.sin(a)) for a in t], 0.035, STEEL[1], "metal")
    s.blob(
        [(-0.62, -0.45, 1), (-0.6, 0.75), (-0.3, 0.87), (0.3, 0.87), (0.6, 0.75), (0.62, -0.45, 1)],
        tin,
        "metal",
        0.9,
    )
    s.blob(
        [
            (-0.615, 0.02, 1),
            (0, 0.15),
            (0.615, 0.02, 1),
            (0.607, 0.5, 1),
            (0, 0.64),
            (-0.607, 0.5, 1),
        ],
        WHITE if rng.random() < 0.5 else vivid(rng),
        "matte",
        0.6,
    )
    s.oval(0, -0.45, 0.65, 0.18, shade(tin, 1.2), "metal", 0.1)
    s.oval(0, -0.44, 0.57, 0.14, c, "liquid", 0.1)
    s.blob(
        [
            (-0.4, -0.36),
            (-0.43, -0.05),
            (-0.36, 0.02),
            (-0.3, -0.1),
            (-0.24, -0.15),
            (-0.2, 0.25),
            (-0.12, 0.32),
            (-0.06, 0.2),
            (-0.03, -0.08),
            (0.08, -0.06),
            (0.14, 0.05),
            (0.22, -0.05),
            (0.2, -0.3),
            (-0.1, -0.32),
        ],
        c,
        "liquid",
        0.5,
    )


def ketchup(s: Sketch) -> None:
    """A squeeze bottle of ketchup."""
    rng = s.rng
    red = hsv(rng.uniform(-0.01, 0.02), 0.88, rng.uniform(0.65, 0.85))
    cap = pick(rng, (WHITE, (0.2, 0.5, 0.2), red))
    s.poly([(-0.05, -1.0), (0.05, -1.0), (0.12, -0.72), (-0.12, -0.72)], cap, "gloss", 0.8)
    s.box(-0.2, -0.78, 0.2, -0.58, cap, "gloss", 0.9, 0.03)
    s.blob(
        [
            (-0.18, -0.6, 1),
            (0.18, -0.6, 1),
            (0.36, -0.35),
            (0.38, 0.0),
            (0.33, 0.35),
            (0.4, 0.8),
            (0.3, 0.95, 1),
            (-0.3, 0.95, 1),
            (-0.4, 0.8),
            (-0.33, 0.35),
            (-0.38, 0.0),
            (-0.36, -0.35),
        ],
        red,
        "gloss",
        0.9,
    )
    s.box(-0.31, -0.15, 0.31, 0.55, WHITE, "matte", 0.4, 0.12)
    s.oval(0, 0.3, 0.18, 0.15, (0.88, 0.2, 0.12), "matte", 0.6)
    s.blob(
        [(0, 0.17, 1), (-0.12, 0.1), (-0.02, 0.13), (0.05, 0.05), (0.04, 0.13), (0.13, 0.12)],
        (0.2, 0.55, 0.2),
    )
    s.mark([(-0.2, 0.0), (0.2, 0.0)], 0.06, (0.2, 0.2, 0.25))
