"""Augmentation of training images: what a camera, a codec and a photographer may change.

Geometry is drawn once per quadruplet and shared by the safe image and its unsafe counterpart, so
that the two differ in what makes one unsafe and not in their framing; colour, sharpness and
compression are drawn for each image, so that none of these can give the unsafe side away.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.config import AugmentConfig

Rgb = npt.NDArray[np.uint8]
_GRID = 48
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@dataclass(frozen=True)
class Geometry:
    """A crop in shares of the image's sides, and a flip.

    Attributes:
        left: Left edge, 0..1.
        top: Top edge, 0..1.
        width: Width, above 0.
        height: Height, above 0.
        flip: Whether to mirror left and right.
    """

    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0
    flip: bool = False


def draw_geometry(rng: np.random.Generator, config: AugmentConfig) -> Geometry:
    """Draws a crop and a flip."""
    area = rng.uniform(config.crop_scale, 1.0)
    log_ratio = math.log(config.crop_ratio)
    ratio = math.exp(rng.uniform(-log_ratio, log_ratio))
    width = min(1.0, math.sqrt(area * ratio))
    height = min(1.0, math.sqrt(area / ratio))
    left = rng.uniform(0.0, 1.0 - width)
    top = rng.uniform(0.0, 1.0 - height)
    return Geometry(left, top, width, height, bool(rng.random() < config.flip))


def draw_focus(
    rng: np.random.Generator, config: AugmentConfig, box: tuple[float, float, float, float]
) -> Geometry:
    """Draws a region that holds as much of a box as it can, and a flip.

    A large background teaches little about a small thing, and costs as many operations.

    Args:
        rng: The generator.
        config: Settings; ``focus_side`` bounds the sides of the region.
        box: Left, top, right and bottom in shares of the image's sides.
    """
    log_ratio = 0.5 * math.log(config.crop_ratio)
    side = rng.uniform(*config.focus_side)
    ratio = math.exp(rng.uniform(-log_ratio, log_ratio))
    width, height = min(1.0, side * ratio), min(1.0, side / ratio)
    left = _start(rng, box[0], box[2], width)
    top = _start(rng, box[1], box[3], height)
    return Geometry(left, top, width, height, bool(rng.random() < config.flip))


def _start(rng: np.random.Generator, first: float, last: float, length: float) -> float:
    """Where an interval starts that holds ``first..last``, or lies in it if it is shorter."""
    a, b = sorted((first, last - length))
    low, high = max(a, 0.0), min(b, 1.0 - length)
    return float(rng.uniform(min(low, high), max(low, high)))


def changed_box(
    safe: Image.Image, unsafe: Image.Image, threshold: float
) -> tuple[float, float, float, float] | None:
    """Where two twins differ: left, top, right and bottom in shares of the sides.

    Args:
        safe: An image.
        unsafe: Its twin.
        threshold: Difference of the brightness, averaged over a cell of a grid of 48 by 48, from
            which the cell counts; a share of the range.

    Returns:
        None where no cell differs.
    """
    a, b = (
        np.asarray(image.convert("L").resize((_GRID, _GRID), Image.Resampling.BOX), dtype=np.int16)
        for image in (safe, unsafe)
    )
    rows, columns = np.nonzero(np.abs(a - b) > 255 * threshold)
    if not len(rows):
        return None
    left, top = columns.min() / _GRID, rows.min() / _GRID
    return (
        float(left),
        float(top),
        float((columns.max() + 1) / _GRID),
        float((rows.max() + 1) / _GRID),
    )


def augment(
    image: Image.Image,
    preprocess: Preprocess,
    geometry: Geometry,
    rng: np.random.Generator,
    config: AugmentConfig,
) -> Rgb:
    """Crops, resizes as the preprocessing does, and disturbs the rest.

    Returns:
        uint8 (height, width, 3) at the encoder's input size, ready for `Preprocess.normalize`.
    """
    w, h = image.size
    left, top = round(geometry.left * w), round(geometry.top * h)
    right = max(left + 1, round((geometry.left + geometry.width) * w))
    bottom = max(top + 1, round((geometry.top + geometry.height) * h))
    if (left, top, right, bottom) != (0, 0, w, h):
        image = image.crop((left, top, right, bottom))
    pixels = preprocess.resize(np.asarray(image, dtype=np.uint8))
    if geometry.flip:
        pixels = pixels[:, ::-1]
    pixels = _colour(pixels, rng, config)
    return _sharpness(pixels, rng, config)


def _colour(pixels: Rgb, rng: np.random.Generator, config: AugmentConfig) -> Rgb:
    """Saturation and hue as one matrix, then contrast about the mean, then brightness."""
    # Every draw is made whatever the settings, so that one switch does not shift the others.
    brightness = 1 + rng.uniform(-config.brightness, config.brightness)
    contrast = 1 + rng.uniform(-config.contrast, config.contrast)
    saturation = 1 + rng.uniform(-config.saturation, config.saturation)
    if rng.random() < config.grey:
        saturation = 0.0
    angle = 2 * math.pi * rng.uniform(-config.hue, config.hue)
    if brightness == contrast == saturation == 1 and angle == 0:
        return pixels
    # In YIQ, saturation is the length of the chroma plane's vectors and hue their angle.
    chroma = saturation * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    turn = np.eye(3)
    turn[1:, 1:] = chroma
    turn = np.linalg.inv(_YIQ) @ turn @ _YIQ
    gain = brightness * contrast * turn
    shift = brightness * (1 - contrast) * float(pixels.mean())
    matrix = [float(v) for row in gain for v in (*row, shift)]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.convert("RGB", tuple(matrix)))


def _sharpness(pixels: Rgb, rng: np.random.Generator, config: AugmentConfig) -> Rgb:
    radius = rng.uniform(0.1, max(config.blur_radius, 0.1))
    blur = rng.random() < config.blur
    sigma = rng.uniform(0.0, config.noise) if config.noise > 0 else 0.0
    low, high = config.jpeg_quality
    quality = int(rng.integers(low, high + 1))
    jpeg = rng.random() < config.jpeg
    if blur:
        image = Image.fromarray(np.ascontiguousarray(pixels))
        pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)))
    if sigma > 0:
        noise = rng.standard_normal(pixels.shape, dtype=np.float32) * sigma
        pixels = np.clip(pixels + noise + 0.5, 0, 255).astype(np.uint8)
    if jpeg:
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as image:
            pixels = np.asarray(image.convert("RGB"))
    return pixels
