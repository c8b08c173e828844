"""PLY files in all their forms, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import Mesh, read_ply, write_ply

SQUARE = np.array([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]])
HEADER = """ply
format {form} 1.0
comment made by hand
element vertex 4
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element edge 1
property int vertex1
property int vertex2
element face {faces}
property uchar quality
property list uchar int vertex_indices
end_header
"""


def ascii_ply(tmp_path: Path, faces: str = "0 4 0 1 2 3", count: int = 1, **more: str) -> Path:
    rows = "\n".join(f"{x:g} {y:g} {z:g} 10 20 30" for x, y, z in SQUARE)
    text = HEADER.format(form="ascii", faces=count) + f"{rows}\n0 1\n{faces}\n"
    for old, new in more.items():
        text = text.replace(old, new)
    path = tmp_path / "mesh.ply"
    path.write_text(text)
    return path


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("faces", [[(0, 1, 2, 3)], [(0, 1, 2), (0, 1, 2, 3)]])
def test_every_form_gives_the_same_mesh(tmp_path: Path, order: str, faces: list[tuple]) -> None:
    path = tmp_path / "mesh.ply"
    if order == "ascii":
        rows = "\n".join(" ".join(map(str, (0, len(face), *face))) for face in faces)
        ascii_ply(tmp_path, rows, len(faces))
    else:
        sign = "<" if "little" in order else ">"
        data = HEADER.format(form=order, faces=len(faces)).encode()
        data += b"".join(struct.pack(f"{sign}fffBBB", *row, 10, 20, 30) for row in SQUARE)
        data += struct.pack(f"{sign}ii", 0, 1)
        for face in faces:
            data += struct.pack(f"{sign}BB{len(face)}i", 0, len(face), *face)
        path.write_bytes(data)
    mesh = read_ply(path)
    np.testing.assert_array_equal(mesh.vertices, SQUARE)
    expected = [[0, 1, 2], [0, 2, 3]] if len(faces) == 1 else [[0, 1, 2], [0, 1, 2], [0, 2, 3]]
    np.testing.assert_array_equal(mesh.faces, expected)
    np.testing.assert_array_equal(mesh.colours, np.tile([10, 20, 30], (4, 1)))
    assert mesh.normals is None and mesh.uv is None


def test_written_meshes_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (5, 7, 3)).astype(np.uint8)
    normals = np.tile([0.0, 0.0, 1.0], (4, 1))
    colours = rng.integers(0, 255, (4, 3)).astype(np.uint8)
    mesh = Mesh(SQUARE, np.array([[0, 1, 2]]), normals, colours, SQUARE[:, :2] / 2, texture)
    write_ply(tmp_path / "part.ply", mesh)
    back = read_ply(tmp_path / "part.ply")
    for name in ("vertices", "faces", "normals", "colours", "uv", "texture"):
        np.testing.assert_array_equal(getattr(back, name), getattr(mesh, name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.ply", "part.png"]
    assert read_ply(tmp_path / "part.ply", texture=False).texture is None
    (tmp_path / "part.png").unlink()
    with pytest.raises(DataError, match="part.png"):
        read_ply(tmp_path / "part.ply")


def test_points_without_faces(tmp_path: Path) -> None:
    write_ply(tmp_path / "points.ply", Mesh(SQUARE, np.zeros((0, 3), np.int64)))
    assert read_ply(tmp_path / "points.ply").faces.shape == (0, 3)


def test_box_and_scale() -> None:
    mesh = Mesh(SQUARE + 1, np.array([[0, 1, 2]])).scaled(1000)
    np.testing.assert_array_equal(mesh.minimum, [1000, 1000, 1000])
    np.testing.assert_array_equal(mesh.size, [2000, 2000, 0])


def test_floating_point_colours(tmp_path: Path) -> None:
    path = ascii_ply(
        tmp_path, **{"uchar red": "float red", "uchar green": "float green", "10 20 30": "0.2 1 0"}
    )
    np.testing.assert_array_equal(read_ply(path).colours, np.tile([51, 255, 0], (4, 1)))


def test_texture_coordinates_of_corners_become_ones_of_vertices(tmp_path: Path) -> None:
    path = ascii_ply(
        tmp_path,
        "0 3 0 1 2 6 0 0 1 0 1 1\n0 3 0 2 3 6 .5 .5 1 1 0 1",
        2,
        **{"vertex_indices\n": "vertex_indices\nproperty list uchar float texcoord\n"},
    )
    mesh = read_ply(path)
    assert mesh.uv is not None
    assert len(mesh.vertices) == 5  # vertex 0 is at two places of the texture
    np.testing.assert_array_equal(mesh.vertices[mesh.faces[1]], SQUARE[[0, 2, 3]])
    np.testing.assert_array_equal(mesh.uv[mesh.faces[1]], [[0.5, 0.5], [1, 1], [0, 1]])
    np.testing.assert_array_equal(mesh.uv[mesh.faces[0]], [[0, 0], [1, 0], [1, 1]])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ply\nformat", "plx\nformat", "not a PLY"),
        ("end_header", "end_heade", "no end of its header"),
        ("format ascii 1.0", "format ebcdic 1.0", "header line"),
        ("format ascii 1.0\n", "", "no valid format"),
        ("property float x", "property real x", "header line"),
        ("property float x", "property float w", "no vertices"),
        ("element vertex 4", "element vertex many", "header line"),
        ("element vertex 4", "element vertex -4", "no valid format"),
        ("element vertex 4", "element vertex 999999999999", "too early"),
        ("2 2 0 10", "2 nan 0 10", "not finite"),
        ("2 2 0 10", "2 two 0 10", "no number"),
        ("10 20 30", "10 -20 30", "0..255"),
        ("4 0 1 2 3", "4 0 1 2 4", "does not have"),
        ("4 0 1 2 3", "4 0 1 2 -1", "does not have"),
        ("4 0 1 2 3", "4 0 1 2 .5", "not whole"),
        ("4 0 1 2 3", "2 0 1", "fewer than three"),
        ("4 0 1 2 3", "-4 0 1 2 3", "length -4"),
        ("4 0 1 2 3", "4 0 1 2", "too early"),
        ("4 0 1 2 3", "1e30 0 1 2", "no number"),
    ],
)
def test_broken_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = ascii_ply(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        read_ply(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_ply(tmp_path / "none.ply")


def test_cut_binary_files(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", Mesh(SQUARE, np.array([[0, 1, 2], [0, 2, 3]])))
    whole = (tmp_path / "a.ply").read_bytes()
    for cut in (1, 14, 30):
        (tmp_path / "a.ply").write_bytes(whole[:-cut])
        with pytest.raises(DataError, match="too early"):
            read_ply(tmp_path / "a.ply")


def test_a_texture_elsewhere_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "secret.png")
    inside = tmp_path / "models"
    inside.mkdir()
    mesh = Mesh(SQUARE, np.array([[0, 1, 2]]), uv=SQUARE[:, :2], texture=np.zeros((2, 2, 3), "u1"))
    write_ply(inside / "a.ply", mesh)
    data = (inside / "a.ply").read_bytes()
    (inside / "a.ply").write_bytes(data.replace(b"TextureFile a.png", b"TextureFile ../secret.png"))
    with pytest.raises(DataError, match="outside"):
        read_ply(inside / "a.ply")
