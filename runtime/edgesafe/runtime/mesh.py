"""Triangle meshes and the PLY files they come in.

The format: Turk, "The PLY Polygon File Format" (1994): a text header that names elements and their
properties, then ASCII, little-endian or big-endian data. Read are positions, normals, colours,
texture coordinates of the vertices and of the corners of faces, and polygons (cut into triangles);
other elements and properties are skipped. The picture is named by a ``comment TextureFile``.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_write

__all__ = ["Mesh", "read_ply", "write_ply"]

Array: TypeAlias = NDArray[np.float64]
Columns: TypeAlias = "dict[str, Array]"
Lists: TypeAlias = "dict[str, tuple[NDArray[Any], Array]]"

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_BYTES = 1 << 30
_MAX_HEADER = 1 << 16
_UV_NAMES = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"))
_COLOUR_NAMES = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
_MEND = "export the mesh again as PLY"
_SHORT = f"ends too early: {_MEND}"


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh in the object frame, millimetres.

    Attributes:
        vertices: (N, 3).
        faces: (M, 3) indices of vertices, counter-clockwise seen from outside; M = 0 for points.
        normals: (N, 3) or None.
        colours: (N, 3), RGB, or None.
        uv: (N, 2) place in the texture, (0, 0) its lower left corner, or None.
        texture: (h, w, 3), RGB, first row on top, or None.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64] = field(repr=False)
    normals: NDArray[np.float64] | None = field(default=None, repr=False)
    colours: NDArray[np.uint8] | None = field(default=None, repr=False)
    uv: NDArray[np.float64] | None = field(default=None, repr=False)
    texture: NDArray[np.uint8] | None = field(default=None, repr=False)

    @property
    def minimum(self) -> NDArray[np.float64]:
        """(3,) lower corner of the axis-aligned box."""
        return np.asarray(self.vertices.min(axis=0))

    @property
    def size(self) -> NDArray[np.float64]:
        """(3,) sides of the axis-aligned box."""
        return np.asarray(np.ptp(self.vertices, axis=0))

    def scaled(self, factor: float) -> Mesh:
        """Return the mesh in another unit, e.g. 1000 for metres to millimetres."""
        return replace(self, vertices=self.vertices * factor)


@dataclass(frozen=True)
class _Property:
    name: str
    kind: str
    count_kind: str | None = None  # of lists: the type of their length


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: tuple[_Property, ...]


@dataclass(frozen=True)
class _Header:
    order: str
    elements: tuple[_Element, ...]
    texture: str | None
    end: int


class _Bad(Exception):
    """What is wrong with a file, before its name is known."""


class _Unequal(Exception):
    """The lists of an element differ in length."""


def read_ply(path: str | os.PathLike[str], *, texture: bool = True) -> Mesh:
    """Read a PLY file.

    Polygons of more than three corners are cut into fans. Texture coordinates of face corners
    (``texcoord``) become ones of vertices; a vertex with several is repeated.

    Args:
        path: The file.
        texture: Also read the picture that the file names; metrics do not need it.

    Raises:
        DataError: The file cannot be read, is damaged, or holds no vertices; or its picture cannot
            be read.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _Bad(f"is larger than {_MAX_BYTES >> 30} GiB: simplify the mesh")
        data = path.read_bytes()
        header = _header(data)
        mesh = _mesh(data, header)
        if not (texture and header.texture and mesh.uv is not None):
            return mesh
        return replace(mesh, texture=_picture(path.parent, header.texture))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}: name a PLY file"
        ) from None
    except _Bad as bad:
        raise DataError(f"{path} {bad}") from None


def write_ply(path: str | os.PathLike[str], mesh: Mesh) -> None:
    """Write a mesh as binary PLY, and its texture as PNG beside it under the same name.

    Positions are stored as float32, as in the data sets of BOP.

    Raises:
        OSError: The disk is full or the folder is not writable.
    """
    from PIL import Image

    path = Path(path)
    columns: list[tuple[str, str, NDArray[Any]]] = [
        (name, "f4", mesh.vertices[:, i]) for i, name in enumerate("xyz")
    ]
    lines = ["ply", "format binary_little_endian 1.0"]
    if mesh.normals is not None:
        columns += [(f"n{name}", "f4", mesh.normals[:, i]) for i, name in enumerate("xyz")]
    if mesh.uv is not None:
        columns += [(name, "f4", mesh.uv[:, i]) for i, name in enumerate(_UV_NAMES[0])]
    if mesh.colours is not None:
        columns += [(name, "u1", mesh.colours[:, i]) for i, name in enumerate(_COLOUR_NAMES[0])]
    if mesh.uv is not None and mesh.texture is not None:
        stream = io.BytesIO()
        Image.fromarray(mesh.texture).save(stream, "PNG")
        picture = path.with_suffix(".png")
        atomic_write(picture, stream.getvalue())
        lines.append(f"comment TextureFile {picture.name}")
    lines.append(f"element vertex {len(mesh.vertices)}")
    names = {"f4": "float", "u1": "uchar"}
    lines += [f"property {names[kind]} {name}" for name, kind, _ in columns]
    lines += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices"]
    lines.append("end_header\n")
    vertices = np.empty(len(mesh.vertices), [(name, f"<{kind}") for name, kind, _ in columns])
    for name, _, values in columns:
        vertices[name] = values
    faces = np.empty(len(mesh.faces), [("n", "u1"), ("corners", "<i4", 3)])
    faces["n"], faces["corners"] = 3, mesh.faces
    atomic_write(path, "\n".join(lines).encode() + vertices.tobytes() + faces.tobytes())


def _header(data: bytes) -> _Header:
    if data[:3] != b"ply":
        raise _Bad(f"is not a PLY file: {_MEND}")
    mark = data.find(b"end_header", 0, _MAX_HEADER)
    end = data.find(b"\n", mark) + 1
    if mark < 0 or end == 0:
        raise _Bad(f"has no end of its header, it was cut or is no PLY file: {_MEND}")
    order, texture = None, None
    elements: list[tuple[str, int, list[_Property]]] = []
    for line in data[:mark].decode("utf-8", "replace").splitlines()[1:]:
        words = line.split()
        try:
            match words:
                case ["format", kind, _]:
                    order = _ORDERS[kind]
                case ["element", name, count]:
                    elements.append((name, int(count), []))
                case ["property", "list", count_kind, kind, name]:
                    entry = _Property(name, _TYPES[kind], _TYPES[count_kind])
                    elements[-1][2].append(entry)
                case ["property", kind, name]:
                    elements[-1][2].append(_Property(name, _TYPES[kind]))
                case ["comment", "TextureFile", *_]:
                    texture = line.split(None, 2)[2].strip()
                case [] | ["comment" | "obj_info", *_]:
                    pass
                case _:
                    raise ValueError
        except (ValueError, KeyError, IndexError):
            raise _Bad(f"has a header line that means nothing: {line!r:.80}; {_MEND}") from None
    if order is None or any(count < 0 for _, count, _ in elements):
        raise _Bad(f"has no valid format or element line: {_MEND}")
    found = tuple(_Element(name, count, tuple(props)) for name, count, props in elements)
    return _Header(order, found, texture, end)


class _Reader:
    """The numbers of a file, in turn, as float64: exact for every type of PLY.

    Attributes:
        place: How far it has read; may be set back.
    """

    place: int

    def table(self, kinds: list[str], count: int) -> Array:
        """Return the next ``count`` rows of numbers of these types, (count, len(kinds))."""
        raise NotImplementedError


class _Text(_Reader):
    def __init__(self, data: bytes) -> None:
        try:
            self._numbers = np.array(data.split(), dtype=np.float64)
        except ValueError:
            raise _Bad(f"holds something that is no number: {_MEND}") from None
        self.place = 0

    def table(self, kinds: list[str], count: int) -> Array:
        end = self.place + count * len(kinds)
        if end > len(self._numbers):
            raise _Bad(_SHORT)
        rows = self._numbers[self.place : end].reshape(count, len(kinds))
        self.place = end
        return rows


class _Binary(_Reader):
    def __init__(self, data: bytes, order: str) -> None:
        self._data = data
        self._order = order
        self.place = 0

    def table(self, kinds: list[str], count: int) -> Array:
        row = np.dtype([(f"f{i}", self._order + kind) for i, kind in enumerate(kinds)])
        if self.place + count * row.itemsize > len(self._data):
            raise _Bad(_SHORT)
        rows = np.empty((count, len(kinds)))
        if rows.size:
            packed = np.frombuffer(self._data, row, count, self.place)
            for i in range(len(kinds)):
                rows[:, i] = packed[f"f{i}"]
        self.place += count * row.itemsize
        return rows


def _element(reader: _Reader, element: _Element) -> tuple[Columns, Lists]:
    """Read one element: its columns of numbers, and its lists as (lengths, values in a row)."""
    lists = [entry for entry in element.properties if entry.count_kind]
    if not lists or element.count == 0:
        rows = reader.table([entry.kind for entry in element.properties], element.count)
        names = [entry.name for entry in element.properties]
        return {name: rows[:, i] for i, name in enumerate(names)}, {}
    start = reader.place
    first = _row(reader, element)
    reader.place = start
    try:
        return {}, _equal_rows(reader, element, [len(values) for values in first])
    except (_Bad, _Unequal):
        # Rows of different lengths, in turn; a file that is too short ends here as well.
        reader.place = start
    parts = [_row(reader, element) for _ in range(element.count)]
    return {}, {
        entry.name: (
            np.array([len(row[i]) for row in parts]),
            np.concatenate([row[i] for row in parts]),
        )
        for i, entry in enumerate(element.properties)
        if entry.count_kind
    }


def _row(reader: _Reader, element: _Element) -> list[Array]:
    found = []
    for entry in element.properties:
        length = 1
        if entry.count_kind:
            length = int(_whole(reader.table([entry.count_kind], 1))[0, 0])
            if length < 0:
                raise _Bad(f"has a list of the length {length}: {_MEND}")
        found.append(reader.table([entry.kind] * length, 1)[0])
    return found


def _equal_rows(reader: _Reader, element: _Element, lengths: list[int]) -> Lists:
    """Read all rows at once, where all have lists of these lengths."""
    kinds: list[str] = []
    for entry, length in zip(element.properties, lengths, strict=True):
        kinds += ([entry.count_kind] if entry.count_kind else []) + [entry.kind] * length
    rows = reader.table(kinds, element.count)
    found: Lists = {}
    column = 0
    for entry, length in zip(element.properties, lengths, strict=True):
        if entry.count_kind:
            if (rows[:, column] != length).any():
                raise _Unequal
            column += 1
            values = rows[:, column : column + length].ravel()
            found[entry.name] = (np.full(element.count, length), values)
        column += length
    return found


def _mesh(data: bytes, header: _Header) -> Mesh:
    body = data[header.end :]
    reader = _Binary(body, header.order) if header.order else _Text(body)
    vertex: Columns = {}
    face: Lists = {}
    for element in header.elements:
        columns, lists = _element(reader, element)
        if element.name == "vertex":
            vertex = columns
        elif element.name == "face":
            face = lists
    vertices = _columns(vertex, ("x", "y", "z"))
    if vertices is None or not len(vertices):
        raise _Bad(f"has no vertices: {_MEND}")
    if not np.isfinite(vertices).all():
        raise _Bad(f"has vertices that are not finite: {_MEND}")
    names = [name for name in ("vertex_indices", "vertex_index") if name in face]
    polygons = face[names[0]] if names else (np.zeros(0), np.zeros(0))
    lengths, corners = _whole(polygons[0]), _whole(polygons[1])
    if len(lengths) and lengths.min() < 3:
        raise _Bad(f"has a face with fewer than three corners: {_MEND}")
    if len(corners) and not 0 <= corners.min() <= corners.max() < len(vertices):
        raise _Bad(f"has faces of vertices that it does not have: {_MEND}")
    mesh = Mesh(
        vertices,
        corners[_fans(lengths)],
        _columns(vertex, ("nx", "ny", "nz")),
        _colours(vertex),
        next(
            (uv for uv in (_columns(vertex, names) for names in _UV_NAMES) if uv is not None), None
        ),
    )
    if mesh.uv is None and "texcoord" in face:
        uv_lengths, uv = face["texcoord"]
        if (uv_lengths == 2 * lengths).all():
            return _with_corner_uv(mesh, corners, uv.reshape(-1, 2), lengths)
    return mesh


def _columns(vertex: Columns, names: tuple[str, ...]) -> Array | None:
    if not all(name in vertex for name in names):
        return None
    return np.stack([vertex[name] for name in names], axis=1)


def _colours(vertex: Columns) -> NDArray[np.uint8] | None:
    for names in _COLOUR_NAMES:
        values = _columns(vertex, names)
        if values is None:
            continue
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 255):
            raise _Bad(f"has colours that are not in 0..255: {_MEND}")
        # Some programs write floats in 0..1.
        if values.max() <= 1 and (values % 1).any():
            values = values * 255
        return np.round(values).astype(np.uint8)
    return None


def _whole(values: NDArray[Any]) -> NDArray[np.int64]:
    if not (np.isfinite(values).all() and (np.abs(values) < 1 << 53).all()):
        raise _Bad(f"has an index that is no number: {_MEND}")
    whole = values.astype(np.int64)
    if (whole != values).any():
        raise _Bad(f"has an index that is not whole: {_MEND}")
    return whole


def _fans(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the triangles (M, 3) of polygons, as places in the row of all their corners."""
    starts = np.cumsum(lengths) - lengths
    triangles = lengths - 2
    first = np.repeat(starts, triangles)
    step = np.arange(len(first)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([first, first + step + 1, first + step + 2], axis=1)


def _with_corner_uv(
    mesh: Mesh, corners: NDArray[np.int64], uv: Array, lengths: NDArray[np.int64]
) -> Mesh:
    """Move texture coordinates from face corners to vertices, repeating these where needed."""
    rows = np.column_stack([corners, uv])
    unique, inverse = np.unique(rows, axis=0, return_inverse=True)
    source = unique[:, 0].astype(np.int64)
    return Mesh(
        mesh.vertices[source],
        inverse.reshape(-1)[_fans(lengths)],
        None if mesh.normals is None else mesh.normals[source],
        None if mesh.colours is None else mesh.colours[source],
        unique[:, 1:],
    )


def _picture(folder: Path, name: str) -> NDArray[np.uint8]:
    from PIL import Image

    # A name from a file must not lead anywhere else.
    if Path(name).name != name:
        raise _Bad(f"names a texture outside of its folder: {name!r:.80}")
    try:
        with Image.open(folder / name) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise _Bad(f"names the texture {name!r:.80}, which cannot be read ({error})") from None
