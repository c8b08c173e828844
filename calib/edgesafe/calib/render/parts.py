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

import numpy as np

from edgesafe.calib.bop.models_info import MODELS_INFO, ModelInfo, read_models_info
from edgesafe.calib.render.symmetry import Symmetry
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.mesh import Mesh, read_ply, write_ply

__all__ = ["Part", "read_parts", "write_parts"]

_NAME = re.compile(r"obj_(\d+)\.ply")
_LARGEST_MM = 20_000.0


@dataclass(frozen=True, eq=False)
class Part:
    """One part.

    Attributes:
        obj_id: Its number in the data set, from 1.
        mesh: Millimetres.
        info: Its size and symmetries.
    """

    obj_id: int
    mesh: Mesh
    info: ModelInfo


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
    chosen: list[tuple[int, Path, ModelInfo | None]]
    if any(path.is_dir() for path in paths):
        if len(paths) != 1:
            raise UsageError("name PLY files, or one folder of models, not both")
        files, infos = _folder(paths[0])
        wanted = ids or sorted(files)
        missing = sorted(set(wanted) - set(files))
        if missing:
            raise UsageError(f"{paths[0]} has no object {missing}: it has {sorted(files)}")
        chosen = [(number, files[number], infos.get(number)) for number in wanted]
    else:
        numbers = list(ids) or list(range(1, len(paths) + 1))
        if len(numbers) != len(paths):
            raise UsageError(f"--ids has {len(numbers)} numbers for {len(paths)} files")
        chosen = [(number, path, None) for number, path in zip(numbers, paths, strict=True)]
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
    infos = {str(part.obj_id): part.info.to_json() for part in parts}
    atomic_write(folder / MODELS_INFO, json.dumps(infos, indent=2).encode())


def _folder(folder: Path) -> tuple[dict[int, Path], dict[int, ModelInfo]]:
    files = {
        int(match[1]): path
        for path in folder.glob("*.ply")
        if (match := _NAME.fullmatch(path.name))
    }
    if not files:
        raise DataError(f"{folder} holds no obj_000001.ply or the like: name the PLY files instead")
    listing = folder / MODELS_INFO
    return files, read_models_info(listing) if listing.exists() else {}


def _part(
    number: int, path: Path, info: ModelInfo | None, scale: float, symmetry: Symmetry | None
) -> Part:
    mesh = read_ply(path).scaled(scale)
    if not len(mesh.faces):
        raise DataError(f"{path} has no faces, only points: export the mesh with its faces")
    if not np.isfinite(mesh.vertices).all():
        raise DataError(f"{path} has vertices that are not finite: export the mesh again")
    measured = ModelInfo.of_mesh(mesh)
    if measured.diameter < 1:
        raise DataError(
            f"{path} would be {measured.diameter:.3g} mm large, so it is surely in metres: "
            "give --scale 1000 (or the factor from its unit to millimetres)"
        )
    if measured.diameter > _LARGEST_MM:
        raise DataError(
            f"{path} would be {measured.diameter:.3g} mm large: give --scale with the factor from "
            "its unit to millimetres"
        )
    # What a folder says of its parts stays as it is; scaled, its numbers would no longer hold.
    known = measured if info is None or scale != 1 else info
    if symmetry is not None:
        known = symmetry.put(known, mesh)
    elif info is not None and scale != 1 and info.symmetric:
        raise UsageError(f"{path}: with --scale, give the symmetries of object {number} anew")
    return Part(number, mesh, known)
