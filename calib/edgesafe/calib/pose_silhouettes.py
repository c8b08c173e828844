"""Outlines of a package's objects from all sides, from the meshes that it was trained with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgesafe.calib.render.parts import Part, read_parts
from edgesafe.calib.render.silhouettes import draw_silhouettes
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.pose.silhouettes import pack_silhouettes

__all__ = ["draw_objects"]

_OFF = 0.03
"""By how much, in diameters, a mesh's box may differ from the package's."""


def draw_objects(
    objects: Sequence[Mapping[str, Any]],
    models: Path,
    progress: Callable[[str], None] = lambda stage: None,
) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Draw the objects of a package from all sides.

    Args:
        objects: As the manifest of a package has them.
        models: Folder of BOP with their meshes, ``obj_000001.ply`` and so on, millimetres.
        progress: Called with a line for each object.

    Returns:
        The objects with the names of their files; and name to content.

    Raises:
        DataError: A mesh is missing, damaged, or another one than that of the package.
        UsageError: There is no such folder, or it lacks one of the objects.
    """
    if not any(models.glob("obj_*.ply")):
        raise UsageError(
            f"{models} is no folder with obj_000001.ply and the like: name the folder models of "
            "the data set that the package was trained on"
        )
    parts = read_parts([models], ids=[one["id"] for one in objects])
    described, files = [], {}
    for entry, part in zip(objects, parts, strict=True):
        progress(f"outlines of {entry['name']} from all sides")
        _check_same(entry, part, models)
        low, size = (np.array(entry["extent"][key]) for key in ("min", "size"))
        views = draw_silhouettes(
            Surface.from_mesh(part.mesh), low + size / 2, float(entry["diameter"])
        )
        file = f"silhouettes-{part.obj_id:06d}.npy"
        files[file] = pack_silhouettes(views)
        described.append({**entry, "silhouettes": file})
    return described, files


def _check_same(entry: Mapping[str, Any], part: Part, models: Path) -> None:
    """Refuse a mesh in another frame or unit: its outlines would pull every pose away."""
    low, size = (np.array(entry["extent"][key]) for key in ("min", "size"))
    wanted = np.array([low, low + size])
    found = np.array([part.mesh.vertices.min(axis=0), part.mesh.vertices.max(axis=0)])
    if np.abs(found - wanted).max() > _OFF * entry["diameter"]:
        here, there = (
            " to ".join(str(end.tolist()) for end in np.round(box, 1)) for box in (found, wanted)
        )
        raise DataError(
            f"{models}: the mesh of object {part.obj_id} reaches from {here} mm, the object of the "
            f"package from {there}: name the meshes that it was trained with, in the same frame "
            "and in millimetres"
        )
