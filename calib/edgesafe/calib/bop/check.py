"""Check a BOP data set before anybody trains on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgesafe.calib.bop.check_models import check_models
from edgesafe.calib.bop.check_pictures import check_files, check_leaks
from edgesafe.calib.bop.check_poses import BoxFit, check_boxes, check_poses
from edgesafe.calib.bop.dataset import BopDataset, split_names
from edgesafe.calib.bop.findings import Finding
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import Mesh

__all__ = ["DatasetReport", "SplitReport", "check_dataset"]


@dataclass(frozen=True)
class SplitReport:
    """What a split holds.

    Attributes:
        scenes: How many.
        frames: With a picture.
        instances: In all scenes.
        size: (width, height) of the first picture, None where it cannot be read.
        K: fx, fy, cx, cy of the first frame.
        distances_mm: Of the objects from the camera: least, median, most; None without objects.
        visible: Median visible share; None where it is not known.
        boxes: By the number of the object, how well its boxes fit.
    """

    scenes: int
    frames: int
    instances: int
    size: tuple[int, int] | None
    K: tuple[float, float, float, float]
    distances_mm: tuple[float, float, float] | None
    visible: float | None
    boxes: Mapping[int, BoxFit]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "scenes": self.scenes,
            "frames": self.frames,
            "instances": self.instances,
            "size": list(self.size) if self.size else None,
            "K": list(self.K),
            "distances_mm": list(self.distances_mm) if self.distances_mm else None,
            "visible": self.visible,
            "boxes": {str(obj_id): fit.to_json() for obj_id, fit in sorted(self.boxes.items())},
        }


@dataclass(frozen=True)
class DatasetReport:
    """The result of :func:`check_dataset`.

    Attributes:
        path: Of the data set.
        splits: By name.
        diameters: Of the objects, mm.
        symmetric: Objects with symmetries.
        findings: Errors first.
    """

    path: Path
    splits: Mapping[str, SplitReport]
    diameters: Mapping[int, float]
    symmetric: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.level == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "path": str(self.path),
            "splits": {name: split.to_json() for name, split in self.splits.items()},
            "diameters_mm": {str(obj_id): value for obj_id, value in self.diameters.items()},
            "symmetric": list(self.symmetric),
            "findings": [finding.to_json() for finding in self.findings],
            "errors": self.errors,
        }


def check_dataset(path: str | os.PathLike[str]) -> DatasetReport:
    """Check all splits of a BOP data set.

    What can be opened is checked; what cannot is a finding.

    Args:
        path: Its folder.

    Raises:
        DataError: The folder is no BOP data set.
    """
    root = Path(path)
    findings: list[Finding] = []
    opened: list[BopDataset] = []
    for name in split_names(root):
        try:
            opened.append(BopDataset.open(root, name))
        except DataError as error:
            findings.append(Finding("error", "unreadable", name, str(error)))
    meshes: dict[int, Mesh] = {}
    diameters: dict[int, float] = {}
    symmetric: tuple[int, ...] = ()
    if opened:
        shown = {obj_id for data in opened for obj_id in data.objects}
        meshes, found = check_models(opened[0], shown)
        findings += found
        if not any(finding.code == "no_models" for finding in found):
            infos = opened[0].models_info
            diameters = {obj_id: info.diameter for obj_id, info in infos.items()}
            symmetric = tuple(obj_id for obj_id, info in infos.items() if info.symmetric)
    splits: dict[str, SplitReport] = {}
    for data in opened:
        findings += [*check_files(data), *check_poses(data, diameters)]
        fits, found = check_boxes(data, meshes)
        findings += found
        splits[data.split] = _describe(data, fits)
    findings += check_leaks(opened)
    findings.sort(key=lambda finding: finding.level)
    return DatasetReport(root, splits, diameters, symmetric, tuple(findings))


def _describe(data: BopDataset, fits: Mapping[int, BoxFit]) -> SplitReport:
    distances = np.concatenate([np.linalg.norm(scene.t, axis=1) for scene in data.scenes])
    visible = np.concatenate([scene.visib_fract for scene in data.scenes])
    visible = visible[~np.isnan(visible)]
    first = data.frames[0]
    try:
        size = first.picture_size()
    except DataError:
        size = None
    low, middle, high = (
        np.quantile(distances, [0, 0.5, 1]).tolist() if len(distances) else (0.0, 0.0, 0.0)
    )
    return SplitReport(
        scenes=len(data.scenes),
        frames=len(data.frames),
        instances=len(distances),
        size=size,
        K=(first.K[0, 0].item(), first.K[1, 1].item(), first.K[0, 2].item(), first.K[1, 2].item()),
        distances_mm=(low, middle, high) if len(distances) else None,
        visible=float(np.median(visible)) if len(visible) else None,
        boxes=fits,
    )
