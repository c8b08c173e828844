"""What an object's outline looks like from all sides: made once, looked up on the device.

A view is a closed outline of the object, as points on its surface, so that it can be turned,
shifted and projected without a mesh (the sparse viewpoint model of Stoiber et al., "SRT3D: A Sparse
Region-Based 3D Object Tracking Approach for the Real World", 2022). The file is a NumPy array,
float16 (V, P, 4): x, y, z in millimetres in the object's frame, counted from the middle of its
box, and which loop of the view a point belongs to. Loop 0 comes first, the loops of a view follow
one another, and their points go round so that the object lies to the right as the camera sees it
(y down): the outline clockwise, holes against it. View i is seen from direction i of
:func:`view_directions`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import PackageError

__all__ = ["Silhouettes", "pack_silhouettes", "parse_silhouettes", "view_directions"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

_VIEWS = (32, 4096)
_POINTS = (24, 512)
_MOST_LOOPS = 16
_LEAST_IN_LOOP = 3
_MAGIC = b"\x93NUMPY\x01\x00"


@dataclass(frozen=True, eq=False)
class Silhouettes:
    """The outlines of one object.

    Attributes:
        points: (V, P, 3) on the surface, millimetres.
        loops: (V, P) which loop of its view a point belongs to.
        after: (V, P) which point comes after each in its loop.
        before: (V, P) which point comes before it.
        directions: (V, 3) from where each view is seen.
        centre: (3,) that the views are seen around, millimetres.
    """

    points: Array
    loops: Index
    after: Index
    before: Index
    directions: Array
    centre: Array

    def nearest(self, R: Array, t: Array) -> int:
        """Return the view that is most like that of a pose."""
        return int((self.directions @ (-(R.T @ t) - self.centre)).argmax())


def view_directions(count: int) -> Array:
    """Return ``count`` directions (count, 3), evenly spread (Fibonacci's lattice on the sphere)."""
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    angle = np.pi * (3 - 5**0.5) * index
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def pack_silhouettes(views: npt.NDArray[np.float16]) -> bytes:
    """Return the content of a file; see the module."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(views, "<f2"), (1, 0), allow_pickle=False)
    return file.getvalue()


def parse_silhouettes(data: bytes, where: str, centre: Array) -> Silhouettes:
    """Read a file.

    Args:
        data: Its content.
        where: What to call it in messages.
        centre: (3,) of the object's box, millimetres.

    Raises:
        PackageError: It is no such file.
    """
    found = _array(data, where)
    count, points, _ = found.shape
    if not (_VIEWS[0] <= count <= _VIEWS[1] and _POINTS[0] <= points <= _POINTS[1]):
        raise PackageError(
            f"{where} has {count} views of {points} points; {_VIEWS[0]} to {_VIEWS[1]} views of "
            f"{_POINTS[0]} to {_POINTS[1]} points are allowed"
        )
    views = found.astype(np.float64)
    steps = np.diff(views[:, :, 3], axis=1)
    begins = np.column_stack([np.ones(count, bool), steps > 0])
    ends = np.column_stack([steps > 0, np.ones(count, bool)])
    counted = (views[:, 0, 3] == 0).all() and np.isin(steps, (0, 1)).all()
    if not (np.isfinite(views).all() and counted):
        raise PackageError(f"{where}: the points must be finite and their loops counted from 0")
    place = np.broadcast_to(np.arange(points), begins.shape)
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, place, points)[:, ::-1], axis=1)[:, ::-1]
    loops = views[:, :, 3].astype(np.intp)
    if loops.max() >= _MOST_LOOPS or (last - first).min() + 1 < _LEAST_IN_LOOP:
        raise PackageError(
            f"{where}: a view must have 1 to {_MOST_LOOPS} loops of {_LEAST_IN_LOOP} points or more"
        )
    return Silhouettes(
        views[:, :, :3] + centre,
        loops,
        np.where(ends, first, place + 1),
        np.where(begins, last, place - 1),
        view_directions(count),
        np.asarray(centre),
    )


def _array(data: bytes, where: str) -> npt.NDArray[np.float16]:
    """Read the one kind of .npy file that is wanted; anything else is not even looked at."""
    wrong = f"{where} is no float16 array (views, points, 4) of NumPy; fetch the package again"
    if not data.startswith(_MAGIC):
        raise PackageError(wrong)
    try:
        found = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # NumPy's reader of headers raises a dozen kinds
        raise PackageError(f"{wrong} ({type(error).__name__})") from None
    if found.dtype != np.dtype("<f2") or found.ndim != 3 or found.shape[2] != 4:
        raise PackageError(wrong)
    return np.asarray(found)
