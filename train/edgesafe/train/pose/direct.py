"""The direct head: rotation, centre and depth by regression (GDR-Net's targets, Wang et al. 2021).

Everything is relative to the region of interest, so no camera matrix enters the graph: the
rotation is allocentric (seen along the ray of the centre), the centre is in input pixels, and the
depth is a scale, millimetres per input pixel.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgesafe.train.pose.layers import ConvNorm, PerObject, cell_centres
from edgesafe.train.pose.trunks import STRIDE

__all__ = ["DirectHead", "rotation_of"]


class DirectHead(nn.Module):
    """Pools a feature map and reads the pose off it."""

    def __init__(self, inputs: int, hidden: int, size: int, objects: int) -> None:
        """Makes the layers; see `VoteHead`."""
        super().__init__()
        self.size = size
        self.mask_hidden = ConvNorm(inputs, hidden // 2)
        self.mask = PerObject(hidden // 2, 1, objects)
        # With the place of each cell among its channels, or the mean over the cells would not
        # know where anything was.
        self.hidden = nn.Sequential(
            ConvNorm(inputs + 2, hidden, stride=2), ConvNorm(hidden, hidden, stride=2)
        )
        self.last = PerObject(hidden, 9, objects)
        side = size // STRIDE
        cells = cell_centres(side, side, STRIDE).reshape(1, 2, side, side)
        self.register_buffer("cells", cells / (size / 2) - 1, persistent=False)
        with torch.no_grad():
            # The identity, the middle of the region, and an object of about a decimetre in it.
            start = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 0])
            self.last.bias.add_(start[:, None])

    def forward(self, features: Tensor, index: Tensor | None = None) -> dict[str, Tensor]:
        """Reads the pose.

        Args:
            features: (B, inputs, S/8, S/8).
            index: Object of each sample (B,); None where there is one object.

        Returns:
            ``rotation`` (B, 3, 3), ``centre`` (B, 2) in input pixels, ``log_scale`` (B,), and
            ``mask`` (B, 1, S/8, S/8), logits.
        """
        rows, columns = features.shape[2:]
        # Not expand, which puts the batch size into the graph.
        cells = features[:, :2] * 0 + cast(Tensor, self.cells).to(features.dtype)
        mask = self.mask_hidden(features).flatten(2)
        pooled = self.hidden(torch.cat([features, cells], dim=1)).mean(dim=(2, 3))
        with torch.autocast(features.device.type, enabled=False):
            single = pooled.dtype != torch.float64
            logits = self.mask(mask.float() if single else mask, index)
            raw = self.last((pooled.float() if single else pooled)[..., None], index)[..., 0]
            middle = (self.size - 1) / 2
            return {
                "rotation": rotation_of(raw[:, :6]),
                "centre": middle + raw[:, 6:8] * (self.size / 4),
                "log_scale": raw[:, 8],
                "mask": logits.unflatten(2, (rows, columns)),
            }


def rotation_of(six: Tensor) -> Tensor:
    """Two columns (B, 6) to rotation matrices (B, 3, 3) by Gram-Schmidt (Zhou et al. 2019)."""
    a, b = six[:, :3], six[:, 3:]
    x = _unit(a)
    y = _unit(b - (x * b).sum(dim=1, keepdim=True) * x)
    # torch.linalg.cross exports as a loop in some versions.
    z = torch.stack(
        [
            x[:, 1] * y[:, 2] - x[:, 2] * y[:, 1],
            x[:, 2] * y[:, 0] - x[:, 0] * y[:, 2],
            x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0],
        ],
        dim=1,
    )
    return torch.stack([x, y, z], dim=2)


def _unit(v: Tensor) -> Tensor:
    return v / (v * v).sum(dim=1, keepdim=True).clamp_min(1e-12).sqrt()
