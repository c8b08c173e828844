"""Held-out drawings of weapons and of fire."""

from __future__ import annotations

import math

import numpy as np

from edgesafe.samples.heldout_parts import (
    BLACK,
    STEEL,
    WHITE,
    WOODS,
    Color,
    Sketch,
    pick,
    ragged,
    shade,
    vivid,
)


def _grip_color(rng: np.random.Generator) -> tuple[Color, str]:
    """Draws the colour and material of a handle."""
    k = rng.random()
    if k < 0.4:
        return pick(rng, WOODS), "wood"
    if k < 0.65:
        return pick(rng, (BLACK, (0.25, 0.25, 0.28))), "matte"
    return vivid(rng), "gloss"


def _gun_color(rng: np.random.Generator) -> tuple[Color, Color, str]:
    """Draws the colours of a gun's metal and of its grip, with the grip's material."""
    metal = pick(
        rng,
        (
            (0.16, 0.17, 0.19),
            (0.24, 0.25, 0.27),
            (0.68, 0.7, 0.73),
            (0.3, 0.27, 0.24),
            (0.13, 0.14, 0.17),
        ),
    )
    k = rng.random()
    if k < 0.45:
        return metal, pick(rng, WOODS), "wood"
    return metal, pick(rng, (BLACK, (0.2, 0.2, 0.2), (0.33, 0.32, 0.24))), "matte"


def kitchen_knife(s: Sketch) -> None:
    """A chef's or a carving knife."""
    rng = s.rng
    steel, (grip, mat) = pick(rng, STEEL, 0.03), _grip_color(rng)
    w, tip = rng.uniform(0.75, 1.25), rng.uniform(0.85, 1.15)
    top, low = -0.13 * w, 0.2 * w
    s.blob(
        [
            (-0.2, top, 1),
            (0.45, top),
            (tip - 0.2, top * 0.75),
            (tip, 0.06, 1),
            (tip - 0.2, low * 0.82),
            (0.3, low),
            (-0.12, low, 1),
            (-0.13, 0.06),
            (-0.2, 0.04, 1),
        ],
        steel,
        "metal",
        0.15,
    )
    s.blob(
        [
            (-0.1, low * 0.72, 1),
            (0.3, low * 0.76),
            (tip - 0.2, low * 0.6),
            (tip, 0.06, 1),
            (tip - 0.2, low * 0.82),
            (0.3, low),
            (-0.12, low, 1),
        ],
        shade(steel, 1.5),
        "metal",
        0.1,
    )
    s.box(-0.3, -0.11, -0.17, 0.06, shade(steel, 0.85), "metal", 0.6, 0.02)
    s.blob(
        [
            (-0.27, -0.12, 1),
            (-0.6, -0.14),
            (-0.92, -0.13),
            (-1.02, -0.06),
            (-0.98, 0.12),
            (-0.88, 0.09),
            (-0.6, 0.05),
            (-0.27, 0.08, 1),
        ],
        grip,
        mat,
        0.7,
    )
    if rng.random() < 0.7:
        for x in (-0.4, -0.6, -0.8):
            s.oval(x, -0.03, 0.028, 0.028, shade(steel, 1.2), "metal", 0.4)


def combat_knife(s: Sketch) -> None:
    """A dagger, or a combat knife with a clipped and toothed back."""
    rng = s.rng
    steel = pick(rng, (*STEEL, (0.3, 0.31, 0.33)), 0.03)
    grip, mat = _grip_color(rng)
    fitting = pick(rng, ((0.7, 0.58, 0.25), (0.5, 0.5, 0.53), (0.2, 0.2, 0.22)))
    w = rng.uniform(0.1, 0.15)
    if rng.random() < 0.5:
        s.poly(
            [(-0.2, -w), (0.7, -w * 0.8), (1.0, 0), (0.7, w * 0.8), (-0.2, w)], steel, "metal", 0.8
        )
        s.poly([(-0.2, 0), (1.0, 0), (0.7, w * 0.8), (-0.2, w)], shade(steel, 0.72), "metal", 0.2)
        s.mark([(-0.15, 0), (0.6, 0)], 0.025, shade(steel, 0.5))
    else:
        teeth: list[tuple[float, float]] = []
        for x in np.linspace(-0.1, 0.3, 6):
            teeth += [(x, -w), (x + 0.04, -w * 0.65), (x + 0.07, -w)]
        s.poly(
            [
                (-0.2, -w),
                *teeth,
                (0.5, -w),
                (0.75, -w * 0.35),
                (1.0, -w * 0.3),
                (0.85, w * 0.65),
                (0.65, w),
                (-0.2, w),
            ],
            steel,
            "metal",
            0.15,
        )
        s.poly(
            [
                (-0.15, w * 0.5),
                (0.62, w * 0.5),
                (0.97, -w * 0.25),
                (0.85, w * 0.65),
                (0.65, w),
                (-0.15, w),
            ],
            shade(steel, 1.5),
            "metal",
            0.1,
        )
        s.mark([(-0.1, -w * 0.2), (0.5, -w * 0.2)], 0.03, shade(steel, 0.55))
    s.turned([(-0.8, 0.07), (-0.65, 0.1), (-0.5, 0.085), (-0.35, 0.1), (-0.2, 0.08)], grip, mat)
    for x in np.linspace(-0.74, -0.3, 6):
        s.mark([(x, -0.08), (x + 0.02, 0.08)], 0.02, shade(grip, 0.5))
    s.box(-0.25, -0.24, -0.17, 0.24, fitting, "metal", 0.8, 0.04)
    s.oval(-0.85, 0, 0.09, 0.1, fitting, "metal")


def handgun(s: Sketch) -> None:
    """A pistol, or a revolver."""
    metal, grip, mat = _gun_color(s.rng)
    if s.rng.random() < 0.65:
        _pistol(s, metal, grip, mat)
    else:
        _revolver(s, metal, grip, mat)


def _pistol(s: Sketch, metal: Color, grip: Color, mat: str) -> None:
    """A self-loading pistol, muzzle to the right."""
    rng = s.rng
    muzzle, lean = rng.uniform(0.7, 0.95), rng.uniform(0.1, 0.24)
    dark = shade(metal, 0.7)
    ring = [(0.12, -0.05), (0.13, 0.14), (-0.05, 0.21), (-0.22, 0.18)]
    s.stroke([(0.16, -0.1), *ring], 0.055, dark, "metal")
    s.stroke(
        [(0.02, -0.1), (0.0, 0.02), (0.04, 0.11)], [0.06, 0.05, 0.03], shade(metal, 0.5), "metal"
    )
    s.blob(
        [
            (-0.62, -0.22, 1),
            (-0.2, -0.22, 1),
            (-0.16, 0.0),
            (-0.2 - lean * 0.4, 0.25),
            (-0.2 - lean, 0.68, 1),
            (-0.56 - lean, 0.7, 1),
            (-0.6 - lean * 0.7, 0.4),
            (-0.55 - lean * 0.2, 0.05),
            (-0.64, -0.1),
        ],
        metal,
        "metal",
        0.35,
    )
    s.blob(
        [
            (-0.53, -0.05),
            (-0.26, -0.06),
            (-0.29 - lean * 0.4, 0.25),
            (-0.27 - lean, 0.6),
            (-0.5 - lean, 0.61),
            (-0.51 - lean * 0.6, 0.3),
        ],
        grip,
        mat,
        0.4,
    )
    for i in range(5):
        y = 0.05 + i * 0.11
        x = -0.36 - lean * (0.15 + y)
        s.mark([(x - 0.1, y), (x + 0.08, y)], 0.02, shade(grip, 0.55))
    s.poly(
        [
            (-0.66, -0.25),
            (muzzle - 0.1, -0.25),
            (muzzle - 0.13, -0.1),
            (-0.16, -0.1),
            (-0.24, -0.15),
            (-0.62, -0.15),
        ],
        dark,
        "metal",
        0.3,
    )
    s.box(-0.74, -0.5, muzzle, -0.21, metal, "metal", 0.35, 0.04)
    s.box(-0.02, -0.47, 0.24, -0.38, shade(metal, 0.4), "metal", 0.1, 0.02)
    for x in np.linspace(-0.68, -0.44, 6):
        s.mark([(x, -0.46), (x, -0.25)], 0.018, shade(metal, 0.45))
    s.box(muzzle - 0.12, -0.57, muzzle - 0.05, -0.49, dark, "metal", 0.2, 0.01)
    s.box(-0.72, -0.58, -0.62, -0.49, dark, "metal", 0.2, 0.01)
    s.box(muzzle, -0.44, muzzle + 0.04, -0.31, shade(metal, 0.5), "metal", 0.6, 0.01)


def _revolver(s: Sketch, metal: Color, grip: Color, mat: str) -> None:
    """A revolver, muzzle to the right."""
    rng = s.rng
    muzzle = rng.uniform(0.55, 1.0)
    s.stroke(
        [(0.06, -0.1), (0.1, 0.08), (-0.02, 0.2), (-0.18, 0.18), (-0.28, 0.05)],
        0.05,
        metal,
        "metal",
    )
    s.stroke(
        [(-0.08, -0.06), (-0.1, 0.04), (-0.05, 0.11)], [0.06, 0.03], shade(metal, 0.6), "metal"
    )
    s.stroke(
        [(-0.46, -0.3), (-0.55, -0.42), (-0.66, -0.46)], [0.12, 0.06], shade(metal, 0.7), "metal"
    )
    s.blob(
        [
            (-0.48, -0.22),
            (-0.3, -0.1),
            (-0.28, 0.06),
            (-0.4, 0.25),
            (-0.46, 0.55),
            (-0.6, 0.68),
            (-0.8, 0.6),
            (-0.76, 0.4),
            (-0.6, 0.12),
            (-0.58, -0.1),
        ],
        grip,
        mat,
        0.8,
    )
    s.blob(
        [
            (-0.55, -0.2, 1),
            (-0.4, -0.43),
            (-0.15, -0.46),
            (0.25, -0.46, 1),
            (0.28, -0.1, 1),
            (0.05, -0.05),
            (-0.25, 0.0),
            (-0.42, 0.08, 1),
        ],
        metal,
        "metal",
        0.3,
    )
    s.box(0.22, -0.46, muzzle, -0.28, metal, "metal", 0.9, 0.03)
    s.box(0.24, -0.27, muzzle - 0.15, -0.19, shade(metal, 0.8), "metal", 0.9, 0.03)
    s.poly([(muzzle - 0.02, -0.45), (muzzle - 0.04, -0.54), (muzzle - 0.16, -0.45)], metal, "metal")
    s.box(-0.22, -0.46, 0.16, -0.12, shade(metal, 0.88), "metal", 0.9, 0.05)
    for y in (-0.39, -0.29, -0.19):
        s.box(-0.16, y - 0.022, 0.16, y + 0.022, shade(metal, 0.45), "metal", 0.2, 0.022)
    s.oval(-0.6, 0.3, 0.03, 0.03, shade(metal, 1.2), "metal", 0.5)


def rifle(s: Sketch) -> None:
    """An assault rifle, or a hunting rifle with a scope."""
    rng = s.rng
    metal, furn, mat = _gun_color(rng)
    if rng.random() < 0.6:
        s.poly(
            [(-1.1, -0.08), (-0.55, -0.06), (-0.52, 0.06), (-0.75, 0.1), (-1.08, 0.26)],
            furn,
            mat,
            0.5,
        )
        s.poly([(-0.42, 0.05), (-0.28, 0.06), (-0.36, 0.34), (-0.5, 0.34)], furn, mat, 0.5)
        s.stroke([(-0.28, 0.08), (-0.25, 0.18), (-0.12, 0.18), (-0.08, 0.08)], 0.03, metal, "metal")
        s.mark([(-0.2, 0.06), (-0.18, 0.13)], 0.025, shade(metal, 0.6))
        bend = rng.uniform(-0.02, 0.16)
        s.stroke(
            [(-0.02, 0.02), (0.02 + bend * 0.3, 0.22), (0.06 + bend, 0.42)],
            0.15,
            shade(metal, 0.85),
            "metal",
            0.5,
        )
        s.box(0.55, -0.055, 1.1, -0.005, metal, "metal", 1.0, 0.02)
        s.box(0.97, -0.075, 1.12, 0.015, shade(metal, 0.7), "metal", 1.0, 0.02)
        s.poly([(0.82, -0.03), (0.86, -0.18), (0.9, -0.18), (0.94, -0.03)], metal, "metal")
        s.box(0.16, -0.09, 0.66, 0.075, furn, mat, 0.6, 0.04)
        for x in np.linspace(0.26, 0.58, 4):
            s.box(x, -0.045, x + 0.05, -0.01, shade(furn, 0.4), "matte", 0.1, 0.01, line=True)
        s.box(-0.58, -0.12, 0.2, 0.09, metal, "metal", 0.3, 0.03)
        s.box(-0.2, -0.09, 0.02, -0.03, shade(metal, 0.45), "metal", 0.1, 0.01)
        if rng.random() < 0.5:
            s.stroke(
                [(-0.4, -0.13), (-0.3, -0.24), (0.0, -0.24), (0.1, -0.13)],
                0.06,
                metal,
                "metal",
                smooth=False,
            )
        else:
            _scope(s, shade(metal, 0.8))
    else:
        furn, mat = pick(rng, WOODS), "wood"
        s.blob(
            [
                (-1.1, -0.02, 1),
                (-0.75, -0.06),
                (-0.5, 0.0),
                (-0.3, -0.07),
                (0.55, -0.06),
                (0.62, -0.02),
                (0.5, 0.05),
                (-0.2, 0.07),
                (-0.42, 0.16),
                (-0.6, 0.14),
                (-1.08, 0.27, 1),
            ],
            furn,
            mat,
            0.7,
        )
        s.box(-1.13, -0.02, -1.07, 0.27, BLACK, "matte", 0.3, 0.02)
        s.stroke([(-0.35, 0.1), (-0.3, 0.2), (-0.16, 0.18), (-0.12, 0.07)], 0.025, metal, "metal")
        s.mark([(-0.24, 0.06), (-0.22, 0.14)], 0.025, shade(metal, 0.6))
        s.box(-0.32, -0.12, 0.12, -0.04, metal, "metal", 0.8, 0.02)
        s.box(0.1, -0.105, 1.15, -0.055, metal, "metal", 1.0, 0.02)
        s.stroke([(-0.26, -0.06), (-0.3, 0.03)], 0.03, STEEL[0], "metal")
        s.oval(-0.3, 0.05, 0.035, 0.035, STEEL[0], "metal")
        _scope(s, shade(metal, 0.7))


def _scope(s: Sketch, metal: Color) -> None:
    """A telescopic sight above a rifle."""
    for x in (-0.26, 0.02):
        s.box(x, -0.2, x + 0.05, -0.09, metal, "metal", 0.3, 0.01)
    with s.at(-0.1, -0.22):
        s.turned(
            [
                (-0.36, 0.06, 1),
                (-0.24, 0.06),
                (-0.16, 0.035),
                (0.14, 0.035),
                (0.22, 0.07),
                (0.36, 0.07, 1),
            ],
            metal,
            "metal",
        )
        s.box(-0.05, -0.08, 0.03, 0, metal, "metal", 0.5, 0.02)


def sword(s: Sketch) -> None:
    """A knight's sword, or a curved sabre."""
    rng = s.rng
    steel, gold = (
        pick(rng, STEEL, 0.03),
        pick(rng, ((0.78, 0.62, 0.25), (0.5, 0.5, 0.54), (0.5, 0.35, 0.2))),
    )
    grip, mat = _grip_color(rng)
    w = rng.uniform(0.055, 0.085)
    if rng.random() < 0.6:
        s.poly(
            [(-0.5, -w), (0.85, -w * 0.75), (1.05, 0), (0.85, w * 0.75), (-0.5, w)],
            steel,
            "metal",
            0.8,
        )
        s.poly(
            [(-0.5, 0), (1.05, 0), (0.85, w * 0.75), (-0.5, w)], shade(steel, 0.75), "metal", 0.2
        )
        s.mark([(-0.45, 0), (0.5, 0)], 0.03, shade(steel, 0.55))
        g = rng.uniform(0.2, 0.32)
        s.stroke(
            [(-0.5 + rng.uniform(-0.05, 0.08), -g), (-0.53, 0), (-0.5, g)],
            [0.1, 0.07, 0.1],
            gold,
            "metal",
        )
        s.turned([(-0.9, 0.04), (-0.72, 0.06), (-0.55, 0.045)], grip, mat)
        s.oval(-0.95, 0, 0.085, 0.085, gold, "metal")
    else:
        c = rng.uniform(0.08, 0.2)
        s.blob(
            [
                (-0.5, -w, 1),
                (0.1, -w - c * 0.2),
                (0.6, c * 0.1 - w),
                (1.05, c + 0.05, 1),
                (0.6, c * 0.5 + w),
                (0.1, w),
                (-0.5, w, 1),
            ],
            steel,
            "metal",
            0.3,
        )
        s.stroke(
            [(-0.45, w * 0.3), (0.1, w * 0.4), (0.6, c * 0.4 + w * 0.5), (0.98, c + 0.03)],
            0.02,
            shade(steel, 1.5),
            line=True,
            bulge=0,
        )
        s.oval(-0.52, 0, 0.05, 0.16, gold, "metal")
        s.box(-1.0, -0.05, -0.55, 0.05, grip, mat, 0.9, 0.03)
        s.box(-1.05, -0.06, -0.98, 0.06, gold, "metal", 0.8, 0.03)
    for x in np.linspace(-0.88, -0.6, 7):
        s.mark([(x, -0.045), (x + 0.04, 0.045)], 0.018, shade(grip, 0.5))


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


EMBER: tuple[Color, ...] = ((0.9, 0.2, 0.04), (0.98, 0.5, 0.06), (1.0, 0.8, 0.2), (1, 0.96, 0.7))


def tongues(s: Sketch, x: float, y: float, w: float, h: float, n: int) -> None:
    """A flame of `n` tongues standing on (x, y), from the dark outside to the bright core."""
    rng = s.rng
    hot = rng.uniform(-0.08, 0.05)
    u = (np.arange(n) + 0.5) / n * 2 - 1
    tall = (1 - 0.72 * np.abs(u) ** 1.3) * rng.uniform(0.7, 1.05, n)
    tall[int(np.argmin(np.abs(u)))] = 1.0
    lean = rng.uniform(-0.5, 0.5, n) * w / n + rng.uniform(-0.1, 0.1) * w
    for k, (fx, fy) in enumerate(((1, 1), (0.74, 0.7), (0.46, 0.42), (0.24, 0.22))):
        if k == 3 and n > 5:
            break
        pts: list[tuple[float, ...]] = [(-0.42 * fx * w, 0.0), (-0.55 * fx * w, -0.14 * h * fy)]
        for i in range(n):
            half = 0.55 * fx * w / n
            cx = u[i] * 0.5 * fx * w
            top = -h * fy * tall[i] * (1 if k == 0 else rng.uniform(0.85, 1.1))
            sway = lean[i] * fy
            pts += [
                (cx - half * 0.85 - sway * 0.5, top * 0.55),
                (cx + sway, top, 1),
                (cx + half * 0.55 - sway * 0.4, top * 0.6),
            ]
            if i < n - 1:
                pts.append((cx + half * 0.95, top * rng.uniform(0.3, 0.42)))
        pts += [(0.55 * fx * w, -0.14 * h * fy), (0.42 * fx * w, 0.0), (0, 0.05 * h * fy)]
        with s.at(x, y - 0.015 * k):
            c = EMBER[k]
            s.blob(pts, (c[0], min(1.0, max(0.1, c[1] + hot)), c[2]), "glow", 0.9)


def _sparks(s: Sketch, n: int, w: float, top: float) -> None:
    """Loose sparks above a fire."""
    for _ in range(n):
        r = s.rng.uniform(0.012, 0.03)
        s.oval(
            s.rng.uniform(-w, w),
            s.rng.uniform(top, top + 0.6),
            r,
            r * 1.4,
            EMBER[int(s.rng.integers(1, 3))],
            "glow",
        )


def flame(s: Sketch) -> None:
    """A single flame."""
    n = int(s.rng.integers(1, 5))
    w = s.rng.uniform(0.75, 1.05) if n > 1 else s.rng.uniform(0.55, 0.8)
    tongues(s, 0, 0.8, w, s.rng.uniform(1.5, 1.8), n)


def campfire(s: Sketch) -> None:
    """Burning logs."""
    rng = s.rng
    wood = pick(rng, WOODS)
    if rng.random() < 0.5:
        for x in np.linspace(-0.75, 0.75, 6):
            g = rng.uniform(0.4, 0.6)
            s.oval(x, 0.8 + 0.08 * (1 - x * x), 0.15, 0.11, (g, g, g * 0.97), "matte")
    for x0, x1, lift in ((-0.75, 0.5, 0.02), (0.75, -0.5, 0.0)):
        s.stroke([(x0, 0.78 + lift), (x1, 0.42)], 0.17, shade(wood, 0.8), "wood")
    tongues(s, 0, 0.62, rng.uniform(0.9, 1.15), rng.uniform(1.2, 1.5), int(rng.integers(3, 6)))
    s.stroke([(-0.68, 0.58), (0.66, 0.76)], 0.18, wood, "wood")
    s.oval(0.7, 0.765, 0.06, 0.09, shade(wood, 1.5), "wood", 0.2, 8)
    s.stroke([(0.6, 0.56), (-0.55, 0.82)], 0.17, shade(wood, 0.9), "wood")
    s.oval(-0.59, 0.83, 0.055, 0.085, shade(wood, 1.45), "wood", 0.2, -12)
    _sparks(s, int(rng.integers(0, 8)), 0.5, -1.0)


def burning_patch(s: Sketch) -> None:
    """A stretch of ground on fire."""
    rng = s.rng
    with s.at(0, 0.5):
        s.blob(
            ragged(rng, 1.05, 0.14, 0.06, 18),
            pick(rng, ((0.12, 0.1, 0.09), (0.22, 0.15, 0.1))),
            "matte",
            0.1,
        )
    if rng.random() < 0.5:
        for x in (-0.35, 0.3):
            g = rng.uniform(0.3, 0.45)
            with s.at(x, -0.55):
                s.blob(ragged(rng, 0.3, 0.2, 0.1, 10), (g, g, g), "smoke", 0.9)
    for x, y, k in (
        (-0.5, 0.42, 0.8),
        (0.45, 0.42, 0.9),
        (0, 0.45, 1.0),
        (-0.72, 0.5, 0.45),
        (0.75, 0.5, 0.5),
    ):
        tongues(
            s,
            x,
            y,
            rng.uniform(0.6, 0.8) * math.sqrt(k),
            rng.uniform(0.7, 1.1) * k,
            int(rng.integers(2, 4)),
        )
    tongues(s, rng.uniform(-0.2, 0.2), 0.55, 1.3, rng.uniform(0.45, 0.6), 5)
    _sparks(s, int(rng.integers(0, 8)), 0.8, -0.8)


def torch(s: Sketch) -> None:
    """A burning torch."""
    rng = s.rng
    wood = pick(rng, WOODS)
    s.stroke([(0, 1.2), (0, 0.1)], [0.12, 0.17], wood, "wood")
    tongues(s, 0, 0.14, rng.uniform(0.5, 0.68), rng.uniform(1.0, 1.25), int(rng.integers(2, 5)))
    cloth = pick(rng, ((0.4, 0.33, 0.25), (0.3, 0.22, 0.18), (0.55, 0.45, 0.33)))
    s.blob(
        [(-0.17, 0.0), (0.17, 0.0), (0.19, 0.2), (0.11, 0.42), (-0.11, 0.42), (-0.19, 0.2)],
        cloth,
        "matte",
        0.9,
    )
    for y in (0.1, 0.22, 0.34):
        s.mark([(-0.17, y), (0, y + 0.07), (0.17, y - 0.04)], 0.03, shade(cloth, 0.55))


def match(s: Sketch) -> None:
    """A lit match, or a lit lighter."""
    rng = s.rng
    if rng.random() < 0.6:
        wood = pick(rng, ((0.85, 0.7, 0.48), (0.78, 0.62, 0.42)))
        s.stroke([(rng.uniform(-0.3, 0.3), 1.2), (0, 0.15)], 0.09, wood, "wood", 0.4)
        s.oval(0, 0.08, 0.085, 0.13, pick(rng, ((0.35, 0.1, 0.08), (0.15, 0.12, 0.12))), "matte")
        tongues(s, 0, 0.16, 0.48, rng.uniform(0.85, 1.05), 1)
    else:
        col = vivid(rng)
        tongues(s, -0.04, -0.02, 0.38, rng.uniform(0.75, 0.95), 1)
        s.box(-0.22, 0.0, 0.1, 0.25, STEEL[1], "metal", 0.5, 0.03)
        s.oval(0.14, 0.1, 0.1, 0.1, (0.35, 0.35, 0.37), "metal", 0.3)
        s.box(-0.24, 0.22, 0.26, 1.1, col, "gloss", 0.7, 0.07)
        s.box(-0.15, 0.45, 0.17, 0.95, shade(col, 1.3), "gloss", 0.2, 0.04)


def explosion(s: Sketch) -> None:
    """A blast: smoke, burning gas, and a bright core."""
    rng = s.rng
    for r0, r1, c, mat in (
        (0.95, 0.6, (0.24, 0.22, 0.22), "smoke"),
        (0.72, 0.5, EMBER[0], "glow"),
        (0.52, 0.38, EMBER[1], "glow"),
        (0.33, 0.28, EMBER[2], "glow"),
        (0.16, 0.15, (1, 0.97, 0.8), "glow"),
    ):
        if mat == "smoke" and rng.random() < 0.35:
            spikes = []
            for i in range(28):
                r = (r0 + 0.15) * (rng.uniform(0.85, 1.1) if i % 2 == 0 else 0.66)
                spikes.append((r * math.cos(i * math.pi / 14), r * math.sin(i * math.pi / 14)))
            s.poly(spikes, EMBER[0], "glow", 0.6)
            continue
        n = 10
        pts: list[tuple[float, ...]] = []
        for i in range(n):
            # Puffs: round lobes that meet in sharp notches.
            a, b = 2 * math.pi * i / n, 2 * math.pi * (i + 0.5) / n
            r = r0 * rng.uniform(0.85, 1.08)
            pts.append((r1 * 1.1 * math.cos(a), r1 * 1.1 * math.sin(a), 1))
            pts += [(r * math.cos(b + d), r * math.sin(b + d)) for d in (-0.16, 0, 0.16)]
        s.blob(pts, c, mat, 0.9)
    for _ in range(int(rng.integers(4, 10))):
        a, r = rng.uniform(0, 6.28), rng.uniform(0.95, 1.15)
        with s.at(r * math.cos(a), r * math.sin(a), math.degrees(a)):
            s.poly(
                [(-0.07, -0.03), (0.06, 0), (-0.07, 0.03)],
                EMBER[1] if rng.random() < 0.5 else WHITE if rng.random() < 0.1 else BLACK,
            )
