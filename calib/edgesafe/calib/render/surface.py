"""What is drawn: triangles with normals and a colour, prepared once and drawn often."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgesafe.runtime.mesh import Mesh

__all__ = ["Surface", "is_closed", "smooth_normals"]

_GREY = 170


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangle mesh ready to be drawn, in the object frame.

    Attributes:
        vertices: (V, 3) mm.
        faces: (F, 3) corners, counter-clockwise seen from outside.
        normals: (V, 3) unit length, outwards.
        colours: (V, 3) in 0..1, as a display shows them (not linear).
        closed: No border: from outside no back of a face can be seen.
        uv: (V, 2) texture coordinates in 0..1, v upwards, or None.
        texture: (h, w, 3) uint8 that replaces ``colours``, or None.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    normals: NDArray[np.float32]
    colours: NDArray[np.float32]
    closed: bool
    uv: NDArray[np.float32] | None = None
    texture: NDArray[np.uint8] | None = None

    @classmethod
    def from_mesh(cls, mesh: Mesh) -> Surface:
        """Prepare a mesh; one without colours is grey."""
        vertices = np.asarray(mesh.vertices, np.float64)
        faces = np.asarray(mesh.faces, np.int64)
        if mesh.normals is None or not np.isfinite(mesh.normals).all():
            normals = smooth_normals(vertices, faces)
        else:
            normals = mesh.normals.astype(np.float32)
        colours = mesh.colours
        if colours is None:
            colours = np.full((len(vertices), 3), _GREY, np.uint8)
        textured = mesh.uv is not None and mesh.texture is not None
        return cls(
            vertices,
            faces,
            normals,
            np.asarray(colours[:, :3] / np.float32(255), np.float32),
            is_closed(vertices, faces),
            np.asarray(mesh.uv, np.float32) if textured else None,
            mesh.texture if textured else None,
        )

    @cached_property
    def corners(self) -> NDArray[np.int64]:
        """(3, F) the faces, one contiguous row for each corner: faster to go through."""
        return np.ascontiguousarray(self.faces.T)

    @cached_property
    def radius(self) -> float:
        """Largest distance of a vertex from the origin of the object frame, mm."""
        return float(np.sqrt((self.vertices**2).sum(1).max()))


def smooth_normals(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return a normal for each vertex, (V, 3): the mean of its faces, weighted by their area."""
    corners = vertices[faces]
    # Twice the area times the normal: the weight comes for free.
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack(
        [
            np.bincount(faces.ravel(), np.repeat(across[:, axis], 3), len(vertices))
            for axis in range(3)
        ],
        axis=1,
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(normals / np.where(length > 0, length, 1), np.float32)


def is_closed(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> bool:
    """Tell whether every edge has a face on either side and faces look outwards.

    Vertices at one place count as one: a texture's seam splits them without opening the surface.
    """
    if not len(faces):
        return False
    size = float(np.ptp(vertices)) or 1.0
    _, same = np.unique(np.round(vertices / size, 9), axis=0, return_inverse=True)
    corners = same.reshape(-1)[faces]
    start = corners.ravel()
    end = corners[:, [1, 2, 0]].ravel()
    real = start != end
    start, end = start[real], end[real]
    forward = np.sort(start * len(vertices) + end)
    backward = np.sort(end * len(vertices) + start)
    if not np.array_equal(forward, backward):
        return False
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return bool((a * np.cross(b, c)).sum() > 0)
