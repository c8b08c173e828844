"""The motions of an object that nobody can see.

BOP describes them in ``models_info.json``: ``symmetries_discrete`` are rigid motions of the object
onto itself (the identity is not listed); ``symmetries_continuous`` are axes about which any turn
is one. Metrics and losses need a finite set: a continuous symmetry becomes equal turns, so many
that a point of the surface moves at most ``max_step`` of the diameter from one to the next, and the
set is every turn after every discrete motion (Hodan et al., "BOP Challenge 2020 on 6D Object
Localization", ECCVW 2020, section 2.2; there ``max_step`` is 0.01).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.manifest_pose import ContinuousSymmetry

__all__ = ["Axis", "ContinuousSymmetry", "axis_and_offset", "rigid", "symmetry_transforms", "turn"]

Array: TypeAlias = NDArray[np.float64]
Axis: TypeAlias = "ContinuousSymmetry | Mapping[str, Any]"
"""A continuous symmetry, or its form in JSON with the keys ``axis`` and ``offset``."""


def symmetry_transforms(
    discrete: ArrayLike, continuous: Sequence[Axis] = (), max_step: float = 0.01
) -> Array:
    """Return all symmetries of an object, (S, 4, 4), the identity first.

    Args:
        discrete: (n, 4, 4) T_obj_obj, without the identity.
        continuous: Axes of symmetry. Of several, turns about one of them at a time are taken, as
            in BOP.
        max_step: Largest step of a surface point between two turns, as a share of the diameter.

    Raises:
        UsageError: ``max_step`` is not positive.
    """
    if not max_step > 0:
        raise UsageError(f"max_step is {max_step}: it must be positive")
    found = np.concatenate([np.eye(4)[None], np.asarray(discrete, np.float64).reshape(-1, 4, 4)])
    if not continuous:
        return found
    # A point at most half a diameter from the axis runs a circle of at most pi diameters.
    count = math.ceil(math.pi / max_step)
    angles = 2 * math.pi / count * np.arange(count)
    turns = np.concatenate([_turns_about(symmetry, angles) for symmetry in continuous])
    return np.asarray((turns[None] @ found[:, None]).reshape(-1, 4, 4))


def axis_and_offset(symmetry: Axis) -> tuple[Array, Array]:
    """Return the unit axis (3,) and a point (3,) on it, mm."""
    if isinstance(symmetry, ContinuousSymmetry):
        axis, offset = symmetry.axis, symmetry.offset
    else:
        axis, offset = symmetry["axis"], symmetry["offset"]
    axis = np.asarray(axis, np.float64).reshape(3)
    return axis / np.linalg.norm(axis), np.asarray(offset, np.float64).reshape(3)


def turn(axis: ArrayLike, angles: ArrayLike) -> Array:
    """Return rotations (n, 3, 3) about a unit axis (3,) by angles (n,) in radians (Rodrigues)."""
    x, y, z = np.asarray(axis, np.float64)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angles = np.asarray(angles, np.float64).reshape(-1, 1, 1)
    return np.asarray(np.eye(3) + np.sin(angles) * cross + (1 - np.cos(angles)) * (cross @ cross))


def rigid(R: ArrayLike, t: ArrayLike) -> Array:
    """Return the 4 x 4 matrices (n, 4, 4) of rotations (n, 3, 3) and translations (n, 3)."""
    R, t = np.asarray(R, np.float64), np.asarray(t, np.float64)
    found = np.zeros((len(R), 4, 4))
    found[:, :3, :3], found[:, :3, 3], found[:, 3, 3] = R, t, 1
    return found


def _turns_about(symmetry: Axis, angles: ArrayLike) -> Array:
    axis, offset = axis_and_offset(symmetry)
    R = turn(axis, angles)
    return rigid(R, offset - R @ offset)
