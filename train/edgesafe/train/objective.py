"""One training step's forward pass: towers, their places, global batch, loss.

It is one module so that distributed data parallel sees a single forward call, and so that the
border between the towers (bf16 where wanted) and the geometry (float32 always) lies in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from edgesafe.train.data.loader import Batch
from edgesafe.train.data.quadruplets import Quadruplet
from edgesafe.train.evaluate import EncodeSettings
from edgesafe.train.gather import gather_rows
from edgesafe.train.loss_config import LossConfig
from edgesafe.train.losses import Quadruplets, hysac_terms, place
from edgesafe.train.model import HyperbolicDualEncoder, SafetyModel


class Objective(nn.Module):
    """What the methods share: from a batch to the embeddings of the global batch.

    Attributes:
        model: What is trained.
        bf16: Whether the towers run under bf16 autocast.
        channels_last: Memory format of the pixels.
        text_features: Features of every text of the table (texts, d), None to encode them anew.
    """

    model: SafetyModel

    def __init__(
        self,
        model: SafetyModel,
        *,
        bf16: bool = False,
        channels_last: bool = False,
        text_features: Tensor | None = None,
    ) -> None:
        """Keeps the model and the settings."""
        super().__init__()
        self.model = model
        self.bf16 = bf16
        self.channels_last = channels_last
        # No buffer: distributed data parallel would send it around in every step.
        self.text_features = text_features

    def prepare_split(self, records: Sequence[Quadruplet], settings: EncodeSettings) -> None:
        """Gets ready for `split_loss` of a split; called before each use of it."""

    def split_loss(self, batch: Quadruplets, rows: slice) -> float:
        """The loss of some embedded rows of the split, on the CPU."""
        raise NotImplementedError

    def embed(
        self, batch: Batch, *, negatives: bool = False, evidence: bool = False
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Embeddings of the images (2B + M, d) and of the unique texts (U, d) of a batch.

        Args:
            batch: The process's own rows.
            negatives: Whether the M negatives count; they are left out otherwise.
            evidence: Whether the third value holds the evidence maps of the images.
        """
        encoder = self.model.encoder
        pixels = self.laid_out(batch.pixels if negatives else batch.pixels[: 2 * batch.size])
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.bf16):
            maps: tuple[Tensor, ...] = ()
            if evidence:
                images, maps = encoder.image_with_evidence(pixels)
            else:
                images = cast(Tensor, encoder.image(pixels))
            if self.text_features is None:
                texts = cast(Tensor, encoder.text(batch.input_ids, batch.attention_mask))
            else:
                texts = self.text_features[batch.text_rows]
        return self.model.place_image(images), self.model.place_text(texts), maps

    def laid_out(self, pixels: Tensor) -> Tensor:
        """Pixels in the memory format of the image tower."""
        if self.channels_last:
            return pixels.contiguous(memory_format=torch.channels_last)
        return pixels


def gathered(
    batch: Batch, images: Tensor, texts: Tensor, *, negatives: bool = False
) -> Quadruplets:
    """The global batch, from the embeddings of the process's own rows."""
    n = batch.size
    return Quadruplets(
        safe_text=gather_rows(texts[batch.safe_text]),
        safe_image=gather_rows(images[:n]),
        unsafe_text=gather_rows(texts[batch.unsafe_text]),
        unsafe_image=gather_rows(images[n : 2 * n]),
        negative_text=gather_rows(texts[batch.negative_text]) if negatives else None,
        negative_image=gather_rows(images[2 * n :]) if negatives else None,
    )


class HysacObjective(Objective):
    """Computes HySAC's terms of a batch.

    Attributes:
        config: Weights of the terms.
    """

    model: HyperbolicDualEncoder

    def __init__(
        self,
        model: HyperbolicDualEncoder,
        config: LossConfig,
        *,
        bf16: bool = False,
        channels_last: bool = False,
        text_features: Tensor | None = None,
    ) -> None:
        """Keeps the model and the settings."""
        super().__init__(model, bf16=bf16, channels_last=channels_last, text_features=text_features)
        self.config = config

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns `hysac_terms` of the global batch, the same in every process.

        The place term compares pixels and is that of the process's own rows; the averaging of
        distributed data parallel makes its gradient the mean over the processes.
        """
        negatives = self.config.shell_weight > 0
        images, texts, maps = self.embed(
            batch, negatives=negatives, evidence=self.config.place_weight > 0
        )
        with torch.autocast(images.device.type, enabled=False):
            n = batch.size
            lift = self.model.lift
            terms = hysac_terms(
                gathered(batch, images, texts, negatives=negatives),
                lift.curvature,
                lift.logit_scale.exp(),
                self.config,
                min_radius=self.model.min_radius,
            )
            if maps:
                terms["place"] = place(
                    [m[:n].float() for m in maps],
                    [m[n : 2 * n].float() for m in maps],
                    self._different(batch),
                )
                terms["loss"] = terms["loss"] + self.config.place_weight * terms["place"]
            return terms

    def split_loss(self, batch: Quadruplets, rows: slice) -> float:
        """See `Objective.split_loss`; the place term has no part in it."""
        del rows
        lift = self.model.lift
        curvature, scale = lift.curvature.detach().cpu(), lift.logit_scale.detach().exp().cpu()
        terms = hysac_terms(batch, curvature, scale, self.config, min_radius=self.model.min_radius)
        return float(terms["loss"])

    def _different(self, batch: Batch) -> Tensor:
        """Where the pixels of the twins differ, (B, H, W) of 0 and 1."""
        n, std = batch.size, self.model.encoder.preprocess.std
        scale = torch.tensor(std, device=batch.pixels.device)[:, None, None]
        gap = ((batch.pixels[n : 2 * n] - batch.pixels[:n]) * scale).abs().mean(dim=1)
        return (gap > self.config.place_difference).to(batch.pixels.dtype)
