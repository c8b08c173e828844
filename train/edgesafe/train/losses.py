"""HySAC's terms (arXiv 2503.12127, section 3) over one global batch of quadruplets.

With T, I the safe text and image and T*, I* their unsafe counterparts, all points of the
hyperboloid of curvature -c:

* four contrastive terms, on (T, I), (T*, I*), (T, I*) and (T*, I). The pairs across safety are
  positives too; what keeps safe and unsafe apart is the entailment.
* three entailment terms along the chain T << I << T* << I*, from the general to the specific:
  T entails I, T* entails I*, I entails T*. They order the four classes by distance from the root.
* the shell term, off by default, which is edgesafe's and not the paper's: where the features are
  too weak for the cones to order the classes, it ranks distances from the root directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgesafe.train import lorentz
from edgesafe.train.loss_config import LossConfig

CONTRASTIVE = (
    "text_image",
    "unsafe_text_unsafe_image",
    "text_unsafe_image",
    "unsafe_text_image",
)
ENTAILMENT = ("entail_safe", "entail_unsafe", "entail_safety")


@dataclass(frozen=True)
class Quadruplets:
    """Embeddings of one batch: space parts, float32 or wider.

    Attributes:
        safe_text: T, (B, d).
        safe_image: I, (B, d).
        unsafe_text: T*, (B, d).
        unsafe_image: I*, (B, d).
        negative_text: Safe look-alikes (N, d), or None; they join the shell term only.
        negative_image: The same for images, (M, d).
    """

    safe_text: Tensor
    safe_image: Tensor
    unsafe_text: Tensor
    unsafe_image: Tensor
    negative_text: Tensor | None = None
    negative_image: Tensor | None = None


def contrastive(x: Tensor, y: Tensor, curvature: Tensor, logit_scale: Tensor) -> Tensor:
    """Symmetric cross entropy of ``-distance * scale`` with the diagonal as positives.

    Args:
        x: Space parts (B, d).
        y: Space parts (B, d); row i belongs to row i of ``x``.
        curvature: c, 0-dim.
        logit_scale: Inverse temperature (not its logarithm), 0-dim.

    Returns:
        The mean over both directions, 0-dim.
    """
    logits = -lorentz.pairwise_distance(x, y, curvature) * logit_scale
    target = torch.arange(len(x), device=x.device)
    forward = functional.cross_entropy(logits, target)
    backward = functional.cross_entropy(logits.T, target)
    return 0.5 * (forward + backward)


def entailment(
    apex: Tensor,
    y: Tensor,
    curvature: Tensor,
    *,
    min_radius: float,
    aperture_scale: float = 1.0,
    paper_eps: bool = False,
) -> Tensor:
    """Mean of how far each ``y`` lies outside the cone of its apex, in radians.

    ``max(0, exterior_angle(apex, y) - eta * half_aperture(apex))``, averaged over (B,).

    Args:
        apex: Space parts (B, d).
        y: Space parts (B, d).
        curvature: c, 0-dim.
        min_radius: K of the half aperture.
        aperture_scale: eta.
        paper_eps: Take the released code's offsets.
    """
    angle = lorentz.exterior_angle(apex, y, curvature, paper_eps=paper_eps)
    aperture = lorentz.half_aperture(apex, curvature, min_radius, paper_eps=paper_eps)
    return functional.relu(angle - aperture_scale * aperture).mean()


def shell(safe: Tensor, unsafe: Tensor, *, margin: float, temperature: float) -> Tensor:
    """Smooth hinge on every pair of one safe and one unsafe distance from the root.

    The mean over all pairs of ``t * softplus((r_safe - r_unsafe + margin) / t)``: a surrogate of
    one minus the area under the ROC curve. Not part of HySAC.

    Args:
        safe: Distances from the root (N,).
        unsafe: Distances from the root (M,).
        margin: How much further out the unsafe ones should lie.
        temperature: Softness of the hinge.
    """
    gap = safe[:, None] - unsafe[None, :] + margin
    return temperature * functional.softplus(gap / temperature).mean()


def place(safe_maps: Sequence[Tensor], unsafe_maps: Sequence[Tensor], different: Tensor) -> Tensor:
    """Balanced logistic loss of evidence maps against where two twins differ. Not part of HySAC.

    A cell of which at least 15 % differs is a positive of the unsafe twin; one with less than 2 %
    is a negative of it. Every cell of the safe twin is a negative, and those of the changed place
    (where a harmless thing may lie instead) count once more by themselves.

    Args:
        safe_maps: Logits of the safe images, one (B, h, w) per map.
        unsafe_maps: The same for their twins.
        different: (B, H, W), 1 where the twins' pixels differ, else 0.

    Returns:
        The mean over the maps, 0-dim; 0 for a batch without a changed cell.
    """
    losses = []
    for safe, unsafe in zip(safe_maps, unsafe_maps, strict=True):
        size = (safe.shape[1], safe.shape[2])
        share = functional.adaptive_avg_pool2d(different[:, None], size)[:, 0]
        here, elsewhere = share >= 0.15, share < 0.02
        if not bool(here.any()):
            losses.append(safe.sum() * 0)
            continue
        losses.append(
            functional.softplus(-unsafe[here]).mean()
            + functional.softplus(torch.cat([unsafe[elsewhere], safe.flatten()])).mean()
            + 0.5 * functional.softplus(safe[here]).mean()
        )
    return torch.stack(losses).mean()


def hysac_terms(
    batch: Quadruplets,
    curvature: Tensor,
    logit_scale: Tensor,
    config: LossConfig,
    *,
    min_radius: float,
) -> dict[str, Tensor]:
    """All terms of a batch, unweighted, and their weighted total.

    Args:
        batch: Embeddings of the whole global batch.
        curvature: c, 0-dim.
        logit_scale: Inverse temperature (not its logarithm), 0-dim.
        config: Weights.
        min_radius: K of the half aperture.

    Returns:
        ``loss`` and one 0-dim tensor per term, named as its weight in `LossConfig`, and
        ``shell_image`` and ``shell_text`` where the shell term is on.
    """
    text, image = batch.safe_text, batch.safe_image
    unsafe_text, unsafe_image = batch.unsafe_text, batch.unsafe_image
    terms: dict[str, Tensor] = {}
    for name, (x, y) in zip(
        CONTRASTIVE,
        ((text, image), (unsafe_text, unsafe_image), (text, unsafe_image), (unsafe_text, image)),
        strict=True,
    ):
        terms[name] = contrastive(x, y, curvature, logit_scale)
    for name, (apex, y) in zip(
        ENTAILMENT,
        ((text, image), (unsafe_text, unsafe_image), (image, unsafe_text)),
        strict=True,
    ):
        terms[name] = entailment(
            apex,
            y,
            curvature,
            min_radius=min_radius,
            aperture_scale=config.aperture_scale,
            paper_eps=config.paper_eps,
        )
    weights = {name: float(getattr(config, name)) for name in terms}
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    if config.normalise == "released":
        total = total / (max(sum(weights.values()), 1e-12) * len(weights))
    if config.shell_weight > 0:
        terms["shell_image"] = _shell(image, batch.negative_image, unsafe_image, curvature, config)
        terms["shell_text"] = _shell(text, batch.negative_text, unsafe_text, curvature, config)
        total = total + config.shell_weight * (
            config.shell_image * terms["shell_image"] + config.shell_text * terms["shell_text"]
        )
    return {"loss": total, **terms}


def _shell(
    safe: Tensor, negative: Tensor | None, unsafe: Tensor, curvature: Tensor, config: LossConfig
) -> Tensor:
    if negative is not None:
        safe = torch.cat([safe, negative])
    return shell(
        lorentz.root_distance(safe, curvature),
        lorentz.root_distance(unsafe, curvature),
        margin=config.shell_margin,
        temperature=config.shell_temperature,
    )
