"""Held-out drawings of weapons."""

from __future__ import annotations

import numpy as np

from edgesafe.samples.heldout_parts import (
    BLACK,
    STEEL,
    WOODS,
    Color,
    Sketch,
    pick,
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
