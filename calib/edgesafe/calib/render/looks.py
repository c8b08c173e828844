"""How things look: random light, random materials, colours away from those of the scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.render.photos import Photos
from edgesafe.calib.render.shade import Lamp, Lighting, Material
from edgesafe.calib.render.surface import Surface

__all__ = ["random_lighting", "random_material", "recolour", "wrap_photo"]

Array = NDArray[np.float64]
Rng = np.random.Generator

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def random_lighting(rng: Rng, up: Array) -> Lighting:
    """Return ambient light from above and one to three lamps, for ``up`` in the camera frame.

    A scan's colours hold light already, so the ambient part is mostly the larger one.
    """
    sky = rng.uniform(0.35, 0.95) * _tint(rng, 0.12)
    ground = sky * rng.uniform(0.3, 1.0) * _tint(rng, 0.1)
    count = int(rng.integers(1, 4))
    total = rng.uniform(0.1, 0.9)
    shares = rng.dirichlet(np.ones(count))
    lamps = []
    for share in shares:
        towards = rng.normal(size=3)
        towards /= np.linalg.norm(towards)
        # Lamps hang above the table; a few stand beside it.
        if towards @ up < 0:
            towards -= 2 * (towards @ up) * up
        lamps.append(Lamp(_triple(towards), _triple(total * share * _tint(rng, 0.2))))
    return Lighting(_triple(up), _triple(sky), _triple(ground), tuple(lamps))


def random_material(rng: Rng) -> Material:
    """Return anything from chalk to varnish."""
    if rng.random() < 0.35:
        return Material(0.0, 1.0)
    return Material(float(rng.uniform(0.02, 0.5)), float(np.exp(rng.uniform(1.5, 4.5))))


def recolour(surface: Surface, rng: Rng, strength: float = 1.0) -> Surface:
    """Return the surface with another gain, gamma, saturation and hue.

    Args:
        surface: With colours of vertices or a texture.
        rng: Where the randomness comes from.
        strength: 0 leaves it alone, 1 is as far as a scan and a webcam usually differ.
    """
    gain = np.exp(rng.normal(0, 0.22) * strength) * _tint(rng, 0.07 * strength)
    gamma = float(np.exp(rng.normal(0, 0.25) * strength))
    saturation = float(np.exp(rng.normal(0, 0.3) * strength))
    turn = _about_grey(rng.normal(0, 0.12) * strength)
    lift = rng.normal(0, 0.03) * strength

    def changed(colour: NDArray[np.float32]) -> NDArray[np.float32]:
        grey = (colour @ _LUMA)[..., None]
        out = (grey + (colour - grey) * np.float32(saturation)) @ turn.T
        out = np.clip(out, 0, 1) ** np.float32(gamma) * gain.astype(np.float32) + np.float32(lift)
        return np.clip(out, 0, 1)

    texture = surface.texture
    if texture is not None:
        texture = (changed(texture.astype(np.float32) / 255) * 255).astype(np.uint8)
    return replace(surface, colours=changed(surface.colours), texture=texture)


def wrap_photo(surface: Surface, rng: Rng, photos: Photos) -> Surface:
    """Return the surface with a piece of a photo as its texture, where it can take one."""
    if surface.uv is None:
        return surface
    return replace(surface, texture=photos.picture(rng, 160, 160))


def _about_grey(angle: float) -> NDArray[np.float32]:
    """Return the rotation of RGB about the grey axis: a shift of hue."""
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return np.asarray(turn, np.float32)


def _tint(rng: Rng, spread: float) -> Array:
    return np.clip(1 + rng.normal(0, spread, 3), 0.3, 2)


def _triple(values: Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
