"""AdamW's parameter groups and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from edgesafe.runtime.errors import UsageError
from edgesafe.train.config import RunConfig
from edgesafe.train.model import HyperbolicDualEncoder, SafetyModel


def prepare(model: SafetyModel, config: RunConfig) -> list[dict[str, Any]]:
    """Freezes what does not learn and groups what does.

    Returns:
        AdamW's parameter groups with ``names`` and ``lr_scale``: matrices with weight decay;
        biases, norms and the scalars of the geometry without.

    Raises:
        UsageError: Nothing learns.
    """
    decay = config.optimiser.weight_decay
    groups: list[dict[str, Any]] = []
    for group in model.encoder.prepare_training(config.plan):
        matrices = [(f"encoder.{n}", p) for n, p in group.named if p.ndim >= 2]
        vectors = [(f"encoder.{n}", p) for n, p in group.named if p.ndim < 2]
        groups.append(_group(matrices, decay, group.lr_scale))
        groups.append(_group(vectors, 0.0, group.lr_scale))
    groups.append(_group(_scalar_parameters(model, config), 0.0, config.lift.lr_scale))
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise UsageError(
            "nothing learns: train.image and train.text are frozen and so are the scalars of the "
            "geometry."
        )
    return groups


def adamw(groups: list[dict[str, Any]], config: RunConfig) -> torch.optim.AdamW:
    """The optimiser."""
    settings = config.optimiser
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)


def lr_factor(step: int, total: int, config: RunConfig) -> float:
    """Multiplier of the learning rate at a step counted from 0, of ``total`` steps."""
    settings = config.optimiser
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return 1.0
    progress = (step - settings.warmup_steps) / max(1, total - settings.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return settings.final_lr + (1 - settings.final_lr) * cosine


def set_lr(optimiser: torch.optim.Optimizer, factor: float, config: RunConfig) -> None:
    """Sets the learning rate of every group."""
    for group in optimiser.param_groups:
        group["lr"] = config.optimiser.lr * group["lr_scale"] * factor


def _scalar_parameters(model: SafetyModel, config: RunConfig) -> list[tuple[str, nn.Parameter]]:
    if not isinstance(model, HyperbolicDualEncoder):
        # Safe-CLIP's temperature is a constant.
        learns_temperature = config.method == "clip" and config.clip.learn_temperature
        named = [(n, p) for n, p in model.named_parameters(recurse=False)]
        for _, parameter in named:
            parameter.requires_grad_(learns_temperature)
        return named if learns_temperature else []
    lift, settings = model.lift, config.lift
    learns = {
        "visual_alpha": settings.learn_scales,
        "textual_alpha": settings.learn_scales,
        "curv": settings.learn_curvature,
        "logit_scale": settings.learn_temperature,
    }
    for name, parameter in lift.named_parameters():
        parameter.requires_grad_(learns[name])
    return [(f"lift.{n}", p) for n, p in lift.named_parameters() if p.requires_grad]


def _group(named: list[tuple[str, nn.Parameter]], decay: float, lr_scale: float) -> dict[str, Any]:
    return {
        "params": [p for _, p in named],
        "names": [n for n, _ in named],
        "weight_decay": decay,
        "lr_scale": lr_scale,
    }
