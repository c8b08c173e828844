"""Rasterises the parts of a held-out drawing into the per-pixel layers its styles shade."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.samples.heldout_parts import Part, Points, outline

Image = NDArray[np.float32]
Sprite = NDArray[np.uint8]

MARGIN = 12
_MATS = ("metal", "gloss", "glow", "wood", "liquid", "powder", "smoke")


@dataclass
class Layers:
    """What a style knows of each pixel.

    Attributes:
        color: Base colour.
        alpha: Coverage.
        normal: Surface direction, z towards the viewer.
        half: -1 or 1 on either side of the long axis of the part seen there.
        occlusion: Shade cast by the parts in front.
        ids: Number of the part seen there, 0 outside.
        mats: Weight of each material.
        marks: Coverage of the surface marks.
    """

    color: Image
    alpha: Image
    normal: Image
    half: Image
    occlusion: Image
    ids: NDArray[np.uint8]
    mats: dict[str, Image]
    marks: Image


def noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cell: float,
    octaves: int = 3,
    stretch: float = 1.0,
) -> Image:
    """Returns smooth noise of about 0..1; `stretch` lengthens its grain in y."""
    import cv2

    h, w = shape
    out = np.zeros(shape, np.float32)
    total, weight = 0.0, 1.0
    for _ in range(octaves):
        gh, gw = max(2, int(h / (cell * stretch)) + 2), max(2, int(w / cell) + 2)
        out += weight * cv2.resize(
            rng.random((gh, gw), dtype=np.float32), (w, h), interpolation=cv2.INTER_CUBIC
        )
        total, weight, cell = total + weight, weight * 0.5, max(1.0, cell / 2)
    return np.asarray(np.clip((out / total - 0.5) * 1.5 + 0.5, 0, 1), np.float32)


def warp(image: Image, rng: np.random.Generator, reach: float, cell: float) -> Image:
    """Returns the image displaced by noise of up to about `reach` pixels."""
    import cv2

    h, w = image.shape[:2]
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    dx = (noise(rng, (h, w), cell, 2) - 0.5) * 2 * reach
    dy = (noise(rng, (h, w), cell, 2) - 0.5) * 2 * reach
    return np.asarray(cv2.remap(image, x + dx, y + dy, cv2.INTER_LINEAR), np.float32)


def blur(image: Image, sigma: float) -> Image:
    """Returns the image blurred by a Gaussian."""
    import cv2

    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma, 0.3)), np.float32)


def step(x: Image, low: float, high: float) -> Image:
    """Returns a smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def pose(
    parts: Sequence[Part], rng: np.random.Generator, turn: float, size: int, *, bend: bool = True
) -> tuple[list[Part], tuple[int, int]]:
    """Turns, mirrors, stretches and (if `bend`) tilts the parts, and fits them to pixels.

    Args:
        parts: Parts in unit coordinates.
        rng: Source of the random choices.
        turn: Largest rotation either way, in degrees.
        size: Longer side of the drawing, in pixels.
        bend: Whether to apply shear and perspective.

    Returns:
        The parts in pixels, and the height and width of the canvas.
    """
    a = math.radians(rng.uniform(-turn, turn))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    sx, sy = rng.uniform(0.88, 1.14, 2)
    if bend:
        shear, px, py = rng.uniform(-0.1, 0.1), *rng.uniform(-0.14, 0.14, 2)
    else:
        shear = px = py = 0.0
    c, s = math.cos(a), math.sin(a)
    m = np.array([[c, -s], [s, c]]) @ np.array([[sx * mirror, shear], [0, sy]])

    def move(p: Points) -> Points:
        q = p @ m.T
        moved: Points = q / (1 + q @ np.array([[px], [py]]))
        return moved

    moved = [replace(p, loops=tuple(move(q) for q in p.loops)) for p in parts]
    pts = outline(moved)
    low, high = pts.min(0), pts.max(0)
    k = (size - 2 * MARGIN) / float((high - low).max())
    fitted = [replace(p, loops=tuple((q - low) * k + MARGIN for q in p.loops)) for p in moved]
    w, h = (np.ceil((high - low) * k).astype(int) + 2 * MARGIN).tolist()
    return fitted, (h, w)


def fill(part: Part, shape: tuple[int, int], pad: int = 0) -> tuple[tuple[slice, slice], Image]:
    """Returns the window of the canvas that a part covers, and its coverage there."""
    import cv2

    pts = np.concatenate(part.loops)
    x0, y0 = np.maximum(np.floor(pts.min(0)).astype(int) - 2 - pad, 0)
    x1, y1 = np.minimum(np.ceil(pts.max(0)).astype(int) + 3 + pad, (shape[1], shape[0]))
    mask = np.zeros((max(int(y1 - y0), 1), max(int(x1 - x0), 1)), np.uint8)
    loops = [np.round((q - (x0, y0)) * 16).astype(np.int32) for q in part.loops]
    cv2.fillPoly(mask, loops, 255, cv2.LINE_AA, 4)
    window = (slice(int(y0), int(y0) + mask.shape[0]), slice(int(x0), int(x0) + mask.shape[1]))
    return window, np.asarray(mask / np.float32(255), np.float32)


def relief(mask: Image, bulge: float) -> Image:
    """Returns the height of a part over its plane: a slab with a rim, or a round body."""
    import cv2

    d = cv2.distanceTransform(np.pad((mask > 0.5).astype(np.uint8), 1), cv2.DIST_L2, 5)
    d = np.asarray(d[1:-1, 1:-1], np.float32)
    r = max(1.5, float(d.max()) * (0.1 + 0.9 * bulge))
    t = 1 - np.clip(d / r, 0, 1)
    # The blur takes away the ridges of the distance field along the middle of the part.
    return blur((r * np.sqrt(1 - t * t)).astype(np.float32), max(0.8, 0.13 * r))


def normals(height: Image) -> Image:
    """Returns the unit normals of a height field."""
    gy, gx = np.gradient(height)
    n = np.stack([-gx, -gy, np.full_like(gx, 0.9)], -1)
    return np.asarray(n / np.linalg.norm(n, axis=-1, keepdims=True), np.float32)


def build(
    parts: Sequence[Part], shape: tuple[int, int], rng: np.random.Generator, light: Points
) -> Layers:
    """Rasterises parts, back to front."""
    h, w = shape
    blank = [np.zeros(shape, np.float32) for _ in range(4 + len(_MATS))]
    lay = Layers(
        np.zeros((h, w, 3), np.float32),
        blank[0],
        np.zeros((h, w, 3), np.float32),
        blank[1],
        blank[2],
        np.zeros(shape, np.uint8),
        dict(zip(_MATS, blank[4:], strict=True)),
        blank[3],
    )
    lay.normal[..., 2] = 1
    used: set[str] = set()
    streaks = noise(rng, shape, 5, 3) if any(p.mat == "smear" for p in parts) else lay.alpha
    dx, dy = int(round(-light[0] * 5)), int(round(-light[1] * 5))
    for number, part in enumerate(parts, 1):
        cast = not part.line and part.bulge > 0.05 and part.mat not in ("glow", "smoke", "smear")
        win, m = fill(part, shape, 9 if cast else 0)
        if cast and m.size > 60:
            import cv2

            shadow = np.roll(cv2.blur(m, (7, 7)), (dy, dx), (0, 1))
            lay.occlusion[win] = np.maximum(lay.occlusion[win], shadow) * (1 - m)
        elif not part.line:
            lay.occlusion[win] *= 1 - m
        whole = m
        lay.marks[win] = np.maximum(lay.marks[win] * (1 - m), m * part.line)
        if part.mat == "smear":
            m = m * step(streaks[win], 0.12, 0.34)
        elif part.mat == "smoke":
            m = m * 0.82
        tint = m * 0.3 if part.mat == "glass" else m
        t3 = tint[..., None]
        # Colours stay unmixed with the empty canvas, so that soft rims do not turn dark.
        before = lay.alpha[win][..., None]
        after = before + t3 * (1 - before)
        lay.color[win] = np.where(
            after > 0,
            (lay.color[win] * before * (1 - t3) + np.asarray(part.color, np.float32) * t3)
            / np.maximum(after, 1e-5),
            0,
        )
        lay.alpha[win] = (
            after[..., 0] if part.mat != "glass" else np.maximum(after[..., 0], m * 0.6)
        )
        for name, chan in lay.mats.items():
            on = part.mat == name or (part.mat == "glass" and name == "gloss")
            if on:
                used.add(name)
            if name in used:
                chan[win] = chan[win] * (1 - m) + (m if on else 0)
        if part.line:
            continue
        n = normals(relief(m, part.bulge))
        lay.normal[win] = lay.normal[win] * (1 - m[..., None]) + n * m[..., None]
        # Hair-thin parts would vanish under their own outline.
        length = sum(float(np.hypot(*(q - np.roll(q, 1, 0)).T).sum()) for q in part.loops)
        if part.mat == "smear":
            lay.ids[win][whole > 0.5] = 255
        elif part.ink and m.sum() > 1.7 * length:
            lay.ids[win][m > 0.5] = number % 254 or 1
        pts = part.loops[0]
        mid = pts.mean(0)
        axis = np.linalg.eigh(np.cov((pts - mid).T))[1][:, 1]
        side = np.array([-axis[1], axis[0]])
        if side @ light[:2] > 0:
            side = -side
        yy, xx = np.mgrid[win[0], win[1]]
        sign = np.where((xx - mid[0]) * side[0] + (yy - mid[1]) * side[1] > 0, 1, -1)
        lay.half[win] = np.where(m > 0.5, sign, lay.half[win])
    lay.normal /= np.maximum(np.linalg.norm(lay.normal, axis=-1, keepdims=True), 1e-5)
    return lay


def edges(ids: NDArray[np.uint8], width: float) -> Image:
    """Returns lines of about `width` pixels where the part numbers change."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    rim = (cv2.morphologyEx(ids, cv2.MORPH_GRADIENT, kernel) > 0).astype(np.float32)
    # A blurred line cut at a level is a smooth line of another width.
    return step(blur(rim, width * 0.55), 0.24, 0.5)


def draw_light(rng: np.random.Generator) -> Points:
    """Draws the direction to a lamp above, left or right."""
    v = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-0.9, -0.35), rng.uniform(0.6, 1.1)])
    out: Points = v / np.linalg.norm(v)
    return out


def pack(rgb: NDArray[Any], alpha: NDArray[Any]) -> Sprite:
    """Joins colour and coverage, and crops to what is visible."""
    rgba = np.concatenate([rgb, alpha[..., None]], -1)
    out: Sprite = np.asarray(np.clip(rgba, 0, 1) * 255 + 0.5, np.uint8)
    ys, xs = np.where(out[..., 3] > 6)
    if len(ys) == 0:
        return out
    return np.asarray(out[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1], order="C")
