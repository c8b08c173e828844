"""Overlays, and the meshes that they may be drawn with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesafe.runtime import PoseEstimator, SourceError
from edgesafe.runtime.pose.draw import draw_poses, outline
from edgesafe.runtime.pose.ply import Triangles, read_triangles
from edgesafe.runtime.pose.result import Pose

from .conftest import CAMERA, CORNERS, POINTS, box_of

CUBE_FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ]
)


def _ply(form: str, extra: bool) -> bytes:
    head = [
        *("ply", f"format {form} 1.0", "comment by hand", "element vertex 8"),
        *(f"property float {axis}" for axis in "xyz"),
        *(["property uchar red", "property double quality"] if extra else []),
        *("element face 12", "property list uchar int vertex_indices"),
        *(["property list uchar float texcoord", "property int flags"] if extra else []),
        "end_header",
    ]
    if form == "ascii":
        rows = [" ".join(map(str, [*c, *([7, 0.5] if extra else [])])) for c in CORNERS]
        rows += [
            " ".join(map(str, [3, *f, *([6, 0, 0, 1, 0, 1, 1, 5] if extra else [])]))
            for f in CUBE_FACES
        ]
        return "\n".join([*head, *rows, ""]).encode()
    vertex = [("p", "<f4", 3), *([("r", "u1"), ("q", "<f8")] if extra else [])]
    face = [("n", "u1"), ("i", "<i4", 3)]
    face += [("m", "u1"), ("t", "<f4", 6), ("f", "<i4")] if extra else []
    vertices, faces = np.zeros(8, vertex), np.zeros(12, face)
    vertices["p"], faces["n"], faces["i"] = CORNERS, 3, CUBE_FACES
    if extra:
        faces["m"] = 6
    return "\n".join([*head, ""]).encode() + vertices.tobytes() + faces.tobytes()


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
@pytest.mark.parametrize("extra", [False, True])
def test_a_mesh_is_read(tmp_path: Path, form: str, extra: bool) -> None:
    file = tmp_path / "cube.ply"
    file.write_bytes(_ply(form, extra))
    mesh = read_triangles(file)
    assert mesh.vertices == pytest.approx(CORNERS)
    assert np.array_equal(mesh.faces, CUBE_FACES)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"ply\n",
        lambda data: data[:-20],
        lambda data: data.replace(b"binary_little_endian", b"binary_big_endian"),
        lambda data: data.replace(b"property float z\n", b""),
        lambda data: data.replace(b"element vertex 8", b"element vertex x"),
        lambda data: data.replace(b"element vertex 8", b"element vertex 5"),
        lambda data: data.replace(b"int vertex_indices", b"quad vertex_indices"),
        lambda data: data[:-5] + b"\xff\xff\xff\x7f\x00",
        lambda data: b"\xff\xd8\xff" + data,
    ],
)
def test_a_mesh_that_is_none_is_refused(tmp_path: Path, damage) -> None:
    file = tmp_path / "cube.ply"
    file.write_bytes(damage(_ply("binary_little_endian", False)))
    with pytest.raises(SourceError, match=r"cube.ply is not a PLY mesh of triangles"):
        read_triangles(file)
    with pytest.raises(SourceError, match="No such file"):
        read_triangles(tmp_path / "none.ply")


def _area(contour: np.ndarray) -> float:
    x, y = contour.T
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2


def test_the_outlines_of_hull_and_mesh_agree(pose_package, scene) -> None:
    _, R, t = scene
    entry = PoseEstimator(pose_package, threads=1).objects[1]
    pose = Pose(1, "block1", R=R, t_mm=t)
    (hull,) = outline(pose, entry, CAMERA)
    (mesh,) = outline(pose, entry, CAMERA, Triangles(CORNERS, CUBE_FACES))
    assert hull.min(axis=0) == pytest.approx(mesh.min(axis=0), abs=1)
    assert hull.max(axis=0) == pytest.approx(mesh.max(axis=0), abs=1)
    assert _area(mesh) == pytest.approx(_area(hull), rel=0.03)
    half = Triangles(CORNERS, CUBE_FACES[:2])
    assert _area(outline(pose, entry, CAMERA, half)[0]) < 0.8 * _area(hull)


def test_poses_and_refusals_are_drawn(pose_package, scene) -> None:
    frame, R, t = scene
    estimator = PoseEstimator(pose_package, threads=1)
    poses = estimator.estimate(frame, CAMERA, [(1, box_of(R, t)), (1, (20, 300, 80, 60))])
    before = frame.copy()
    page = draw_poses(frame, poses, estimator.objects, CAMERA)
    assert np.array_equal(frame, before)
    changed = (page != frame).any(axis=2)
    ends = np.array([[50, 0, 0], [0, 50, 0]]) @ R.T + t
    for (u, v), colour in zip(CAMERA.project(ends), ((230, 40, 40), (40, 200, 40)), strict=True):
        around = page[round(v) - 2 : round(v) + 3, round(u) - 2 : round(u) + 3].reshape(-1, 3)
        assert (np.abs(around.astype(int) - colour).max(axis=1) < 40).any()
    assert changed[298:362, 18:24].any()  # the refused region
    assert not changed[400:, 200:].any()
    box = CAMERA.project(POINTS @ R.T + t)
    assert changed[int(box[:, 1].min()) : int(box[:, 1].max())].any()


def test_what_is_behind_the_camera_is_not_drawn(pose_package) -> None:
    estimator = PoseEstimator(pose_package, threads=1)
    frame = np.zeros((480, 640, 3), dtype=np.uint8)
    for t in ([0.0, 0.0, -500.0], [0.0, 0.0, 20.0], [1e7, 0.0, 30.0]):
        pose = Pose(1, "block1", R=np.eye(3), t_mm=np.array(t))
        assert draw_poses(frame, [pose], estimator.objects, CAMERA).shape == frame.shape
