"""The object of the twin: a mesh of a user, or a part without symmetry in a few paints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop.models_info import ModelInfo
from edgesafe.calib.render.shapes import box, lathe, tube
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import Mesh, read_ply
from edgesafe.train.pose.objects import KnownObject, surface_points

__all__ = ["TwinPart", "painted_part", "read_part"]

Array = NDArray[np.float64]

# Boards like this one hold things of about this size; beyond it they would hide the markers.
_LARGEST_MM = 400.0
_KEYPOINTS = 9


@dataclass(frozen=True, eq=False)
class TwinPart:
    """An object, number 1.

    Attributes:
        mesh: Millimetres; z is up, its centre the origin.
        surface: To draw.
        known: What a network is told of it.
        points: (N, 3) of its surface.
    """

    mesh: Mesh = field(repr=False)
    surface: Surface = field(repr=False)
    known: KnownObject
    points: Array = field(repr=False)

    @classmethod
    def of(cls, mesh: Mesh, name: str) -> TwinPart:
        """Prepare a mesh."""
        points = surface_points(mesh.vertices, mesh.faces, 400)
        known = KnownObject.of(1, name, ModelInfo.of_mesh(mesh), points, _KEYPOINTS)
        return cls(mesh, Surface.from_mesh(mesh), known, points)

    @property
    def on_board(self) -> Array:
        """(4, 4) T_board_obj: it stands on the board, near its middle, as LINEMOD's objects do."""
        T = np.eye(4)
        T[:3, :3] = [[0, 1, 0], [1, 0, 0], [0, 0, -1]]
        T[:3, 3] = [14.6, -6.1, float(self.mesh.vertices[:, 2].min())]
        return T


def read_part(path: Path | None) -> TwinPart:
    """Read a PLY in millimetres with z up; None for `painted_part`.

    Raises:
        DataError: It is no mesh, or larger than the board.
    """
    if path is None:
        return TwinPart.of(painted_part(), "part")
    mesh = read_ply(path)
    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    mesh = Mesh(mesh.vertices - middle, mesh.faces, mesh.normals, mesh.colours, mesh.uv,
                mesh.texture)  # fmt: skip
    if np.ptp(mesh.vertices, axis=0).max() > _LARGEST_MM:
        raise DataError(
            f"{path} is {np.ptp(mesh.vertices, axis=0).max():g} units long, which would hide the "
            "board: the mesh must be in millimetres"
        )
    return TwinPart.of(mesh, path.stem)


def painted_part() -> Mesh:
    """Return a body with a tower, a bent handle, a foot and a knob, 150 mm from end to end."""
    steps = np.linspace(0, 1, 14)
    handle = np.stack(
        [-38 - 26 * np.sin(np.pi * steps), 14 * steps - 4, 8 + 44 * (steps - 0.5)], axis=1
    )
    round_tower = lathe(np.array([0.0, 19, 17, 11, 0]), np.array([22.0, 22, 48, 60, 60]))
    knob = lathe(np.array([0.0, 9, 10, 6, 0]), np.array([10.0, 10, 16, 22, 22]))
    parts = [
        (box([84, 50, 44]), (0, 0, 0), (70, 96, 140)),
        (round_tower, (20, 4, 0), (196, 168, 60)),
        (tube(handle, np.full(14, 6.0)), (0, 0, 0), (60, 60, 64)),
        (box([30, 22, 16]), (56, -16, -14), (150, 52, 44)),
        (box([26, 3, 20]), (-16, 26, 2), (222, 222, 214)),
        (box([18, 3, 28]), (18, -26, 2), (44, 128, 84)),
        (knob, (-24, -8, 12), (170, 60, 50)),
    ]
    return _joined(parts)


def _joined(parts: Sequence[tuple[Surface, tuple[float, ...], tuple[int, ...]]]) -> Mesh:
    """Return one mesh of parts, each with its place and its colour, about the middle of all."""
    starts = np.cumsum([0] + [len(surface.vertices) for surface, _, _ in parts])
    vertices = np.concatenate([surface.vertices + at for surface, at, _ in parts])
    return Mesh(
        vertices - (vertices.min(axis=0) + vertices.max(axis=0)) / 2,
        np.concatenate(
            [surface.faces + at for (surface, _, _), at in zip(parts, starts, strict=False)]
        ),
        np.concatenate([surface.normals for surface, _, _ in parts]).astype(np.float64),
        np.concatenate(
            [np.tile(np.array(rgb, np.uint8), (len(s.vertices), 1)) for s, _, rgb in parts]
        ),
    )
