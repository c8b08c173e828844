"""What training needs to know of an object: keypoints, hull, symmetries, points of its surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesafe.calib.bop.models_info import ModelInfo
from edgesafe.calib.bop.symmetries import axis_and_offset
from edgesafe.runtime.errors import CheckpointError, DataError

__all__ = ["MAX_HULL", "KnownObject", "farthest_points", "hull_points", "surface_points"]

MAX_HULL = 64
"""Points of the hull that goes into a package."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KnownObject:
    """An object that a network learns; millimetres, in the frame of its mesh.

    Attributes:
        id: Its number in the data set.
        name: For a person.
        diameter: Largest distance of two of its points.
        minimum: (3,) corner of its axis-aligned box.
        size: (3,) of that box.
        keypoints: (K, 3): the middle of the box, then points of the surface.
        hull: (N, 3), at most `MAX_HULL` points of the convex hull.
        symmetries_discrete: (n, 4, 4) without the identity.
        symmetries_continuous: ``axis`` and ``offset`` of each, as in BOP.
    """

    id: int
    name: str
    diameter: float
    minimum: Array = field(repr=False)
    size: Array = field(repr=False)
    keypoints: Array = field(repr=False)
    hull: Array = field(repr=False)
    symmetries_discrete: Array = field(repr=False)
    symmetries_continuous: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(
        cls, number: int, name: str, info: ModelInfo, surface: Array, keypoints: int
    ) -> KnownObject:
        """Describes an object.

        Args:
            number: Its id.
            name: For a person.
            info: What its data set says of it.
            surface: (N, 3) points of its surface.
            keypoints: K.
        """
        minimum = np.asarray(info.min, dtype=np.float64)
        size = np.asarray(info.size, dtype=np.float64)
        middle = minimum + size / 2
        return cls(
            id=number,
            name=name,
            diameter=float(info.diameter),
            minimum=minimum,
            size=size,
            keypoints=np.vstack([middle, farthest_points(surface, keypoints - 1, middle)]),
            hull=hull_points(surface),
            symmetries_discrete=np.asarray(info.symmetries_discrete).reshape(-1, 4, 4),
            symmetries_continuous=tuple(
                {"axis": _floats(axis), "offset": _floats(offset)}
                for axis, offset in map(axis_and_offset, info.symmetries_continuous)
            ),
        )

    @property
    def symmetric(self) -> bool:
        """Whether other poses look the same."""
        return len(self.symmetries_discrete) > 0 or len(self.symmetries_continuous) > 0

    def to_json(self) -> dict[str, Any]:
        """The form of the checkpoint and of the package's manifest."""
        return {
            "id": self.id,
            "name": self.name,
            "diameter": self.diameter,
            "extent": {"min": _floats(self.minimum), "size": _floats(self.size)},
            "keypoints": [_floats(row) for row in self.keypoints],
            "hull": [_floats(row) for row in self.hull],
            "symmetries_discrete": [_floats(m.reshape(-1)) for m in self.symmetries_discrete],
            "symmetries_continuous": [dict(s) for s in self.symmetries_continuous],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> KnownObject:
        """Reads what `to_json` wrote.

        Raises:
            CheckpointError: It is not such a description.
        """
        try:
            return cls(
                id=int(data["id"]),
                name=str(data["name"]),
                diameter=float(data["diameter"]),
                minimum=np.array(data["extent"]["min"], dtype=np.float64),
                size=np.array(data["extent"]["size"], dtype=np.float64),
                keypoints=np.array(data["keypoints"], dtype=np.float64).reshape(-1, 3),
                hull=np.array(data["hull"], dtype=np.float64).reshape(-1, 3),
                symmetries_discrete=np.array(data["symmetries_discrete"], dtype=np.float64).reshape(
                    -1, 4, 4
                ),
                symmetries_continuous=tuple(data["symmetries_continuous"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"an object of the checkpoint is broken ({error!r}).") from error


def surface_points(vertices: Array, faces: npt.NDArray[np.int64], least: int = 64) -> Array:
    """Points of a surface: its vertices and, where these are few, points on its triangles.

    Args:
        vertices: (N, 3).
        faces: (M, 3) indices.
        least: Wanted number; triangles are cut into four until there are as many.

    Raises:
        DataError: The mesh is empty or flat in two directions.
    """
    points = np.asarray(vertices, dtype=np.float64)
    if len(points) < 3 or np.linalg.matrix_rank(points - points.mean(axis=0)) < 2:
        raise DataError("the mesh has no surface; export it again, in millimetres.")
    triangles = points[np.asarray(faces, dtype=np.int64)]
    while 0 < len(triangles) and len(points) < least:
        a, b, c = triangles.transpose(1, 0, 2)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        corners = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        triangles = np.concatenate([np.stack(corner, axis=1) for corner in corners])
        points = np.unique(np.concatenate([points, ab, bc, ca]), axis=0)
    return points


def farthest_points(points: Array, count: int, start: Array) -> Array:
    """Chooses points that lie far apart, the same at every call (Eldar et al. 1997).

    Each next one is the farthest from all that were chosen, of which ``start`` (3,) is the first
    and does not count.
    """
    distance = np.linalg.norm(points - start, axis=1)
    chosen = []
    for _ in range(count):
        best = int(distance.argmax())
        chosen.append(points[best])
        distance = np.minimum(distance, np.linalg.norm(points - points[best], axis=1))
    return np.array(chosen).reshape(-1, 3)


def hull_points(points: Array, count: int = MAX_HULL) -> Array:
    """Points of the convex hull, at most ``count``: the extreme ones in evenly spread directions.

    The directions are those of a Fibonacci lattice on the sphere.
    """
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    turn = np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - z * z)
    directions = np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)
    return np.asarray(points[np.unique((points @ directions.T).argmax(axis=0))])


def _floats(values: Any) -> list[float]:
    return [float(value) for value in np.asarray(values).reshape(-1)]
