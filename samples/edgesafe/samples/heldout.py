"""A held-out benchmark of hazards and look-alikes, drawn apart from the training drawings.

The subjects, the styles and the placement share no code with the drawings a model learns from,
so a score on them tells whether the model knows the things or only one way of drawing them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgesafe.samples import heldout_blood as blood
from edgesafe.samples import heldout_bombs as bombs
from edgesafe.samples import heldout_drugs as drugs
from edgesafe.samples import heldout_fire as fire
from edgesafe.samples import heldout_nature as nature
from edgesafe.samples import heldout_tools as tools
from edgesafe.samples import heldout_toys as toys
from edgesafe.samples import heldout_weapons as weapons
from edgesafe.samples.heldout_parts import Sketch
from edgesafe.samples.heldout_styles import STYLE_FUNCTIONS

# A subject and the largest rotation, either way, at which it is still itself.
_Subject = tuple[Callable[[Sketch], None], float]

_HAZARDS: dict[str, dict[str, _Subject]] = {
    "weapon": {
        "kitchen_knife": (weapons.kitchen_knife, 180),
        "combat_knife": (weapons.combat_knife, 180),
        "handgun": (weapons.handgun, 60),
        "rifle": (weapons.rifle, 60),
        "sword": (weapons.sword, 180),
        "axe": (bombs.axe, 180),
        "grenade": (bombs.grenade, 30),
        "bomb": (bombs.bomb, 20),
    },
    "fire": {
        "flame": (fire.flame, 8),
        "campfire": (fire.campfire, 6),
        "burning_patch": (fire.burning_patch, 5),
        "torch": (fire.torch, 22),
        "match": (fire.match, 18),
        "explosion": (fire.explosion, 180),
    },
    "blood": {
        "blood_drops": (blood.blood_drops, 10),
        "blood_splatter": (blood.blood_splatter, 12),
        "blood_puddle": (blood.blood_puddle, 8),
        "blood_smear": (blood.blood_smear, 180),
        "blood_handprint": (blood.blood_handprint, 25),
        "blood_drip": (blood.blood_drip, 4),
    },
    "drugs": {
        "capsules": (drugs.capsules, 180),
        "tablets": (drugs.tablets, 10),
        "syringe": (drugs.syringe, 180),
        "blister_pack": (drugs.blister_pack, 180),
        "powder_lines": (drugs.powder_lines, 25),
        "pill_bottle": (drugs.pill_bottle, 10),
        "joint": (drugs.joint, 14),
    },
}
_HARMLESS: dict[str, _Subject] = {
    "spoon": (tools.spoon, 180),
    "ladle": (tools.ladle, 180),
    "hammer": (tools.hammer, 180),
    "hair_dryer": (tools.hair_dryer, 60),
    "water_tap": (tools.water_tap, 8),
    "umbrella": (tools.umbrella, 30),
    "pen": (tools.pen, 180),
    "ruler": (tools.ruler, 180),
    "baguette": (nature.baguette, 180),
    "scissors": (tools.scissors, 180),
    "carrot": (nature.carrot, 180),
    "autumn_leaves": (nature.autumn_leaves, 60),
    "sun": (nature.sun, 20),
    "orange": (nature.orange, 25),
    "tulip": (nature.tulip, 18),
    "rose": (nature.rose, 18),
    "apple": (nature.apple, 18),
    "strawberry": (nature.strawberry, 30),
    "tomato": (nature.tomato, 18),
    "ketchup": (tools.ketchup, 15),
    "heart": (toys.heart, 18),
    "paint_pot": (tools.paint_pot, 8),
    "balloon": (toys.balloon, 14),
    "buttons": (toys.buttons, 180),
    "candies": (toys.candies, 25),
    "eggs": (nature.eggs, 10),
    "marbles": (toys.marbles, 180),
    "toothbrush": (tools.toothbrush, 180),
    "thermometer": (tools.thermometer, 180),
    "lipstick": (tools.lipstick, 18),
    "toy_car": (toys.toy_car, 10),
    "teddy_bear": (toys.teddy_bear, 12),
    "ball": (toys.ball, 180),
    "book": (toys.book, 20),
    "mug": (toys.mug, 10),
    "phone": (toys.phone, 60),
}
_ALL: dict[str, _Subject] = {**_HARMLESS, **{n: f for g in _HAZARDS.values() for n, f in g.items()}}

STYLES: tuple[str, ...] = tuple(STYLE_FUNCTIONS)
HAZARDS: dict[str, tuple[str, ...]] = {tag: tuple(group) for tag, group in _HAZARDS.items()}
HARMLESS: tuple[str, ...] = tuple(_HARMLESS)
# Things that lie in a surface or give light cast no shadow.
SHADOWLESS: frozenset[str] = frozenset((*HAZARDS["fire"], *HAZARDS["blood"], "sun"))


def draw(name: str, style: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws a subject.

    Args:
        name: One of the names in `HAZARDS` or `HARMLESS`.
        style: One of `STYLES`.
        rng: Source of every random choice; the same state gives the same picture.

    Returns:
        (H, W, 4) RGBA with straight alpha, cropped to what is drawn.

    Raises:
        KeyError: If the name or the style is unknown.
    """
    subject, turn = _ALL[name]
    sketch = Sketch(rng)
    subject(sketch)
    return STYLE_FUNCTIONS[style](sketch.parts, rng, turn)


def place(
    photo: NDArray[np.uint8],
    sprite: NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    scale: float,
    shadow: bool = True,
    turn: float = 25.0,
) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
    """Puts a sprite somewhere into a photo.

    Args:
        photo: (H, W, 3) RGB.
        sprite: RGBA from `draw`.
        rng: Source of every random choice.
        scale: Longer side of the sprite as a share of the photo's shorter side.
        shadow: Whether a solid sprite may cast a shadow; see `SHADOWLESS`.
        turn: Largest further rotation either way, in degrees.

    Returns:
        The RGB picture, and the box (x0, y0, x1, y1) of what is visible of the sprite.
    """
    import cv2

    height, width = photo.shape[:2]
    k = scale * min(height, width) / max(sprite.shape[:2])
    top = _turned(sprite, rng.uniform(-turn, turn), k)
    sh, sw = top.shape[:2]
    over = 0.2 if rng.random() < 0.15 else 0.0
    x = int(rng.uniform(-over * sw, max(1.0, width - sw * (1 - over))))
    y = int(rng.uniform(-over * sh, max(1.0, height - sh * (1 - over))))
    layer = np.zeros((height, width, 4), np.float32)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + sw, width), min(y + sh, height)
    layer[y0:y1, x0:x1] = top[y0 - y : y1 - y, x0 - x : x1 - x]
    alpha = layer[..., 3]
    scene = photo.astype(np.float32) / 255
    if rng.random() < 0.15:
        alpha *= 1 - _covered(alpha, (x0, y0, x1, y1), rng)
    around = scene[y0:y1, x0:x1].mean() if y1 > y0 and x1 > x0 else scene.mean()
    gain = np.float32(np.clip(0.72 + 0.55 * around, 0.7, 1.15) * rng.uniform(0.93, 1.07))
    hue = scene.mean((0, 1)) / max(float(scene.mean()), 1e-3)
    color = layer[..., :3] * gain * (1 + 0.25 * (hue - 1))
    soft = float(((alpha > 0.1) & (alpha < 0.9)).sum() / max(1, int((alpha > 0.1).sum())))
    if shadow and soft < 0.35:
        r = scale * min(height, width)
        dx, dy = rng.uniform(-0.05, 0.05) * r, rng.uniform(0.01, 0.07) * r
        moved = cv2.warpAffine(
            alpha, np.array([[1, 0, dx], [0, 1, dy]], np.float32), (width, height)
        )
        dark = cv2.GaussianBlur(moved, (0, 0), max(1.0, rng.uniform(0.015, 0.045) * r))
        scene = scene * (1 - np.float32(rng.uniform(0.25, 0.5)) * dark)[..., None]
    out = scene * (1 - alpha[..., None]) + color * alpha[..., None]
    ys, xs = np.where(alpha > 0.12)
    box = (
        (x0, y0, x1, y1)
        if len(xs) == 0
        else (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    )
    return (np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8), box


def _turned(sprite: NDArray[np.uint8], degrees: float, k: float) -> NDArray[np.float32]:
    """Rotates and scales a sprite; the edges keep their colour."""
    import cv2

    h, w = sprite.shape[:2]
    a = math.radians(degrees)
    c, s = abs(math.cos(a)), abs(math.sin(a))
    nw, nh = max(2, math.ceil((w * c + h * s) * k)), max(2, math.ceil((w * s + h * c) * k))
    m = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, k)
    m[:, 2] += (nw / 2 - w / 2, nh / 2 - h / 2)
    rgba: NDArray[np.float32] = np.asarray(sprite / np.float32(255), np.float32)
    rgba[..., :3] *= rgba[..., 3:]
    if k < 0.6:
        # Averaging first, since the warp alone would skip pixels.
        rgba = np.asarray(cv2.GaussianBlur(rgba, (0, 0), 0.45 / k), np.float32)
    out = np.asarray(cv2.warpAffine(rgba, m, (nw, nh), flags=cv2.INTER_LINEAR), np.float32)
    out[..., :3] /= np.maximum(out[..., 3:], 1e-3)
    return out


def _covered(
    alpha: NDArray[np.float32], box: tuple[int, int, int, int], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Returns where something of the photo stays in front: up to a quarter, from one side."""
    import cv2

    x0, y0, x1, y1 = box
    h, w = alpha.shape
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    a = rng.uniform(0, 2 * math.pi)
    t = (xx - (x0 + x1) / 2) * math.cos(a) + (yy - (y0 + y1) / 2) * math.sin(a)
    size = max(x1 - x0, y1 - y0, 1)
    wave = cv2.resize(rng.random((6, 6), dtype=np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    inside = t[alpha > 0.1]
    cut = float(np.quantile(inside, rng.uniform(0.78, 0.95))) if len(inside) else 1e9
    return np.asarray(np.clip((t - cut + (wave - 0.5) * 0.12 * size) / 2 + 0.5, 0, 1), np.float32)
