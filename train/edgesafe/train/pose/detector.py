"""A light detector: the centres of objects as heat, their boxes beside (Zhou et al. 2019).

One map of stride 8: ``heat`` has a channel for each object, ``box`` the distances from the centre
of the cell to the left, top, right and bottom edge of the visible part (Tian et al. 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.pose.layers import ConvNorm
from edgesafe.train.pose.trunks import STRIDE, build_trunk

__all__ = ["Detector", "DetectorTargets", "detector_terms"]

_PRIOR = -4.6
"""Logit of a heat of 1 %: what most cells should say, from the first step on."""


class Detector(nn.Module):
    """Trunk and two small heads.

    Attributes:
        architecture: What it was made from; JSON-ready: ``trunk``, ``width``, ``hidden``,
            ``objects``.
    """

    def __init__(self, architecture: Mapping[str, Any], *, pretrained: bool = False) -> None:
        """Builds the network.

        Raises:
            CheckpointError: The description is not one.
            MissingExtraError: The package with the pretrained weights is not installed.
        """
        super().__init__()
        self.architecture = dict(architecture)
        try:
            trunk, width = str(architecture["trunk"]), int(architecture["width"])
            hidden, objects = int(architecture["hidden"]), int(architecture["objects"])
            self.trunk = build_trunk(trunk, width, fine=True, pretrained=pretrained)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the detector's architecture is not valid: {error}.") from error
        self.hidden = ConvNorm(self.trunk.out, hidden)
        self.heat = nn.Conv2d(hidden, objects, 1)
        self.box = nn.Conv2d(hidden, 4, 1)
        nn.init.constant_(self.heat.bias, _PRIOR)  # type: ignore[arg-type]
        nn.init.constant_(self.box.bias, 3.0)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Finds objects.

        Args:
            pixels: (B, 3, H, W), normalised.

        Returns:
            ``heat`` (B, O, H/8, W/8), logits, and ``box`` (B, 4, H/8, W/8), input pixels.
        """
        x = self.hidden(self.trunk(pixels))
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            return {"heat": self.heat(x), "box": functional.softplus(self.box(x)) * STRIDE}


@dataclass(frozen=True)
class DetectorTargets:
    """What the detector should say.

    Attributes:
        heat: (B, O, h, w), 1 at the cell of a centre, falling off around it.
        box: (B, 4, h, w), distances in input pixels.
        weight: (B, 1, h, w), of the cells that a box is learnt at.
    """

    heat: Tensor
    box: Tensor
    weight: Tensor


def detector_terms(
    found: dict[str, Tensor], targets: DetectorTargets, *, box: float
) -> dict[str, Tensor]:
    """Focal loss of the heat and, weighted by ``box``, generalised IoU and L1 of the boxes.

    Returns:
        ``loss`` and its parts ``heat`` and ``box``, and ``iou``, the mean over the weighted cells.
    """
    logits, truth = found["heat"], targets.heat
    probability = logits.sigmoid()
    centre = (truth == 1).to(truth.dtype)
    # Law and Deng 2018, eq. 1, with alpha = 2 and beta = 4.
    hit = -functional.logsigmoid(logits) * (1 - probability) ** 2 * centre
    miss = -functional.logsigmoid(-logits) * probability**2 * (1 - truth) ** 4 * (1 - centre)
    heat = (hit + miss).sum() / centre.sum().clamp_min(1.0)

    weight = targets.weight[:, 0]
    total = weight.sum().clamp_min(1e-6)
    iou, generalised = _overlaps(found["box"], targets.box)
    size = (targets.box[:, :2] + targets.box[:, 2:]).mean(dim=1).clamp_min(1.0)
    apart = (found["box"] - targets.box).abs().mean(dim=1) / size
    boxes = ((1 - generalised + apart) * weight).sum() / total
    return {
        "loss": heat + box * boxes,
        "heat": heat,
        "box": boxes,
        "iou": ((iou * weight).sum() / total).detach(),
    }


def _overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (Rezatofighi et al. 2019) of boxes about a common point (B, 4, …)."""
    both = torch.minimum(a, b)
    hull = torch.maximum(a, b)

    def area(box: Tensor) -> Tensor:
        return (box[:, 0] + box[:, 2]) * (box[:, 1] + box[:, 3])

    intersection = area(both)
    union = (area(a) + area(b) - intersection).clamp_min(1e-6)
    iou = intersection / union
    around = area(hull).clamp_min(1e-6)
    return iou, iou - (around - union) / around
