"""Are the meshes whole, in millimetres, centred, and what ``models_info.json`` says?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from edgesafe.calib.bop.dataset import BopDataset
from edgesafe.calib.bop.extent import diameter
from edgesafe.calib.bop.findings import Finding
from edgesafe.calib.bop.models_info import ModelInfo
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import Mesh, read_ply

__all__ = ["check_models"]

PLACE = "models"

# Simplified meshes of BOP differ from the full ones by up to half a per cent.
_SAME = 0.02
_CENTRED = 0.1
_SMALLEST_MM, _LARGEST_MM = 3.0, 5000.0


def check_models(
    dataset: BopDataset, objects: Collection[int]
) -> tuple[dict[int, Mesh], list[Finding]]:
    """Read the meshes of objects and compare them with their description.

    Args:
        dataset: Any split.
        objects: Those that its frames show.

    Returns:
        The meshes for metrics by the number of the object, and the findings.
    """
    try:
        infos, paths = dataset.models_info, dataset.models("eval")
        full = dataset.models("full")
    except DataError as error:
        return {}, [Finding("error", "no_models", PLACE, str(error))]
    findings = list(_lost(objects, infos, paths))
    meshes: dict[int, Mesh] = {}
    for obj_id in sorted(set(infos) & set(paths)):
        for path in dict.fromkeys((paths[obj_id], full.get(obj_id, paths[obj_id]))):
            try:
                mesh = read_ply(path, texture=path == full.get(obj_id))
            except DataError as error:
                findings.append(Finding("error", "bad_mesh", PLACE, str(error)))
                continue
            meshes.setdefault(obj_id, mesh)
            findings += _mesh(path, mesh, infos[obj_id])
    return meshes, findings


def _lost(
    objects: Collection[int], infos: Mapping[int, ModelInfo], paths: Mapping[int, Path]
) -> Iterator[Finding]:
    for what, there in (("entry in models_info.json", infos), ("mesh", paths)):
        lost = sorted(set(objects) - set(there))
        if lost:
            numbers = ", ".join(map(str, lost))
            text = f"the frames show objects without a {what}: {numbers}; fetch the models again"
            yield Finding("error", "no_model", PLACE, text, len(lost))


def _mesh(path: Path, mesh: Mesh, info: ModelInfo) -> Iterator[Finding]:
    def finding(level: Literal["error", "warning"], code: str, text: str) -> Finding:
        return Finding(level, code, PLACE, f"{path}: {text}")

    if not len(mesh.faces):
        yield finding("warning", "no_faces", "has points but no faces: it cannot be rendered")
    measured = diameter(mesh.vertices)
    ratio = measured / info.diameter
    if not _SMALLEST_MM <= info.diameter <= _LARGEST_MM:
        unit = "metres" if info.diameter < _SMALLEST_MM else "micrometres"
        yield finding(
            "error",
            "unit",
            f"has a diameter of {info.diameter:g} mm by models_info.json: it looks as if it were "
            f"in {unit}; BOP has millimetres",
        )
    if abs(ratio - 1) > _SAME:
        yield finding(
            "error",
            "diameter",
            f"has a diameter of {measured:g}, models_info.json says {info.diameter:g} (a factor of "
            f"{ratio:.4g}): another unit or another mesh",
        )
        return
    low, size = mesh.minimum, mesh.size
    apart = np.abs(np.r_[low - info.min, size - info.size]).max() / measured
    if apart > _SAME:
        yield finding(
            "error",
            "box",
            f"lies in the box from {_vector(low)} of the size {_vector(size)}, models_info.json "
            f"says from {_vector(info.min)} of {_vector(info.size)}: its frame is not the one of "
            "the annotations",
        )
    centre = low + size / 2
    if np.linalg.norm(centre) > _CENTRED * measured:
        yield finding(
            "warning",
            "not_centred",
            f"has its middle at {_vector(centre)} mm; BOP centres its meshes, so that this one "
            "may be in the frame of another convention: see the overlays",
        )


def _vector(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"
