"""The mesh style of the held-out drawings: real triangles, turned in space and lit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgesafe.samples.heldout_buffers import (
    MARGIN,
    Image,
    Sprite,
    draw_light,
    fill,
    pack,
    pose,
    relief,
)
from edgesafe.samples.heldout_parts import Part, Points


def mesh(parts: Sequence[Part], rng: np.random.Generator, turn: float) -> Sprite:
    """A triangle mesh turned in space and lit, of coarse or fine facets."""
    import cv2

    size = int(rng.integers(250, 330))
    posed, shape = pose(parts, rng, turn, size, bend=False)
    coarse = rng.random() < 0.5
    gap = size * (0.07 if coarse else 0.02)
    light = draw_light(rng)
    yaw, pitch = math.radians(rng.uniform(-38, 38)), math.radians(rng.uniform(-28, 28))
    turn_y = np.array(
        [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
    )
    turn_x = np.array(
        [[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]]
    )
    spin = turn_x @ turn_y
    ground = np.zeros(shape, np.float32)
    faces: list[NDArray[np.float64]] = []
    shades: list[NDArray[np.float64]] = []
    mid = np.array([shape[1] / 2, shape[0] / 2, 0])
    phase = rng.uniform(0, 6)
    for part in posed:
        tri = _facets(part, ground, gap, size)
        if len(tri) == 0:
            continue
        v = (tri - mid) @ spin.T
        nrm = np.cross(v[:, 1] - v[:, 0], v[:, 2] - v[:, 0])
        nrm /= np.maximum(np.linalg.norm(nrm, axis=1, keepdims=True), 1e-9)
        nrm *= np.where(nrm[:, 2:] < 0, -1.0, 1.0)
        color = _facet_colors(part, nrm, v, light, phase, size, rng, coarse)
        order = np.argsort(v[:, :, 2].mean(1))
        # Facets hidden by the same part come first; parts themselves are stacked in order.
        faces.append(v[order])
        shades.append(color[order])
    v = np.concatenate(faces)
    xy = v[..., :2] * (3.2 * size / (3.2 * size - v[..., 2:]))
    low = xy.reshape(-1, 2).min(0)
    scale = 2.0
    pts = np.round((xy - low + MARGIN) * scale * 16).astype(np.int32)
    w, h = (np.ceil(pts.reshape(-1, 2).max(0) / 16).astype(int) + int(MARGIN * scale)).tolist()
    canvas = np.zeros((h, w, 4), np.uint8)
    rgba = np.concatenate(
        [np.clip(np.concatenate(shades), 0, 1) * 255, np.full((len(v), 1), 255.0)], 1
    )
    for p, c in zip(pts, rgba.tolist(), strict=True):
        cv2.fillConvexPoly(canvas, p, c, cv2.LINE_8, 4)
    fw, fh = max(int(w / scale), 1), max(int(h / scale), 1)
    small = np.asarray(
        cv2.resize(canvas, (fw, fh), interpolation=cv2.INTER_AREA), np.float32
    ) / np.float32(255)
    alpha = small[..., 3]
    return pack(small[..., :3] / np.maximum(alpha, 1e-3)[..., None], alpha)


def _facets(part: Part, ground: Image, gap: float, size: int) -> Points:
    """Returns the triangles of one part, as (n, 3, xyz), and raises the ground by it."""
    import cv2

    win, m = fill(part, (ground.shape[0], ground.shape[1]))
    h = relief(m, part.bulge) * (m > 0.3) if not part.line else np.zeros_like(m)
    if part.mat in ("smear", "powder") or (part.mat == "liquid" and part.bulge < 0.6):
        h = h * 0.3
    below = ground[win]
    d = float(cv2.distanceTransform((m > 0.5).astype(np.uint8), cv2.DIST_L2, 3).max())
    near = float(np.clip(d * 0.6, 2.0, gap))
    # Liquids have thin arms, which a coarse outline would cut off.
    along = min(near, size * 0.02) if part.mat in ("liquid", "smear") else near
    base = float(np.median(below[m > 0.5])) if (m > 0.5).any() else 0.0
    resting = base > 1.0 or part.line
    top = np.maximum(h, below + 0.4 * h + 0.3) if resting else h
    off = np.array([win[1].start, win[0].start], dtype=np.float64)
    rims = []
    for loop in part.loops:
        local = loop - off
        length = np.concatenate(
            [[0], np.cumsum(np.hypot(*np.diff(np.concatenate([local, local[:1]]), axis=0).T))]
        )
        count = max(4, int(length[-1] / along))
        at = np.linspace(0, length[-1], count, endpoint=False)
        ring = np.concatenate([local, local[:1]])
        rims.append(
            np.stack([np.interp(at, length, ring[:, 0]), np.interp(at, length, ring[:, 1])], 1)
        )
    rows, cols = m.shape
    gy, gx = np.mgrid[near:rows:near, near:cols:near]
    inner = np.stack([gx.ravel(), gy.ravel()], 1)
    inner += np.sin(inner[:, ::-1] * 12.9 + inner * 78.2) * near * 0.3
    ij = np.clip(inner.astype(int), 0, (cols - 1, rows - 1))
    deep = cv2.erode(
        np.pad((m > 0.5).astype(np.uint8), 1),
        np.ones((3, 3), np.uint8),
        iterations=max(1, int(near * 0.4)),
    )[1:-1, 1:-1]
    inner = inner[deep[ij[:, 1], ij[:, 0]] > 0]
    pts = np.clip(np.concatenate([*rims, inner]), 0, (cols - 1e-2, rows - 1e-2))
    sub = cv2.Subdiv2D((-2, -2, cols + 4, rows + 4))
    sub.insert([(float(a), float(b)) for a, b in pts])
    tri = np.asarray(sub.getTriangleList(), dtype=np.float64).reshape(-1, 3, 2)
    ok = ((tri >= -1) & (tri <= (cols + 1, rows + 1))).all((1, 2))
    tri = tri[ok]
    c = np.clip(tri.mean(1).astype(int), 0, (cols - 1, rows - 1))
    tri = tri[m[c[:, 1], c[:, 0]] > 0.4]
    k = np.clip(np.round(tri).astype(int), 0, (cols - 1, rows - 1))
    z = np.asarray(top[k[..., 1], k[..., 0]], dtype=np.float64)
    thick = 0.0 if part.line else size * 0.028 * (1.2 - part.bulge)
    if part.mat in ("liquid", "smear", "powder", "smoke"):
        thick *= 0.2
    out = [np.concatenate([tri + off, (z + thick)[..., None]], -1)]
    if not resting:
        out.insert(0, np.concatenate([tri + off, (-z - thick)[..., None]], -1))
    if not part.line and thick > 0.5:
        for rim in rims:
            a, b = rim + off, np.roll(rim, -1, 0) + off
            q = np.clip(np.round(rim).astype(int), 0, (cols - 1, rows - 1))
            up = top[q[:, 1], q[:, 0]].astype(np.float64) + thick
            low = below[q[:, 1], q[:, 0]].astype(np.float64) if resting else -thick + 0 * up
            up2, low2 = np.roll(up, -1), np.roll(low, -1)
            wall = [
                np.stack([np.c_[a, low], np.c_[b, low2], np.c_[b, up2]], 1),
                np.stack([np.c_[a, low], np.c_[b, up2], np.c_[a, up]], 1),
            ]
            out[-1:-1] = wall
    if not part.line:
        ground[win] = np.where(m > 0.5, np.maximum(below, top + thick), below)
    return np.concatenate(out)


def _facet_colors(
    part: Part,
    nrm: Points,
    v: Points,
    light: Points,
    phase: float,
    size: int,
    rng: np.random.Generator,
    coarse: bool,
) -> Points:
    """Returns the lit colour of every facet."""
    base = np.asarray(part.color) * (1 + rng.normal(0, 0.045 if coarse else 0.012, (len(nrm), 1)))
    if part.mat == "glow":
        rise = v[:, :, 1].mean(1)
        rise = (rise - rise.min()) / max(float(np.ptp(rise)), 1e-6)
        glow: Points = base * (0.78 + 0.3 * rise * nrm[:, 2])[:, None] + [0.06, 0, 0]
        return glow
    lit = 0.34 + 0.72 * np.clip(nrm @ light, 0, 1) - 0.1 * nrm[:, 1]
    half = (light + (0, 0, 1)) / np.linalg.norm(light + (0, 0, 1))
    spot = np.clip(nrm @ half, 0, 1)
    color: Points = base * lit[:, None]
    if part.mat == "metal":
        mid = v.mean(1) / size
        room = 0.5 + 0.5 * np.sin(
            4 * nrm[:, 1] + 2.5 * nrm[:, 0] + 2 * mid[:, 0] + mid[:, 1] + phase
        )
        color = base * (0.4 + 0.75 * room)[:, None] * (0.6 + 0.4 * lit)[:, None]
    # A pool seen from above would mirror the lamp everywhere at once.
    spot = np.where((part.mat == "liquid") & (nrm[:, 2] > 0.97), spot * 0.95, spot)
    gain = {"metal": 0.45, "gloss": 0.5, "liquid": 0.5, "glass": 0.5}.get(part.mat, 0.05)
    return color + (1 - color) * (gain * spot**26)[:, None]
