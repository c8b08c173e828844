"""Six ways of drawing the parts of a held-out subject."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgesafe.samples.heldout_buffers import (
    Image,
    Layers,
    Sprite,
    blur,
    build,
    draw_light,
    edges,
    noise,
    pack,
    pose,
    step,
    warp,
)
from edgesafe.samples.heldout_mesh import mesh
from edgesafe.samples.heldout_parts import Part, Points


def _start(
    parts: Sequence[Part], rng: np.random.Generator, turn: float
) -> tuple[Layers, Points, int]:
    """Poses and rasterises the parts for the styles that shade pixels."""
    size = int(rng.integers(270, 390))
    posed, shape = pose(parts, rng, turn, size)
    light = draw_light(rng)
    return build(posed, shape, rng, light), light, size


def _lambert(lay: Layers, light: Points) -> Image:
    """Returns how much each pixel faces the lamp, 0..1."""
    return np.asarray(np.clip(lay.normal @ light.astype(np.float32), 0, 1), np.float32)


def _sticker(rgb: Image, alpha: Image, reach: float) -> tuple[Image, Image]:
    """Adds a white border, as on a sticker."""
    wide = step(blur(alpha, reach), 0.06, 0.16)
    return rgb * alpha[..., None] + (1 - alpha[..., None]), np.maximum(wide, alpha)


def flat(parts: Sequence[Part], rng: np.random.Generator, turn: float) -> Sprite:
    """Flat vector art: one tone per part, and a darker half."""
    lay, light, size = _start(parts, rng, turn)
    dull = 1 - np.maximum(lay.mats["glow"], lay.mats["smoke"])
    k = rng.uniform(0.08, 0.24)
    rgb = lay.color * (1 - k * (lay.half > 0) * dull)[..., None]
    if rng.random() < 0.5:
        shine = (_lambert(lay, light) > 0.985) & (lay.half < 0)
        lit = (
            0.35
            * blur(shine.astype(np.float32), 0.6)
            * np.maximum(lay.mats["gloss"], lay.mats["liquid"])
        )
        rgb = rgb + (1 - rgb) * lit[..., None]
    alpha = lay.alpha
    if rng.random() < 0.18:
        rgb, alpha = _sticker(rgb, alpha, size * 0.012)
    return pack(rgb, alpha)


def comic(parts: Sequence[Part], rng: np.random.Generator, turn: float) -> Sprite:
    """Comic art: ink lines, hard-edged shade, sometimes a dot screen."""
    lay, light, size = _start(parts, rng, turn)
    lit = blur(_lambert(lay, light), 1.0)
    glow = lay.mats["glow"]
    dark = step(lit, 0.66, 0.6) * (1 - glow)
    if rng.random() < 0.4:
        yy, xx = np.mgrid[0 : lit.shape[0], 0 : lit.shape[1]]
        p = rng.uniform(0.7, 1.0)
        screen = np.sin((xx + yy) * p) * np.sin((xx - yy) * p)
        dark = dark * step(screen.astype(np.float32), -0.1, 0.25)
    deep = step(lit, 0.36, 0.3) * (1 - glow)
    vivid = np.clip(lay.color.mean(-1, keepdims=True) * -0.25 + lay.color * 1.25, 0, 1)
    rgb = vivid * (1 - 0.35 * dark - 0.25 * deep)[..., None]
    shiny = np.maximum.reduce([lay.mats["gloss"], lay.mats["metal"], lay.mats["liquid"]])
    half = light + (0, 0, 1)
    spot = np.clip(lay.normal @ (half / np.linalg.norm(half)).astype(np.float32), 0, 1)
    round_ = 1 - step(lay.normal[..., 2], 0.995, 0.9995) * (light[2] > 0.93)
    rgb = rgb + (1 - rgb) * (step(spot, 0.975, 0.985) * shiny * 0.85 * round_)[..., None]
    # A canvas rim keeps the outer line whole.
    width = size * rng.uniform(0.007, 0.014)
    ink = edges(lay.ids, width)
    ink_color = np.asarray((0.05, 0.04, 0.07), np.float32)
    full = np.maximum(lay.alpha * (lay.ids > 0), ink)
    base = np.where(lay.alpha[..., None] > 0.02, rgb, ink_color)
    rgb = base * (1 - ink[..., None]) + ink_color * ink[..., None]
    alpha = np.maximum(full, lay.alpha)
    if rng.random() < 0.15:
        rgb, alpha = _sticker(rgb, alpha, size * 0.012)
    return pack(rgb, alpha)


def pencil(parts: Sequence[Part], rng: np.random.Generator, turn: float) -> Sprite:
    """A sketch on paper: graphite, charcoal or coloured pencil."""
    lay, light, size = _start(parts, rng, turn)
    shape = lay.alpha.shape
    h, w = shape
    # Fire and liquids are told by their colour, so they are seldom drawn in grey.
    warm = max(float(lay.mats[m].mean() / max(lay.alpha.mean(), 1e-5)) for m in ("glow", "liquid"))
    smear = any(p.mat == "smear" for p in parts)
    colored = rng.random() < (1.0 if warm > 0.3 or smear else 0.55)
    lum = lay.color @ np.asarray((0.3, 0.59, 0.11), np.float32)
    lit = 0.3 + 0.75 * _lambert(lay, light)
    lit = np.where(lay.mats["glow"] > 0.5, 0.9, lit)
    tone = np.clip(1 - lum**0.8 * lit + 0.25 * lay.occlusion, 0, 1).astype(np.float32)
    grain = noise(rng, shape, 1.6, 2)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    wob = (noise(rng, shape, size / 5, 2) - 0.5) * 10
    period = size / rng.uniform(50, 80)
    ink = np.zeros(shape, np.float32)
    first = rng.uniform(0, math.pi)
    charcoal = rng.random() < 0.3
    if charcoal:
        ink = step(tone * 1.15 - grain * 0.75 + 0.1, 0.0, 0.45) * 0.8
    else:
        for k, low in enumerate((0.12, 0.42, 0.66)):
            a = first + k * 1.05
            wave = 0.5 + 0.5 * np.sin(
                (xx * math.cos(a) + yy * math.sin(a) + wob) * (2 * math.pi / period)
            )
            share = np.clip((tone - low) / 0.4, 0, 1) * 0.62
            ink = np.maximum(ink, step(wave - (1 - share), -0.12, 0.2) * (share > 0.02))
        ink *= 0.45 + 0.5 * step(grain, 0.2, 0.6)
    line = edges(lay.ids, size * 0.004)
    rough = np.maximum(warp(line, rng, 2.2, 40), 0.8 * warp(line, rng, 3.0, 30))
    rough = np.maximum(rough * (0.55 + 0.45 * step(grain, 0.15, 0.5)), 0.9 * lay.marks)
    paper = np.asarray((0.97, 0.96, 0.93), np.float32) * np.float32(rng.uniform(0.93, 1.02))
    graphite = np.asarray((0.17, 0.17, 0.19), np.float32) * np.float32(rng.uniform(0.6, 1.3))
    if colored:
        pen = np.clip(lay.color * 1.3 - 0.3 * lay.color.mean(-1, keepdims=True), 0, 1) * 0.82
        under = paper * (1 - 0.45) + lay.color * 0.45
        rgb = under * (1 - ink[..., None]) + pen * ink[..., None]
        graphite = graphite * 0.8
    else:
        rgb = paper * (1 - ink[..., None]) + graphite * ink[..., None]
    rgb = rgb * (1 - rough[..., None] * 0.85) + graphite * rough[..., None] * 0.85
    inside = warp(lay.alpha, rng, 2.0, 40)
    rgb = np.where(
        (lay.alpha > 0.03)[..., None],
        rgb,
        paper * (1 - rough[..., None]) + graphite * rough[..., None],
    )
    return pack(rgb, np.maximum(inside, rough))


def _shaded(lay: Layers, light: Points) -> Image:
    """Returns plainly shaded colours, as the ground of a painting."""
    lit = 0.45 + 0.7 * _lambert(lay, light)
    lit = np.where(lay.mats["glow"] > 0.5, 1.0, lit) * (1 - 0.35 * lay.occlusion)
    half = (light + (0, 0, 1)) / np.linalg.norm(light + (0, 0, 1))
    shiny = lay.mats["gloss"] + lay.mats["metal"] + lay.mats["liquid"]
    spot = np.clip(lay.normal @ half.astype(np.float32), 0, 1) ** 40 * shiny * 0.55
    rgb = lay.color * lit[..., None]
    return np.asarray(rgb + (1 - rgb) * np.clip(spot, 0, 1)[..., None], np.float32)


def paint(parts: Sequence[Part], rng: np.random.Generator, turn: float) -> Sprite:
    """A painting in watercolour, or in oil with visible strokes."""
    lay, light, size = _start(parts, rng, turn)
    if rng.random() < 0.5:
        return _watercolor(lay, light, size, rng)
    return _oil(lay, light, size, rng)


def _watercolor(lay: Layers, light: Points, size: int, rng: np.random.Generator) -> Sprite:
    """Thin colour with dark rims, blooms and paper grain."""
    shape = lay.alpha.shape
    rgb = blur(_shaded(lay, light), 1.2)
    rim = edges(lay.ids, size * 0.006)
    soft = blur(rim, size * 0.006)
    stack = np.concatenate(
        [rgb * lay.alpha[..., None], lay.alpha[..., None], (0.5 * rim + 0.8 * soft)[..., None]], -1
    ).astype(np.float32)
    stack = warp(stack, rng, size * 0.008, size / 18)
    alpha = stack[..., 3]
    rgb = np.asarray(stack[..., :3] / np.maximum(alpha, 0.05)[..., None], np.float32)
    bloom = noise(rng, shape, size / 6, 3)
    grain = noise(rng, shape, 2.2, 2)
    wash = np.clip(0.06 + 0.34 * (bloom - 0.4) + 0.14 * (grain - 0.5), 0, 0.4)
    rgb = np.asarray(rgb + (0.98 - rgb) * wash[..., None], np.float32)
    rgb = rgb * (1 - 0.5 * np.clip(stack[..., 4], 0, 1))[..., None]
    cover = step(alpha + 0.3 * (grain - 0.5), 0.3, 0.7)
    return pack(rgb, cover * np.float32(rng.uniform(0.88, 1.0)))


def _oil(lay: Layers, light: Points, size: int, rng: np.random.Generator) -> Sprite:
    """Thick strokes that follow the shapes."""
    import cv2

    h, w = lay.alpha.shape
    ground = blur(_shaded(lay, light), 1.0)
    turned = noise(rng, (h, w), size / 4, 2) * 3.0
    canvas = np.concatenate([ground, lay.alpha[..., None]], -1).astype(np.float32)
    ys, xs = np.where(lay.alpha > 0.6)
    count = min(1600, len(ys) // 14 + 60)
    order = rng.integers(0, len(ys), count)
    jitter = rng.normal(0, 0.035, (count, 3)) + rng.normal(0, 0.04, (count, 1))
    for i, k in enumerate(order.tolist()):
        y, x = int(ys[k]), int(xs[k])
        nx, ny, nz = lay.normal[y, x]
        a = math.atan2(nx, -ny) if nz < 0.97 else float(turned[y, x])
        r = size * (0.022 if i < count // 2 else 0.012) * (0.6 + 0.8 * (i % 7) / 6)
        c = np.clip(ground[y, x] + jitter[i], 0, 1).tolist()
        dx, dy = math.cos(a) * r, math.sin(a) * r
        cv2.line(
            canvas,
            (int(x - dx), int(y - dy)),
            (int(x + dx), int(y + dy)),
            (*c, 1.0),
            max(1, int(r * 0.45)),
        )
    canvas = blur(canvas, 0.6)
    # Fine details go on last, or the strokes would bury them.
    detail = np.clip(np.abs(ground - blur(ground, size * 0.02)).sum(-1) * 2.2, 0, 0.75)
    detail = (detail * lay.alpha)[..., None]
    rgb = canvas[..., :3] * (1 - detail) + ground * detail
    height = rgb.mean(-1) + 0.06 * noise(rng, (h, w), 3, 2)
    gy, gx = np.gradient(height)
    rgb = rgb * (1 + 1.1 * np.clip(gx * light[0] + gy * light[1], -0.2, 0.2))[..., None]
    return pack(rgb.astype(np.float32), np.clip(canvas[..., 3], 0, 1))


def photo(parts: Sequence[Part], rng: np.random.Generator, turn: float) -> Sprite:
    """Soft shading with reflections, surface texture, blur and grain, as in a photo."""
    lay, light, size = _start(parts, rng, turn)
    h, w = shape = lay.alpha.shape
    n = lay.normal
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32) / size
    mats = lay.mats
    fine, broad = noise(rng, shape, 3, 2), noise(rng, shape, size / 8, 3)
    grit = 0.1 + 0.5 * mats["powder"] + 0.15 * mats["smoke"]
    base = lay.color * (1 + grit * (fine - 0.5) + 0.22 * (broad - 0.5))[..., None]
    if mats["wood"].max() > 0:
        a = rng.uniform(0, math.pi)
        rings = np.sin((xx * math.cos(a) + yy * math.sin(a)) * 90 + broad * 14)
        base = base * (1 + 0.16 * rings * mats["wood"] * (0.5 + fine))[..., None]
    wrap = np.clip((n @ light.astype(np.float32) + 0.25) / 1.25, 0, 1)
    lit = (0.28 + 0.95 * wrap) * (1 - 0.55 * lay.occlusion)
    tint = np.asarray(1 + rng.uniform(-0.06, 0.06) * np.array([1, 0, -1]), np.float32)
    rgb = base * lit[..., None] * tint
    # A striped room, mirrored by metal; the position term keeps flat blades alive.
    gx, gy = rng.uniform(-4, 4, 2)
    room = 0.5 + 0.5 * np.sin(
        4.2 * n[..., 1]
        + 2.4 * n[..., 0]
        + gx * xx
        + gy * yy
        + 1.2 * (broad - 0.5)
        + rng.uniform(0, 6)
    )
    steel = base * (0.32 + 0.95 * room * room)[..., None] * (1 - 0.5 * lay.occlusion)[..., None]
    m = mats["metal"][..., None]
    rgb = rgb * (1 - m) + steel * m
    half = (light + (0, 0, 1)) / np.linalg.norm(light + (0, 0, 1))
    spot = np.clip(n @ half.astype(np.float32), 0, 1)
    shine = (0.3 * spot**14 + 0.6 * step(spot, 0.965, 0.99)) * mats["gloss"]
    shine += 0.5 * spot**30 * mats["metal"] * step(1 - n[..., 2], 0.0, 0.05)
    ripple = np.clip(spot + 0.06 * (broad - 0.5), 0, 1)
    edge = step(1 - n[..., 2], 0.01, 0.12)
    shine += mats["liquid"] * (
        0.75 * step(ripple, 0.955, 0.99) * edge + 0.05 * step(broad, 0.6, 0.85)
    )
    shine += 0.03 * spot**5
    rgb = rgb + (1 - rgb) * np.clip(shine, 0, 0.95)[..., None]
    alpha = lay.alpha
    if mats["glow"].max() > 0.5:
        rgb, alpha = _burn(rgb, alpha, lay, size, rng)
    if mats["smoke"].max() > 0.3:
        puff = mats["smoke"]
        soft = step(blur(puff, size * 0.02) + 0.5 * (broad - 0.5), 0.15, 0.85)
        alpha = alpha * (1 - puff) + soft * 0.85 * puff
    sigma = rng.uniform(0.5, 1.1)
    both = blur(
        np.concatenate([rgb * alpha[..., None], alpha[..., None]], -1).astype(np.float32), sigma
    )
    alpha = both[..., 3]
    rgb = both[..., :3] / np.maximum(alpha, 1e-3)[..., None]
    rgb = rgb + rng.normal(0, rng.uniform(0.008, 0.025), (h, w, 1)).astype(np.float32)
    return pack(rgb.astype(np.float32), alpha)


def _burn(
    rgb: Image, alpha: Image, lay: Layers, size: int, rng: np.random.Generator
) -> tuple[Image, Image]:
    """Turns the glowing parts into soft, streaked, partly clear fire."""
    glow = lay.mats["glow"]
    weight = (glow * alpha)[..., None]
    fire = np.concatenate([lay.color * weight, weight], -1).astype(np.float32)
    fire = blur(fire, size * 0.016)
    fire = warp(warp(fire, rng, size * 0.03, size / 9), rng, size * 0.012, size / 26)
    cover = fire[..., 3]
    hot = fire[..., :3] / np.maximum(cover, 1e-3)[..., None]
    wisps = noise(rng, (glow.shape[0], glow.shape[1]), size / 22, 3, stretch=3.0)
    hot = hot * (0.78 + 0.55 * wisps)[..., None]
    hot[..., 0] *= 1.1
    body = step(cover + 0.55 * (wisps - 0.5), 0.12, 0.85) * 0.97
    # The noise must not light pixels far from the fire.
    body *= step(cover, 0.03, 0.2)
    halo = 0.22 * blur(glow * alpha, size * 0.045)
    solid = alpha * (1 - step(blur(glow, 1.0), 0.2, 0.8))
    halo_color = np.asarray((1.0, 0.5, 0.15), np.float32)
    front = body[..., None]
    both = np.maximum(body, halo)
    flame = np.where(front > halo[..., None], hot, halo_color)
    k = step(solid, 0.05, 0.7)[..., None]
    # The solid things by the fire take on some of its light.
    out = flame * (1 - k) + (rgb + 0.5 * halo[..., None] * halo_color) * k
    return out.astype(np.float32), np.maximum(both * (1 - k[..., 0]), solid)


STYLE_FUNCTIONS: dict[str, Callable[[Sequence[Part], np.random.Generator, float], Sprite]] = {
    "flat": flat,
    "comic": comic,
    "pencil": pencil,
    "paint": paint,
    "mesh": mesh,
    "photo": photo,
}
