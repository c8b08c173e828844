"""Drawing styles: paint a silhouette, or redraw a painted sprite, in many ways.

Silhouettes become flat, inked, inflated, extruded, engraved or sketched drawings; painted sprites
are relit, posterised, sketched, blurred. The same styles are applied to hazards and to harmless
things, so that a style alone says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Sprite = NDArray[np.uint8]
Plane = NDArray[np.float32]
Colours = NDArray[np.floating[Any]]
"""(H, W, 3) RGB in 0..255, of either width: what was blurred as bytes is float64 afterwards."""
Rng = np.random.Generator

# Base colours (RGB) that a thing of the tag really has, and those of its second tone.
PALETTES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "weapon": (
        (35, 35, 38), (70, 72, 76), (120, 122, 128), (180, 184, 190), (215, 218, 222),
        (90, 60, 35), (60, 70, 45), (140, 100, 60), (50, 55, 70), (200, 190, 160),
    ),
    "fire": ((250, 120, 20), (255, 170, 30), (235, 70, 20), (255, 200, 60), (220, 60, 30)),
    "blood": ((130, 5, 10), (165, 10, 15), (100, 0, 5), (190, 20, 25), (150, 0, 20)),
    "drugs": (
        (240, 240, 238), (225, 230, 240), (250, 200, 90), (90, 160, 220), (230, 90, 90),
        (120, 200, 150), (200, 170, 220), (245, 150, 60), (180, 180, 185), (210, 40, 50),
    ),
}  # fmt: skip
SECOND: dict[str, tuple[tuple[int, int, int], ...]] = {
    "weapon": ((20, 20, 22), (110, 75, 45), (60, 40, 25), (200, 205, 210), (45, 48, 55)),
    "fire": ((255, 225, 90), (255, 245, 180), (190, 30, 10), (120, 30, 10)),
    "blood": ((70, 0, 2), (200, 60, 60), (110, 0, 8)),
    "drugs": ((255, 255, 255), (220, 60, 60), (60, 110, 190), (250, 190, 60), (90, 90, 95)),
}


def random_colour(rng: Rng) -> NDArray[np.float32]:
    """Any colour, saturated ones and greys alike; (3,) RGB in 0..255."""
    hue, saturation = rng.uniform(0, 180), rng.choice([rng.uniform(0, 60), rng.uniform(90, 255)])
    pixel = np.array([[[hue, saturation, rng.uniform(40, 250)]]], np.uint8)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0], np.float32)


def _colour(
    rng: Rng, table: dict[str, tuple[tuple[int, int, int], ...]], tag: str | None
) -> NDArray[np.float32]:
    if tag is None:
        # Harmless things borrow the hazards' colours half the time: colour alone is no evidence.
        tag = str(rng.choice(list(table))) if rng.random() < 0.5 else None
        if tag is None:
            return random_colour(rng)
    elif tag == "weapon" and rng.random() < 0.12:
        return random_colour(rng)
    options = table[tag]
    return np.clip(
        np.array(options[rng.integers(len(options))], np.float32) + rng.normal(0, 14, 3), 0, 255
    ).astype(np.float32)


def _pad(alpha: NDArray[np.uint8], share: float = 0.12) -> NDArray[np.uint8]:
    border = round(share * max(alpha.shape))
    padded = cv2.copyMakeBorder(alpha, border, border, border, border, cv2.BORDER_CONSTANT, value=0)
    return np.asarray(padded, np.uint8)


def body_of(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The outline filled, holes included; (H, W) of 0 or 255."""
    closed = cv2.morphologyEx(
        (alpha > 90).astype(np.uint8) * 255, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)
    )
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    body = np.zeros_like(alpha)
    cv2.drawContours(body, contours, -1, 255, cv2.FILLED)
    return body


def height_field(mask: NDArray[np.uint8], rng: Rng) -> Plane:
    """An inflated or chamfered surface over a mask; (H, W), about 0..0.3 of its size."""
    inside = (mask > 90).astype(np.uint8)
    if inside.all():  # no edge to measure from but the picture's own
        distance = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    else:
        distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    peak = max(float(distance.max()), 1.0)
    if rng.random() < 0.5:
        height = np.sqrt(np.clip(distance / peak, 0, 1)) * peak
    else:
        height = np.minimum(distance, peak * rng.uniform(0.15, 0.5)) * rng.uniform(0.6, 1.4)
    return np.asarray(cv2.GaussianBlur(height, (0, 0), rng.uniform(0.8, 3.0)), np.float32)


def shade(albedo: Colours, height: Plane, rng: Rng, gloss: float) -> Colours:
    """Blinn-Phong light on a height field; albedo (H, W, 3) in 0..255."""
    dy, dx = np.gradient(height)
    normal = np.dstack([-dx, -dy, np.ones_like(height)])
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    angle, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 1.1)
    light = np.array([np.cos(angle) * np.sin(tilt), np.sin(angle) * np.sin(tilt), np.cos(tilt)])
    half = light + np.array([0, 0, 1.0])
    half /= np.linalg.norm(half)
    diffuse = np.clip(normal @ light, 0, 1)[..., None]
    specular = np.clip(normal @ half, 0, 1)[..., None] ** rng.uniform(8, 60)
    ambient = rng.uniform(0.25, 0.55)
    return np.asarray(albedo * (ambient + (1.1 - ambient) * diffuse) + 255 * gloss * specular)


def noise(shape: tuple[int, int], scale: float, rng: Rng) -> Plane:
    """Smooth noise in 0..1 with features of about ``scale`` pixels."""
    small = (max(2, round(shape[0] / scale)), max(2, round(shape[1] / scale)))
    coarse = rng.random(small, dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)).clip(
        0, 1
    )


def _join(rgb: Colours, alpha: NDArray[np.uint8]) -> Sprite:
    return np.dstack([np.clip(rgb, 0, 255).astype(np.uint8), alpha])


def _two_tone(
    mask: NDArray[np.uint8], tag: str | None, rng: Rng
) -> tuple[Colours, NDArray[np.uint8]]:
    """Body and figure colours; figure (the icon's ink) may be the darker or the lighter one."""
    alpha = _pad(mask)
    body = body_of(alpha)
    first, second = _colour(rng, PALETTES, tag), _colour(rng, SECOND, tag)
    figure = (cv2.GaussianBlur(alpha, (0, 0), 0.8) / 255.0)[..., None]
    albedo = first * figure + second * (1 - figure)
    if rng.random() < 0.35:  # the ink alone, holes left open
        return albedo, alpha
    return albedo, np.maximum(body, alpha)


def _gradient(shape: tuple[int, int], rng: Rng) -> Plane:
    angle = rng.uniform(0, 2 * np.pi)
    ys, xs = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return np.asarray(0.5 + 0.35 * (xs * np.cos(angle) + ys * np.sin(angle)), np.float32)


def paint_flat(mask: NDArray[np.uint8], tag: str | None, rng: Rng) -> Sprite:
    """Two flat tones, sometimes with a gradient."""
    albedo, alpha = _two_tone(mask, tag, rng)
    if rng.random() < 0.5:
        albedo = albedo * (0.6 + 0.8 * _gradient(alpha.shape, rng)[..., None])
    return _join(albedo, alpha)


def paint_inked(mask: NDArray[np.uint8], tag: str | None, rng: Rng) -> Sprite:
    """Comic: cel-shaded body with an ink outline."""
    albedo, alpha = _two_tone(mask, tag, rng)
    lit = shade(np.ones_like(albedo) * 128, height_field(alpha, rng), rng, 0.0).mean(axis=2)
    steps = rng.integers(2, 4)
    cel = np.floor(np.clip(lit / 150, 0, 0.999) * steps) / steps
    width = int(rng.integers(2, 7))
    outer = np.asarray(cv2.dilate(alpha, np.ones((width, width), np.uint8)), np.uint8)
    edges = cv2.Canny(cv2.GaussianBlur(albedo.astype(np.uint8), (0, 0), 1), 30, 90)
    ink = cv2.dilate(edges, np.ones((max(1, width // 2),) * 2, np.uint8))
    rgb = albedo * (0.7 + 0.5 * cel[..., None])
    rgb[(ink > 0) | (alpha < 90)] = rng.uniform(0, 35)
    return _join(rgb, outer)


def paint_inflated(mask: NDArray[np.uint8], tag: str | None, rng: Rng) -> Sprite:
    """A glossy or matt solid, swollen from the outline."""
    albedo, alpha = _two_tone(mask, tag, rng)
    if rng.random() < 0.5:
        albedo = albedo * (0.75 + 0.5 * noise(alpha.shape, rng.uniform(3, 30), rng)[..., None])
    height = height_field(alpha, rng) * rng.uniform(0.5, 1.6)
    height += 0.02 * cv2.GaussianBlur(albedo.mean(axis=2).astype(np.float32), (0, 0), 1.5)
    return _join(shade(albedo, height, rng, rng.choice([0.0, 0.3, 0.7])), alpha)


def paint_metal(mask: NDArray[np.uint8], tag: str | None, rng: Rng) -> Sprite:
    """Brushed or polished: reflections from the surface normal instead of a light."""
    albedo, alpha = _two_tone(mask, tag, rng)
    dy, dx = np.gradient(height_field(alpha, rng))
    turn = rng.uniform(0, np.pi)
    bands = 0.5 + 0.5 * np.sin(rng.uniform(2, 6) * (dx * np.cos(turn) + dy * np.sin(turn)))
    streak = cv2.GaussianBlur(
        rng.random(alpha.shape, dtype=np.float32), (0, 0), sigmaX=rng.uniform(4, 12), sigmaY=0.6
    )
    shine = 0.35 + 0.8 * bands + 0.8 * (streak - 0.5)
    return _join(albedo * shine[..., None], alpha)


def paint_extruded(mask: NDArray[np.uint8], tag: str | None, rng: Rng) -> Sprite:
    """A plate with thickness, seen at an angle."""
    albedo, alpha = _two_tone(mask, tag, rng)
    face = shade(albedo, height_field(alpha, rng) * 0.6, rng, rng.choice([0.0, 0.4]))
    height, width = alpha.shape
    tilt = rng.uniform(-0.25, 0.25, (4, 2)) * (width, height)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    pad = round(0.3 * max(width, height))
    warp = cv2.getPerspectiveTransform(corners, (corners + tilt + pad).astype(np.float32))
    size = (width + 2 * pad, height + 2 * pad)
    flat = cv2.warpPerspective(np.dstack([face.clip(0, 255), alpha]).astype(np.float32), warp, size)
    depth, angle = int(rng.uniform(3, 16)), rng.uniform(0, 2 * np.pi)
    out = np.zeros_like(flat)
    for step in range(depth, 0, -1):
        move = np.array([[1, 0, step * np.cos(angle)], [0, 1, step * np.sin(angle)]], np.float32)
        layer = cv2.warpAffine(flat, move, size)
        cover = layer[..., 3:] / 255
        out[..., :3] = out[..., :3] * (1 - cover) + layer[..., :3] * 0.45 * cover
        out[..., 3:] = np.maximum(out[..., 3:], layer[..., 3:])
    cover = flat[..., 3:] / 255
    out[..., :3] = out[..., :3] * (1 - cover) + flat[..., :3] * cover
    out[..., 3:] = np.maximum(out[..., 3:], flat[..., 3:])
    return out.clip(0, 255).astype(np.uint8)


def _pattern(shape: tuple[int, int], rng: Rng) -> Plane:
    """Grain, stripes, rings or patches, bent by noise; (H, W) in 0..1."""
    height, width = shape
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    bend = rng.uniform(0, 25) * (noise(shape, rng.uniform(15, 60), rng) - 0.5)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(4, 40)
    kind = rng.integers(4)
    if kind == 0:
        octaves = sum(noise(shape, scale, rng) / 4 for scale in (3.0, 8.0, 20.0, 50.0))
        return np.asarray(octaves, np.float32)
    if kind == 1:
        along = xs * np.cos(angle) + ys * np.sin(angle)
    elif kind == 2:
        along = np.hypot(xs - rng.uniform(0, width), ys - rng.uniform(0, height))
    else:
        patches = noise(shape, rng.uniform(8, 40), rng)
        return np.asarray(np.clip((patches - 0.5) * rng.uniform(2, 12) + 0.5, 0, 1), np.float32)
    return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * (along + bend) / pitch), np.float32)


def paint_textured(mask: NDArray[np.uint8], tag: str | None, rng: Rng) -> Sprite:
    """A pattern in two colours that has nothing to do with the thing, often shaded."""
    alpha = _pad(mask)
    tone = (cv2.GaussianBlur(alpha, (0, 0), 0.8) / 255.0)[..., None]
    body = alpha if rng.random() < 0.4 else np.maximum(body_of(alpha), alpha)
    pattern = _pattern(alpha.shape, rng)[..., None]
    first, second = _colour(rng, PALETTES, tag), _colour(rng, SECOND, tag)
    albedo = first * pattern + second * (1 - pattern)
    albedo = albedo * (1 - rng.uniform(0.1, 0.7) * (1 - tone))
    if rng.random() < 0.7:
        height = height_field(body, rng) * rng.uniform(0.3, 1.2)
        albedo = shade(albedo, height, rng, rng.choice([0.0, 0.4]))
    return _join(albedo, body)


def sketch(sprite: Sprite, rng: Rng) -> Sprite:
    """Pencil, charcoal or engraving: hatching whose density follows the shade."""
    height, width = sprite.shape[:2]
    grey = cv2.cvtColor(sprite[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32)
    paper = np.array([250, 248, 240], np.float32) * rng.uniform(0.8, 1)
    ink = np.array(random_colour(rng) * 0.35 if rng.random() < 0.4 else (30, 30, 32), np.float32)
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    lines = np.zeros((height, width), np.float32)
    for limit in (170, 110, 60):
        angle, pitch = rng.uniform(0, np.pi), rng.uniform(4, 8)
        wave = np.sin(2 * np.pi * (xs * np.cos(angle) + ys * np.sin(angle)) / pitch)
        wave += 1.2 * (noise((height, width), 8, rng) - 0.5)
        lines = np.maximum(lines, (wave > 0.45) * (grey < limit).astype(np.float32))
    edges = cv2.Canny(cv2.GaussianBlur(sprite[..., :3], (0, 0), 1), 25, 80)
    rim = cv2.morphologyEx(sprite[..., 3], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    lines = np.maximum(lines, cv2.dilate(np.maximum(edges, rim), np.ones((2, 2))) / 255.0)
    lines = cv2.GaussianBlur(lines, (0, 0), 0.7)[..., None]
    keep = sprite[..., :3].astype(np.float32) if rng.random() < 0.4 else paper
    alpha = sprite[..., 3]
    if rng.random() < 0.35:  # ink strokes straight on the photo
        alpha = np.minimum(alpha, (lines[..., 0] * 255).astype(np.uint8))
    return _join(keep * (1 - lines) + ink * lines, alpha)


def _watercolour(sprite: Sprite, rng: Rng) -> Sprite:
    rgb = cv2.bilateralFilter(np.ascontiguousarray(sprite[..., :3]), 7, 60, 9).astype(np.float32)
    stain = noise(rgb.shape[:2], rng.uniform(6, 25), rng)[..., None]
    alpha = cv2.GaussianBlur(sprite[..., 3], (0, 0), rng.uniform(1, 2.5)).astype(np.float32)
    ragged = alpha * (0.6 + 0.8 * noise(alpha.shape, 7, rng))
    return _join(rgb * (0.75 + 0.45 * stain) + 25, ragged.clip(0, 255).astype(np.uint8))


def _posterise(sprite: Sprite, rng: Rng) -> Sprite:
    levels = int(rng.integers(2, 6))
    step = 255 / levels
    rgb = np.round(sprite[..., :3] / step) * step
    return _join(rgb.astype(np.float32), sprite[..., 3])


def _low_poly(sprite: Sprite, rng: Rng) -> Sprite:
    height, width = sprite.shape[:2]
    division = cv2.Subdiv2D((0, 0, width, height))
    for _ in range(int(rng.integers(60, 260))):
        division.insert((float(rng.uniform(0, width - 1)), float(rng.uniform(0, height - 1))))
    rgb = sprite[..., :3].copy()
    for triangle in division.getTriangleList():
        points = np.reshape(triangle, (3, 2))
        x, y = points.mean(axis=0)
        if 0 <= x < width and 0 <= y < height:
            colour = sprite[int(y), int(x), :3].tolist()
            cv2.fillConvexPoly(rgb, points.astype(np.int32), colour)
    return np.dstack([rgb, sprite[..., 3]])


def _relight(sprite: Sprite, rng: Rng) -> Sprite:
    albedo = sprite[..., :3].astype(np.float32)
    height = height_field(sprite[..., 3], rng) * rng.uniform(0.4, 1.2)
    height += 0.03 * cv2.GaussianBlur(albedo.mean(axis=2), (0, 0), 1.5)
    return _join(shade(albedo, height, rng, rng.choice([0.0, 0.3, 0.6])), sprite[..., 3])


def _grain(sprite: Sprite, rng: Rng) -> Sprite:
    rgb = cv2.GaussianBlur(sprite[..., :3], (0, 0), rng.uniform(0.6, 2.2)).astype(np.float32)
    rgb = rgb * (0.8 + 0.4 * noise(rgb.shape[:2], rng.uniform(10, 60), rng)[..., None])
    return _join(rgb + rng.normal(0, rng.uniform(3, 12), rgb.shape), sprite[..., 3])


def _halftone(sprite: Sprite, rng: Rng) -> Sprite:
    height, width = sprite.shape[:2]
    grey = cv2.cvtColor(sprite[..., :3], cv2.COLOR_RGB2GRAY) / 255.0
    pitch = rng.uniform(4, 8)
    ys, xs = np.mgrid[:height, :width]
    dots = 0.5 + 0.25 * (np.cos(2 * np.pi * xs / pitch) + np.cos(2 * np.pi * ys / pitch))
    paper, ink = random_colour(rng) * 0.3 + 175, random_colour(rng) * 0.4
    return _join(np.where((dots > grey)[..., None], ink, paper), sprite[..., 3])


def _blocks(sprite: Sprite, rng: Rng) -> Sprite:
    height, width = sprite.shape[:2]
    # Coarser than a sixteenth of it, nobody knows what it was.
    cell = rng.uniform(2, max(3.0, max(height, width) / 16))
    small = cv2.resize(sprite, (max(8, int(width / cell)), max(8, int(height / cell))))
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST))


def _grey(sprite: Sprite, rng: Rng) -> Sprite:
    grey = cv2.cvtColor(sprite[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    tint = np.array([1.0, rng.uniform(0.85, 1), rng.uniform(0.7, 1)], np.float32)
    return _join(grey * tint, sprite[..., 3])


def _inked(sprite: Sprite, rng: Rng) -> Sprite:
    """A cartoon: few flat colours, and a dark line wherever they change."""
    smooth = cv2.bilateralFilter(np.ascontiguousarray(sprite[..., :3]), 9, 70, 9)
    step = 255 / rng.integers(3, 7)
    flat = np.round(smooth.astype(np.float32) / step) * step
    edges = cv2.Canny(smooth, 40, 110)
    rim = cv2.morphologyEx(sprite[..., 3], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    wide = int(rng.integers(1, 4))
    drawn = cv2.dilate(np.maximum(edges, rim), np.ones((wide, wide), np.uint8))
    lines = drawn[..., None].astype(np.float32) / 255
    ink = rng.uniform(0, 60)
    alpha = np.maximum(sprite[..., 3], np.asarray(drawn, np.uint8))
    return _join(flat * (1 - lines) + ink * lines, alpha)


def hue_shift(sprite: Sprite, degrees: float, rng: Rng) -> Sprite:
    """Turn the hue by up to ``degrees`` and vary saturation and value."""
    hsv = cv2.cvtColor(sprite[..., :3], cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-degrees, degrees) / 2) % 180
    hsv[..., 1:] = np.clip(hsv[..., 1:] * rng.uniform(0.6, 1.25, 2), 0, 255)
    rgb = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    return np.dstack([rgb, sprite[..., 3]])


PAINTERS: dict[str, Callable[[NDArray[np.uint8], str | None, Rng], Sprite]] = {
    "flat": paint_flat,
    "inked": paint_inked,
    "inflated": paint_inflated,
    "metal": paint_metal,
    "extruded": paint_extruded,
    "textured": paint_textured,
}
FILTERS: dict[str, Callable[[Sprite, Rng], Sprite]] = {
    "sketch": sketch,
    "watercolour": _watercolour,
    "posterised": _posterise,
    "low-poly": _low_poly,
    "relit": _relight,
    "grain": _grain,
    "halftone": _halftone,
    "blocks": _blocks,
    "grey": _grey,
    "inked": _inked,
}
# How far the hue of a painted hazard may turn before it is no longer that hazard (degrees).
HUE_FREEDOM = {"weapon": 180.0, "fire": 14.0, "blood": 8.0, "drugs": 180.0}
