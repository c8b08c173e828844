"""Augmentation of the colours of a crop or a frame.

What a network trained on renders has to forget is how clean they are, so this is strong. Each step
is drawn on its own, in this order; strengths are given for ``strength = 1``:

===================== ======================================================================
hue, saturation       turn of the hue by up to 25 degrees, saturation times 0.4 .. 1.6
grey                  all saturation lost
brightness            up to 60 of 255 added
contrast              times 0.5 .. 1.6 about the mean grey
gamma                 exponent 0.6 .. 1.7
colour cast           each channel times 0.75 .. 1.25
shrink                shrunk to 35 .. 90 % and enlarged again
Gaussian blur         sigma 0.3 .. 1.8 px
motion blur           3 .. 9 px in any direction (in place of the Gaussian, one time in three)
sharpen               unsharp mask, 0.3 .. 1.5
noise                 Gaussian, sigma 2 .. 14 of 255, of each channel or of all three alike; one
                      time in three of patches of some pixels, as demosaicing leaves it
JPEG                  quality 30 .. 90
===================== ======================================================================

Coarse dropout and occluders, which change what is visible, are in `edgesafe.train.pose.occlude`.
The steps that act on single pixels are joined into one matrix and one table.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgesafe.train.pose.config import ColourConfig

__all__ = ["disturb"]

Pixels = npt.NDArray[np.uint8]
Rng = np.random.Generator

_LUMA = np.array([0.299, 0.587, 0.114])
_RAMP = np.arange(256, dtype=np.float32)
_NOISE = 1 << 19


def disturb(rgb: Pixels, rng: Rng, config: ColourConfig) -> Pixels:
    """Changes the colours of a picture, uint8 (H, W, 3) RGB; the argument is left as it is."""
    s = config.strength
    if s == 0:
        return rgb
    mixed = _mix(rgb, rng, config, s)
    out: Any = cv2.LUT(mixed, _table(mixed, rng, config, s))
    if rng.random() < config.shrink:
        out = _shrink(out, rng, s)
    if rng.random() < config.blur:
        out = _blur(out, rng, s)
    if rng.random() < config.sharpen:
        amount = rng.uniform(0.3, 1.5) * s
        out = cv2.addWeighted(out, 1 + amount, cv2.GaussianBlur(out, (0, 0), 1.0), -amount, 0)
    if rng.random() < config.noise:
        out = _noise(out, rng, s)
    if rng.random() < config.jpeg:
        quality = int(rng.uniform(30, 90))
        _, code = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])
        out = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return np.asarray(out, dtype=np.uint8)


def _mix(rgb: Pixels, rng: Rng, config: ColourConfig, s: float) -> Pixels:
    """Hue, saturation and grey as one matrix: a turn about the grey axis, and a squeeze to it."""
    hue = rng.random() < config.hue
    grey = rng.random() < config.grey
    if not (hue or grey):
        return rgb
    angle = math.radians(rng.uniform(-25, 25) * s) if hue else 0.0
    saturation = float(np.exp(rng.uniform(-0.9, 0.47) * s)) if hue else 1.0
    if grey:
        saturation = 0.0
    axis = np.full((3, 3), 1 / 3)
    cross = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn = math.cos(angle) * np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * axis
    squeeze = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    return np.asarray(cv2.transform(rgb, squeeze @ turn), dtype=np.uint8)


def _table(rgb: Pixels, rng: Rng, config: ColourConfig, s: float) -> Pixels:
    """Brightness, contrast, gamma and cast as one table (1, 256, 3)."""
    ramp: Any = _RAMP
    if rng.random() < config.light:
        ramp = ramp + rng.uniform(-60, 60) * s
    if rng.random() < config.light:
        mean = float(rgb[::4, ::4].mean())
        ramp = (ramp - mean) * float(np.exp(rng.uniform(-0.69, 0.47) * s)) + mean
    if rng.random() < config.light:
        exponent = float(np.exp(rng.uniform(-0.51, 0.53) * s))
        ramp = 255 * (np.clip(ramp, 0, 255) / 255) ** exponent
    factors = np.ones(3)
    if rng.random() < config.cast:
        factors = np.maximum(1 + rng.uniform(-0.25, 0.25, 3) * s, 0.1)
    table = np.clip(np.rint(ramp[:, None] * factors), 0, 255)
    return np.asarray(table[None], dtype=np.uint8)


def _shrink(rgb: Pixels, rng: Rng, s: float) -> Any:
    height, width = rgb.shape[:2]
    factor = max(0.1, 1 - rng.uniform(0.1, 0.65) * min(s, 1.3))
    small = (max(4, round(width * factor)), max(4, round(height * factor)))
    way = cv2.INTER_AREA if rng.random() < 0.5 else cv2.INTER_LINEAR
    back = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_NEAREST
    return cv2.resize(
        cv2.resize(rgb, small, interpolation=way), (width, height), interpolation=back
    )


def _blur(rgb: Pixels, rng: Rng, s: float) -> Any:
    if rng.random() < 2 / 3:
        return cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.3, 1.8) * s)
    length = rng.uniform(3, 9) * s
    side = 2 * math.ceil(length / 2) + 1
    angle = rng.uniform(0, math.pi)
    across = length / 2 * np.array([math.cos(angle), math.sin(angle)])
    kernel = np.zeros((side, side), dtype=np.float32)
    middle = side // 2
    # In sixteenths of a pixel, so that the line may have any slope.
    ends = [tuple(int(v) for v in np.rint((middle + way * across) * 16)) for way in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 4)
    return cv2.filter2D(rgb, -1, kernel / max(float(kernel.sum()), 1e-6))


def _noise(rgb: Pixels, rng: Rng, s: float) -> Any:
    height, width = rgb.shape[:2]
    sigma = rng.uniform(2, 14) * s
    if rng.random() < 1 / 3:
        grain = rng.uniform(1.5, 4)
        small = (max(2, int(width / grain)), max(2, int(height / grain)))
        noise = cv2.resize(
            _drawn(rng, small[0] * small[1] * 3).reshape(small[1], small[0], 3), (width, height)
        )
    elif rng.random() < 0.5:
        noise = _drawn(rng, height * width * 3).reshape(height, width, 3)
    else:
        noise = cv2.merge([_drawn(rng, height * width).reshape(height, width)] * 3)
    return cv2.addWeighted(rgb, 1.0, noise, sigma, 0.0, dtype=cv2.CV_8U)


def _drawn(rng: Rng, count: int) -> npt.NDArray[np.float32]:
    """Standard normal numbers from a fixed store: drawing them anew takes ten times as long."""
    store = _store()
    start = int(rng.integers(0, _NOISE))
    if count > _NOISE:
        return np.resize(np.roll(store[:_NOISE], -start), count)
    return store[start : start + count]


@functools.cache
def _store() -> npt.NDArray[np.float32]:
    numbers = np.random.default_rng(0).standard_normal(_NOISE, dtype=np.float32)
    return np.concatenate([numbers, numbers])
