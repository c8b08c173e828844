"""From what a pixel sees to its colour: ambient light from above, lamps, Blinn-Phong highlights.

No shadows: a shadow on the ground is painted by :mod:`edgesafe.calib.render.ground`. Light is
summed in linear intensities and encoded with the gamma of a display in the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.render.raster import RasterBuffers
from edgesafe.calib.render.surface import Surface

__all__ = ["Lamp", "Lighting", "Material", "shade"]

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]

_GAMMA = 2.2
_STEPS = 4096
# Encoded value of a linear intensity in 0..1, by table: a power for each pixel costs more.
_ENCODED = (np.linspace(0, 1, _STEPS + 1) ** (1 / _GAMMA) * 255).astype(np.float32)


@dataclass(frozen=True)
class Lamp:
    """A lamp far away.

    Attributes:
        towards: (3,) unit vector to the lamp, camera frame.
        colour: (3,) linear intensity.
    """

    towards: tuple[float, float, float]
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Lighting:
    """All light of a frame.

    Attributes:
        up: (3,) unit vector away from the ground, camera frame.
        sky: (3,) linear ambient intensity on a surface that looks up.
        ground: (3,) the same on one that looks down.
    """

    up: tuple[float, float, float]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]
    lamps: tuple[Lamp, ...]


@dataclass(frozen=True)
class Material:
    """How a surface reflects lamps: Blinn, "Models of light reflection", 1977.

    Attributes:
        specular: Linear reflectance of the highlight.
        shininess: Exponent of the cosine between normal and half vector.
    """

    specular: float = 0.1
    shininess: float = 20.0


def shade(
    surface: Surface,
    buffers: RasterBuffers,
    R: Array,
    K: Array,
    lighting: Lighting,
    material: Material,
) -> Pixels:
    """Return the displayed colour, (n, 3) float32 in 0..255, of each covered pixel."""
    normal = buffers.interpolate(surface, surface.normals) @ R.T.astype(np.float32)
    eye = _towards_eye(buffers, K)
    facing = _dot(normal, eye)
    # The back of a face is seen only where a surface is open; light it from its own side.
    unit = np.copysign(1 / np.maximum(np.sqrt(_dot(normal, normal)), 1e-6), facing)
    normal *= unit[:, None]
    facing *= unit
    sky = np.asarray(lighting.sky, np.float32)
    ground = np.asarray(lighting.ground, np.float32)
    above = (normal @ np.asarray(lighting.up, np.float32))[:, None]
    light = (sky + ground) / 2 + above * ((sky - ground) / 2)
    highlight = np.zeros_like(light)
    for lamp in lighting.lamps:
        towards = np.asarray(lamp.towards, np.float32)
        colour = np.asarray(lamp.colour, np.float32)
        lit = normal @ towards
        if material.specular > 0:
            # The half vector is (eye + towards) / |eye + towards|; both are of unit length.
            length = np.sqrt(np.maximum(2 + 2 * (eye @ towards), 1e-6))
            shine = np.maximum(facing + lit, 0) / length
            shine = np.where(lit > 0, shine, 0) ** np.float32(material.shininess)
            highlight += shine[:, None] * (colour * np.float32(material.specular))
        light += np.maximum(lit, 0)[:, None] * colour
    light *= _albedo(surface, buffers)
    light += highlight
    np.clip(light, 0, 1, out=light)
    light *= _STEPS
    return np.asarray(np.take(_ENCODED, light.astype(np.int32)))


def _dot(a: Pixels, b: Pixels) -> Pixels:
    return np.asarray(np.einsum("nc,nc->n", a, b))


def _towards_eye(buffers: RasterBuffers, K: Array) -> Pixels:
    row, column = np.divmod(buffers.index, max(buffers.window.width, 1))
    ray = np.empty((len(row), 3), np.float32)
    ray[:, 0] = (K[0, 2] - buffers.window.x - column) / K[0, 0]
    ray[:, 1] = (K[1, 2] - buffers.window.y - row) / K[1, 1]
    ray[:, 2] = -1
    ray /= np.sqrt(_dot(ray, ray))[:, None]
    return ray


def _albedo(surface: Surface, buffers: RasterBuffers) -> Pixels:
    """Return the linear reflectance of each covered pixel, (n, 3)."""
    if surface.texture is None or surface.uv is None:
        return buffers.interpolate(surface, surface.colours**_GAMMA)
    return _texels(surface, surface.texture, surface.uv, buffers)


def _texels(
    surface: Surface,
    texture: NDArray[np.uint8],
    uv: NDArray[np.float32],
    buffers: RasterBuffers,
) -> Pixels:
    import cv2

    at = buffers.interpolate(surface, uv)
    if not len(at):
        return np.empty((0, 3), np.float32)
    # One size of the texture for the whole object, so that a texel is about a pixel.
    corners = uv[surface.faces[np.unique(buffers.face)]]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum() / 2
    texels = float(area) * texture.shape[0] * texture.shape[1]
    shrink = np.sqrt(len(at) / max(texels, 1e-9))
    if shrink < 1:
        size = [max(1, round(side * float(shrink))) for side in texture.shape[1::-1]]
        texture = np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = texture.shape[:2]
    x = (at[:, 0] % 1 * width).astype(np.intp).clip(0, width - 1)
    y = ((1 - at[:, 1]) % 1 * height).astype(np.intp).clip(0, height - 1)
    return np.asarray(_LINEAR[texture[y, x]])


_LINEAR = (np.linspace(0, 1, 256) ** _GAMMA).astype(np.float32)
