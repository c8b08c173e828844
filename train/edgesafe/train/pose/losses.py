"""The losses of the two heads.

Lengths in pixels of the network's input count in units of stride 4, so that one pixel matters as
much at every size of the input. Of an object with symmetries every equivalent pose is right: the
loss is taken with the one that is nearest to the prediction (of a continuous symmetry, with the
nearest of evenly spaced turns).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["DirectTargets", "VoteTargets", "direct_terms", "nearest", "vote_terms"]

UNIT = 4.0
BETA = 0.25
ON_OBJECT = 0.5
EPSILON = 1.0
"""Added to the predicted variances, square pixels, here and in the runtime's PnP."""


@dataclass(frozen=True)
class VoteTargets:
    """What the vote head should say.

    Attributes:
        keypoints: (B, S, K, 2) input pixels, one row for each symmetry.
        mask: (B, 1, H, W), visible share of each cell.
    """

    keypoints: Tensor
    mask: Tensor


@dataclass(frozen=True)
class DirectTargets:
    """What the direct head should say.

    Attributes:
        rotation: (B, S, 3, 3) allocentric, one for each symmetry.
        centre: (B, S, 2) input pixels. A symmetry whose axis misses the model's origin moves it.
        log_scale: (B, S).
        mask: (B, 1, H, W).
        points: (B, N, 3) points of the models, mm.
        diameter: (B,) mm.
    """

    rotation: Tensor
    centre: Tensor
    log_scale: Tensor
    mask: Tensor
    points: Tensor
    diameter: Tensor


def nearest(loss: Tensor) -> Tensor:
    """Index (B,) of the symmetry of the smallest loss (B, S)."""
    return loss.detach().argmin(dim=1)


def vote_terms(
    found: dict[str, Tensor], targets: VoteTargets, *, nll: float, vote: float = 0.3
) -> dict[str, Tensor]:
    """Mask, keypoints, votes and, in the second phase, the likelihood of the covariance.

    Args:
        found: What `VoteHead` gave.
        targets: What it should have given.
        nll: Weight of the likelihood, 0 in the first phase.
        vote: Weight of the votes.

    Returns:
        ``loss`` and its unweighted parts ``mask``, ``keypoints``, ``votes``, ``nll``, and
        ``error``, the mean distance of the keypoints in pixels.
    """
    mask = functional.binary_cross_entropy_with_logits(found["mask"], targets.mask)
    difference = (found["keypoints"][:, None] - targets.keypoints) / UNIT  # (B, S, K, 2)
    per_symmetry = functional.smooth_l1_loss(
        difference, torch.zeros_like(difference), beta=BETA, reduction="none"
    ).mean(dim=(2, 3))
    best = nearest(per_symmetry)
    rows = torch.arange(len(best), device=best.device)
    keypoints = 2 * per_symmetry[rows, best].mean()
    truth = targets.keypoints[rows, best]  # (B, K, 2)

    on = (targets.mask.flatten(1) > ON_OBJECT).to(truth.dtype)  # (B, P)
    apart = (found["votes"] - truth[..., None]).abs().sum(dim=2).mean(dim=1) / UNIT  # (B, P)
    votes = (apart * on).sum() / on.sum().clamp_min(1.0)

    likelihood = _negative_log_likelihood(found["keypoints"], found["covariance"], truth)
    loss = mask + keypoints + vote * votes
    if nll > 0:
        loss = loss + nll * likelihood
    with torch.no_grad():
        error = (found["keypoints"] - truth).norm(dim=-1).mean()
    return {
        "loss": loss,
        "mask": mask,
        "keypoints": keypoints,
        "votes": votes,
        "nll": likelihood,
        "error": error,
    }


def _negative_log_likelihood(mean: Tensor, covariance: Tensor, truth: Tensor) -> Tensor:
    """Mean of 1/2 (e' (C + I)^-1 e + log det (C + I)) over samples and keypoints."""
    xx, xy, yy = covariance.unbind(dim=-1)
    xx, yy = xx + EPSILON, yy + EPSILON
    determinant = (xx * yy - xy * xy).clamp_min(EPSILON**2)
    ex, ey = (mean - truth).unbind(dim=-1)
    distance = (yy * ex * ex - 2 * xy * ex * ey + xx * ey * ey) / determinant
    return 0.5 * (distance + determinant.log()).mean()


def direct_terms(found: dict[str, Tensor], targets: DirectTargets) -> dict[str, Tensor]:
    """Point matching of the rotation, centre and depth, over the symmetries; and the mask.

    Returns:
        ``loss`` and its unweighted parts ``mask``, ``points``, ``centre``, ``depth``, and
        ``error``, the mean rotation error in degrees.
    """
    mask = functional.binary_cross_entropy_with_logits(found["mask"], targets.mask)
    points = targets.points[:, None]  # (B, 1, N, 3)
    turned = points @ found["rotation"][:, None].transpose(-1, -2)
    wanted = points @ targets.rotation.transpose(-1, -2)
    # Over the diameter, mean over the points of the sum over the coordinates.
    matching = (turned - wanted).abs().sum(dim=-1).mean(dim=-1) / targets.diameter[:, None]
    best = nearest(matching)
    rows = torch.arange(len(best), device=best.device)
    rotation = matching[rows, best].mean()
    centre = (found["centre"] - targets.centre[rows, best]).abs().sum(dim=-1).mean() / 16
    depth = (found["log_scale"] - targets.log_scale[rows, best]).abs().mean()
    with torch.no_grad():
        relative = found["rotation"].transpose(-1, -2) @ targets.rotation[rows, best]
        trace = relative.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
        error = torch.rad2deg(((trace - 1) / 2).clamp(-1, 1).acos()).mean()
    return {
        "loss": mask + rotation + centre + 4 * depth,
        "mask": mask,
        "points": rotation,
        "centre": centre,
        "depth": depth,
        "error": error,
    }
