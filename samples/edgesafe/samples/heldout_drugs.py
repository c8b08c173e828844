"""Held-out drawings of drugs."""

from __future__ import annotations

import math

import numpy as np

from edgesafe.samples.heldout_parts import (
    STEEL,
    WHITE,
    Color,
    Sketch,
    pick,
    ragged,
    shade,
    vivid,
)


def _capsule(s: Sketch, a: Color, b: Color, size: float) -> None:
    """One two-coloured capsule about the origin."""
    r = 0.155 * size
    half = 0.42 * size
    s.turned(
        [(-0.02, r * 0.93, 1), (half - r, r * 0.93), (half - r * 0.3, r * 0.7), (half, 0, 1)],
        b,
        "gloss",
    )
    s.turned(
        [(-half, 0, 1), (-half + r * 0.3, r * 0.75), (-half + r, r), (0.05 * size, r, 1)],
        a,
        "gloss",
    )


def capsules(s: Sketch) -> None:
    """Medicine capsules."""
    rng = s.rng
    a = vivid(rng)
    b = WHITE if rng.random() < 0.5 else vivid(rng)
    n = int(rng.integers(2, 8))
    for i in range(n):
        d = 0.72 * math.sqrt(i / max(n - 1, 1)) if n > 2 else 0.3
        with s.at(d * math.cos(i * 2.4), d * math.sin(i * 2.4), rng.uniform(0, 360)):
            _capsule(s, a, b, rng.uniform(0.95, 1.05))


def tablets(s: Sketch) -> None:
    """A pile of round tablets."""
    rng = s.rng
    base = pick(
        rng,
        (
            (0.94, 0.94, 0.92),
            (0.95, 0.8, 0.82),
            (0.75, 0.85, 0.93),
            (0.95, 0.9, 0.65),
            (0.8, 0.9, 0.78),
            (0.93, 0.68, 0.45),
        ),
    )
    tilt = rng.uniform(0.5, 0.95)
    rows = (
        (-0.58, 0.32),
        (0.0, 0.36),
        (0.55, 0.3),
        (-0.3, 0.02),
        (0.28, 0.05),
        (-0.02, -0.24),
        (-0.85, 0.55),
        (0.88, 0.52),
        (0.3, 0.62),
        (-0.25, 0.65),
    )
    keep = [r for i, r in enumerate(rows) if i < 3 or rng.random() < 0.8]
    for x, y in sorted(keep, key=lambda r: r[1]):
        c = shade(base, rng.uniform(0.93, 1.0))
        ry = 0.24 * tilt * rng.uniform(0.85, 1.05)
        y += rng.uniform(-0.04, 0.04)
        with s.at(x + rng.uniform(-0.05, 0.05), y, rng.uniform(-15, 15)):
            s.oval(0, 0.1 * (1.25 - tilt), 0.25, ry, shade(c, 0.78), "matte", 0.5)
            s.oval(0, 0, 0.25, ry, c, "matte", 0.25)
            a = rng.uniform(0, math.pi)
            s.mark(
                [
                    (-0.2 * math.cos(a), -0.8 * ry * math.sin(a)),
                    (0.2 * math.cos(a), 0.8 * ry * math.sin(a)),
                ],
                0.025,
                shade(c, 0.6),
            )


def syringe(s: Sketch) -> None:
    """A syringe with its needle, lying along x."""
    rng = s.rng
    fill = pick(
        rng,
        (
            (0.75, 0.35, 0.12),
            (0.55, 0.78, 0.9),
            (0.85, 0.8, 0.45),
            (0.7, 0.12, 0.12),
            (0.5, 0.85, 0.6),
        ),
    )
    trim = pick(rng, (WHITE, (0.35, 0.55, 0.8), (0.9, 0.5, 0.2), (0.3, 0.3, 0.32)))
    pull = rng.uniform(0.15, 0.5)
    s.box(-0.75 - pull, -0.045, -0.2, 0.045, shade(trim, 0.9), "gloss", 0.6, 0.01)
    s.box(-0.79 - pull, -0.17, -0.72 - pull, 0.17, trim, "gloss", 0.5, 0.03)
    s.poly([(0.66, -0.016), (1.15, -0.012), (1.22, 0.012), (0.66, 0.016)], STEEL[1], "metal", 0.9)
    s.box(0.48, -0.06, 0.68, 0.06, trim, "gloss", 0.9, 0.02)
    s.box(-0.55, -0.165, 0.52, 0.165, (0.86, 0.92, 0.96), "glass", 0.8, 0.05)
    x = -0.3 + (0.5 - pull) * 0.8
    s.box(x, -0.13, 0.49, 0.13, fill, "gloss", 0.8, 0.03)
    s.box(x - 0.09, -0.14, x + 0.02, 0.14, (0.18, 0.18, 0.2), "matte", 0.7, 0.02)
    for i, m in enumerate(np.linspace(-0.42, 0.4, 11)):
        s.mark([(m, -0.155), (m, -0.02 if i % 2 == 0 else -0.08)], 0.018, (0.1, 0.1, 0.15))
    s.box(-0.6, -0.28, -0.53, 0.28, (0.82, 0.88, 0.92), "gloss", 0.6, 0.03)
    if rng.random() < 0.4:
        s.oval(1.28, 0.06, 0.06, 0.04, fill, "liquid")


def blister_pack(s: Sketch) -> None:
    """A foil strip of pills, some of them gone."""
    rng = s.rng
    foil = pick(rng, ((0.78, 0.8, 0.82), (0.72, 0.74, 0.77), (0.82, 0.76, 0.6)), 0.03)
    pill = vivid(rng) if rng.random() < 0.6 else (0.95, 0.94, 0.9)
    long, cols, rows = rng.random() < 0.5, int(rng.integers(4, 6)), int(rng.integers(2, 4))
    h = 0.29 * rows
    s.box(-1.0, -h, 1.0, h, foil, "metal", 0.05, 0.1)
    for i in range(cols):
        for j in range(rows):
            x, y = -1 + (i + 0.5) * 2 / cols, -h + (j + 0.5) * 2 * h / rows
            rx, ry = (0.8 / cols, 0.15) if long else (0.19, 0.19)
            s.oval(x, y, rx, ry, shade(foil, 1.25), "metal", 0.5)
            if rng.random() < 0.15:
                s.blob(
                    [(x + px * 0.8, y + py * 0.8) for px, py in ragged(rng, rx, ry, 0.15, 9)],
                    shade(foil, 0.3),
                    "matte",
                    0.0,
                )
            else:
                s.oval(x, y, rx * 0.8, ry * 0.8, pill, "gloss", 0.9)
    for y in np.linspace(-h, h, rows + 1)[1:-1]:
        s.mark([(-0.97, y), (0.97, y)], 0.012, shade(foil, 0.7))


def powder_lines(s: Sketch) -> None:
    """Lines of white powder on a dark plate, with a blade or a rolled note."""
    rng = s.rng
    plate = pick(rng, ((0.1, 0.1, 0.12), (0.2, 0.13, 0.1), (0.18, 0.2, 0.26), (0.3, 0.34, 0.38)))
    if rng.random() < 0.5:
        s.box(-1.0, -0.72, 1.0, 0.72, plate, "gloss", 0.05, 0.08)
        s.box(-0.93, -0.65, 0.93, 0.65, shade(plate, 1.1), "gloss", 0.02, 0.06)
    else:
        s.oval(0, 0, 1.05, 0.78, plate, "gloss", 0.08)
        s.oval(0, 0, 0.92, 0.66, shade(plate, 1.1), "gloss", 0.03)
    white = (0.96, 0.96, 0.95)
    n = int(rng.integers(2, 5))
    for i in range(n):
        with s.at(-0.35 + 0.24 * i, -0.12, 100):
            s.blob(
                [
                    (x + rng.normal(0, 0.012), y + rng.normal(0, 0.012))
                    for x, y in ragged(rng, 0.42, 0.062, 0.05, 22)
                ],
                white,
                "powder",
                0.8,
            )
    for _ in range(20):
        r = rng.uniform(0.006, 0.018)
        s.oval(rng.uniform(-0.5, 0.6), rng.uniform(-0.5, 0.45), r, r, white, "powder", line=True)
    if rng.random() < 0.4:
        with s.at(-0.64, -0.1):
            s.blob(ragged(rng, 0.17, 0.14, 0.08, 12), white, "powder", 1.0)
    blade = rng.random() < 0.5
    if blade:
        with s.at(0.62, 0.12, rng.uniform(50, 120)):
            s.box(-0.3, -0.17, 0.3, 0.17, STEEL[0], "metal", 0.08, 0.03)
            s.box(-0.3, 0.12, 0.3, 0.17, (0.93, 0.94, 0.95), "metal", 0.1, 0.01)
            s.box(-0.17, -0.025, 0.17, 0.025, plate, "matte", 0, 0.025)
            for x in (-0.2, 0, 0.2):
                s.oval(x, 0, 0.035, 0.045, plate, "matte", 0)
    if not blade or rng.random() < 0.4:
        note = pick(rng, ((0.55, 0.66, 0.5), (0.62, 0.68, 0.72), (0.75, 0.6, 0.5)))
        with s.at(0.1, 0.45, rng.uniform(-20, 20)):
            s.box(-0.48, -0.075, 0.48, 0.075, note, "matte", 0.9, 0.01)
            s.oval(0.48, 0, 0.03, 0.075, shade(note, 0.4), "matte", 0.1)
            for x in (-0.36, -0.18, 0.0, 0.18, 0.34):
                s.mark([(x - 0.05, -0.07), (x + 0.04, 0.07)], 0.018, shade(note, 0.65))


def pill_bottle(s: Sketch) -> None:
    """An orange pill bottle, upright or spilling its pills."""
    rng = s.rng
    amber = pick(rng, ((0.9, 0.48, 0.1), (0.85, 0.4, 0.12), (0.95, 0.95, 0.93), (0.2, 0.45, 0.7)))
    cap = WHITE if amber[2] < 0.85 else pick(rng, ((0.8, 0.2, 0.15), (0.2, 0.3, 0.7)))
    pill = vivid(rng) if rng.random() < 0.5 else (0.93, 0.92, 0.88)
    lying = rng.random() < 0.6
    with s.at(-0.3 if lying else 0, -0.1, 96 if lying else 0, 0.85):
        if not lying:
            s.box(-0.46, -0.95, 0.46, -0.62, cap, "matte", 0.7, 0.06)
            for x in np.linspace(-0.4, 0.4, 9):
                s.mark([(x, -0.9), (x, -0.67)], 0.025, shade(cap, 0.72))
        else:
            s.box(-0.4, -0.72, 0.4, -0.58, shade(amber, 0.85), "gloss", 0.8, 0.05)
        s.box(-0.42, -0.62, 0.42, 0.8, amber, "gloss", 0.9, 0.09)
        s.box(-0.42, -0.3, 0.42, 0.5, WHITE, "matte", 0.6, 0.01)
        for y in (-0.12, 0.2, 0.34):
            s.mark([(-0.3, y), (0.28, y)], 0.03, (0.35, 0.35, 0.4))
        s.box(-0.3, -0.05, 0.1, 0.09, (0.15, 0.25, 0.5), bulge=0, r=0.01, line=True)
    if lying:
        for x, y in (
            (0.5, 0.05),
            (0.62, 0.28),
            (0.85, 0.12),
            (0.42, 0.36),
            (0.75, 0.45),
            (1.05, 0.35),
            (0.98, -0.08),
        ):
            with s.at(x, y, rng.uniform(0, 180)):
                if pill[2] > 0.86:
                    s.oval(0, 0, 0.13, 0.1, pill, "matte", 0.5)
                    s.mark([(-0.1, 0), (0.1, 0)], 0.018, shade(pill, 0.65))
                else:
                    _capsule(s, pill, WHITE, 0.38)
        if rng.random() < 0.6:
            with s.at(0.25, 0.72):
                s.oval(0, 0, 0.36, 0.15, shade(cap, 0.8), "matte", 0.7)
                s.oval(0, -0.06, 0.34, 0.13, cap, "matte", 0.3)
    else:
        for x in np.linspace(-0.65, 0.65, 5):
            if rng.random() < 0.7:
                with s.at(x, 0.68 + rng.uniform(0, 0.12), rng.uniform(-30, 30)):
                    _capsule(s, pill, WHITE, 0.38)


def joint(s: Sketch) -> None:
    """A rolled joint with its smoke, sometimes by a hemp leaf."""
    rng = s.rng
    green = pick(rng, ((0.25, 0.48, 0.18), (0.35, 0.55, 0.22)))
    if rng.random() < 0.6:
        with s.at(-0.1, -0.05, rng.uniform(-15, 15), 0.95):
            for a, n in (
                (-112, 0.5),
                (112, 0.5),
                (-75, 0.75),
                (75, 0.75),
                (-38, 0.92),
                (38, 0.92),
                (0, 1.0),
            ):
                with s.at(0, 0.35, a, n):
                    teeth: list[tuple[float, float]] = []
                    for i in range(8):
                        y = -0.95 * i / 8 - 0.05
                        w = 0.12 * math.sin(math.pi * (i + 1) / 9) ** 0.8
                        teeth += [(w, y - 0.04), (w * 0.68, y - 0.05)]
                    side = np.asarray([(0, 0), *teeth, (0, -1.05)])
                    s.loops([np.concatenate([side, side[::-1] * (-1, 1)])], green, "matte", 0.3)
                    s.mark([(0, 0), (0, -0.95)], 0.018, shade(green, 0.65))
            s.stroke([(0, 0.35), (0.03, 0.7)], 0.04, shade(green, 0.8))
    with s.at(0.0, 0.45, -14):
        s.turned(
            [(-0.95, 0.07, 1), (-0.6, 0.075), (0.3, 0.12), (0.72, 0.125), (0.82, 0.1, 1)],
            (0.93, 0.91, 0.85),
            "matte",
            0.9,
        )
        s.turned(
            [(-0.96, 0.072, 1), (-0.62, 0.078, 1)],
            pick(rng, ((0.8, 0.65, 0.42), WHITE)),
            "matte",
            0.9,
        )
        for x in (-0.3, 0.0, 0.3):
            s.mark([(x, -0.09), (x + 0.12, 0.1)], 0.014, (0.72, 0.68, 0.6))
        s.turned([(0.72, 0.125), (0.85, 0.11), (0.93, 0.05)], (0.3, 0.28, 0.27), "matte", 0.9)
        s.turned([(0.75, 0.1), (0.8, 0.115), (0.85, 0.08)], (1.0, 0.45, 0.08), "glow", 0.9)
    g = rng.uniform(0.6, 0.75)
    k = rng.uniform(0.1, 0.25)
    s.stroke(
        [(0.9, 0.15), (0.9 - k, -0.1), (0.9 + k, -0.4), (0.85 - k, -0.7), (0.95, -0.95)],
        [0.05, 0.1, 0.09, 0.02],
        (g, g, g),
        "smoke",
        0.6,
    )
    for _ in range(int(rng.integers(0, 14))):
        r = rng.uniform(0.02, 0.05)
        with s.at(rng.uniform(-0.7, 0.5), rng.uniform(0.75, 0.95)):
            s.blob(ragged(rng, r, r * 0.8, 0.2, 7), shade(green, rng.uniform(0.7, 1.1)))
