"""One training step's forward pass: towers, lift, global batch, loss.

It is one module so that distributed data parallel sees a single forward call, and so that the
border between the towers (bf16 where wanted) and the geometry (float32 always) lies in one place.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgesafe.train.config import LossConfig
from edgesafe.train.data.loader import Batch
from edgesafe.train.gather import gather_rows
from edgesafe.train.losses import Quadruplets, hysac_terms, place
from edgesafe.train.model import HyperbolicDualEncoder


class HysacObjective(nn.Module):
    """Computes HySAC's terms of a batch.

    Attributes:
        model: What is trained.
        config: Weights of the terms.
        bf16: Whether the towers run under bf16 autocast.
        channels_last: Memory format of the pixels.
        text_features: Features of every text of the table (texts, d), None to encode them anew.
    """

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
        super().__init__()
        self.model = model
        self.config = config
        self.bf16 = bf16
        self.channels_last = channels_last
        # No buffer: distributed data parallel would send it around in every step.
        self.text_features = text_features

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns `hysac_terms` of the global batch, the same in every process.

        The place term compares pixels and is that of the process's own rows; the averaging of
        distributed data parallel makes its gradient the mean over the processes.
        """
        images, texts, maps = self.embed(batch)
        with torch.autocast(images.device.type, enabled=False):
            n = batch.size
            has_negatives = self.config.shell_weight > 0
            quadruplets = Quadruplets(
                safe_text=gather_rows(texts[batch.safe_text]),
                safe_image=gather_rows(images[:n]),
                unsafe_text=gather_rows(texts[batch.unsafe_text]),
                unsafe_image=gather_rows(images[n : 2 * n]),
                negative_text=gather_rows(texts[batch.negative_text]) if has_negatives else None,
                negative_image=gather_rows(images[2 * n :]) if has_negatives else None,
            )
            lift = self.model.lift
            terms = hysac_terms(
                quadruplets,
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

    def _different(self, batch: Batch) -> Tensor:
        """Where the pixels of the twins differ, (B, H, W) of 0 and 1."""
        n, std = batch.size, self.model.encoder.preprocess.std
        scale = torch.tensor(std, device=batch.pixels.device)[:, None, None]
        gap = ((batch.pixels[n : 2 * n] - batch.pixels[:n]) * scale).abs().mean(dim=1)
        return (gap > self.config.place_difference).to(batch.pixels.dtype)

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Space parts of the images (2B + M, d) and of the unique texts (U, d) of a batch.

        The third value holds the evidence maps of the images, if the place term wants them.
        """
        encoder, lift = self.model.encoder, self.model.lift
        pixels = batch.pixels
        if self.config.shell_weight == 0:
            pixels = pixels[: 2 * batch.size]
        if self.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.bf16):
            maps: tuple[Tensor, ...] = ()
            if self.config.place_weight > 0:
                images, maps = encoder.image_with_evidence(pixels)
            else:
                images = cast(Tensor, encoder.image(pixels))
            if self.text_features is None:
                texts = cast(Tensor, encoder.text(batch.input_ids, batch.attention_mask))
            else:
                texts = self.text_features[batch.text_rows]
        return lift.image(images), lift.text(texts), maps
