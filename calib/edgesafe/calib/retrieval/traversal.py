"""Redirection: a query that lies too far out is moved along its geodesic toward the root.

HySAC orders content in shells: the farther from the root, the less safe. A query is moved straight
toward the root until it reaches the shell of the safe content that it looks for; its direction,
and so what it is about, stays.

Two forms:

``exact``
    The query comes to lie at geodesic distance ``bound`` from the root, the bound being that of
    the package: ``q * sinh(sqrt(c) bound) / (sqrt(c) |q|)``.
``paper``
    What the code released with HySAC computes: the limit is ``bound + tanh((bound - 0.8) / c) + 1``
    and becomes the Euclidean norm of the space part. At the released model's ``c = 0.1`` and bounds
    near 0.54 the summand is 0.01 and the norm is half a percent more than the distance. At
    ``c = 1`` the summand is 0.7: no query is ever moved. For parity with published figures only.

Source: Poppi et al., "Hyperbolic Safety-Aware Vision-Language Models" (HySAC, CVPR 2025),
section "safety traversal", re-derived.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime import lorentz

__all__ = ["FORMS", "Form", "limit", "path_toward_root", "traverse"]

Form: TypeAlias = Literal["exact", "paper"]
FORMS: tuple[Form, ...] = ("exact", "paper")

Array: TypeAlias = NDArray[np.floating[Any]]

_ALPHA = 0.8  # the constant of the released code


def limit(bound: float, c: float, form: Form = "exact") -> float:
    """Distance from the root beyond which a query is moved.

    Args:
        bound: Of the class that is looked for, e.g. the 95 % quantile of safe images.
        c: Curvature, positive.
        form: See the module.
    """
    if form == "exact":
        return bound
    return bound + math.tanh((bound - _ALPHA) / c) + 1


def traverse(
    points: Array, tau: float, c: float, form: Form = "exact"
) -> tuple[Array, NDArray[np.bool_]]:
    """Move every point that lies beyond ``tau`` onto it; leave the others as they are.

    Args:
        points: Space parts, shape ``(..., d)``.
        tau: Where they may be at most, from :func:`limit`; not negative.
        c: Curvature, positive.
        form: ``exact`` ends at distance ``tau`` from the root, ``paper`` at Euclidean norm ``tau``.

    Returns:
        Space parts of the same shape and type, and which of them were moved, shape ``(...)``.

    Raises:
        ValueError: ``c`` is not a positive finite number, or ``tau`` is negative or not finite.
    """
    if not (math.isfinite(tau) and tau >= 0):
        raise ValueError(f"a point cannot be moved to the distance {tau!r} from the root")
    radius = lorentz.root_distance(points, c)
    moved = np.asarray(radius > tau)
    root_c = math.sqrt(c)
    end = math.sinh(root_c * tau) / root_c if form == "exact" else tau
    # A point beyond tau has a norm above zero.
    norm = np.where(moved, np.linalg.norm(points, axis=-1), 1)
    factor = np.where(moved, end / norm, 1)
    return np.asarray(points * factor[..., None], dtype=points.dtype), moved


def path_toward_root(point: Array, end: float, c: float, steps: int) -> Array:
    """Points on the geodesic from a point toward the root, equally far apart.

    Args:
        point: Space part, shape ``(d,)``.
        end: Distance from the root where the path ends.
        c: Curvature, positive.
        steps: How many; the point itself comes in addition.

    Returns:
        Space parts, shape ``(steps + 1, d)``, the point first.
    """
    start = float(lorentz.root_distance(point, c))
    if start <= 0:
        return np.repeat(point[None], steps + 1, axis=0)
    # On a ray from the root the tangent vector is in proportion to the distance.
    shares = np.linspace(1.0, end / start, steps + 1).astype(point.dtype)
    return lorentz.exp_map0(shares[:, None] * lorentz.log_map0(point, c), c)
