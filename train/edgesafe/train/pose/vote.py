"""SoftVote: every cell votes for every keypoint, a softmax gated by the mask counts the votes.

Dense votes as in PVNet (Peng et al. 2019), but counted in the graph by operators that every
runtime has, with the spread of the votes as a covariance for the weighted PnP that follows.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesafe.train.pose.layers import ConvNorm, PerObject, cell_centres
from edgesafe.train.pose.trunks import STRIDE

__all__ = ["VoteHead"]

OFFSET = 16.0
"""Input pixels per unit of a predicted offset."""
GATE = 4.0
"""How strongly a cell that is not on the object loses its vote: about e^(-GATE * logit)."""


class VoteHead(nn.Module):
    """Mask, votes and their confidences from a feature map of stride 8.

    Attributes:
        keypoints: K.
    """

    def __init__(self, inputs: int, hidden: int, size: int, keypoints: int, objects: int) -> None:
        """Makes the layers.

        Args:
            inputs: Channels of the map.
            hidden: Channels of the head.
            size: Side of the network's input, pixels.
            keypoints: K.
            objects: Objects served.
        """
        super().__init__()
        self.keypoints = keypoints
        self.hidden = ConvNorm(inputs, hidden)
        self.last = PerObject(hidden, 1 + 3 * keypoints, objects)
        cells = cell_centres(size // STRIDE, size // STRIDE, STRIDE)
        # Not a weight: it is rebuilt from the size.
        self.register_buffer("cells", cells, persistent=False)

    def forward(self, features: Tensor, index: Tensor | None = None) -> dict[str, Tensor]:
        """Counts the votes.

        Args:
            features: (B, inputs, S/8, S/8).
            index: Object of each sample (B,); None where there is one object.

        Returns:
            ``keypoints`` (B, K, 2) and ``covariance`` (B, K, 3) as xx, xy, yy, in input pixels;
            ``mask`` (B, 1, S/8, S/8), logits; ``votes`` (B, K, 2, P), input pixels.
        """
        rows, columns = features.shape[2:]
        x = self.hidden(features).flatten(2)
        # Half precision is for the convolutions; coordinates and their spread need the digits.
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            raw = self.last(x, index)
            k = self.keypoints
            mask, offsets, confidence = raw.split([1, 2 * k, k], dim=1)
            cells = cast(Tensor, self.cells)
            votes = offsets.unflatten(1, (k, 2)) * OFFSET + cells
            # -softplus(-m) is log sigmoid(m) in a form that half precision survives.
            weight = (confidence - GATE * functional.softplus(-mask)).softmax(dim=-1)[:, :, None]
            mean = (votes * weight).sum(dim=-1, keepdim=True)
            spread = votes - mean
            dx, dy = spread[:, :, 0], spread[:, :, 1]
            weight = weight[:, :, 0]
            covariance = torch.stack(
                [(weight * p).sum(dim=-1) for p in (dx * dx, dx * dy, dy * dy)], dim=-1
            )
        return {
            "keypoints": mean[..., 0],
            "covariance": covariance,
            "mask": mask.unflatten(2, (rows, columns)),
            "votes": votes,
        }
