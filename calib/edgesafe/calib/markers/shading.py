"""How light falls on a flat thing of one colour: a quadratic in the place in the frame, per colour.

Fitted by iteratively reweighted least squares with Huber's weights (Huber, "Robust Estimation of a
Location Parameter", Annals of Mathematical Statistics 35, 1964), so that reflections, shadows and
what stands on the board do not bend it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit_shading"]

Float = NDArray[np.float32]

_ROUNDS = 8
_HUBER = 1.5
_MOST = 4000
_TERMS = 6


def fit_shading(colours: Float, where: NDArray[np.bool_], missing: float) -> Float:
    """Return the fitted colour of every pixel, (h, w, 3).

    Args:
        colours: (h, w, 3) of a frame or a part of it, 0..255.
        where: (h, w) the pixels of the thing.
        missing: Taken where there are too few of them.
    """
    h, w = where.shape
    row, column = np.nonzero(where)
    if len(row) < 4 * _TERMS:
        return np.full(colours.shape, missing, np.float32)
    step = max(1, len(row) // _MOST)
    row, column = row[::step], column[::step]
    X = _terms(row / h - 0.5, column / w - 0.5).astype(np.float64)
    grid = _terms(np.arange(h)[:, None] / h - 0.5, np.arange(w)[None] / w - 0.5)
    fitted = np.empty(colours.shape, np.float32)
    for channel in range(3):
        y = colours[row, column, channel].astype(np.float64)
        weights = np.ones(len(y))
        for _ in range(_ROUNDS):
            # A little weight on small coefficients: pixels in one corner tell nothing elsewhere.
            weighted = X * weights[:, None]
            normal = weighted.T @ X + np.diag([0, *[1e-3 * weights.sum()] * (_TERMS - 1)])
            solution = np.linalg.solve(normal, weighted.T @ y)
            apart = np.abs(y - X @ solution)
            scale = 1.4826 * float(np.median(apart)) + 1
            weights = 1 / np.maximum(1, apart / (_HUBER * scale))
        fitted[..., channel] = grid @ solution.astype(np.float32)
    return np.clip(fitted, 0, 255)


def _terms(v: NDArray[np.float64], u: NDArray[np.float64]) -> Float:
    """Return 1, u, v, u^2, uv, v^2 along a new last axis."""
    u, v = np.broadcast_arrays(u, v)
    return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1).astype(np.float32)
