"""Shapes that nobody trained on: clutter, things that stand in the way, and hands.

Every shape is made about the origin with z up, sizes in mm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.render.surface import Surface, is_closed, smooth_normals

__all__ = ["box", "hand", "lathe", "random_shape", "tube"]

Array = NDArray[np.float64]
Rng = np.random.Generator

_AROUND = 24
_SKIN = ((0.93, 0.74, 0.63), (0.80, 0.58, 0.45), (0.55, 0.37, 0.27), (0.32, 0.21, 0.16))


def box(size: Sequence[float]) -> Surface:
    """Return a box of three side lengths, each face with a texture of its own."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    vertices, normals, uv = [], [], []
    for axis in range(3):
        for sign in (-1, 1):
            face = np.empty((4, 3))
            face[:, axis] = sign
            face[:, (axis + 1) % 3], face[:, (axis + 2) % 3] = (corners * [sign, 1]).T
            vertices.append(face * np.asarray(size) / 2)
            normals.append(np.tile(np.eye(3)[axis] * sign, (4, 1)))
            uv.append((corners + 1) / 2)
    faces = [[4 * f + i for i in t] for f in range(6) for t in ((0, 1, 2), (0, 2, 3))]
    return _surface(np.concatenate(vertices), faces, np.concatenate(uv), np.concatenate(normals))


def lathe(radius: Array, height: Array, flatten: float = 1.0) -> Surface:
    """Return a turned shape: ``radius`` (n,) at each ``height`` (n,), squeezed along y."""
    rounds = len(radius)
    angle = np.linspace(0, 2 * np.pi, _AROUND + 1)
    x = radius[:, None] * np.cos(angle)
    y = radius[:, None] * np.sin(angle) * flatten
    z = np.broadcast_to(height[:, None], x.shape)
    u = np.broadcast_to(angle / (2 * np.pi), x.shape)
    v = np.broadcast_to(np.linspace(0, 1, rounds)[:, None], x.shape)
    return _grid(np.stack([x, y, z], axis=-1), np.stack([u, v], axis=-1))


def tube(path: Array, radius: Array) -> Surface:
    """Return a round tube along ``path`` (n, 3) with a ``radius`` (n,): a cable, a finger."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    # Any direction that is nowhere along the tube will do to span its sections.
    reference = np.eye(3)[np.argmin(np.abs(along).sum(0))]
    side = np.cross(along, reference)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    other = np.cross(along, side)
    angle = np.linspace(0, 2 * np.pi, 13)[:, None]
    ring = np.cos(angle) * side[:, None] + np.sin(angle) * other[:, None]
    vertices = path[:, None] + ring * radius[:, None, None]
    u, v = np.meshgrid(np.linspace(0, 1, 13), np.linspace(0, 1, len(path)))
    return _grid(vertices, np.stack([u, v], axis=-1))


def hand(rng: Rng) -> Surface:
    """Return something like a hand and its forearm, reaching along +x; skin or glove."""
    width = rng.uniform(70, 95)
    parts = [_limb(rng, [-rng.uniform(120, 300), 0, 0], [0, 0, 0], width * 0.36, width * 0.5)]
    for finger in range(5):
        across = (finger - 2) / 2 * width / 2
        start = [0 if finger else -width * 0.3, across, 0]
        length = rng.uniform(60, 90) * (0.7 if finger == 0 else 1)
        end = [
            start[0] + length * rng.uniform(0.5, 1),
            across * rng.uniform(1, 1.6),
            -length * rng.uniform(0, 0.7),
        ]
        parts.append(_limb(rng, start, end, width * 0.13, width * 0.09))
    colour = _SKIN[rng.integers(len(_SKIN))] if rng.random() < 0.7 else rng.uniform(0, 1, 3)
    tone = np.asarray(colour) * rng.uniform(0.85, 1.05)
    made = _joined(parts)
    skin = np.tile(np.clip(tone, 0, 1).astype(np.float32), (len(made.vertices), 1))
    return replace(made, colours=skin, uv=None)


def random_shape(rng: Rng, size: float) -> Surface:
    """Return a random shape of about ``size`` mm, in one or two colours."""
    made = _one(rng)
    if rng.random() < 0.3:
        # Things are made of parts.
        others = [_one(rng) for _ in range(rng.integers(1, 4))]
        moved = [
            replace(other, vertices=other.vertices * rng.uniform(0.2, 0.9) + rng.normal(0, 0.5, 3))
            for other in others
        ]
        made = _joined([made, *moved])
    return replace(made, vertices=made.vertices * (size / (2 * made.radius)))


def _one(rng: Rng) -> Surface:
    makers: list[Callable[[Rng], Surface]] = [_any_box, _card, _turned, _turned, _blob, _cable]
    return _coloured(makers[rng.integers(len(makers))](rng), rng)


def _card(rng: Rng) -> Surface:
    """A book, a sheet, a folder."""
    return box([1, rng.uniform(0.4, 1), rng.uniform(0.005, 0.1)])


def _any_box(rng: Rng) -> Surface:
    return box(rng.uniform(0.15, 1, 3).tolist())


def _turned(rng: Rng) -> Surface:
    """A cup, bottle, bowl, cone or ball: a profile with a few knots."""
    knots = rng.integers(2, 6)
    height = np.linspace(-0.5, 0.5, 16) * rng.uniform(0.3, 2.2)
    radius = np.interp(np.linspace(0, 1, 16), np.linspace(0, 1, knots), rng.uniform(0.1, 1, knots))
    kind = rng.integers(4)
    if kind == 0:
        # A ball, an egg.
        radius = np.sqrt(np.maximum(1 - np.linspace(-1, 1, 16) ** 2, 0)) * 0.6
    elif kind == 1:
        # Hollow: down the inside again to a floor.
        inner = radius * 0.9
        radius = np.concatenate([[0.0], radius, inner[::-1], [0.0]])
        height = np.concatenate([height[:1], height, height[::-1], [height[0] + 0.05]])
    else:
        radius = np.concatenate([[0.0], radius, [0.0]])
        height = np.concatenate([height[:1], height, height[-1:]])
    return lathe(radius, height, rng.uniform(0.5, 1) if rng.random() < 0.3 else 1.0)


def _blob(rng: Rng) -> Surface:
    """A lump: a ball pushed in and out by a few slow waves."""
    polar, angle = np.meshgrid(
        np.linspace(0, np.pi, 20), np.linspace(0, 2 * np.pi, _AROUND + 1), indexing="ij"
    )
    ball = np.stack(
        [np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar)], axis=-1
    )
    swell = np.ones(ball.shape[:2])
    for _ in range(6):
        swell += rng.uniform(0, 0.16) * np.sin(ball @ rng.normal(0, 2.5, 3) + rng.uniform(0, 6))
    # Rows run from the top here, from the bottom in a lathe: turn them over to look outwards.
    vertices = (ball * swell[..., None] * rng.uniform(0.5, 1, 3))[::-1]
    uv = np.stack([angle / (2 * np.pi), 1 - polar / np.pi], axis=-1)[::-1]
    return _grid(vertices, uv)


def _cable(rng: Rng) -> Surface:
    steps = np.linspace(0, 1, 40)
    path = np.zeros((40, 3))
    for axis in range(3):
        for wave in range(1, 4):
            path[:, axis] += rng.normal(0, 0.5 / wave) * np.sin(
                np.pi * wave * steps + rng.uniform(0, 6)
            )
    path[:, 2] *= 0.3
    return tube(path, np.full(40, rng.uniform(0.015, 0.06)))


def _limb(
    rng: Rng, start: Sequence[float], end: Sequence[float], first: float, last: float
) -> Surface:
    steps = np.linspace(0, 1, 12)[:, None]
    path = np.asarray(start) * (1 - steps) + np.asarray(end) * steps
    path[:, 2] += np.sin(np.pi * steps[:, 0]) * rng.uniform(0, 0.15) * np.ptp(path)
    thick = first + (last - first) * steps[:, 0]
    # Round at the tip.
    thick *= np.sqrt(np.clip(1 - np.clip(steps[:, 0] - 0.8, 0, None) ** 2 / 0.04, 0, 1))
    return tube(path, thick)


def _coloured(made: Surface, rng: Rng) -> Surface:
    colour = rng.uniform(0, 1, 3) ** rng.uniform(0.5, 2)
    if rng.random() < 0.35:
        colour = np.full(3, rng.uniform(0.03, 0.95)) + rng.normal(0, 0.03, 3)
    colours = np.tile(colour, (len(made.vertices), 1))
    if rng.random() < 0.4:
        split = made.vertices @ rng.normal(size=3)
        colours[split > np.quantile(split, rng.uniform(0.2, 0.8))] = rng.uniform(0, 1, 3)
    shown = np.clip(colours, 0, 1).astype(np.float32)
    return replace(made, colours=shown)


def _joined(parts: Sequence[Surface]) -> Surface:
    starts = np.cumsum([0] + [len(part.vertices) for part in parts])
    uv = [part.uv for part in parts if part.uv is not None]
    return Surface(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + at for part, at in zip(parts, starts, strict=False)]),
        np.concatenate([part.normals for part in parts]),
        np.concatenate([part.colours for part in parts]),
        all(part.closed for part in parts),
        np.concatenate(uv) if len(uv) == len(parts) else None,
    )


def _grid(vertices: Array, uv: Array) -> Surface:
    """Return the surface of a grid of vertices (rows, columns, 3) whose columns close up."""
    rows, columns = vertices.shape[:2]
    at = np.arange(rows * columns).reshape(rows, columns)
    low, right = at[:-1, :-1].ravel(), at[:-1, 1:].ravel()
    high, across = at[1:, :-1].ravel(), at[1:, 1:].ravel()
    faces = np.concatenate(
        [np.stack([low, right, across], axis=1), np.stack([low, across, high], axis=1)]
    )
    flat = vertices.reshape(-1, 3)
    normals = smooth_normals(flat, faces).reshape(rows, columns, 3)
    # The first and the last column are one place.
    seam = normals[:, 0] + normals[:, -1]
    seam /= np.maximum(np.linalg.norm(seam, axis=1, keepdims=True), 1e-9)
    normals[:, 0] = normals[:, -1] = seam
    return _surface(flat, faces, uv.reshape(-1, 2), normals.reshape(-1, 3))


def _surface(vertices: Array, faces: object, uv: Array, normals: NDArray[np.floating]) -> Surface:
    triangles = np.asarray(faces, np.int64)
    colours = np.full((len(vertices), 3), 0.7, np.float32)
    closed = is_closed(vertices, triangles)
    return Surface(
        vertices,
        triangles,
        np.asarray(normals, np.float32),
        colours,
        closed,
        np.asarray(uv, np.float32),
    )
