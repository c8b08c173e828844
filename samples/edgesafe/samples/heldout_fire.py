"""Held-out drawings of fire."""

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

EMBER: tuple[Color, ...] = ((0.9, 0.2, 0.04), (0.98, 0.5, 0.06), (1.0, 0.8, 0.2), (1, 0.96, 0.7))


def tongues(s: Sketch, x: float, y: float, w: float, h: float, n: int) -> None:
    """A flame of `n` tongues standing on (x, y), from the dark outside to the bright core."""
    rng = s.rng
    hot = rng.uniform(-0.08, 0.05)
    inked = s.ink and rng.random() < 0.4
    u = (np.arange(n) + 0.5) / n * 2 - 1
    tall = (1 - 0.72 * np.abs(u) ** 1.3) * rng.uniform(0.7, 1.05, n)
    tall[int(np.argmin(np.abs(u)))] = 1.0
    lean = rng.uniform(-0.5, 0.5, n) * w / n + rng.uniform(-0.1, 0.1) * w
    outer = s.ink
    for k, (fx, fy) in enumerate(((1, 1), (0.74, 0.7), (0.46, 0.42), (0.24, 0.22))):
        if k == 3 and n > 5:
            break
        pts: list[tuple[float, ...]] = []
        if n == 1:
            # One tongue alone is a drop that sways.
            for px, py in ((0.0, -0.04), (0.32, 0.0), (0.5, 0.18), (0.4, 0.42), (0.16, 0.72)):
                pts.append((px * fx * w + lean[0] * py * py * fy, -py * h * fy))
            pts.append((lean[0] * fy, -h * fy, 1))
            for px, py in ((-0.1, 0.72), (-0.36, 0.42), (-0.5, 0.18), (-0.32, 0.0)):
                pts.append((px * fx * w + lean[0] * py * py * fy, -py * h * fy))
        else:
            pts += [(-0.42 * fx * w, 0.0), (-0.55 * fx * w, -0.14 * h * fy)]
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
        s.ink = outer if k == 0 else inked
        with s.at(x, y - 0.015 * k):
            c = EMBER[k]
            s.blob(pts, (c[0], min(1.0, max(0.1, c[1] + hot)), c[2]), "glow", 0.9)
    s.ink = outer


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
        s.ink = False
        x = rng.uniform(-0.3, 0.3)
        drift = rng.uniform(-0.5, 0.5)
        for v in np.linspace(0, 1, 9):
            g = 0.3 + 0.3 * v + rng.uniform(-0.03, 0.03)
            r = 0.16 + 0.16 * v
            s.oval(
                x + drift * v * v + rng.uniform(-0.12, 0.12),
                -0.1 - 0.85 * v,
                r * 1.2,
                r,
                (g, g, g),
                "smoke",
                0.9,
            )
        s.ink = True
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
    s.ink = False
    tongues(s, rng.uniform(-0.2, 0.2), 0.55, 1.3, rng.uniform(0.45, 0.6), 5)
    s.ink = True
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
    for r0, c, mat in (
        (0.95, (0.24, 0.22, 0.22), "smoke"),
        (0.72, EMBER[0], "glow"),
        (0.52, EMBER[1], "glow"),
        (0.33, EMBER[2], "glow"),
        (0.16, (1, 0.97, 0.8), "glow"),
    ):
        if mat == "smoke" and rng.random() < 0.35:
            spikes = []
            for i in range(28):
                r = (r0 + 0.15) * (rng.uniform(0.85, 1.1) if i % 2 == 0 else 0.66)
                spikes.append((r * math.cos(i * math.pi / 14), r * math.sin(i * math.pi / 14)))
            s.poly(spikes, EMBER[0], "glow", 0.6)
            continue
        n = int(rng.integers(8, 11))
        pts: list[tuple[float, ...]] = []
        for i in range(n):
            # Puffs: round lobes that meet in notches.
            b = 2 * math.pi * i / n
            r = r0 * rng.uniform(0.9, 1.1)
            q = 0.8 * r0 * math.sin(math.pi / n)
            for d in np.radians((-72, -40, 0, 40, 72)):
                pts.append(
                    (
                        (r - q) * math.cos(b) + q * math.cos(b + d),
                        (r - q) * math.sin(b) + q * math.sin(b + d),
                    )
                )
        s.blob(pts, c, mat, 0.9)
    for _ in range(int(rng.integers(4, 10))):
        a, r = rng.uniform(0, 6.28), rng.uniform(0.95, 1.15)
        with s.at(r * math.cos(a), r * math.sin(a), math.degrees(a)):
            s.poly(
                [(-0.07, -0.03), (0.06, 0), (-0.07, 0.03)],
                EMBER[1] if rng.random() < 0.5 else WHITE if rng.random() < 0.1 else BLACK,
            )
