"""Audits trained networks of the twin, and writes their saliency beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgesafe.calib.bop import Box
from edgesafe.calib.markers.audit import audit_sets
from edgesafe.calib.markers.audit_report import audit_report, write_audit
from edgesafe.calib.markers.counterfactual_dataset import Sets
from edgesafe.calib.markers.networks import Answer, FunctionRun
from edgesafe.calib.markers.saliency_maps import MapSet, read_maps, score_maps
from edgesafe.calib.ungated_pose import ungated_pose
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.train.pose.checkpoint import load_pose_checkpoint
from edgesafe.train.pose.objects import KnownObject
from edgesafe.train.pose.saliency import SalientNetwork, write_saliency

__all__ = ["audit_twin", "network_run"]


def network_run(checkpoint: Path) -> FunctionRun:
    """Return a network of `train_network` as an audit takes it: without the gates of a package."""
    (salient,) = SalientNetwork.load(checkpoint)
    (known,) = load_pose_checkpoint(checkpoint).objects

    def look(
        rgb: NDArray[np.uint8],
        K: NDArray[np.float64],
        targets: Sequence[tuple[int, Box | None]],
    ) -> Iterator[Answer]:
        for obj_id, box in targets:
            if box is not None:
                yield from _look(salient, known, rgb, K, obj_id, box)

    return FunctionRun(look, checkpoint.name)


def _look(
    salient: SalientNetwork,
    known: KnownObject,
    rgb: NDArray[np.uint8],
    K: NDArray[np.float64],
    obj_id: int,
    box: Box,
) -> Iterator[Answer]:
    roi = RoiCrop.from_box(box, salient.roi_scale, salient.network.size)
    with torch.no_grad():
        found = salient.network(salient.pixels(rgb, roi))
    one = {name: value[0].double().numpy() for name, value in found.items()}
    pose = ungated_pose(one, known.keypoints, roi, K)
    if pose is not None:
        yield obj_id, pose[0], pose[1], 1.0


def audit_twin(
    sets: Sets,
    networks: Mapping[str, Sequence[Path]],
    work: Path,
    *,
    maps: int,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Audit networks, write ``report.html`` and ``report.json``, and return the figures.

    Args:
        sets: Of `twin_sets`.
        networks: Checkpoints, one per seed, by the name of the network.
        work: Where the report goes, and ``saliency/``.
        maps: Frames with saliency maps, of the first seed.
        tell: Called with lines of a log.
    """
    scored: dict[str, dict[str, MapSet]] = {}
    for name, checkpoints in networks.items():
        tell(f"saliency of {name}")
        out = work / "saliency" / checkpoints[0].name
        loaded = SalientNetwork.load(checkpoints[0])
        write_saliency(loaded, sets, out, kinds=["orig"], limit=maps, overwrite=True)
        scored[name] = score_maps(sets, read_maps(out))
    found = audit_sets(
        sets,
        {name: [network_run(path) for path in paths] for name, paths in networks.items()},
        progress=lambda name, kind: tell(f"audit of {name}: {kind}"),
    )
    write_audit(work / "report.html", found, scored)
    return audit_report(found, scored)
