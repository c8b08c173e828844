"""How things look: random light, random materials, colours away from those of the scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.render.photos import Photos
from edgesafe.calib.render.shade import Lamp, Lighting, Material
from edgesafe.calib.render.surface import Surface

__all__ = ["darken_below", "random_lighting", "random_material", "recolour", "wrap_photo"]

Array = NDArray[np.float64]
Rng = np.random.Generator

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def random_lighting(rng: Rng, up: Array) -> Lighting:
    """Return ambient light from above and one to three lamps, for ``up`` in the camera frame.

    From dull, where only the scan's own colours tell the shape, to one hard lamp.
    """
    sky = rng.uniform(0.2, 0.75) * _tint(rng, 0.12)
    ground = sky * rng.uniform(0.1, 0.9) * _tint(rng, 0.1)
    count = int(rng.integers(1, 4))
    total = rng.uniform(0.15, 1.2)
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


def recolour(surface: Surface, rng: Rng) -> Surface:
    """Return the surface in other colours: as far as a scan and a webcam usually differ, and more.

    Saturation and contrast rise more often than they fall, since scanners flatten both.
    """
    gain = np.exp(rng.normal(-0.1, 0.2)) * _tint(rng, 0.1)
    gamma = float(np.exp(rng.normal(0.1, 0.25)))
    saturation = float(np.exp(rng.normal(0.15, 0.35)))
    turn = _about_grey(rng.normal(0, 0.18))
    lift = rng.normal(0, 0.03)

    def changed(colour: NDArray[np.float32]) -> NDArray[np.float32]:
        grey = (colour @ _LUMA)[..., None]
        out = (grey + (colour - grey) * np.float32(saturation)) @ turn.T
        out = np.clip(out, 0, 1) ** np.float32(gamma) * gain.astype(np.float32) + np.float32(lift)
        return np.asarray(np.clip(out, 0, 1), np.float32)

    if surface.texture is not None:
        texture = changed(np.asarray(surface.texture / 255, np.float32)) * 255
        return replace(surface, texture=texture.astype(np.uint8))
    return replace(surface, colours=changed(surface.colours) * _blotches(surface, rng))


def darken_below(surface: Surface, height: Array, rng: Rng) -> Surface:
    """Return the surface darker where little light comes: near the ground it stands on.

    Args:
        surface: With colours of vertices; a texture is left alone.
        height: (V,) of each vertex above the ground, mm.
        rng: Where the randomness comes from.
    """
    depth, reach = rng.uniform(0, 0.6), rng.uniform(8, 50)
    dark = 1 - depth * np.exp(-np.maximum(height, 0) / reach)
    return replace(surface, colours=surface.colours * dark[:, None].astype(np.float32))


def _blotches(surface: Surface, rng: Rng) -> NDArray[np.float32]:
    """Return (V, 1) how bright each vertex is: shadows of other things, wear, dirt."""
    place = (surface.vertices / surface.radius).astype(np.float32)
    bright = np.ones(len(place), np.float32)
    if rng.random() < 0.4:
        # The edge of a shadow runs across.
        across = place @ rng.normal(size=3).astype(np.float32) - np.float32(rng.normal(0, 0.6))
        width = np.float32(rng.uniform(0.03, 0.4))
        bright -= np.float32(rng.uniform(0.1, 0.6)) / (1 + np.exp(np.clip(across / width, -30, 30)))
    if rng.random() < 0.5:
        wave = place @ rng.normal(0, 4, 3).astype(np.float32) + np.float32(rng.uniform(0, 6))
        bright *= 1 + np.float32(rng.uniform(0, 0.12)) * np.sin(wave)
    return bright[:, None]


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
