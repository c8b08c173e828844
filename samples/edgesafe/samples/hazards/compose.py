"""Put a drawing into a photo: place, light, shadow, occlusion, blur."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edgesafe.samples.hazards.art_files import crop

Photo = NDArray[np.uint8]
Sprite = NDArray[np.uint8]
Rng = np.random.Generator
Plane = NDArray[np.float32]
Colours = NDArray[np.floating[Any]]


def spin(sprite: Sprite, rng: Rng, *, upright: bool) -> Sprite:
    """Rotate (freely, or by a little), mirror and bend the perspective."""
    if rng.random() < 0.5:
        sprite = sprite[:, ::-1]
    angle = rng.normal(0, 12) if upright else rng.uniform(0, 360)
    height, width = sprite.shape[:2]
    side = int(np.ceil(np.hypot(height, width))) + 2
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    turn[:, 2] += (side - width) / 2, (side - height) / 2
    # Premultiplied, or the colour of transparent pixels bleeds into the rim.
    cover = sprite[..., 3:].astype(np.float32) / 255
    flat = np.dstack([sprite[..., :3] * cover, cover * 255]).astype(np.float32)
    turned = cv2.warpAffine(flat, turn, (side, side), flags=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
        bent = corners + rng.uniform(-0.12, 0.12, (4, 2)).astype(np.float32) * side
        warp = cv2.getPerspectiveTransform(corners, bent.astype(np.float32))
        turned = cv2.warpPerspective(turned, warp, (side, side))
    alpha = turned[..., 3:]
    rgb = turned[..., :3] * 255 / np.maximum(alpha, 1)
    return crop(np.dstack([rgb, alpha]).clip(0, 255).astype(np.uint8))


def _light_of(photo: Photo, sprite: Sprite, rng: Rng) -> NDArray[np.float32]:
    """The sprite's colours under the photo's light: brightness, contrast and a colour cast."""
    rgb = sprite[..., :3].astype(np.float32)
    mean = photo.reshape(-1, 3).mean(axis=0)
    strength = rng.uniform(0, 0.5)
    gain = 1 + strength * (mean.mean() / 120 - 1)
    cast = 1 + 0.5 * strength * (mean / max(mean.mean(), 1) - 1)
    return np.asarray((rgb * gain * cast).clip(0, 255), np.float32)


def paste(
    photo: Photo,
    sprite: Sprite,
    centre: tuple[float, float],
    rng: Rng,
    *,
    glow: bool = False,
    stain: bool = False,
) -> Photo:
    """Composite at a place; parts outside the photo are cut off.

    Args:
        photo: (H, W, 3) RGB.
        sprite: RGBA, already of the wanted size.
        centre: (x, y) in pixels of the photo.
        rng: source of the random light.
        glow: light that adds to the photo (fire).
        stain: pigment through which the photo's texture shows (blood on a surface).

    Returns:
        A new photo.
    """
    height, width = photo.shape[:2]
    tall, wide = sprite.shape[:2]
    left, top = round(centre[0] - wide / 2), round(centre[1] - tall / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, width), min(top + tall, height)
    if x0 >= x1 or y0 >= y1:
        return photo
    lit = sprite[..., :3].astype(np.float32) if glow else _light_of(photo, sprite, rng)
    cover: Plane = np.asarray(sprite[..., 3].astype(np.float32) / 255, np.float32)
    if rng.random() < 0.35:
        cover = cast(Plane, cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.4, 1.6)))
    if rng.random() < 0.25:
        lit = cast(Plane, cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.5, 1.5)))
    out = photo.astype(np.float32)
    if not glow and not stain and rng.random() < 0.5:
        out = _shadow(out, cover, (left, top), rng)
    part = cover[y0 - top : y1 - top, x0 - left : x1 - left, None]
    colour = lit[y0 - top : y1 - top, x0 - left : x1 - left]
    under = out[y0:y1, x0:x1]
    if glow:
        mixed = np.maximum(under * (1 - 0.8 * part), 0) + colour * part
        warm = (
            np.array([60, 25, 5], np.float32)
            * cv2.GaussianBlur(np.ascontiguousarray(part[..., 0]), (0, 0), max(2.0, wide / 8))[
                ..., None
            ]
        )
        mixed = mixed + warm
    elif stain:
        texture = under.mean(axis=2, keepdims=True) / max(float(under.mean()), 1)
        mixed = under * (1 - part) + colour * part * (0.5 + 0.5 * texture)
    else:
        mixed = under * (1 - part) + colour * part
    out[y0:y1, x0:x1] = mixed
    return np.asarray(out.clip(0, 255).astype(np.uint8))


def _shadow(
    photo: NDArray[np.float32], cover: NDArray[np.float32], corner: tuple[int, int], rng: Rng
) -> NDArray[np.float32]:
    height, width = photo.shape[:2]
    size = max(cover.shape)
    shift = rng.uniform(-0.12, 0.12, 2) * size
    move = np.array([[1, 0, corner[0] + shift[0]], [0, 1, corner[1] + abs(shift[1])]], np.float32)
    dark = cv2.warpAffine(cover, move, (width, height))
    dark = cv2.GaussianBlur(dark, (0, 0), max(1.0, size * rng.uniform(0.01, 0.06)))
    return np.asarray(photo * (1 - rng.uniform(0.2, 0.6) * dark[..., None]), np.float32)


def occlude(sprite: Sprite, rng: Rng) -> Sprite:
    """Hide up to a third of it behind an invisible edge."""
    out = sprite.copy()
    height, width = out.shape[:2]
    share = rng.uniform(0.1, 0.35)
    side = rng.integers(4)
    if side == 0:
        out[: int(height * share), :, 3] = 0
    elif side == 1:
        out[int(height * (1 - share)) :, :, 3] = 0
    elif side == 2:
        out[:, : int(width * share), 3] = 0
    else:
        out[:, int(width * (1 - share)) :, 3] = 0
    return crop(out)


def random_crop(photo: Photo, rng: Rng, short_side: int) -> Photo:
    """A crop of 45 to 100 % of the area at a random aspect ratio, resized to ``short_side``."""
    height, width = photo.shape[:2]
    share = np.sqrt(rng.uniform(0.45, 1.0))
    tall, wide = int(height * share), int(width * min(1.0, share * rng.uniform(0.85, 1.15)))
    y, x = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
    part = photo[y : y + tall, x : x + wide]
    scale = short_side / min(part.shape[:2])
    size = (max(8, round(part.shape[1] * scale)), max(8, round(part.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, size, interpolation=interpolation))


def grade(photo: Photo, rng: Rng) -> Photo:
    """Exposure, contrast, saturation, blur or noise of another camera."""
    out: Colours = photo.astype(np.float32)
    if rng.random() < 0.6:
        out = (out - 128) * rng.uniform(0.75, 1.25) + 128 * rng.uniform(0.75, 1.25)
    if rng.random() < 0.4:
        grey = out.mean(axis=2, keepdims=True)
        out = grey + (out - grey) * rng.uniform(0.2, 1.5)
    if rng.random() < 0.3:
        out = out * rng.uniform(0.85, 1.15, 3)
    if rng.random() < 0.15:
        out = cast(Colours, cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.4)))
    if rng.random() < 0.2:
        out = out + rng.normal(0, rng.uniform(2, 10), out.shape)
    return np.asarray(out.clip(0, 255).astype(np.uint8))
