"""The triangles of a PLY file, for drawing the silhouette of a full mesh.

Reads ``ascii`` and ``binary_little_endian`` with the vertices first; everything but the positions
and the corners of the faces is skipped.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import SourceError

__all__ = ["Triangles", "read_triangles"]

_TYPES = {
    **dict.fromkeys(("char", "int8"), "<i1"),
    **dict.fromkeys(("uchar", "uint8"), "<u1"),
    **dict.fromkeys(("short", "int16"), "<i2"),
    **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("int", "int32"), "<i4"),
    **dict.fromkeys(("uint", "uint32"), "<u4"),
    **dict.fromkeys(("float", "float32"), "<f4"),
    **dict.fromkeys(("double", "float64"), "<f8"),
}
_CORNERS = ("vertex_indices", "vertex_index")
_MAX_BYTES = 1 << 28


@dataclass(frozen=True, eq=False)
class Triangles:
    """Vertices (N, 3), millimetres, and faces (M, 3) that index them."""

    vertices: npt.NDArray[np.float64]
    faces: npt.NDArray[np.int64]


def read_triangles(path: str | os.PathLike[str]) -> Triangles:
    """Read a mesh.

    Raises:
        SourceError: The file cannot be read, or is no mesh of triangles in one of these forms.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES >> 20} MiB")
        vertices, faces = _parse(data)
        if not len(faces) or not np.isfinite(vertices).all():
            raise ValueError("no faces, or a vertex that is not finite")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError("a face names a vertex that is not there")
    except OSError as error:
        raise SourceError(f"{os.fspath(path)}: {error.strerror or error}") from None
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise SourceError(
            f"{os.fspath(path)} is not a PLY mesh of triangles ({error}): export it as binary "
            "little-endian or ASCII, triangulated"
        ) from None
    return Triangles(vertices, faces)


def _parse(data: bytes) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    head, found, body = data.partition(b"end_header\n")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines()]
    if not found or lines[0] != ["ply"]:
        raise ValueError("no header")
    form = next(words[1] for words in lines if words[:1] == ["format"])
    counts: dict[str, int] = {}
    kinds: dict[str, list[tuple[str, str, int]]] = {}
    for words in lines:
        if words[:1] == ["element"]:
            name = words[1]
            counts[name], kinds[name] = int(words[2]), []
        elif words[:2] == ["property", "list"]:
            # Triangles: three corners, and two texture coordinates at each.
            length = 3 if words[4] in _CORNERS else 6
            kinds[name].append((f"{words[4]} length", _TYPES[words[2]], 1))
            kinds[name].append((words[4], _TYPES[words[3]], length))
        elif words[:1] == ["property"]:
            kinds[name].append((words[2], _TYPES[words[1]], 1))
    if list(counts)[:2] != ["vertex", "face"]:
        raise ValueError("the elements must be vertex and face")
    read = _binary if form == "binary_little_endian" else _ascii
    if form not in ("binary_little_endian", "ascii"):
        raise ValueError(f"format {form}")
    rows, body = read(body, counts["vertex"], kinds["vertex"])
    vertices = np.stack([rows[axis] for axis in "xyz"], axis=1).astype(np.float64)
    rows, _ = read(body, counts["face"], kinds["face"])
    corners = next(name for name in _CORNERS if name in (rows.dtype.names or ()))
    for field, _, length in kinds["face"]:
        if length > 1 and (rows[f"{field} length"] != length).any():
            raise ValueError("faces that are no triangles")
    return vertices, rows[corners].astype(np.int64)


def _dtype(kinds: list[tuple[str, str, int]]) -> np.dtype[np.void]:
    return np.dtype([(n, t, (length,)) if length > 1 else (n, t) for n, t, length in kinds])


def _binary(
    body: bytes, count: int, kinds: list[tuple[str, str, int]]
) -> tuple[npt.NDArray[np.void], bytes]:
    kind = _dtype(kinds)
    size = count * kind.itemsize
    if len(body) < size:
        raise ValueError("it ends early, or its faces are no triangles")
    return np.frombuffer(body[:size], kind), body[size:]


def _ascii(
    body: bytes, count: int, kinds: list[tuple[str, str, int]]
) -> tuple[npt.NDArray[np.void], bytes]:
    lines = body.split(b"\n", count)
    if len(lines) < count:
        raise ValueError("it ends early")
    table = np.loadtxt(io.BytesIO(b"\n".join(lines[:count])), dtype=np.float64, ndmin=2)
    rows = np.zeros(count, _dtype(kinds))
    column = 0
    for name, _, length in kinds:
        values = table[:, column : column + length]
        rows[name] = values if length > 1 else values[:, 0]
        column += length
    return rows, lines[count] if len(lines) > count else b""
