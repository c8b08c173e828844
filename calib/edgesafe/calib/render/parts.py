"""The parts that are rendered: their meshes, their numbers, and what is written of them.

A part comes from a PLY file of its own, or with others from a ``models`` folder of BOP, whose
``models_info.json`` is then taken over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.mesh import Mesh, read_ply, write_ply
from edgesafe.calib.render.symmetry import Symmetry
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.files import atomic_write

__all__ = ["Part", "diameter", "read_parts", "write_parts"]

Array = NDArray[np.float64]

_NAME = re.compile(r"obj_(\d+)\.ply")
_LARGEST_MM = 20_000.0
_CHUNK = 512


@dataclass(frozen=True, eq=False)
class Part:
    """One part.

    Attributes:
        obj_id: Its number in the data set, from 1.
        mesh: Millimetres.
        info: Its entry of ``models_info.json``.
    """

    obj_id: int
    mesh: Mesh
    info: Mapping[str, Any]


def read_parts(
    paths: Sequence[Path],
    *,
    ids: Sequence[int] = (),
    scale: float = 1.0,
    symmetries: Mapping[int, Symmetry] | None = None,
) -> tuple[Part, ...]:
    """Read parts from PLY files or one BOP ``models`` folder.

    Args:
        paths: PLY files, or one folder.
        ids: The numbers that the files get, in their order; of a folder, the parts to take.
            Without, files are counted from 1 and of a folder all are taken.
        scale: Factor to millimetres.
        symmetries: By number; they replace what ``models_info.json`` says.

    Raises:
        DataError: A mesh cannot be read, has no faces, or no plausible size in millimetres.
        UsageError: The arguments contradict one another.
    """
    given = dict(symmetries or {})
    if any(path.is_dir() for path in paths):
        if len(paths) != 1:
            raise UsageError("name PLY files, or one folder of models, not both")
        files, infos = _folder(paths[0])
        wanted = ids or sorted(files)
        missing = sorted(set(wanted) - set(files))
        if missing:
            raise UsageError(f"{paths[0]} has no object {missing}: it has {sorted(files)}")
        chosen = [(number, files[number], infos.get(str(number), {})) for number in wanted]
    else:
        numbers = list(ids) or list(range(1, len(paths) + 1))
        if len(numbers) != len(paths):
            raise UsageError(f"--ids has {len(numbers)} numbers for {len(paths)} files")
        chosen = [(number, path, {}) for number, path in zip(numbers, paths, strict=True)]
    numbers = [number for number, _, _ in chosen]
    if len(set(numbers)) != len(numbers) or min(numbers, default=1) < 1:
        raise UsageError(f"objects need different numbers from 1, not {numbers}")
    unknown = sorted(set(given) - set(numbers))
    if unknown:
        raise UsageError(f"--symmetry names object {unknown}, but there are only {numbers}")
    return tuple(
        _part(number, path, info, scale, given.get(number)) for number, path, info in chosen
    )


def write_parts(folder: Path, parts: Sequence[Part]) -> None:
    """Write ``obj_*.ply`` and ``models_info.json`` into a folder that exists."""
    for part in parts:
        write_ply(folder / f"obj_{part.obj_id:06d}.ply", part.mesh)
    infos = {str(part.obj_id): dict(part.info) for part in parts}
    atomic_write(folder / "models_info.json", json.dumps(infos, indent=2).encode())


def diameter(points: Array) -> float:
    """Return the largest distance between two of the points, (n, 3)."""
    points = np.unique(points, axis=0)
    # Only points further out than half of what is reached already can be an end of the diameter.
    out = np.linalg.norm(points - (points.min(0) + points.max(0)) / 2, axis=1)
    first = points[np.argmax(out)]
    reached = float(np.linalg.norm(points - first, axis=1).max())
    points = points[out >= reached - out.max() - 1e-9]
    for start in range(0, len(points), _CHUNK):
        some = points[start : start + _CHUNK]
        square = (some**2).sum(1)[:, None] + (points**2).sum(1) - 2 * some @ points.T
        reached = max(reached, float(np.sqrt(max(square.max(), 0))))
    return reached


def _folder(folder: Path) -> tuple[dict[int, Path], dict[str, Any]]:
    files = {
        int(match[1]): path for path in folder.glob("*.ply") if (match := _NAME.fullmatch(path.name))
    }
    if not files:
        raise DataError(f"{folder} holds no obj_000001.ply or the like: name the PLY files instead")
    listing = folder / "models_info.json"
    if not listing.exists():
        return files, {}
    try:
        infos = json.loads(listing.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{listing} cannot be read ({error}): mend or remove it") from None
    if not isinstance(infos, dict) or not all(isinstance(info, dict) for info in infos.values()):
        raise DataError(f"{listing} must be an object of objects: mend or remove it")
    return files, infos


def _part(
    number: int, path: Path, info: Mapping[str, Any], scale: float, symmetry: Symmetry | None
) -> Part:
    mesh = read_ply(path).scaled(scale)
    if not len(mesh.faces):
        raise DataError(f"{path} has no faces, only points: export the mesh with its faces")
    if not np.isfinite(mesh.vertices).all():
        raise DataError(f"{path} has vertices that are not finite: export the mesh again")
    across = diameter(mesh.vertices)
    if across < 1:
        raise DataError(
            f"{path} would be {across:.3g} mm large, so it is surely in metres: "
            "give --scale 1000 (or the factor from its unit to millimetres)"
        )
    if across > _LARGEST_MM:
        raise DataError(
            f"{path} would be {across:.3g} mm large: give --scale with the factor from its unit to "
            "millimetres"
        )
    size = mesh.size
    entry = {"diameter": across}
    entry |= {f"min_{axis}": float(low) for axis, low in zip("xyz", mesh.minimum, strict=True)}
    entry |= {f"size_{axis}": float(side) for axis, side in zip("xyz", size, strict=True)}
    # What a folder says of its parts stays as it is; of another unit only the symmetries would be
    # wrong in their offsets.
    taken = dict(info) if scale == 1 else {}
    if symmetry is not None:
        taken = {key: value for key, value in taken.items() if not key.startswith("symmetries_")}
        taken |= symmetry.entries(mesh)
    return Part(number, mesh, {**entry, **taken})
