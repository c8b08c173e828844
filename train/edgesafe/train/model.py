"""Two towers and where their features are placed: on the Lorentz hyperboloid or the unit sphere.

Sources: HySAC (arXiv 2503.12127), section 3; the lift is MERU's (arXiv 2304.09172), section 3. The
sphere is CLIP's and Safe-CLIP's (arXiv 2311.16254).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

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


class SafetyModel(nn.Module):
    """Towers and a geometry: what is trained, kept in a checkpoint and exported.

    Attributes:
        encoder: The towers.
    """

    encoder: DualEncoder

    def __init__(self, encoder: DualEncoder) -> None:
        """Keeps the towers."""
        super().__init__()
        self.encoder = encoder

    @property
    def curvature(self) -> Tensor | None:
        """The hyperboloid's c > 0 (its curvature is -c), 0-dim; None on the sphere."""
        raise NotImplementedError

    def place_image(self, features: Tensor) -> Tensor:
        """Places image features (B, d); returns the embedding (B, d), at least float32."""
        raise NotImplementedError

    def place_text(self, features: Tensor) -> Tensor:
        """Places text features (B, d); returns the embedding (B, d), at least float32."""
        raise NotImplementedError

    def clamp_(self) -> None:
        """Brings the scalars of the geometry back into their range, after an optimiser step."""
        raise NotImplementedError

    def geometry(self) -> dict[str, Any]:
        """The geometry as a checkpoint and a package describe it."""
        raise NotImplementedError

    def scalars(self) -> dict[str, float]:
        """The scalars of the geometry, for the log."""
        raise NotImplementedError

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embeds normalised pixels (B, 3, H, W); returns (B, d)."""
        return self.place_image(self.encoder.image(pixels))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeds token ids (B, T) with their mask; returns (B, d)."""
        return self.place_text(self.encoder.text(input_ids, attention_mask))


class HyperbolicDualEncoder(SafetyModel):
    """Towers and lift; an embedding is the space part of a point of the hyperboloid.

    Attributes:
        lift: The lift with its four scalars.
        min_radius: K of the half aperture (entailment cones close nearer to the root than that).
    """

    def __init__(self, encoder: DualEncoder, lift: Lift, *, min_radius: float = 0.1) -> None:
        """Joins towers and lift."""
        super().__init__(encoder)
        self.lift = lift
        self.min_radius = min_radius

    @property
    def curvature(self) -> Tensor:
        """The hyperboloid's c > 0 (its curvature is -c), 0-dim."""
        return self.lift.curvature

    def place_image(self, features: Tensor) -> Tensor:
        """Lifts image features (B, d); returns the space part (B, d)."""
        return self.lift.image(features)

    def place_text(self, features: Tensor) -> Tensor:
        """Lifts text features (B, d); returns the space part (B, d)."""
        return self.lift.text(features)

    def clamp_(self) -> None:
        """See `Lift.clamp_`."""
        self.lift.clamp_()

    def geometry(self) -> dict[str, Any]:
        """Model, curvature, dimension and K."""
        return {
            "model": "lorentz",
            "curvature": self.curvature.item(),
            "dim": self.encoder.dim,
            "min_radius": self.min_radius,
        }

    def scalars(self) -> dict[str, float]:
        """Curvature, the two scales and the inverse temperature."""
        return {
            "curvature": self.curvature.item(),
            "visual_scale": self.lift.visual_alpha.exp().item(),
            "textual_scale": self.lift.textual_alpha.exp().item(),
            "logit_scale": self.lift.logit_scale.exp().item(),
        }


class EuclideanDualEncoder(SafetyModel):
    """Towers whose features are divided by their length, as CLIP's are.

    Attributes:
        logit_scale: Logarithm of the inverse temperature, 0-dim.
    """

    def __init__(self, encoder: DualEncoder, *, temperature: float = 0.01) -> None:
        """Keeps the towers; the temperature is that of the contrastive terms."""
        super().__init__(encoder)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    @property
    def curvature(self) -> None:
        """None: there is no hyperboloid."""
        return None

    def place_image(self, features: Tensor) -> Tensor:
        """Divides image features (B, d) by their length."""
        return unit(features)

    def place_text(self, features: Tensor) -> Tensor:
        """Divides text features (B, d) by their length."""
        return unit(features)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Keeps the inverse temperature at 100 or below, as CLIP does."""
        self.logit_scale.clamp_(max=LOG_LOGIT_SCALE_RANGE[1])

    def geometry(self) -> dict[str, Any]:
        """Model and dimension."""
        return {"model": "euclidean", "dim": self.encoder.dim}

    def scalars(self) -> dict[str, float]:
        """The inverse temperature."""
        return {"logit_scale": self.logit_scale.exp().item()}


def unit(features: Tensor) -> Tensor:
    """Divides rows (B, d) by their length, in at least float32."""
    with torch.autocast(features.device.type, enabled=False):
        if features.dtype in (torch.float16, torch.bfloat16):
            features = features.float()
        return functional.normalize(features, dim=-1)


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
