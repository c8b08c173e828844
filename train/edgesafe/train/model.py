"""Two towers and the lift of their features onto the Lorentz hyperboloid.

Source: HySAC (arXiv 2503.12127), section 3; the lift is MERU's (arXiv 2304.09172), section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgesafe.train import lorentz
from edgesafe.train.encoders.base import DualEncoder

LOG_CURVATURE_RANGE = (math.log(0.1), math.log(10.0))
LOG_LOGIT_SCALE_RANGE = (math.log(1 / 0.07), math.log(100.0))
LOG_ALPHA_MAX = 0.0


class Lift(nn.Module):
    """From Euclidean features to points of the hyperboloid: ``exp_map0(exp(alpha) * f, c)``.

    The four scalars are kept as logarithms, so that an optimiser step can never turn one
    negative; `clamp_` brings them back into their range after each step.

    Attributes:
        visual_alpha: Logarithm of the scale of image features, 0-dim, at most 0.
        textual_alpha: Logarithm of the scale of text features, 0-dim, at most 0.
        curv: Logarithm of the curvature c (the hyperboloid's curvature is -c), 0-dim.
        logit_scale: Logarithm of the inverse temperature, 0-dim.
    """

    def __init__(
        self,
        dim: int,
        *,
        curvature: float = 1.0,
        temperature: float = 0.07,
        visual_scale: float | None = None,
        textual_scale: float | None = None,
    ) -> None:
        """Sets the scalars.

        Args:
            dim: Dimension of the features.
            curvature: Initial c.
            temperature: Initial temperature of the contrastive terms.
            visual_scale: Initial scale of image features; None for ``dim ** -0.5``.
            textual_scale: The same for text.
        """
        super().__init__()
        default = dim**-0.5
        visual = default if visual_scale is None else visual_scale
        textual = default if textual_scale is None else textual_scale
        self.visual_alpha = nn.Parameter(torch.tensor(math.log(visual)))
        self.textual_alpha = nn.Parameter(torch.tensor(math.log(textual)))
        self.curv = nn.Parameter(torch.tensor(math.log(curvature)))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
        self.clamp_()

    @property
    def curvature(self) -> Tensor:
        """The hyperboloid's c > 0 (its curvature is -c), 0-dim."""
        return self.curv.exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Brings the four scalars back into their range; call it after every optimiser step."""
        self.visual_alpha.clamp_(max=LOG_ALPHA_MAX)
        self.textual_alpha.clamp_(max=LOG_ALPHA_MAX)
        self.curv.clamp_(*LOG_CURVATURE_RANGE)
        self.logit_scale.clamp_(*LOG_LOGIT_SCALE_RANGE)

    def image(self, features: Tensor) -> Tensor:
        """Lifts image features (B, d); returns the space part (B, d)."""
        return self._lift(features, self.visual_alpha)

    def text(self, features: Tensor) -> Tensor:
        """Lifts text features (B, d); returns the space part (B, d)."""
        return self._lift(features, self.textual_alpha)

    def _lift(self, features: Tensor, alpha: Tensor) -> Tensor:
        # Half precision collapses distances near the root (one distinct value over 4,096 pairs in
        # bf16), so the geometry is an island of at least float32 whatever the towers compute in.
        with torch.autocast(features.device.type, enabled=False):
            if features.dtype in (torch.float16, torch.bfloat16):
                features = features.float()
            alpha, curvature = alpha.to(features.dtype), self.curvature.to(features.dtype)
            return lorentz.exp_map0(alpha.exp() * features, curvature)


class HyperbolicDualEncoder(nn.Module):
    """Towers and lift: what is trained, kept in a checkpoint and exported.

    Attributes:
        encoder: The towers.
        lift: The lift with its four scalars.
        min_radius: K of the half aperture (entailment cones close nearer to the root than that).
    """

    def __init__(self, encoder: DualEncoder, lift: Lift, *, min_radius: float = 0.1) -> None:
        """Joins towers and lift."""
        super().__init__()
        self.encoder = encoder
        self.lift = lift
        self.min_radius = min_radius

    @property
    def curvature(self) -> Tensor:
        """The hyperboloid's c > 0 (its curvature is -c), 0-dim."""
        return self.lift.curvature

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embeds normalised pixels (B, 3, H, W); returns the space part (B, d)."""
        return self.lift.image(self.encoder.image(pixels))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeds token ids (B, T) with their mask; returns the space part (B, d)."""
        return self.lift.text(self.encoder.text(input_ids, attention_mask))


class ImageHead(nn.Module):
    """The image half for export: pixels (B, 3, H, W) -> embedding (B, d), root distance (B,)."""

    def __init__(self, model: HyperbolicDualEncoder) -> None:
        """Wraps a model; nothing is copied."""
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the space part and its distance from the root."""
        embedding = self.model.encode_image(pixels)
        curvature = self.model.curvature.to(embedding.dtype)
        return embedding, lorentz.root_distance(embedding, curvature)


class TextHead(nn.Module):
    """The text half for export: ids and mask (B, T) -> embedding (B, d), root distance (B,)."""

    def __init__(self, model: HyperbolicDualEncoder) -> None:
        """Wraps a model; nothing is copied."""
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the space part and its distance from the root."""
        embedding = self.model.encode_text(input_ids, attention_mask)
        curvature = self.model.curvature.to(embedding.dtype)
        return embedding, lorentz.root_distance(embedding, curvature)
