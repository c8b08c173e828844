"""Losses against reading a pose from what surrounds an object.

Both are optional and neither is a cure by itself: a network may still need surroundings that it has
always seen (docs/markers.md). They go with training images in which the surroundings vary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgesafe.train.pose.losses import UNIT

__all__ = ["answer", "answer_size", "consistency", "reasons"]

_MASK_WEIGHT = 0.5
_BORDER_CELLS = 1
_SCALE = 8.0


def answer(found: dict[str, Tensor]) -> Tensor:
    """What a network says of the pose, (B, N): pixels over 4, or those, a rotation and a scale."""
    if "keypoints" in found:
        return found["keypoints"].flatten(1) / UNIT
    rotation, centre = found["rotation"].flatten(1), found["centre"] / UNIT
    return torch.cat([rotation, centre, found["log_scale"].reshape(-1, 1)], dim=1)


def answer_size(head: str, keypoints: int) -> int:
    """N of :func:`answer`."""
    return 2 * keypoints if head == "vote" else 9 + 2 + 1


def consistency(found: dict[str, Tensor], other: dict[str, Tensor]) -> Tensor:
    """How much another surrounding changes what a network says.

    SmoothL1 of the difference of the answers, and half the cross entropy of the masks; that of the
    picture itself is what the other one should say.

    Args:
        found: What it said of the pictures.
        other: What it said of the same objects before something else.
    """
    change = functional.smooth_l1_loss(answer(found), answer(other))
    wanted = torch.sigmoid(found["mask"]).detach()
    return change + _MASK_WEIGHT * functional.binary_cross_entropy_with_logits(
        other["mask"], wanted
    )


def reasons(found: dict[str, Tensor], pixels: Tensor, mask: Tensor, directions: Tensor) -> Tensor:
    """How much the answer hangs on pixels beside the object, by its gradient.

    Right for the right reasons (Ross et al., IJCAI 2017, arXiv 1703.03717) for a regression: with u
    drawn from N(0, I), the mean of |d(u . y)/d pixels|^2 over u is the squared norm of the Jacobian
    there.

    Args:
        found: What the network said of ``pixels``.
        pixels: (B, 3, S, S), requires a gradient.
        mask: (B, 1, H, W) visible share of each cell; a border of one cell counts as the object.
        directions: (B, N) u.
    """
    score = (directions * answer(found) * (UNIT / _SCALE)).sum()
    (slope,) = torch.autograd.grad(score, pixels, create_graph=True)
    side = 2 * _BORDER_CELLS + 1
    near = functional.max_pool2d((mask > 0).to(slope.dtype), side, 1, _BORDER_CELLS)
    beside = 1 - functional.interpolate(near, size=slope.shape[-2:], mode="nearest")
    return (beside * slope.square()).sum(dim=(1, 2, 3)).mean()
