"""Unmerged LoRA layers in a state dict (Hu et al. 2021, arXiv 2106.09685) become plain weights.

peft has written two namings: with ``base_layer`` in front of the adapted weight (0.5 and later),
and without; the adapter's name (``default``) may stand behind ``lora_A`` and ``lora_B`` or not.
The scale ``alpha / rank`` is in no file: HySAC hard-codes alpha = 1, so 1/16 at its rank of 16.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgesafe.runtime.errors import CheckpointError

__all__ = ["ALPHA", "Merged", "merge_adapters"]

ALPHA = 1.0
"""Numerator of the scale of HySAC's and Safe-CLIP's adapters."""

_ADAPTER = re.compile(r"(?P<layer>.+)\.(?P<part>lora_[AB])(\.default)?(\.weight)?")
_PROBES = 4
# Merging is done in float64 and stored as float32; more than rounding is a wrong scale or layout.
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Merged:
    """What has become of a state dict with adapters.

    Attributes:
        tensors: Without adapters, by plain names.
        base: What the adapted weights were before, by the same names.
        rank: Of the adapters; 0 where there were none.
        error: Largest relative difference between adapted and merged layers on random inputs.
    """

    tensors: Mapping[str, Tensor] = field(repr=False)
    base: Mapping[str, Tensor] = field(repr=False)
    rank: int
    error: float


def merge_adapters(state: Mapping[str, Tensor], where: str) -> Merged:
    """Adds each adapter to the weight that it adapts.

    ``W + s B A`` for a linear layer; for a convolution ``W[o] + s sum_r B[o, r] A[r]``, its B being
    a convolution of size 1. s = 1 / rank.

    Args:
        state: Tensors of a tower, with the prefix of peft's wrapper or without.
        where: What to call the file in messages.

    Raises:
        CheckpointError: An adapter lacks a half, does not fit its weight, or has another rank.
    """
    plain: dict[str, Tensor] = {}
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        name = name.removeprefix("base_model.model.")
        match = _ADAPTER.fullmatch(name)
        if match:
            halves.setdefault(match["layer"], {})[match["part"]] = tensor
        else:
            plain[name.replace(".base_layer.", ".")] = tensor
    base: dict[str, Tensor] = {}
    ranks = set()
    worst = 0.0
    for layer, parts in halves.items():
        weight = f"{layer}.weight"
        if set(parts) != {"lora_A", "lora_B"} or weight not in plain:
            lacking = "its weight" if weight not in plain else "lora_A or lora_B"
            raise CheckpointError(f"{where}: the adapter of {layer!r} lacks {lacking}.")
        base[weight] = plain[weight]
        plain[weight], rank, error = _merge(layer, plain[weight], parts, where)
        ranks.add(rank)
        worst = max(worst, error)
    if len(ranks) > 1:
        raise CheckpointError(f"{where}: its adapters have different ranks {sorted(ranks)}.")
    return Merged(plain, base, ranks.pop() if ranks else 0, worst)


def _merge(
    layer: str, weight: Tensor, parts: Mapping[str, Tensor], where: str
) -> tuple[Tensor, int, float]:
    down, up = parts["lora_A"].double(), parts["lora_B"].double()
    rank = down.shape[0]
    fits = (
        down.shape[1:] == weight.shape[1:]
        and up.flatten(1).shape == (weight.shape[0], rank)
        and weight.ndim in (2, 4)
    )
    if not fits:
        raise CheckpointError(
            f"{where}: the adapter of {layer!r} has the shapes {tuple(down.shape)} and "
            f"{tuple(up.shape)}, its weight {tuple(weight.shape)}."
        )
    scale = ALPHA / rank
    a, b, w = down.flatten(1), up.flatten(1), weight.double().flatten(1)
    merged = (w + scale * (b @ a)).float()
    # Once more through the layer, as it was trained: the adapter beside the weight. A convolution
    # over patches that do not overlap is a linear layer of each patch.
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_PROBES, w.shape[1], generator=generator, dtype=torch.float64)
    truth = x @ w.T + scale * ((x @ a.T) @ b.T)
    error = float((x @ merged.double().T - truth).norm() / truth.norm().clamp_min(1e-12))
    if not error <= _TOLERANCE:
        raise CheckpointError(f"{where}: merging changed {layer!r} by {error:.1e} (relative).")
    return merged.reshape(weight.shape), rank, error
