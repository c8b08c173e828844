"""Fire, smoke, blood and their harmless doubles from noise: no outline, no artist."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgesafe.samples.hazards.restyle import noise, random_colour, shade

Sprite = NDArray[np.uint8]
Rng = np.random.Generator

_FLAME = np.array(
    [[40, 5, 0], [150, 25, 5], [230, 80, 10], [255, 150, 30], [255, 220, 110], [255, 252, 225]],
    np.float32,
)


def _fractal(shape: tuple[int, int], scale: float, rng: Rng) -> NDArray[np.float32]:
    total = np.zeros(shape, np.float32)
    for octave in range(4):
        total += noise(shape, max(2.0, scale / 2**octave), rng) / 2**octave
    return np.asarray(total / 1.875, np.float32)


def _ramp(value: NDArray[np.float32], colours: NDArray[np.float32]) -> NDArray[np.float32]:
    stops = np.linspace(0, 1, len(colours))
    return np.dstack([np.interp(value, stops, colours[:, c]) for c in range(3)]).astype(np.float32)


def flames(size: int, rng: Rng) -> Sprite:
    """Tongues of fire: a hot base that thins and wavers upwards."""
    height, width = size, max(16, int(size * rng.uniform(0.5, 1.6)))
    ys, xs = np.mgrid[1 : 0 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    heat = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 7))):
        centre, spread, tall = rng.uniform(0.15, 0.85), rng.uniform(0.06, 0.28), rng.uniform(0.4, 1)
        sway = rng.uniform(-0.25, 0.25) * ys + 0.1 * (noise((height, width), size / 4, rng) - 0.5)
        body = 1 - np.abs(xs - centre - sway) / (spread * np.clip(1.15 - ys / tall, 0.01, 1))
        heat = np.maximum(heat, np.clip(body, 0, 1) * np.clip(1.2 - ys / tall, 0, 1))
    turbulent = _fractal((height, width), size / rng.uniform(3, 8), rng)
    heat = np.clip(1.7 * heat * (0.45 + turbulent), 0, 1)
    heat *= np.clip(ys * 12, 0, 1)
    rgb = _ramp(heat ** rng.uniform(0.7, 1.2), _FLAME)
    alpha = np.clip(heat * rng.uniform(1.6, 4), 0, 1)
    if rng.random() < 0.3:  # smoke above
        smoke = np.clip(_fractal((height, width), size / 4, rng) * ys * 1.6 - 0.35, 0, 0.7)
        grey = rng.uniform(30, 130)
        rgb = rgb * (1 - smoke[..., None] * (alpha[..., None] < 0.5)) + grey * smoke[..., None]
        alpha = np.maximum(alpha, smoke)
    return np.dstack([rgb.clip(0, 255), alpha * 255]).astype(np.uint8)


def explosion(size: int, rng: Rng) -> Sprite:
    """A ball of fire that bursts in all directions, often with smoke around it."""
    ys, xs = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    far, angle = np.hypot(xs, ys), np.arctan2(ys, xs)
    rays = np.zeros_like(far)
    for _ in range(int(rng.integers(5, 22))):
        away = np.abs(np.angle(np.exp(1j * (angle - rng.uniform(0, 2 * np.pi)))))
        reach = rng.uniform(0.1, 0.45)
        rays = np.maximum(rays, reach * np.clip(1 - away / rng.uniform(0.08, 0.5), 0, 1))
    edge = rng.uniform(0.4, 0.6) + rays
    turbulent = _fractal((size, size), size / rng.uniform(3, 9), rng)
    heat = np.clip((edge - far) / edge * rng.uniform(1.2, 2.2) * (0.35 + 1.1 * turbulent), 0, 1)
    rgb = _ramp(np.asarray(heat ** rng.uniform(0.6, 1.1), np.float32), _FLAME)
    alpha = np.clip(heat * rng.uniform(2, 6), 0, 1)
    if rng.random() < 0.5:
        smoke = _fractal((size, size), size / 5, rng) * np.clip(1.6 * (0.95 - far), 0, 1)
        smoke = np.clip(1.8 * smoke - 0.3, 0, rng.uniform(0.5, 0.95))
        grey = rng.uniform(20, 110)
        rgb = rgb * alpha[..., None] + grey * (1 - alpha[..., None])
        alpha = np.maximum(alpha, smoke)
    return np.dstack([rgb.clip(0, 255), alpha * 255]).astype(np.uint8)


def _blobs(size: int, rng: Rng) -> NDArray[np.float32]:
    """Metaball field of a splash: a puddle, thrown drops and runs; about 0 at the rim."""
    ys, xs = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j].astype(np.float32)
    field = np.zeros((size, size), np.float32)
    kind = rng.choice(["splash", "puddle", "drops", "smear", "runs"])
    centre = rng.uniform(0.35, 0.65, 2)
    if kind in ("splash", "puddle", "runs"):
        for _ in range(int(rng.integers(3, 10))):
            x, y = centre + rng.normal(0, 0.12, 2)
            field += (rng.uniform(0.05, 0.16) ** 2) / ((xs - x) ** 2 + (ys - y) ** 2 + 1e-4)
    if kind in ("splash", "drops"):
        for _ in range(int(rng.integers(8, 45))):
            angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.48)
            x, y = centre + far * np.array([np.cos(angle), np.sin(angle)])
            radius = rng.uniform(0.004, 0.045) * (1.2 - far)
            along = (xs - x) * np.cos(angle) + (ys - y) * np.sin(angle)
            across = -(xs - x) * np.sin(angle) + (ys - y) * np.cos(angle)
            stretch = rng.uniform(1, 3.5)
            field += radius**2 / ((along / stretch) ** 2 + across**2 + 2e-5)
    if kind == "smear":
        angle = rng.uniform(0, np.pi)
        along = (xs - 0.5) * np.cos(angle) + (ys - 0.5) * np.sin(angle)
        across = -(xs - 0.5) * np.sin(angle) + (ys - 0.5) * np.cos(angle)
        streaks = noise((size, size), size / 24, rng)
        band = np.clip(1.2 - np.abs(across) / rng.uniform(0.08, 0.2), 0, 1)
        field = 2.2 * band * np.clip(0.55 - np.abs(along), 0, 1) * (0.5 + streaks) / 0.4
    if kind == "runs":
        for _ in range(int(rng.integers(2, 7))):
            x, length = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.5)
            run = np.clip(1 - np.abs(xs - x) / rng.uniform(0.01, 0.03), 0, 1) * 2
            field += run * ((ys > centre[1]) & (ys < centre[1] + length))
    return np.asarray(field + 0.35 * (noise((size, size), size / 12, rng) - 0.5) - 1, np.float32)


def liquid(size: int, rng: Rng, *, blood: bool) -> Sprite:
    """A stain: dark red for blood; water, paint, honey or mud (never dark red) otherwise."""
    field = _blobs(size, rng)
    alpha = np.clip(field * rng.uniform(3, 10), 0, 1)
    if blood:
        deep = np.array([rng.uniform(60, 150), rng.uniform(0, 16), rng.uniform(0, 18)], np.float32)
    else:
        deep = random_colour(rng)
        if deep[0] > 1.6 * max(deep[1], deep[2]):
            deep = deep[[1, 2, 0]] if rng.random() < 0.5 else deep[[2, 0, 1]]
    albedo = np.broadcast_to(deep, (size, size, 3)) * (
        0.8 + 0.5 * noise((size, size), size / 8, rng)[..., None]
    )
    relief = np.sqrt(np.clip(field, 0, 4)) * rng.uniform(2, 9)
    gloss = float(rng.choice([0.0, 0.25, 0.6]))
    smooth = np.asarray(cv2.GaussianBlur(relief, (0, 0), 1.5), np.float32)
    rgb = shade(albedo, smooth, rng, gloss)
    if rng.random() < 0.3:
        alpha = alpha * rng.uniform(0.7, 1)
    return np.dstack([rgb.clip(0, 255), alpha * 255]).astype(np.uint8)


def powder(size: int, rng: Rng) -> Sprite:
    """Lines or a heap of white powder, often on a dark plate or mirror."""
    ys, xs = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j].astype(np.float32)
    field = np.zeros((size, size), np.float32)
    lines = int(rng.integers(1, 5))
    for k in range(lines):
        x = 0.5 + (k - (lines - 1) / 2) * rng.uniform(0.12, 0.2)
        body = 1 - np.abs(xs - x - rng.normal(0, 0.01)) / rng.uniform(0.03, 0.05)
        field = np.maximum(field, np.clip(body, 0, 1) * (np.abs(ys - 0.5) < rng.uniform(0.2, 0.42)))
    if rng.random() < 0.3:
        field = np.maximum(field, 1 - np.hypot(xs - 0.5, ys - 0.6) / rng.uniform(0.15, 0.35))
    field = np.clip(field * (0.5 + _fractal((size, size), 10, rng)), 0, 1)
    rgb = shade(np.full((size, size, 3), 238, np.float32), field * 12, rng, 0.0)
    rgb += rng.normal(0, 10, (size, size, 1))
    alpha = np.clip(field * 4, 0, 1)
    if rng.random() < 0.6:
        plate = np.clip((0.49 - np.maximum(np.abs(xs - 0.5), np.abs(ys - 0.5))) * size, 0, 1)
        ground = random_colour(rng) * 0.3
        rgb = rgb * alpha[..., None] + ground * (1 - alpha[..., None])
        alpha = np.maximum(alpha, plate)
    return np.dstack([rgb.clip(0, 255), alpha * 255]).astype(np.uint8)
