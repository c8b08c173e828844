"""Small solids, built from lathes, plates and boxes and rendered in three dimensions.

Each builder makes one thing with random proportions, colours and materials; `render` draws it
from a random side under a random light. Enough for training pictures, not a general renderer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edgesafe.samples.hazards.restyle import PALETTES, random_colour

Rng = np.random.Generator
Array = NDArray[np.float64]
Sprite = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Part:
    """A coloured, faceted surface: vertices (N, 3), polygons of equal length (F, K)."""

    vertices: Array
    faces: NDArray[np.int64]
    colour: Array
    gloss: float = 0.2

    def moved(self, by: tuple[float, float, float]) -> Part:
        """The part shifted."""
        return dataclasses.replace(self, vertices=self.vertices + np.array(by))

    def turned(self, axis: int, angle: float) -> Part:
        """The part rotated about a coordinate axis (radians)."""
        a, b = [i for i in range(3) if i != axis]
        turned = self.vertices.copy()
        turned[:, a] = np.cos(angle) * self.vertices[:, a] - np.sin(angle) * self.vertices[:, b]
        turned[:, b] = np.sin(angle) * self.vertices[:, a] + np.cos(angle) * self.vertices[:, b]
        return dataclasses.replace(self, vertices=turned)


def lathe(profile: list[tuple[float, float]], colour: Array, gloss: float = 0.3) -> Part:
    """Turn (radius, height) points about the y axis."""
    around = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    rings = np.array([[(r * np.cos(a), y, r * np.sin(a)) for a in around] for r, y in profile])
    count = len(around)
    faces = [
        (i * count + j, i * count + (j + 1) % count, (i + 1) * count + (j + 1) % count,
         (i + 1) * count + j)
        for i in range(len(profile) - 1)
        for j in range(count)
    ]  # fmt: skip
    return Part(rings.reshape(-1, 3), np.array(faces), colour, gloss)


def rod(radius: float, length: float, colour: Array, gloss: float = 0.3) -> Part:
    """A closed cylinder along y, centred."""
    h = length / 2
    return lathe(
        [(1e-3, -h), (radius, -h), (radius, -h / 3), (radius, h / 3), (radius, h), (1e-3, h)],
        colour,
        gloss,
    )


def ball(radius: float, colour: Array, squash: float = 1.0, gloss: float = 0.4) -> Part:
    """An ellipsoid of revolution about y."""
    turn = np.linspace(-np.pi / 2, np.pi / 2, 14)
    profile = [(max(1e-3, radius * np.cos(t)), squash * radius * np.sin(t)) for t in turn]
    return lathe([(float(r), float(y)) for r, y in profile], colour, gloss)


def plate(
    outline: list[tuple[float, float]], thick: float, colour: Array, gloss: float = 0.3
) -> Part:
    """An extruded outline in the x-y plane; the outline must be star-shaped about its mean."""
    points = np.array(outline, float)
    # Dense edges: the painter sorts small facets more faithfully than long ones.
    dense = np.concatenate(
        [
            np.linspace(points[i], points[(i + 1) % len(points)], 4, endpoint=False)
            for i in range(len(points))
        ]
    )
    count = len(dense)
    centre = dense.mean(axis=0)
    front = np.column_stack([dense, np.full(count, thick / 2)])
    back = np.column_stack([dense, np.full(count, -thick / 2)])
    vertices = np.concatenate([front, back, [[*centre, thick / 2]], [[*centre, -thick / 2]]])
    following = np.roll(np.arange(count), -1)
    index = np.arange(count)
    sides = np.column_stack([index, following, following + count, index + count])
    caps = np.column_stack([index, following, np.full(count, 2 * count), np.full(count, 2 * count)])
    under = np.column_stack(
        [
            index + count,
            following + count,
            np.full(count, 2 * count + 1),
            np.full(count, 2 * count + 1),
        ]
    )
    return Part(vertices, np.concatenate([sides, caps, under]), colour, gloss)


def box(x: float, y: float, z: float, colour: Array, gloss: float = 0.2) -> Part:
    """A centred cuboid."""
    return plate(
        [(-x / 2, -y / 2), (x / 2, -y / 2), (x / 2, y / 2), (-x / 2, y / 2)], z, colour, gloss
    )


def render(parts: list[Part], size: int, rng: Rng, *, flat: bool = False) -> Sprite:
    """Painter's algorithm with Blinn-Phong facets at twice the size, then reduced.

    Args:
        parts: the solid, any scale.
        size: longer side of the picture in pixels.
        flat: few directions only, so that plates are not seen edge-on.

    Returns:
        (H, W, 4) RGBA sprite.
    """
    span = np.concatenate([p.vertices for p in parts])
    centre, extent = (span.max(axis=0) + span.min(axis=0)) / 2, np.ptp(span, axis=0).max()
    limit = 0.75 if flat else 1.3
    pitch, yaw, roll = (
        rng.uniform(-limit, limit),
        rng.uniform(-limit, limit),
        rng.uniform(0, 2 * np.pi),
    )
    light = rng.normal(0, 1, 3) + (0, 0.4, 1.2)
    light /= np.linalg.norm(light)
    half = light + (0, 0, 1)
    half /= np.linalg.norm(half)
    ambient, power = rng.uniform(0.25, 0.5), rng.uniform(10, 60)
    distance = rng.uniform(2.2, 6)
    quads, shades, depths = [], [], []
    for part in parts:
        posed = dataclasses.replace(part, vertices=(part.vertices - centre) / extent)
        posed = posed.turned(1, yaw).turned(0, pitch).turned(2, roll)
        corners = posed.vertices[posed.faces]
        normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 1] - corners[:, 0])
        # Caps repeat their last corner; a diagonal through it would vanish.
        normals += np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]) * 1e-9
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        normals *= np.where(normals[:, 2:] < 0, -1, 1)
        diffuse = np.clip(normals @ light, 0, 1)[:, None]
        shine = np.clip(normals @ half, 0, 1)[:, None] ** power
        shades.append(
            part.colour * (ambient + (1.1 - ambient) * diffuse) + 255 * part.gloss * shine
        )
        zoom = distance / (distance - corners[..., 2:])
        quads.append(corners[..., :2] * zoom)
        depths.append(corners[..., 2].mean(axis=1))
    polygons, colours = np.concatenate(quads), np.concatenate(shades).clip(0, 255)
    order = np.argsort(np.concatenate(depths))
    low, high = polygons.reshape(-1, 2).min(axis=0), polygons.reshape(-1, 2).max(axis=0)
    scale = 2 * size / (high - low).max()
    width, height = np.ceil((high - low) * scale).astype(int) + 3
    canvas = np.zeros((height, width, 4), np.uint8)
    pixels = np.round((polygons - low) * scale + 1).astype(np.int32)
    for i in order:
        cv2.fillConvexPoly(canvas, pixels[i], (*colours[i].tolist(), 255))
    reduced = cv2.resize(
        canvas, (max(4, width // 2), max(4, height // 2)), interpolation=cv2.INTER_AREA
    )
    cover = reduced[..., 3:].astype(np.float32) / 255
    rgb = np.where(cover > 0, reduced[..., :3] / np.maximum(cover, 1e-3), 0).clip(0, 255)
    return np.dstack([rgb.astype(np.uint8), reduced[..., 3]])[::-1].copy()


def _metal(rng: Rng) -> Array:
    value = float(rng.choice([rng.uniform(25, 70), rng.uniform(140, 225)]))
    return np.clip(value + rng.normal(0, 6, 3), 0, 255)


def _grip(rng: Rng) -> Array:
    if rng.random() < 0.7:
        options = PALETTES["weapon"]
        return np.array(options[rng.integers(len(options))], float)
    return random_colour(rng).astype(float)


def _any(rng: Rng) -> Array:
    return random_colour(rng).astype(float)


def _knife(rng: Rng) -> list[Part]:
    long, wide = rng.uniform(1.0, 2.2), rng.uniform(0.16, 0.42)
    bend = rng.uniform(-0.1, 0.15)
    blade = [(0, -wide / 2), (long * 0.7, -wide / 2), (long, wide / 2 + bend), (0, wide / 2)]
    if rng.random() < 0.4:  # double-edged
        blade = [
            (0, -wide / 2),
            (long * 0.75, -wide / 2.4),
            (long, 0),
            (long * 0.75, wide / 2.4),
            (0, wide / 2),
        ]
    steel = np.clip(rng.uniform(150, 230) + rng.normal(0, 5, 3), 0, 255)
    parts = [plate(blade, 0.04, steel, 0.6)]
    handle = rod(wide * rng.uniform(0.25, 0.42), rng.uniform(0.6, 1.0), _grip(rng)).turned(
        2, np.pi / 2
    )
    parts.append(handle.moved((-0.42, 0, 0)))
    if rng.random() < 0.5:
        parts.append(box(0.07, wide * rng.uniform(1.3, 2.2), 0.14, _metal(rng)))
    return parts


def _sword(rng: Rng) -> list[Part]:
    long, wide = rng.uniform(2.4, 3.6), rng.uniform(0.14, 0.26)
    steel = np.clip(rng.uniform(150, 230) + rng.normal(0, 5, 3), 0, 255)
    blade = [(0, -wide / 2), (long, -wide / 3), (long + 0.3, 0), (long, wide / 3), (0, wide / 2)]
    guard = rod(0.06, rng.uniform(0.6, 1.1), _metal(rng))
    grip = rod(0.08, 0.6, _grip(rng)).turned(2, np.pi / 2).moved((-0.33, 0, 0))
    return [
        plate(blade, 0.05, steel, 0.7),
        guard,
        grip,
        ball(0.13, _metal(rng)).moved((-0.7, 0, 0)),
    ]


def _axe(rng: Rng) -> list[Part]:
    long = rng.uniform(1.4, 2.2)
    shaft = rod(0.06, long, np.array([150, 105, 60]) * rng.uniform(0.6, 1.3))
    h = rng.uniform(0.3, 0.5)
    head = [
        (0, -h * 0.5),
        (0.45, -h),
        (0.62, 0),
        (0.45, h),
        (0, h * 0.5),
        (-0.16, 0.14),
        (-0.16, -0.14),
    ]
    return [shaft, plate(head, 0.1, _metal(rng), 0.5).moved((0, long / 2 - 0.3, 0))]


def _pistol(rng: Rng) -> list[Part]:
    body, grip = _metal(rng), _grip(rng)
    long, tall = rng.uniform(1.0, 1.6), rng.uniform(0.22, 0.34)
    parts = [
        box(long, tall, 0.2, body, 0.4),
        box(long * 0.8, tall * 0.6, 0.17, body * 0.85).moved((-0.05, -tall * 0.6, 0)),
    ]
    parts.append(
        box(0.3, rng.uniform(0.6, 0.85), 0.19, grip)
        .turned(2, rng.uniform(-0.35, -0.1))
        .moved((-long / 2 + 0.2, -0.55, 0))
    )
    for k in range(6):  # trigger guard
        angle = np.pi + k * np.pi / 5
        parts.append(
            box(0.1, 0.05, 0.06, body).moved(
                (-long / 2 + 0.52 + 0.17 * np.cos(angle), -0.35 + 0.17 * np.sin(angle), 0)
            )
        )
    parts.append(
        rod(0.06, 0.14 + rng.uniform(0, 0.5), body * 0.6)
        .turned(2, np.pi / 2)
        .moved((long / 2 + 0.05, 0.02, 0))
    )
    if rng.random() < 0.4:  # revolver
        parts.append(rod(0.22, 0.36, body * 1.1).turned(2, np.pi / 2).moved((-0.1, -0.06, 0)))
    return parts


def _rifle(rng: Rng) -> list[Part]:
    body = _metal(rng) * 0.7
    wood = np.array([120, 80, 45]) * rng.uniform(0.6, 1.3) if rng.random() < 0.5 else body * 0.9
    stock = [(-0.3, -0.12), (-1.4, -0.42), (-1.45, 0.02), (-0.3, 0.12)]
    parts = [
        box(1.3, 0.26, 0.16, body, 0.4).moved((0.2, 0, 0)),
        plate(stock, 0.15, wood),
        rod(0.05, rng.uniform(1.0, 1.8), body * 0.8).turned(2, np.pi / 2).moved((1.5, 0.04, 0)),
        box(0.7, 0.2, 0.18, wood).moved((1.0, -0.02, 0)),
        box(0.18, 0.42, 0.13, wood).turned(2, -0.3).moved((-0.2, -0.3, 0)),
    ]
    if rng.random() < 0.7:
        for k in range(4):
            parts.append(
                box(0.22, 0.2, 0.12, body * 0.8)
                .turned(2, 0.1 * k)
                .moved((0.35 + 0.03 * k * k, -0.2 - 0.15 * k, 0))
            )
    if rng.random() < 0.4:
        parts.append(rod(0.07, 0.6, body * 1.2).turned(2, np.pi / 2).moved((0.2, 0.25, 0)))
    return parts


def _bomb(rng: Rng) -> list[Part]:
    shell = np.full(3, rng.uniform(15, 60))
    parts = [ball(0.6, shell, gloss=0.5), rod(0.14, 0.16, shell * 1.4).moved((0, 0.6, 0))]
    for k in range(7):
        parts.append(
            ball(0.05, np.array([200.0, 190, 150])).moved(
                (0.05 * k + 0.02 * k * k * 0.3, 0.7 + 0.07 * k, 0)
            )
        )
    parts.append(ball(0.1, np.array([255.0, 180, 40]), gloss=0.8).moved((0.45, 1.2, 0)))
    return parts


def _grenade(rng: Rng) -> list[Part]:
    green = np.array([70, 85, 45]) * rng.uniform(0.5, 1.5)
    parts = []
    for row in range(5):
        for k in range(8):
            angle, radius = k * np.pi / 4, 0.36 * np.cos((row - 2) * 0.42)
            block = ball(0.17, green, gloss=0.15)
            parts.append(
                block.moved((radius * np.cos(angle), 0.2 * (row - 2), radius * np.sin(angle)))
            )
    parts.append(rod(0.14, 0.3, _metal(rng)).moved((0, 0.6, 0)))
    parts.append(box(0.12, 0.8, 0.08, _metal(rng)).turned(2, 0.25).moved((0.3, 0.35, 0)))
    return parts


def _capsules(rng: Rng) -> list[Part]:
    parts = []
    pair = (_any(rng), _any(rng) if rng.random() < 0.7 else np.full(3, 240.0))
    for _ in range(int(rng.integers(1, 8))):
        turn, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
        where = (rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 0.9), rng.uniform(-0.1, 0.1))
        for side, colour in zip((-1, 1), pair, strict=True):
            half = lathe(
                [(0.17, 0), (0.17, 0.15), (0.17, 0.3), (0.13, 0.4), (0.07, 0.45), (1e-3, 0.47)],
                colour,
                0.7,
            )
            half = half.turned(0, np.pi) if side < 0 else half
            parts.append(half.turned(0, tilt).turned(2, turn).moved(where))
    return parts


def _tablets(rng: Rng) -> list[Part]:
    parts = []
    base = np.full(3, rng.uniform(215, 250)) if rng.random() < 0.6 else _any(rng)
    for _ in range(int(rng.integers(2, 12))):
        one = base if rng.random() < 0.75 else _any(rng)
        disc = lathe([(1e-3, -0.08), (0.2, -0.07), (0.25, 0), (0.2, 0.07), (1e-3, 0.08)], one, 0.3)
        disc = disc.turned(0, np.pi / 2 + rng.uniform(-0.6, 0.6)).turned(2, rng.uniform(0, 6))
        parts.append(
            disc.moved((rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8), rng.uniform(-0.2, 0.2)))
        )
    return parts


def _syringe(rng: Rng) -> list[Part]:
    glass, fluid = np.array([215.0, 225, 235]), _any(rng)
    fill = rng.uniform(0.3, 0.9)
    parts = [
        rod(0.16, 1.2 * (1 - fill), glass, 0.7).moved((0, 0.6 * fill, 0)),
        rod(0.16, 1.2 * fill, fluid * 0.7 + 70, 0.7).moved((0, -0.6 * (1 - fill), 0)),
        rod(0.025, 0.9, np.full(3, 170.0), 0.9).moved((0, -1.2, 0)),
        lathe([(0.16, -0.6), (0.07, -0.72), (0.06, -0.8)], glass * 0.85),
        rod(0.06, 0.7, glass * 0.8).moved((0, 0.9, 0)),
        rod(0.2, 0.06, glass * 0.75).moved((0, 1.25, 0)),
        box(0.62, 0.06, 0.16, glass * 0.8).moved((0, 0.6, 0)),
    ]
    return parts


def _pill_bottle(rng: Rng) -> list[Part]:
    amber = np.array([220, 120, 30]) * rng.uniform(0.8, 1.15) if rng.random() < 0.7 else _any(rng)
    parts = [
        lathe(
            [(1e-3, -0.7), (0.4, -0.7), (0.4, -0.3), (0.4, 0.2), (0.4, 0.5), (0.36, 0.55)],
            amber,
            0.6,
        ),
        rod(0.44, 0.28, np.full(3, 240.0)).moved((0, 0.68, 0)),
        lathe([(0.41, -0.45), (0.41, 0), (0.41, 0.3)], np.full(3, 245.0), 0.1),
    ]
    return parts + [p.moved((0.9, -0.5, 0)) for p in _tablets(rng)]


def _blister(rng: Rng) -> list[Part]:
    foil = np.full(3, rng.uniform(150, 215))
    columns, rows = int(rng.integers(2, 4)), int(rng.integers(3, 6))
    parts = [box(columns * 0.4, rows * 0.34, 0.03, foil, 0.6)]
    dome = _any(rng) if rng.random() < 0.6 else np.full(3, 240.0)
    for i in range(columns):
        for j in range(rows):
            bump = ball(0.13, dome, 0.6, 0.6).turned(0, np.pi / 2)
            parts.append(
                bump.moved(((i - (columns - 1) / 2) * 0.38, (j - (rows - 1) / 2) * 0.32, 0.05))
            )
    return parts


def _joint(rng: Rng) -> list[Part]:
    """A hand-rolled cigarette: it widens to one end, which is twisted shut or glows."""
    paper = np.array([236.0, 230.0, 214.0]) * rng.uniform(0.75, 1.0)
    thin, wide, length = rng.uniform(0.03, 0.05), rng.uniform(0.06, 0.1), rng.uniform(0.9, 1.5)
    profile = [(0.0, -length / 2), (thin, -length / 2)]
    profile += [
        (thin + (wide - thin) * t + rng.normal(0, 0.004), length * (t - 0.5))
        for t in np.linspace(0.1, 1, 8)
    ]
    parts = [lathe([*profile, (0.0, length / 2)], paper, gloss=0.05)]
    end = length / 2
    if rng.random() < 0.5:
        twist = [(wide, end), (0.35 * wide, end + 0.08), (0.5 * wide, end + 0.16), (0.0, end + 0.2)]
        parts.append(lathe(twist, paper * 0.95, gloss=0.05))
    else:
        glow = np.array([rng.uniform(190, 255), rng.uniform(60, 120), 20.0])
        ash = np.array([70.0, 66.0, 64.0]) * rng.uniform(0.6, 1.6)
        parts.append(rod(wide, 0.06, glow, gloss=0.0).moved((0, end + 0.03, 0)))
        parts.append(rod(0.9 * wide, 0.08, ash, gloss=0.0).moved((0, end + 0.1, 0)))
    if rng.random() < 0.4:  # a filter of cardboard
        tip = np.array([rng.uniform(160, 220), rng.uniform(120, 180), rng.uniform(60, 130)])
        parts.append(rod(1.1 * thin, 0.2, tip, gloss=0.05).moved((0, -length / 2 - 0.05, 0)))
    return parts


def _turned(
    rng: Rng, profile: list[tuple[float, float]], colour: Array, gloss: float = 0.4
) -> list[Part]:
    stretch, thick = rng.uniform(0.8, 1.25, 2)
    return [lathe([(max(1e-3, r * thick), y * stretch) for r, y in profile], colour, gloss)]


def _mug(rng: Rng) -> list[Part]:
    colour = _any(rng)
    handle = [
        ball(0.07, colour).moved((0.4 + 0.2 * np.sin(a), 0.3 * np.cos(a), 0))
        for a in np.linspace(0.2, 2.9, 14)
    ]
    return (
        _turned(
            rng,
            [
                (1e-3, -0.5),
                (0.38, -0.5),
                (0.4, 0),
                (0.4, 0.5),
                (0.35, 0.5),
                (0.34, -0.4),
                (1e-3, -0.4),
            ],
            colour,
        )
        + handle
    )


def _bottle(rng: Rng) -> list[Part]:
    red = np.array([190.0, 30, 25]) if rng.random() < 0.5 else _any(rng)
    body = _turned(
        rng, [(1e-3, -1), (0.34, -1), (0.36, -0.3), (0.34, 0.2), (0.18, 0.6), (0.12, 0.8)], red
    )
    return [
        *body,
        rod(0.13, 0.3, _any(rng)).moved((0, 0.95, 0)),
        lathe([(0.375, -0.6), (0.375, 0)], _any(rng), 0.1),
    ]


def _spoon(rng: Rng) -> list[Part]:
    steel = _metal(rng) if rng.random() < 0.7 else np.array([150.0, 105, 60])
    bowl = ball(0.3, steel, 0.3, 0.7).turned(0, np.pi / 2)
    return [bowl, rod(0.05, rng.uniform(1.2, 2.0), steel, 0.5).moved((0, 1.0, 0))]


def _pencil(rng: Rng) -> list[Part]:
    tip = lathe([(0.1, 0), (0.03, -0.28), (1e-3, -0.36)], np.array([225.0, 190, 140]))
    return [
        rod(0.1, 1.8, _any(rng)).moved((0, 0.9, 0)),
        tip,
        rod(0.1, 0.2, _any(rng)).moved((0, 1.85, 0)),
    ]


def _scissors(rng: Rng) -> list[Part]:
    steel, grip, parts = np.full(3, rng.uniform(150, 215)), _any(rng), []
    for side in (-1, 1):
        blade = plate([(-0.06, 0), (0.0, 1.1), (0.07, 0)], 0.04, steel, 0.6).turned(2, side * 0.18)
        parts.append(blade.moved((0, 0, 0.03 * side)))
        for a in np.linspace(0, 2 * np.pi, 16, endpoint=False):
            parts.append(
                ball(0.055, grip).moved(
                    (side * 0.24 + 0.18 * np.cos(a), -0.42 + 0.25 * np.sin(a), 0)
                )
            )
    return parts


def _hammer(rng: Rng) -> list[Part]:
    shaft = rod(0.07, rng.uniform(1.3, 1.9), np.array([160, 110, 60]) * rng.uniform(0.7, 1.2))
    head = rod(0.16, rng.uniform(0.6, 0.9), _metal(rng), 0.5).turned(2, np.pi / 2)
    return [shaft, head.moved((0, 0.75, 0))]


def _book(rng: Rng) -> list[Part]:
    cover = _any(rng)
    return [
        box(1.0, 1.3, 0.16, np.full(3, 235.0)),
        box(1.08, 1.38, 0.04, cover).moved((0, 0, 0.1)),
        box(1.08, 1.38, 0.04, cover).moved((0, 0, -0.1)),
    ]


def _balls(rng: Rng) -> list[Part]:
    return [
        ball(rng.uniform(0.2, 0.45), _any(rng), rng.uniform(0.8, 1.1), rng.uniform(0, 0.8)).moved(
            tuple(rng.uniform(-0.8, 0.8, 3))
        )
        for _ in range(int(rng.integers(1, 7)))
    ]


def _carrot(rng: Rng) -> list[Part]:
    root = _turned(
        rng,
        [(1e-3, -1), (0.12, -0.6), (0.2, 0), (0.27, 0.5), (0.2, 0.65), (1e-3, 0.68)],
        np.array([235.0, 120, 30]),
    )
    leaves = [
        box(0.07, 0.6, 0.07, np.array([60.0, 140, 50])).turned(2, t).moved((0.2 * t, 0.9, 0))
        for t in (-0.5, 0, 0.5)
    ]
    return root + leaves


def _fruit(rng: Rng) -> list[Part]:
    colours = ((200, 30, 35), (240, 140, 30), (120, 170, 50), (230, 200, 60), (225, 60, 45))
    skin = np.array(colours[rng.integers(len(colours))], float)
    body = ball(0.5, skin, rng.uniform(0.85, 1.1), 0.5)
    return [body, rod(0.03, 0.25, np.array([90.0, 60, 30])).moved((0, 0.55, 0))]


def _lipstick(rng: Rng) -> list[Part]:
    return [
        rod(0.2, 0.7, _metal(rng)),
        rod(0.16, 0.3, np.array([210.0, 180, 90]), 0.8).moved((0, 0.5, 0)),
        rod(0.13, 0.4, np.array([190.0, 20, 50])).moved((0, 0.8, 0)),
    ]


def _screwdriver(rng: Rng) -> list[Part]:
    return [
        rod(0.05, 1.1, np.full(3, 180.0), 0.7).moved((0, -0.8, 0)),
        rod(0.16, 0.8, _any(rng)).moved((0, 0.15, 0)),
    ]


def _flashlight(rng: Rng) -> list[Part]:
    body = _metal(rng)
    return [
        rod(0.16, 1.2, body),
        lathe([(0.16, 0.6), (0.27, 0.8), (0.27, 1.0), (1e-3, 0.98)], body, 0.5),
    ]


def _hair_dryer(rng: Rng) -> list[Part]:
    body = _any(rng)
    return [
        rod(0.26, 0.9, body).turned(2, np.pi / 2),
        lathe([(0.26, 0), (0.18, 0.4), (0.2, 0.5)], body * 0.7)
        .turned(2, -np.pi / 2)
        .moved((0.45, 0, 0)),
        rod(0.12, 0.8, body * 0.9).moved((-0.2, -0.55, 0)),
    ]


def _dice(rng: Rng) -> list[Part]:
    return [
        box(1, 1, 1, _any(rng)),
        *(
            ball(0.1, np.full(3, 30.0)).moved((x, y, 0.5))
            for x in (-0.25, 0.25)
            for y in (-0.25, 0.25)
        ),
    ]


Builder = Callable[[Rng], list[Part]]
HAZARDS: dict[str, tuple[tuple[str, Builder, bool], ...]] = {
    "weapon": (
        ("knife", _knife, True), ("sword", _sword, True), ("axe", _axe, True),
        ("pistol", _pistol, True), ("gun", _pistol, True), ("rifle", _rifle, True),
        ("bomb", _bomb, False), ("grenade", _grenade, False),
    ),
    "drugs": (
        ("capsules", _capsules, True), ("pills", _tablets, True), ("syringe", _syringe, False),
        ("pill bottle", _pill_bottle, False), ("blister pack of pills", _blister, True),
        ("joint", _joint, False),
    ),
}  # fmt: skip
HARMLESS: tuple[tuple[str, Builder, bool], ...] = (
    ("mug", _mug, False), ("bottle of ketchup", _bottle, False), ("spoon", _spoon, False),
    ("pencil", _pencil, False), ("pair of scissors", _scissors, True), ("hammer", _hammer, True),
    ("book", _book, False), ("ball", _balls, False), ("carrot", _carrot, False),
    ("apple", _fruit, False), ("lipstick", _lipstick, False), ("screwdriver", _screwdriver, False),
    ("flashlight", _flashlight, False), ("hair dryer", _hair_dryer, False), ("dice", _dice, False),
)  # fmt: skip
