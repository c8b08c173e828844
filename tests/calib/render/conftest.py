from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesafe.calib.render.shapes import box, lathe
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.mesh import Mesh, write_ply


def to_mesh(surface: Surface, colour: tuple[int, int, int]) -> Mesh:
    colours = np.tile(np.array(colour, np.uint8), (len(surface.vertices), 1))
    return Mesh(surface.vertices, surface.faces, colours=colours)


@pytest.fixture
def cube_ply(tmp_path: Path) -> Path:
    path = tmp_path / "cube.ply"
    write_ply(path, to_mesh(box([60, 80, 100]), (200, 40, 30)))
    return path


@pytest.fixture
def cone_ply(tmp_path: Path) -> Path:
    path = tmp_path / "cone.ply"
    surface = lathe(np.array([0, 40.0, 20.0, 0]), np.array([-50.0, -50.0, 50.0, 50.0]))
    write_ply(path, to_mesh(surface, (30, 60, 220)))
    return path
