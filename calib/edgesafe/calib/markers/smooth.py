"""Fill holes of a picture from their surroundings, without an edge where they begin.

Pull-push (Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4): the known pixels are
averaged to coarser and coarser pictures, and the holes are filled from coarse to fine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime.video import import_cv2

__all__ = ["fill_smoothly"]

Float = NDArray[np.float32]


def fill_smoothly(
    colours: Float,
    known: NDArray[np.bool_],
    *,
    grain: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Float:
    """Return a picture (H, W, 3) whose unknown pixels are filled.

    Args:
        colours: (H, W, 3).
        known: (H, W).
        grain: Coarse unevenness that is added to what is filled, as on cloth or wood.
        rng: Of the grain.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = import_cv2()
    if not known.any():
        return colours.copy()
    levels: list[tuple[Float, Float]] = []
    weight = known.astype(np.float32)
    value = colours * weight[..., None]
    while min(value.shape[:2]) > 1:
        levels.append((value, weight))
        size = ((value.shape[1] + 1) // 2, (value.shape[0] + 1) // 2)
        value = cv2.resize(value, size, interpolation=cv2.INTER_AREA)
        weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
        # One known pixel of four is enough to know the coarser one.
        strength = np.minimum(1, 4 * weight)
        value = value * (strength / np.maximum(weight, 1e-6))[..., None]
        weight = strength
    filled = value / np.maximum(weight, 1e-6)[..., None]
    for value, weight in reversed(levels):
        size = (value.shape[1], value.shape[0])
        filled = cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR)
        filled = value + (1 - weight)[..., None] * filled
    if grain and rng is not None:
        height, width = known.shape
        rough = rng.normal(0, grain, (height // 3 + 1, width // 3 + 1)).astype(np.float32)
        rough = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
        filled = np.where(known[..., None], filled, filled + 2 * rough[..., None])
    return np.asarray(np.clip(filled, 0, 255), np.float32)
