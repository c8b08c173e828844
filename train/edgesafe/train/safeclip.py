"""Safe-CLIP's training step (arXiv 2311.16254, section 3), and plain CLIP's as a baseline.

With T, V the towers that learn and R the frozen towers they started from, t and v the safe text
and image, t* and v* the unsafe ones:

* redirection draws what is unsafe toward the safe counterpart, within a modality
  (1 - cos(T(t*), R(t)), 1 - cos(V(v*), R(v))) and across (contrastive terms of T(t*) with R(v) and
  of V(v*) with R(t));
* preservation keeps what is safe where it was, by the same two kinds of terms.

The reference is a copy made before anything of the towers learns. In the released script the
"original" model that is handed to the training is the very object into which peft has put its
adapters, so that its reference moves along with what it should hold.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from edgesafe.train.data.loader import Batch, TextTable
from edgesafe.train.data.quadruplets import Quadruplet
from edgesafe.train.evaluate import EncodeSettings, encode_split, encode_texts
from edgesafe.train.gather import gather_rows
from edgesafe.train.loss_config import ClipConfig, SafeClipConfig
from edgesafe.train.losses import Quadruplets
from edgesafe.train.model import EuclideanDualEncoder, unit
from edgesafe.train.objective import Objective, gathered

__all__ = [
    "ClipObjective",
    "Reference",
    "SafeClipObjective",
    "clip_terms",
    "contrastive_cosine",
    "safeclip_terms",
]


def contrastive_cosine(x: Tensor, y: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Symmetric cross entropy of ``cosine * scale`` with the diagonal as positives.

    Args:
        x: Embeddings of length 1 (B, d).
        y: The same; row i belongs to row i of ``x``.
        logit_scale: Inverse temperature.

    Returns:
        The mean over both directions, 0-dim.
    """
    logits = x @ y.T * logit_scale
    target = torch.arange(len(x), device=x.device)
    forward = functional.cross_entropy(logits, target)
    backward = functional.cross_entropy(logits.T, target)
    return 0.5 * (forward + backward)


def safeclip_terms(
    batch: Quadruplets, text: Tensor, image: Tensor, config: SafeClipConfig
) -> dict[str, Tensor]:
    """Safe-CLIP's eight terms, unweighted, and their weighted total.

    Args:
        batch: Embeddings of length 1 of the whole global batch.
        text: R(t), the reference's embeddings of the safe texts (B, d).
        image: R(v), those of the safe images (B, d).
        config: Weights.

    Returns:
        ``loss`` and one 0-dim tensor per term, named as its weight in `SafeClipConfig`.
    """
    scale = 1 / config.temperature
    terms = {
        "keep_text": _apart(batch.safe_text, text),
        "redirect_text": _apart(batch.unsafe_text, text),
        "keep_image": _apart(batch.safe_image, image),
        "redirect_image": _apart(batch.unsafe_image, image),
        "match_text": contrastive_cosine(batch.safe_text, image, scale),
        "redirect_text_to_image": contrastive_cosine(batch.unsafe_text, image, scale),
        "match_image": contrastive_cosine(batch.safe_image, text, scale),
        "redirect_image_to_text": contrastive_cosine(batch.unsafe_image, text, scale),
    }
    weights = {name: float(getattr(config, name)) for name in terms}
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    if config.normalise == "released":
        total = total / (max(sum(weights.values()), 1e-12) * len(weights))
    return {"loss": total, **terms}


def clip_terms(batch: Quadruplets, logit_scale: Tensor, config: ClipConfig) -> dict[str, Tensor]:
    """CLIP's contrastive terms (arXiv 2103.00020) on the safe and on the unsafe pairs.

    Args:
        batch: Embeddings of length 1 of the whole global batch.
        logit_scale: Inverse temperature, 0-dim.
        config: Weights.

    Returns:
        ``loss`` and one 0-dim tensor per term, named as its weight in `ClipConfig`.
    """
    terms = {
        "text_image": contrastive_cosine(batch.safe_text, batch.safe_image, logit_scale),
        "unsafe_text_unsafe_image": contrastive_cosine(
            batch.unsafe_text, batch.unsafe_image, logit_scale
        ),
    }
    total = torch.stack([getattr(config, name) * term for name, term in terms.items()]).sum()
    return {"loss": total, **terms}


def _apart(x: Tensor, y: Tensor) -> Tensor:
    """Mean of 1 - cos over the rows of two sets of embeddings of length 1."""
    return (1 - (x * y).sum(dim=-1)).mean()


class Reference:
    """The towers as they were before the first step: copied, frozen, in evaluation mode.

    No part of the module that is trained, so that no optimiser, no state and no switch of the
    training mode ever reaches it.

    Attributes:
        model: The copy.
    """

    def __init__(self, model: EuclideanDualEncoder) -> None:
        """Copies a model; call it before adapters are put into that one."""
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._texts: Tensor | None = None

    def to(self, device: torch.device) -> None:
        """Moves the copy."""
        self.model.to(device)

    def remember_texts(
        self, records: Sequence[Quadruplet], table: TextTable, settings: EncodeSettings
    ) -> None:
        """Encodes every safe text once, instead of in each step."""
        texts = list(dict.fromkeys(record.safe_text for record in records))
        features = unit(encode_texts(self.model, texts, settings))
        rows = torch.tensor([table.row(text) for text in texts], device=features.device)
        every = features.new_zeros(len(table.texts), features.shape[1])
        every[rows] = features
        self._texts = every

    @torch.no_grad()
    def text(self, batch: Batch, *, bf16: bool = False) -> Tensor:
        """R(t) of the safe texts of a batch, (B, d)."""
        if self._texts is not None:
            return self._texts[batch.text_rows[batch.safe_text]]
        ids, mask = batch.input_ids[batch.safe_text], batch.attention_mask[batch.safe_text]
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=bf16):
            return self.model.encode_text(ids, mask)

    @torch.no_grad()
    def image(self, pixels: Tensor, *, bf16: bool = False) -> Tensor:
        """R(v) of the safe images of a batch (B, 3, H, W), as they were augmented; (B, d)."""
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16):
            return self.model.encode_image(pixels)


class SafeClipObjective(Objective):
    """Computes Safe-CLIP's terms of a batch.

    Attributes:
        reference: R.
        config: Weights of the terms.
    """

    model: EuclideanDualEncoder

    def __init__(
        self,
        model: EuclideanDualEncoder,
        reference: Reference,
        config: SafeClipConfig,
        *,
        bf16: bool = False,
        channels_last: bool = False,
        text_features: Tensor | None = None,
    ) -> None:
        """Keeps the model, the reference and the settings."""
        super().__init__(model, bf16=bf16, channels_last=channels_last, text_features=text_features)
        self.reference = reference
        self.config = config
        self._split: Quadruplets | None = None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns `safeclip_terms` of the global batch, the same in every process."""
        images, texts, _ = self.embed(batch)
        own_text = self.reference.text(batch, bf16=self.bf16)
        own_image = self.reference.image(self.laid_out(batch.pixels[: batch.size]), bf16=self.bf16)
        with torch.autocast(images.device.type, enabled=False):
            return safeclip_terms(
                gathered(batch, images, texts),
                gather_rows(own_text),
                gather_rows(own_image),
                self.config,
            )

    def prepare_split(self, records: Sequence[Quadruplet], settings: EncodeSettings) -> None:
        """Encodes the split with the reference; once, for the reference stays as it is."""
        if self._split is None:
            self._split = encode_split(self.reference.model, records, settings)

    def split_loss(self, batch: Quadruplets, rows: slice) -> float:
        """See `Objective.split_loss`."""
        split = cast(Quadruplets, self._split)
        terms = safeclip_terms(batch, split.safe_text[rows], split.safe_image[rows], self.config)
        return float(terms["loss"])


class ClipObjective(Objective):
    """Computes CLIP's terms of a batch.

    Attributes:
        config: Weights of the terms.
    """

    model: EuclideanDualEncoder

    def __init__(
        self,
        model: EuclideanDualEncoder,
        config: ClipConfig,
        *,
        bf16: bool = False,
        channels_last: bool = False,
        text_features: Tensor | None = None,
    ) -> None:
        """Keeps the model and the settings."""
        super().__init__(model, bf16=bf16, channels_last=channels_last, text_features=text_features)
        self.config = config

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns `clip_terms` of the global batch, the same in every process."""
        images, texts, _ = self.embed(batch)
        with torch.autocast(images.device.type, enabled=False):
            return clip_terms(
                gathered(batch, images, texts), self.model.logit_scale.exp(), self.config
            )

    def split_loss(self, batch: Quadruplets, rows: slice) -> float:
        """See `Objective.split_loss`."""
        del rows
        scale = self.model.logit_scale.detach().exp().cpu()
        return float(clip_terms(batch, scale, self.config)["loss"])
