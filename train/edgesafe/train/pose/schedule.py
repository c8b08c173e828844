"""Learning rates over a run, and the optimiser's groups."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from edgesafe.train.pose.config import FitConfig
from edgesafe.train.pose.trunks import LiteTrunk

__all__ = ["adamw", "lr_factor", "set_lr"]

_START = 0.04
"""Share of the rate that OneCycle starts with (Smith and Topin 2018)."""


def lr_factor(progress: float, config: FitConfig) -> float:
    """Multiplier of the learning rate where a share ``progress`` (0..1) of the run is done."""
    if progress < config.warmup:
        share = progress / config.warmup
        if config.schedule == "cosine":
            return max(share, 1e-3)
        return 1 + (_START - 1) * 0.5 * (1 + math.cos(math.pi * share))
    share = (progress - config.warmup) / (1 - config.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return config.final_lr + (1 - config.final_lr) * cosine


def adamw(network: nn.Module, config: FitConfig) -> torch.optim.AdamW:
    """AdamW with its groups; freezes what does not learn.

    Each group has ``names`` and ``lr_scale``: matrices with weight decay, biases and norms
    without, and those of a pretrained trunk apart.
    """
    pretrained: set[int] = set()
    for module in network.modules():
        if isinstance(module, LiteTrunk):
            pretrained |= {id(p) for p in module.pretrained_parameters()}
            for part in [module.stem, *module.stages][: config.freeze]:
                part.requires_grad_(False)
    groups: dict[tuple[bool, bool], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            # The biases of the per-object layers have three dimensions.
            decays = parameter.ndim >= 2 and not name.endswith("bias")
            groups.setdefault((decays, id(parameter) in pretrained), []).append((name, parameter))
    listed: list[dict[str, Any]] = [
        {
            "params": [p for _, p in named],
            "names": [n for n, _ in named],
            "weight_decay": config.weight_decay if decays else 0.0,
            "lr_scale": config.trunk_lr if trunk else 1.0,
        }
        for (decays, trunk), named in sorted(groups.items())
    ]
    return torch.optim.AdamW(listed, lr=config.lr)


def set_lr(optimiser: torch.optim.Optimizer, factor: float, config: FitConfig) -> None:
    """Sets the learning rate of every group."""
    for group in optimiser.param_groups:
        group["lr"] = config.lr * group["lr_scale"] * factor
