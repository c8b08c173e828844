"""Lorentz model of hyperbolic space, in torch.

The functions, names, conventions and reach of ``edgesafe.runtime.lorentz`` (read its docstring
first), with gradients with respect to the points and to the curvature. Every gradient is finite:

* at the root and at equal points, where the distance has a kink, the subgradient is 0;
* on the ray through the apex, where the exterior angle has a kink, its slope across the ray is 0;
* where the half aperture is saturated its gradient is 0. Just outside, the true slope grows as
  the inverse root of the gap; it is followed up to the last representable number (2900 in
  float32). ``paper_eps=True`` bounds it as the released code does.

Half precision is promoted to float32, and no function of autocast's lower-precision list is used
on float32 numbers, so the geometry stays in float32 inside an autocast region too.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor

Curvature: TypeAlias = "float | Tensor"

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
# exp_map0 saturates this far (in the exponent) below the largest number of the type.
EXPONENT_MARGIN = 8.0


def exp_map0(u: Tensor, c: Curvature) -> Tensor:
    """Exponential map at the root: tangent vector to point.

    ``x = sinh(sqrt(c)|u|) / (sqrt(c)|u|) * u``; saturates above ``sqrt(c)|u|`` of 80.7 in float32
    (701.8 in float64).

    Args:
        u: tangent vectors at the root, shape ``(..., d)``.
        c: curvature, positive; a number or a tensor of no dimension.

    Returns:
        Space parts, shape ``(..., d)``.

    Raises:
        ValueError: ``c`` is a number but not positive and finite.

    Source: MERU, equation 6.
    """
    (u,), c = _prepare(c, u)
    r = c.sqrt() * _norm(u)
    small = r < _series_radius(r)
    wide = torch.where(small, 1, r)
    limit = math.log(torch.finfo(r.dtype).max) - EXPONENT_MARGIN
    near = torch.where(small, r, 0)
    factor = torch.where(small, 1 + near * near / 6, wide.clamp(max=limit).sinh() / wide)
    return factor * u


def log_map0(x: Tensor, c: Curvature) -> Tensor:
    """Logarithmic map at the root: point to tangent vector, the inverse of :func:`exp_map0`.

    Args:
        x: space parts, shape ``(..., d)``.
        c: curvature, positive; a number or a tensor of no dimension.

    Returns:
        Tangent vectors at the root, shape ``(..., d)``.

    Raises:
        ValueError: ``c`` is a number but not positive and finite.

    Source: MERU, equation 7.
    """
    (x,), c = _prepare(c, x)
    r = c.sqrt() * _norm(x)
    small = r < _series_radius(r)
    wide = torch.where(small, 1, r)
    near = torch.where(small, r, 0)
    return torch.where(small, 1 - near * near / 6, wide.asinh() / wide) * x


def inner(x: Tensor, y: Tensor, c: Curvature) -> Tensor:
    """Lorentzian inner product ``x.y - x_t y_t``, at most ``-1/c``.

    Args:
        x: space parts, shape ``(..., d)``.
        y: space parts, shape ``(..., d)``; broadcasts against ``x``.
        c: curvature, positive; a number or a tensor of no dimension.

    Returns:
        Inner products, shape ``(...)``.

    Raises:
        ValueError: ``c`` is a number but not positive and finite.

    Source: MERU, equation 1.
    """
    (x, y), c = _prepare(c, x, y)
    chord = _chord(x, y, c)
    return -1 / c - chord * chord / 2


def distance(x: Tensor, y: Tensor, c: Curvature) -> Tensor:
    """Geodesic distance of each ``x`` from its ``y``.

    Args:
        x: space parts, shape ``(..., d)``.
        y: space parts, shape ``(..., d)``; broadcasts against ``x``.
        c: curvature, positive; a number or a tensor of no dimension.

    Returns:
        Distances, shape ``(...)``; exactly 0, with gradient 0, for equal points.

    Raises:
        ValueError: ``c`` is a number but not positive and finite.

    Source: MERU, equation 4.
    """
    (x, y), c = _prepare(c, x, y)
    s = c.sqrt()
    return 2 * (s * _chord(x, y, c) / 2).asinh() / s


def pairwise_distance(X: Tensor, Y: Tensor, c: Curvature) -> Tensor:
    """Geodesic distance of every row of ``X`` from every row of ``Y``.

    float32 (and half) rows go through one matrix product in float64, memory ``N * M``: exact to
    float32 rounding for pairs further apart than ``1e-6 * |x|``, never off by more than
    ``1e-7 * |x|``; TF32 and autocast do not touch it. float64 rows take the form of
    :func:`distance`, memory ``N * M * d``.

    Args:
        X: space parts, shape ``(..., N, d)``.
        Y: space parts, shape ``(..., M, d)``.
        c: curvature, positive; a number or a tensor of no dimension.

    Returns:
        Distances, shape ``(..., N, M)``.

    Raises:
        ValueError: ``c`` is a number but not positive and finite.
    """
    (X, Y), c = _prepare(c, X, Y)
    if X.dtype == torch.float64:
        return distance(X.unsqueeze(-2), Y.unsqueeze(-3), c)
    wide_x, wide_y, k = X.double(), Y.double(), c.double()
    xx = wide_x.square().sum(-1).unsqueeze(-1)
    yy = wide_y.square().sum(-1).unsqueeze(-2)
    gap = (xx - yy) / ((1 / k + xx).sqrt() + (1 / k + yy).sqrt())
    q = xx + yy - 2 * (wide_x @ wide_y.transpose(-1, -2)) - gap * gap
    apart = q > 0
    chord = torch.where(apart, torch.where(apart, q, 1).sqrt(), 0)
    return (2 * (k.sqrt() * chord / 2).asinh() / k.sqrt()).to(X.dtype)


def root_distance(x: Tensor, c: Curvature) -> Tensor:
    """Geodesic distance of each point from the root, ``asinh(sqrt(c)|x|) / sqrt(c)``.

    Args:
        x: space parts, shape ``(..., d)``.
        c: curvature, positive; a number or a tensor of no dimension.

    Returns:
        Distances, shape ``(...)``; gradient 0 at the root itself.

    Raises:
        ValueError: ``c`` is a number but not positive and finite.
    """
    (x,), c = _prepare(c, x)
    s = c.sqrt()
    return ((s * _norm(x)).asinh() / s).squeeze(-1)


def half_aperture(
    x: Tensor, c: Curvature, min_radius: float = 0.1, *, paper_eps: bool = False
) -> Tensor:
    """Half aperture of the entailment cone whose apex is ``x``.

    ``asin(min(1, 2 K / (sqrt(c)|x|)))`` with ``K = min_radius``.

    Args:
        x: space parts of the apexes, shape ``(..., d)``.
        c: curvature, positive; a number or a tensor of no dimension.
        min_radius: the constant ``K`` of the cones.
        paper_eps: the value and the bounded slope of the released HySAC code, which shifts the
            denominator and clips the argument by 1e-5.

    Returns:
        Angles in radians, in (0, pi/2], shape ``(...)``.

    Raises:
        ValueError: ``c`` is a number but not positive and finite.

    Source: MERU, equation 10 (after Le et al. 2019).
    """
    (x,), c = _prepare(c, x)
    r = (c.sqrt() * _norm(x)).squeeze(-1)
    if paper_eps:
        return (2 * min_radius / (r + PAPER_EPS)).clamp(PAPER_EPS - 1, 1 - PAPER_EPS).asin()
    inside = r <= 2 * min_radius
    sine = 2 * min_radius / torch.where(inside, 1, r)
    # The quotient can round to 1 although r is larger: asin has no finite slope there.
    saturated = inside | (sine >= 1)
    return torch.where(saturated, math.pi / 2, torch.where(saturated, 0, sine).asin())


def exterior_angle(x: Tensor, y: Tensor, c: Curvature, *, paper_eps: bool = False) -> Tensor:
    """Exterior angle at apex ``x`` of the triangle root, ``x``, ``y``.

    0 where ``y`` continues the ray from the root through ``x``, pi where it lies back towards the
    root. Equal points give 0, an apex at the root gives pi/2, both with gradient 0 or finite.

    Args:
        x: space parts of the apexes, shape ``(..., d)``.
        y: space parts, shape ``(..., d)``; broadcasts against ``x``.
        c: curvature, positive; a number or a tensor of no dimension.
        paper_eps: the value of the released HySAC code, shifted by its 1e-5 offsets.

    Returns:
        Angles in radians, in [0, pi], shape ``(...)``.

    Raises:
        ValueError: ``c`` is a number but not positive and finite.

    Source: MERU, equation 12.
    """
    (x, y), c = _prepare(c, x, y)
    s = c.sqrt()
    if paper_eps:
        k = c * (_dot(x, y) - _time(x, s) * _time(y, s))
        length = (k * k - 1).clamp(min=PAPER_EPS).sqrt()
        cosine = (_time(y, s) + k * _time(x, s)) / (_norm(x) * length + PAPER_EPS)
        return cosine.clamp(PAPER_EPS - 1, 1 - PAPER_EPS).acos().squeeze(-1)
    axis, n = _split(x)
    step = y - x
    # The part across the axis is taken from the shorter of y - x and y: its rounding error is in
    # proportion to the length of the vector that is projected.
    near = _norm(step.detach()) < _norm(y.detach())
    base = torch.where(near, step, y)
    along = _dot(base, axis)
    across = _norm(base - along * axis)
    radial = torch.where(near, n + along, along)
    ahead = radial > 0
    sums = torch.where(ahead, _time(x, s) * radial + n * _time(y, s), 1)
    gain = torch.where(near, along, along - n) * ((radial + n) / sums) / c
    loss = n * across * (n * across / sums)
    forward = s * torch.where(ahead, gain - loss, _time(x, s) * radial - n * _time(y, s))
    # atan2 divides by across^2 + forward^2 in its gradient: bring the larger of the two to 1, and
    # put the undefined angle of two zeros at 0.
    size = torch.maximum(across.detach().abs(), forward.detach().abs())
    none = size == 0
    size = torch.where(none, 1, size)
    return torch.atan2(across / size, torch.where(none, 1, forward / size)).squeeze(-1)


def entails(x: Tensor, y: Tensor, c: Curvature, min_radius: float = 0.1) -> Tensor:
    """Whether ``y`` lies in the entailment cone of ``x``.

    Args:
        x: space parts of the apexes, shape ``(..., d)``.
        y: space parts, shape ``(..., d)``; broadcasts against ``x``.
        c: curvature, positive; a number or a tensor of no dimension.
        min_radius: the constant ``K`` of the cones.

    Returns:
        ``exterior_angle(x, y) <= half_aperture(x)`` as booleans, shape ``(...)``; False for NaN.

    Raises:
        ValueError: ``c`` is a number but not positive and finite.
    """
    return exterior_angle(x, y, c) <= half_aperture(x, c, min_radius)


def _prepare(c: Curvature, *tensors: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Brings the arguments to one float type of at least single precision, and checks ``c``.

    The value of a curvature that is a tensor is not read: that would wait for the device.
    """
    kind = torch.float32
    for tensor in tensors:
        kind = torch.promote_types(kind, tensor.dtype)
    if not isinstance(c, Tensor):
        if not (math.isfinite(c) and c > 0):
            raise ValueError(f"the curvature c must be one positive finite number, not {c!r}")
        c = torch.tensor(c, dtype=kind, device=tensors[0].device)
    return tuple(tensor.to(kind) for tensor in tensors), c.to(kind)


def _series_radius(r: Tensor) -> float:
    """Below this the two-term series of sinh(r)/r and asinh(r)/r are exact to rounding."""
    return math.sqrt(math.sqrt(torch.finfo(r.dtype).eps))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def _norm(v: Tensor) -> Tensor:
    """Euclidean norm over the last axis (kept), scaled so that no square leaves the range.

    The norm is homogeneous, so the scale may be a constant to the gradient; torch gives the
    subgradient 0 at the zero vector.
    """
    scale = v.detach().abs().amax(-1, keepdim=True)
    scale = torch.where(scale > 0, scale, 1)
    unit: Tensor = torch.linalg.vector_norm(v / scale, dim=-1, keepdim=True)
    return scale * unit


def _split(v: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vector (zero for a zero vector) and norm."""
    n = _norm(v)
    return v / torch.where(n > 0, n, 1), n


def _time(x: Tensor, root_c: Tensor) -> Tensor:
    return torch.hypot(1 / root_c, _norm(x))


def _chord(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
    """``sqrt(|x - y|^2 - (x_t - y_t)^2)`` as a sum of squares, shape ``(...)``.

    See ``edgesafe.runtime.lorentz._chord``; equal points give 0 with gradient 0.
    """
    s = c.sqrt()
    m = x - y
    axis, _ = _split(x + y)
    mu = _dot(m, axis)
    rho = _norm(m - mu * axis)
    tau = _time(x, s) + _time(y, s)
    k = mu / tau
    fall = ((1 - k) * (1 + k)).clamp(min=torch.finfo(m.dtype).eps)
    slant = 2 * k / s
    equal = (rho == 0) & (slant == 0)
    length = torch.hypot(torch.where(equal, 1, rho), torch.where(equal, 0, slant))
    return (torch.where(equal, 0, length) / fall.sqrt()).squeeze(-1)
