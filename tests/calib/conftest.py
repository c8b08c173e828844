"""A cube and a cylinder in front of a camera, as meshes and as a small data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesafe.calib.bop import BopWriter, LabelledObject
from edgesafe.runtime.mesh import Mesh
from edgesafe.runtime.pose.intrinsics import Camera

Array = NDArray[np.float64]

CAMERA = Camera(np.array([[200.0, 0, 79.5], [0, 200.0, 59.5], [0, 0, 1]]), 160, 120)
_CORNERS = [
    (-1, -1, -1), (1, -1, -1), (1, 1, -1), (-1, 1, -1),
    (-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1),
]  # fmt: skip
_QUADS = [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]


def cube(half: float = 20.0) -> Mesh:
    faces = [(a, b, c) for q in _QUADS for a, b, c in ((q[0], q[1], q[2]), (q[0], q[2], q[3]))]
    colours = (np.array(_CORNERS) * 100 + 120).astype(np.uint8)
    return Mesh(np.array(_CORNERS) * half, np.array(faces), colours=colours)


def cylinder(radius: float = 15.0, half: float = 25.0, sides: int = 24) -> Mesh:
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ends = [np.c_[ring, np.full(sides, z)] for z in (-half, half)]
    vertices = np.vstack([*ends, [[0, 0, -half], [0, 0, half]]])
    faces = []
    for i in range(sides):
        j = (i + 1) % sides
        faces += [(i, j, sides + j), (i, sides + j, sides + i)]
        faces += [(2 * sides, j, i), (2 * sides + 1, sides + i, sides + j)]
    return Mesh(vertices, np.array(faces))


def square_mask(points: Array, camera: Camera) -> NDArray[np.bool_]:
    """The pixels in the box of projected points."""
    pixels = camera.project(points)
    low, high = np.ceil(pixels.min(axis=0)), np.floor(pixels.max(axis=0))
    y, x = np.mgrid[: camera.height, : camera.width]
    return np.asarray((x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1]))


def place(number: int) -> tuple[Array, Array]:
    """A pose for each number."""
    a = 0.4 * number
    R = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]])
    return R, np.array([10.0 * (number % 3) - 10, 5.0 * (number % 2), 300.0 + 10 * number])


def write_dataset(
    path: Path, frames: int = 4, splits: tuple[str, ...] = ("test",), picture: str = "png"
) -> Path:
    """Cube 1 and cylinder 2, the cylinder at the left hides a part of nothing; masks are boxes."""
    rng = np.random.default_rng(0)
    meshes = {1: cube(), 2: cylinder()}
    with BopWriter(path, CAMERA, about="made by the tests") as writer:
        for number, mesh in meshes.items():
            axis = [{"axis": [0, 0, 1], "offset": [0, 0, 0]}] if number == 2 else []
            writer.add_model(number, mesh, (), axis)
        for split in splits:
            for i in range(frames):
                rgb = rng.integers(0, 255, (CAMERA.height, CAMERA.width, 3)).astype(np.uint8)
                objects = []
                for number, mesh in meshes.items():
                    R, t = place(i + 7 * (split != "test"))
                    t = t + [60 * (number == 2) - 30, 0, 0]
                    mask = square_mask(mesh.vertices @ R.T + t, CAMERA)
                    rgb[mask] = 90 * number
                    objects.append(LabelledObject(number, R, t, mask))
                writer.add_frame(
                    rgb,
                    CAMERA.K,
                    objects,
                    split=split,
                    scene_id=3,
                    picture="jpg" if picture == "jpg" else "png",
                )
    return path


@pytest.fixture
def make_dataset() -> Callable[..., Path]:
    return write_dataset


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four test frames of cube 1 and cylinder 2; copy before changing anything."""
    return write_dataset(tmp_path_factory.mktemp("bop") / "small")
