"""Lorentz model of hyperbolic space, in numpy.

A point of the hyperboloid of curvature ``-c`` is held by its space part ``x`` of shape
``(..., d)``; its time part ``x_t = sqrt(1/c + |x|^2)`` is always recomputed. The root of the
hyperboloid is ``x = 0``. ``edgesafe.train.lorentz`` holds the same functions for torch.

Conventions, for every function here:

* ``c > 0`` is a number or an array of no dimension; the curvature of the space is ``-c``.
* Leading dimensions broadcast. The result has the wider float type of the arguments; half
  precision is computed in float32, integers in float64.
* Values are exact up to rounding: no epsilon is added anywhere, and no term is the difference of
  two nearly equal ones. Lengths are formed without squaring large or tiny numbers.
* A coordinate that is not finite gives NaN, without a warning: the caller decides what that means.

Reach: space parts of norm 0 to 1e18, any ``c`` in 0.1 to 10. The space part of a point grows as
``sinh(sqrt(c) r)`` with its distance ``r`` from the root, so float32 can hold points up to
``sqrt(c) r = 80`` (float64: 700) but resolves the *place* of a point only to about
``eps * sqrt(c) * |x|``: distances and angles between points lose their meaning above
``sqrt(c) r`` of about 9 (float64: 18).

Source: Desai et al., "Hyperbolic Image-Text Representations" (MERU, ICML 2023), equations 1 to 8;
Poppi et al., "Hyperbolic Safety-Aware Vision-Language Models" (HySAC, CVPR 2025). The forms are
re-derived here so that they do not cancel; each function says how.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Curvature: TypeAlias = "float | Array"

__all__ = [
    "distance",
    "entails",
    "exp_map0",
    "exterior_angle",
    "half_aperture",
    "inner",
    "log_map0",
    "pairwise_distance",
    "root_distance",
]

# The offset that the released HySAC code adds in half_aperture and in the exterior angle.
PAPER_EPS = 1e-5
# exp_map0 saturates this far (in the exponent) below the largest number of the type, so that a
# norm, a time part or a sum over the coordinates of its result cannot overflow.
EXPONENT_MARGIN = 8.0


@np.errstate(invalid="ignore")
def exp_map0(u: Array, c: Curvature) -> Array:
    """Exponential map at the root: tangent vector to point.

    ``x = sinh(sqrt(c)|u|) / (sqrt(c)|u|) * u``; the point lies at geodesic distance ``|u|`` from
    the root. Above ``sqrt(c)|u|`` of 80.7 in float32 (701.8 in float64) the hyperbolic sine
    saturates: the direction stays right and the point stays finite.

    Args:
        u: tangent vectors at the root, shape ``(..., d)``.
        c: curvature, positive.

    Returns:
        Space parts, shape ``(..., d)``.

    Raises:
        ValueError: ``c`` is not a positive finite number.

    Source: MERU, equation 6.
    """
    (u,), c = _prepare(c, u)
    r = np.sqrt(c) * _norm(u)
    small = r < _series_radius(r)
    wide = np.where(small, 1, r)
    limit = np.asarray(np.log(np.finfo(r.dtype).max) - EXPONENT_MARGIN, r.dtype)
    near = np.where(small, r, 0)
    factor = np.where(small, 1 + near * near / 6, np.sinh(np.minimum(wide, limit)) / wide)
    return _typed(factor * u, u)


@np.errstate(invalid="ignore")
def log_map0(x: Array, c: Curvature) -> Array:
    """Logarithmic map at the root: point to tangent vector, the inverse of :func:`exp_map0`.

    ``u = asinh(sqrt(c)|x|) / (sqrt(c)|x|) * x``; asinh of the space part replaces the usual acosh
    of the time part, which loses everything near the root.

    Args:
        x: space parts, shape ``(..., d)``.
        c: curvature, positive.

    Returns:
        Tangent vectors at the root, shape ``(..., d)``.

    Raises:
        ValueError: ``c`` is not a positive finite number.

    Source: MERU, equation 7.
    """
    (x,), c = _prepare(c, x)
    r = np.sqrt(c) * _norm(x)
    small = r < _series_radius(r)
    wide = np.where(small, 1, r)
    near = np.where(small, r, 0)
    factor = np.where(small, 1 - near * near / 6, np.arcsinh(wide) / wide)
    return _typed(factor * x, x)


@np.errstate(invalid="ignore")
def inner(x: Array, y: Array, c: Curvature) -> Array:
    """Lorentzian inner product ``x.y - x_t y_t``, at most ``-1/c``.

    Computed as ``-1/c - q/2`` with ``q`` the squared chord of :func:`distance`: two summands of
    one sign, where the definition subtracts large numbers for points far from the root.

    Args:
        x: space parts, shape ``(..., d)``.
        y: space parts, shape ``(..., d)``; broadcasts against ``x``.
        c: curvature, positive.

    Returns:
        Inner products, shape ``(...)``.

    Raises:
        ValueError: ``c`` is not a positive finite number.

    Source: MERU, equation 1.
    """
    (x, y), c = _prepare(c, x, y)
    chord = _chord(x, y, c)
    return _typed(-1 / c - chord * chord / 2, x)


@np.errstate(invalid="ignore")
def distance(x: Array, y: Array, c: Curvature) -> Array:
    """Geodesic distance of each ``x`` from its ``y``.

    ``2 asinh(sqrt(c q) / 2) / sqrt(c)`` with the squared chord
    ``q = |x - y|^2 - (x_t - y_t)^2``. Equal to ``acosh(-c <x, y>_L) / sqrt(c)``, which in float32
    is wrong by half its value at a separation of 1e-3.

    Args:
        x: space parts, shape ``(..., d)``.
        y: space parts, shape ``(..., d)``; broadcasts against ``x``.
        c: curvature, positive.

    Returns:
        Distances, shape ``(...)``; exactly 0 for equal points.

    Raises:
        ValueError: ``c`` is not a positive finite number.

    Source: MERU, equation 4.
    """
    (x, y), c = _prepare(c, x, y)
    s = np.sqrt(c)
    return _typed(2 * np.arcsinh(s * _chord(x, y, c) / 2) / s, x)


@np.errstate(invalid="ignore")
def pairwise_distance(X: Array, Y: Array, c: Curvature) -> Array:
    """Geodesic distance of every row of ``X`` from every row of ``Y``.

    float32 (and half) rows go through one matrix product in float64, memory ``N * M``: exact to
    float32 rounding for pairs further apart than ``1e-6 * |x|``, never off by more than
    ``1e-7 * |x|``. float64 rows take the form of :func:`distance`, memory ``N * M * d``.

    Args:
        X: space parts, shape ``(..., N, d)``.
        Y: space parts, shape ``(..., M, d)``.
        c: curvature, positive.

    Returns:
        Distances, shape ``(..., N, M)``.

    Raises:
        ValueError: ``c`` is not a positive finite number.
    """
    (X, Y), c = _prepare(c, X, Y)
    if X.dtype == np.float64:
        return distance(X[..., :, None, :], Y[..., None, :, :], c)
    wide_x, wide_y = X.astype(np.float64), Y.astype(np.float64)
    k = np.float64(c)
    xx = np.sum(wide_x * wide_x, axis=-1)[..., :, None]
    yy = np.sum(wide_y * wide_y, axis=-1)[..., None, :]
    gap = (xx - yy) / (np.sqrt(1 / k + xx) + np.sqrt(1 / k + yy))
    q = np.maximum(xx + yy - 2 * (wide_x @ np.swapaxes(wide_y, -1, -2)) - gap * gap, 0)
    return _typed(2 * np.arcsinh(np.sqrt(k * q) / 2) / np.sqrt(k), X)


@np.errstate(invalid="ignore")
def root_distance(x: Array, c: Curvature) -> Array:
    """Geodesic distance of each point from the root, ``asinh(sqrt(c)|x|) / sqrt(c)``.

    This is the radius on which HySAC orders safe and unsafe content.

    Args:
        x: space parts, shape ``(..., d)``.
        c: curvature, positive.

    Returns:
        Distances, shape ``(...)``.

    Raises:
        ValueError: ``c`` is not a positive finite number.
    """
    (x,), c = _prepare(c, x)
    s = np.sqrt(c)
    return _typed((np.arcsinh(s * _norm(x)) / s)[..., 0], x)


@np.errstate(invalid="ignore", divide="ignore")
def half_aperture(
    x: Array, c: Curvature, min_radius: float = 0.1, *, paper_eps: bool = False
) -> Array:
    """Half aperture of the entailment cone whose apex is ``x``.

    ``asin(min(1, 2 K / (sqrt(c)|x|)))`` with ``K = min_radius``; it is pi/2 from the root out to
    ``|x| = 2 K / sqrt(c)``.

    Args:
        x: space parts of the apexes, shape ``(..., d)``.
        c: curvature, positive.
        min_radius: the constant ``K`` of the cones.
        paper_eps: the value of the released HySAC code, which shifts the denominator and clips
            the argument by 1e-5 and so saturates at 1.5663; for parity with its weights only.

    Returns:
        Angles in radians, in (0, pi/2], shape ``(...)``.

    Raises:
        ValueError: ``c`` is not a positive finite number.

    Source: MERU, equation 10 (after Le et al. 2019).
    """
    (x,), c = _prepare(c, x)
    r = (np.sqrt(c) * _norm(x))[..., 0]
    if paper_eps:
        sine = np.clip(2 * min_radius / (r + PAPER_EPS), PAPER_EPS - 1, 1 - PAPER_EPS)
    else:
        sine = np.minimum(2 * min_radius / r, 1)
    return _typed(np.arcsin(sine), x)


@np.errstate(invalid="ignore")
def exterior_angle(x: Array, y: Array, c: Curvature, *, paper_eps: bool = False) -> Array:
    """Exterior angle at apex ``x`` of the triangle root, ``x``, ``y``.

    0 where ``y`` continues the ray from the root through ``x``, pi where it lies back towards the
    root. ``y`` is in the cone of ``x`` where this is at most :func:`half_aperture` of ``x``.
    Equal points give 0, an apex at the root gives pi/2 (its aperture): both entail.

    With ``y`` split into ``y_r`` along ``x`` and ``T`` across it, the angle is ``atan2(T, R)``,
    ``R = sqrt(c) (x_t y_r - |x| y_t)``. For ``y_r > 0`` that difference is taken as
    ``((y_r^2 - |x|^2)/c - |x|^2 T^2) / (x_t y_r + |x| y_t)``, which does not cancel.

    Args:
        x: space parts of the apexes, shape ``(..., d)``.
        y: space parts, shape ``(..., d)``; broadcasts against ``x``.
        c: curvature, positive.
        paper_eps: the value of the released HySAC code, shifted by its 1e-5 offsets; for parity
            with its weights only.

    Returns:
        Angles in radians, in [0, pi], shape ``(...)``.

    Raises:
        ValueError: ``c`` is not a positive finite number.

    Source: MERU, equation 12.
    """
    (x, y), c = _prepare(c, x, y)
    s = np.sqrt(c)
    if paper_eps:
        k = c * (_dot(x, y) - _time(x, s) * _time(y, s))
        length = np.sqrt(np.maximum(k * k - 1, PAPER_EPS))
        cosine = (_time(y, s) + k * _time(x, s)) / (_norm(x) * length + PAPER_EPS)
        return _typed(np.arccos(np.clip(cosine, PAPER_EPS - 1, 1 - PAPER_EPS))[..., 0], x)
    axis, n = _split(x)
    step = y - x
    # The part across the axis is taken from the shorter of y - x and y: its rounding error is in
    # proportion to the length of the vector that is projected.
    near = _norm(step) < _norm(y)
    base = np.where(near, step, y)
    along = _dot(base, axis)
    across = _norm(base - along * axis)
    radial = np.where(near, n + along, along)
    ahead = radial > 0
    sums = _time(x, s) * radial + n * _time(y, s)
    sums = np.where(ahead, sums, 1)
    gain = np.where(near, along, along - n) * ((radial + n) / sums) / c
    loss = n * across * (n * across / sums)
    forward = s * np.where(ahead, gain - loss, _time(x, s) * radial - n * _time(y, s))
    return _typed(np.arctan2(across, forward)[..., 0], x)


def entails(x: Array, y: Array, c: Curvature, min_radius: float = 0.1) -> NDArray[np.bool_]:
    """Whether ``y`` lies in the entailment cone of ``x``.

    Args:
        x: space parts of the apexes, shape ``(..., d)``.
        y: space parts, shape ``(..., d)``; broadcasts against ``x``.
        c: curvature, positive.
        min_radius: the constant ``K`` of the cones.

    Returns:
        ``exterior_angle(x, y) <= half_aperture(x)``, shape ``(...)``; False where either is NaN.

    Raises:
        ValueError: ``c`` is not a positive finite number.
    """
    inside = exterior_angle(x, y, c) <= half_aperture(x, c, min_radius)
    return cast("NDArray[np.bool_]", np.asarray(inside))


def _prepare(c: Curvature, *arrays: Array) -> tuple[tuple[Array, ...], Array]:
    """Brings the arguments to one float type of at least single precision, and checks ``c``."""
    arrays = tuple(np.asarray(a) for a in arrays)
    kind = np.result_type(*arrays, np.float32)
    curvature = np.asarray(c, dtype=kind)
    if curvature.ndim or not (np.isfinite(curvature) and curvature > 0):
        raise ValueError(f"the curvature c must be one positive finite number, not {c!r}")
    return tuple(a.astype(kind, copy=False) for a in arrays), curvature


def _typed(value: Array, like: Array) -> Array:
    return np.asarray(value, dtype=like.dtype)


def _series_radius(r: Array) -> float:
    """Below this the two-term series of sinh(r)/r and asinh(r)/r are exact to rounding."""
    return math.sqrt(math.sqrt(np.finfo(r.dtype).eps))


def _dot(a: Array, b: Array) -> Array:
    return cast("Array", np.sum(a * b, axis=-1, keepdims=True))


def _norm(v: Array) -> Array:
    """Euclidean norm over the last axis (kept), scaled so that no square leaves the range."""
    scale = np.max(np.abs(v), axis=-1, keepdims=True)
    scale = np.where(scale > 0, scale, 1)
    unit = v / scale
    return scale * np.sqrt(_dot(unit, unit))


def _split(v: Array) -> tuple[Array, Array]:
    """Unit vector (zero for a zero vector) and norm."""
    n = _norm(v)
    return v / np.where(n > 0, n, 1), n


def _time(x: Array, root_c: Array) -> Array:
    return cast("Array", np.hypot(1 / root_c, _norm(x)))


def _chord(x: Array, y: Array, c: Array) -> Array:
    """``sqrt(|x - y|^2 - (x_t - y_t)^2)`` as a sum of squares, shape ``(...)``.

    With ``m = x - y`` split along ``x + y`` into ``mu`` and across it into ``rho``, and
    ``tau = x_t + y_t``: ``q = (rho^2 + 4 mu^2 / (c tau^2)) / (1 - mu^2 / tau^2)``. (From
    ``x_t - y_t = mu |x + y| / tau`` and ``tau^2 - |x + y|^2 = 4/c + q``.)
    """
    s = np.sqrt(c)
    m = x - y
    axis, _ = _split(x + y)
    mu = _dot(m, axis)
    rho = _norm(m - mu * axis)
    tau = _time(x, s) + _time(y, s)
    k = mu / tau
    fall = np.maximum((1 - k) * (1 + k), np.finfo(m.dtype).eps)
    return cast("Array", (np.hypot(rho, 2 * k / s) / np.sqrt(fall))[..., 0])
