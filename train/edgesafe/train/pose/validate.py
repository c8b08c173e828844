"""What a network is worth on held-out instances, measured while it trains."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgesafe.calib.pose_errors import add, adi
from edgesafe.calib.ungated_pose import ungated_pose
from edgesafe.runtime.manifest_pose import DetectorSpec
from edgesafe.runtime.pose.detector import Letterbox, find_boxes
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.pose.config import DetectorConfig
from edgesafe.train.pose.frames import FrameSamples
from edgesafe.train.pose.loader import collate
from edgesafe.train.pose.objects import KnownObject
from edgesafe.train.pose.overlay import draw_boxes, draw_keypoints, sheet
from edgesafe.train.pose.regions import RegionSamples
from edgesafe.train.pose.tasks import Report
from edgesafe.train.pose.trunks import STRIDE

__all__ = ["DetectorValidator", "RoiValidator"]

Array = npt.NDArray[np.float64]

_BATCH = 32
_SHOWN = 16
_POINTS = 400
_LIMIT = 0.1  # of the diameter
_FOUND = 0.5  # intersection over union


class RoiValidator:
    """Keypoint error and ADD(-S) recall over plain regions around the true boxes.

    ADD for objects without symmetries, ADI for the others (Hinterstoisser et al. 2012), at a tenth
    of the diameter. A pose that cannot be found counts as wrong.
    """

    def __init__(
        self,
        samples: RegionSamples,
        surfaces: dict[int, Array],
        preprocess: Preprocess,
        device: torch.device,
        limit: int,
    ) -> None:
        """Chooses at most ``limit`` instances, evenly spread."""
        self.samples = samples
        self.preprocess = preprocess
        self.device = device
        count = min(limit, len(samples))
        self.numbers = np.linspace(0, len(samples) - 1, count).astype(np.int64)
        self.points = {
            number: points[np.linspace(0, len(points) - 1, min(_POINTS, len(points))).astype(int)]
            for number, points in surfaces.items()
        }

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> Report:
        """``keypoint_px`` (median, of the vote head) and ``recall``, also ``recall/NAME``."""
        errors: list[float] = []
        hits: dict[str, list[bool]] = {}
        shown: list[npt.NDArray[np.uint8]] = []
        for start in range(0, len(self.numbers), _BATCH):
            numbers = [int(n) for n in self.numbers[start : start + _BATCH]]
            views = [self.samples.plain(number) for number in numbers]
            batch = collate([sample for sample, _ in views], self.preprocess)
            found = network(batch["pixels"].to(self.device), batch["object"].to(self.device))
            arrays = {name: value.cpu().double().numpy() for name, value in found.items()}
            for i, (number, (sample, roi)) in enumerate(zip(numbers, views, strict=True)):
                one = {name: value[i] for name, value in arrays.items()}
                known, K, R, t = self.samples.truth(number)
                pose = ungated_pose(one, known.keypoints, roi, K)
                hits.setdefault(known.name, []).append(
                    pose is not None and self._error(pose, R, t, known) < _LIMIT * known.diameter
                )
                if "keypoints" in one:
                    apart = np.linalg.norm(sample["keypoints"] - one["keypoints"], axis=-1)
                    best = int(apart.mean(axis=1).argmin())
                    errors.append(float(apart[best].mean()))
                    if len(shown) < _SHOWN:
                        truth = sample["keypoints"][best]
                        shown.append(draw_keypoints(sample["pixels"], one, truth))
        metrics = {"recall": float(np.mean([np.mean(h) for h in hits.values()]))}
        if errors:
            metrics["keypoint_px"] = float(np.median(errors))
        metrics |= {f"recall/{name}": float(np.mean(h)) for name, h in sorted(hits.items())}
        return metrics, {"regions": sheet(shown)} if shown else {}

    def _error(self, pose: tuple[Array, Array], R: Array, t: Array, known: KnownObject) -> float:
        measure = adi if known.symmetric else add
        return float(measure(*pose, R, t, self.points[known.id]))


class DetectorValidator:
    """Recall of the true boxes at an IoU of 0.5, over plain frames."""

    def __init__(
        self,
        samples: FrameSamples,
        config: DetectorConfig,
        preprocess: Preprocess,
        device: torch.device,
        limit: int,
    ) -> None:
        """Chooses at most ``limit`` frames, evenly spread."""
        self.samples = samples
        self.preprocess = preprocess
        self.device = device
        count = min(limit, len(samples))
        self.numbers = np.linspace(0, len(samples) - 1, count).astype(np.int64)
        self.spec = DetectorSpec(
            file="",
            width=config.width_px,
            height=config.height_px,
            stride=STRIDE,
            objects=tuple(range(len(samples.objects))),
            max_per_object=config.max_per_object,
            min_score=config.min_score,
            opset=0,
            precision="fp32",
            storage="fp32",
            preprocess=preprocess,
        )

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> Report:
        """``recall``, also ``recall/NAME``, and of what was found ``iou`` and ``edge_sd``.

        ``edge_sd`` is the root mean square error of the edges as a share of the longer side of the
        box; ``false_per_frame`` counts what is not there.
        """
        names = [known.name for known in self.samples.objects]
        hits: dict[str, list[bool]] = {}
        overlaps: list[float] = []
        edges: list[float] = []
        shown: list[npt.NDArray[np.uint8]] = []
        false = 0
        size = (self.spec.width, self.spec.height)
        for number in self.numbers:
            sample, boxes, ids = self.samples.plain(int(number))
            found = network(collate([sample], self.preprocess)["pixels"].to(self.device))
            heat = found["heat"][0].sigmoid().cpu().numpy()
            detections = find_boxes(
                heat, found["box"][0].cpu().numpy(), self.spec, Letterbox(*size, *size)
            )
            made = np.array([(*d.box[:2], *np.add(d.box[:2], d.box[2:])) for d in detections])
            made = made.reshape(-1, 4) - 0.5  # edges, centres at whole numbers
            for box, index in zip(boxes, ids, strict=True):
                own = made[[d.object_id == index for d in detections]]
                best, nearest = max(((_iou(box, m), tuple(m)) for m in own), default=(0.0, ()))
                hits.setdefault(names[index], []).append(best >= _FOUND)
                if best >= _FOUND:
                    overlaps.append(best)
                    edges += list((nearest - box) / max(box[2:] - box[:2]))
            false += len(made) - sum(
                any(
                    d.object_id == n and _iou(b, m) >= _FOUND
                    for b, n in zip(boxes, ids, strict=True)
                )
                for d, m in zip(detections, made, strict=True)
            )
            if len(shown) < 6:
                shown.append(draw_boxes(sample["pixels"], boxes, made))
        metrics = {
            "recall": float(np.mean([np.mean(h) for h in hits.values()])) if hits else 0.0,
            "iou": float(np.mean(overlaps)) if overlaps else 0.0,
            "edge_sd": float(np.sqrt(np.mean(np.square(edges)))) if edges else 1.0,
            "false_per_frame": false / len(self.numbers),
        }
        metrics |= {f"recall/{name}": float(np.mean(h)) for name, h in sorted(hits.items())}
        return metrics, {"frames": sheet(shown, 3)}


def _iou(a: Array, b: Array) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    both = float(np.prod(np.maximum(high - low, 0)))
    areas = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]))
    return both / max(areas - both, 1e-9)
