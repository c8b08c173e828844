"""Held-out drawings of axes, grenades and bombs."""

from __future__ import annotations

import math

import numpy as np

from edgesafe.samples.heldout_parts import (
    BLACK,
    STEEL,
    WOODS,
    Sketch,
    pick,
    shade,
    vivid,
)


def axe(s: Sketch) -> None:
    """A felling axe, or a double-bitted one."""
    rng = s.rng
    wood = pick(rng, WOODS) if rng.random() < 0.7 else vivid(rng)
    steel = pick(rng, (*STEEL, (0.35, 0.36, 0.38)))
    paint = steel if rng.random() < 0.6 else pick(rng, ((0.7, 0.12, 0.1), (0.15, 0.2, 0.4)))
    s.stroke(
        [(-1.0, 0.1), (-0.85, 0.03), (-0.3, -0.02), (0.3, 0.0), (0.82, 0.0)],
        [0.15, 0.1, 0.09, 0.1, 0.1],
        wood,
        "wood",
    )
    sides = (1, -1) if rng.random() < 0.3 else (1,)
    reach, flare = rng.uniform(0.42, 0.55), rng.uniform(0.08, 0.16)
    for k in sides:
        s.blob(
            [
                (0.44, 0.0, 1),
                (0.44, 0.1 * k, 1),
                (0.42, 0.24 * k),
                (0.46 - flare * 2, reach * k, 1),
                (0.57, (reach + 0.1) * k),
                (0.82 + flare, reach * 0.95 * k, 1),
                (0.74, 0.24 * k),
                (0.7, 0.08 * k, 1),
                (0.7, 0.0, 1),
            ],
            paint,
            "metal",
            0.25,
        )
        s.blob(
            [
                (0.46 - flare * 2, reach * k, 1),
                (0.57, (reach + 0.1) * k),
                (0.82 + flare, reach * 0.95 * k, 1),
                (0.57, (reach - 0.06) * k),
            ],
            shade(steel, 1.4),
            "metal",
            0.15,
        )
    s.box(0.43, -0.14, 0.71, 0.12, paint, "metal", 0.5, 0.03)


def grenade(s: Sketch) -> None:
    """A hand grenade with its lever and ring."""
    rng = s.rng
    body = pick(rng, ((0.28, 0.34, 0.18), (0.35, 0.38, 0.25), (0.2, 0.23, 0.18), (0.3, 0.3, 0.3)))
    metal = pick(rng, ((0.6, 0.6, 0.58), (0.45, 0.45, 0.4)))
    w, h = rng.uniform(0.42, 0.52), rng.uniform(0.52, 0.62)
    t = np.linspace(0, 2 * math.pi, 14)
    s.stroke(
        [(-0.34 + 0.16 * math.cos(a), -0.62 + 0.16 * math.sin(a)) for a in t], 0.045, metal, "metal"
    )
    s.box(-0.16, -0.62, 0.16, -0.3, shade(metal, 0.8), "metal", 0.9, 0.04)
    s.oval(0, 0.2, w, h, body, "matte")
    dark = shade(body, 0.45)
    if rng.random() < 0.75:
        for u in (-0.66, -0.25, 0.25, 0.66):
            s.mark(
                [
                    (w * u * math.sin(a), 0.2 - h * math.cos(a))
                    for a in np.linspace(0.35, math.pi - 0.35, 9)
                ],
                0.04,
                dark,
            )
        for v in (-0.6, -0.2, 0.2, 0.6):
            k = w * math.sqrt(1 - v * v)
            s.mark([(-k, 0.2 + h * v), (0, 0.2 + h * (v + 0.07)), (k, 0.2 + h * v)], 0.04, dark)
    else:
        s.box(-w, 0.1, w, 0.2, (0.8, 0.7, 0.2), bulge=0, r=0.01, line=True)
    s.box(-0.13, -0.8, 0.22, -0.58, metal, "metal", 0.6, 0.04)
    s.stroke(
        [(0.1, -0.76), (0.34, -0.68), (0.5, -0.35), (w + 0.08, 0.1), (w + 0.03, 0.4)],
        [0.13, 0.12, 0.1],
        shade(metal, 1.15),
        "metal",
        0.4,
    )


def bomb(s: Sketch) -> None:
    """A round bomb with a lit fuse, or a bundle of dynamite."""
    rng = s.rng
    spark = (0.05, -0.62)
    if rng.random() < 0.6:
        body = pick(rng, ((0.1, 0.1, 0.12), (0.2, 0.2, 0.24), (0.15, 0.13, 0.2)))
        s.stroke(
            [(0.36, -0.42), (0.5, -0.72), (0.75, -0.78), (0.9, -0.62)], 0.06, (0.72, 0.62, 0.42)
        )
        spark = (0.9, -0.6)
        s.oval(0, 0.2, 0.72, 0.72, body, "gloss")
        with s.at(0.33, -0.36, 30):
            s.box(-0.18, -0.16, 0.18, 0.1, shade(body, 1.15), "gloss", 0.6, 0.03)
    else:
        red = pick(rng, ((0.75, 0.12, 0.1), (0.68, 0.2, 0.12)))
        s.stroke([(0, -0.4), (0.05, -0.65), (0.25, -0.78), (0.42, -0.7)], 0.045, (0.7, 0.62, 0.4))
        spark = (0.44, -0.7)
        for x in (-0.3, 0.3, 0.0):
            s.box(x - 0.19, -0.5, x + 0.19, 0.8, red, "matte", 1.0, 0.04)
            s.oval(x, -0.5, 0.19, 0.06, (0.85, 0.75, 0.6), "matte", 0.2)
        for y in (-0.2, 0.45):
            s.box(-0.5, y - 0.07, 0.5, y + 0.07, BLACK, "gloss", 0.3, 0.01)
        if rng.random() < 0.5:
            s.box(-0.27, -0.07, 0.27, 0.32, (0.25, 0.26, 0.28), "matte", 0.3, 0.03)
            s.box(-0.2, 0.0, 0.2, 0.17, (0.1, 0.25, 0.1), "gloss", 0.1, 0.01)
            for x in (-0.14, -0.04, 0.08, 0.15):
                s.mark([(x, 0.04), (x, 0.13)], 0.03, (0.95, 0.15, 0.1))
    star = []
    for i in range(18):
        r = 0.24 if i % 2 == 0 else 0.09
        a = i * math.pi / 9 + 0.2
        r *= rng.uniform(0.75, 1.15)
        star.append((spark[0] + r * math.cos(a), spark[1] + r * math.sin(a)))
    s.poly(star, (1.0, 0.65, 0.1), "glow", 0.5)
    s.oval(*spark, 0.07, 0.07, (1.0, 0.97, 0.75), "glow")
