"""What differs between the methods: the model, its objective, the frozen reference."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from torch import Tensor

from edgesafe.runtime.errors import UsageError
from edgesafe.train.checkpoint import load_checkpoint
from edgesafe.train.config import RunConfig
from edgesafe.train.encoders.base import build_encoder
from edgesafe.train.model import (
    EuclideanDualEncoder,
    HyperbolicDualEncoder,
    Lift,
    SafetyModel,
)
from edgesafe.train.objective import HysacObjective, Objective
from edgesafe.train.safeclip import ClipObjective, Reference, SafeClipObjective
from edgesafe.train.state import frozen_digest

__all__ = ["build_model", "build_objective", "build_reference", "fixed_digest"]


def build_model(config: RunConfig, init: Path | None) -> tuple[SafetyModel, dict[str, Any] | None]:
    """The model at its start, and what a checkpoint that it came from had been trained on.

    A checkpoint of the same geometry gives its scalars too; one of another gives its towers.

    Raises:
        UsageError: The checkpoint is of another architecture than the configuration's.
    """
    if init is None:
        return _placed(build_encoder(config.architecture), config), None
    start, info = load_checkpoint(init)
    differing = {
        key
        for key, value in config.architecture.items()
        if info.architecture.get(key, value) != value
    }
    if differing:
        raise UsageError(
            f"--init {init} is another architecture: {', '.join(sorted(differing))} differ "
            "from the configuration's."
        )
    initial = {
        "data": info.data.get("fingerprint"),
        "seed": info.seed,
        "step": info.metrics.get("step"),
    }
    if config.method == "hysac" and isinstance(start, HyperbolicDualEncoder):
        start.min_radius = config.lift.min_radius
        return start, initial
    if config.method == "clip" and isinstance(start, EuclideanDualEncoder):
        return start, initial
    return _placed(start.encoder, config), initial


def _placed(encoder: Any, config: RunConfig) -> SafetyModel:
    if config.method == "safeclip":
        return EuclideanDualEncoder(encoder, temperature=config.safeclip.temperature)
    if config.method == "clip":
        return EuclideanDualEncoder(encoder, temperature=config.clip.temperature)
    settings = config.lift
    lift = Lift(
        encoder.dim,
        curvature=settings.curvature,
        temperature=settings.temperature,
        visual_scale=settings.visual_scale,
        textual_scale=settings.textual_scale,
    )
    return HyperbolicDualEncoder(encoder, lift, min_radius=settings.min_radius)


def build_reference(model: SafetyModel, config: RunConfig) -> Reference | None:
    """The frozen reference of the methods that have one; before anything of the model learns."""
    if config.method != "safeclip":
        return None
    assert isinstance(model, EuclideanDualEncoder)
    return Reference(model)


def build_objective(
    model: SafetyModel,
    reference: Reference | None,
    config: RunConfig,
    *,
    bf16: bool,
    text_features: Tensor | None,
) -> Objective:
    """The objective of the configuration's method."""
    channels_last = config.train.channels_last
    if isinstance(model, HyperbolicDualEncoder):
        return HysacObjective(
            model, config.loss, bf16=bf16, channels_last=channels_last, text_features=text_features
        )
    assert isinstance(model, EuclideanDualEncoder)
    if reference is None:
        return ClipObjective(
            model, config.clip, bf16=bf16, channels_last=channels_last, text_features=text_features
        )
    return SafeClipObjective(
        model,
        reference,
        config.safeclip,
        bf16=bf16,
        channels_last=channels_last,
        text_features=text_features,
    )


def fixed_digest(model: SafetyModel, reference: Reference | None) -> str:
    """Digest of all that must be the same when a run goes on: frozen weights and the reference."""
    own = frozen_digest(model)
    if reference is None:
        return own
    return hashlib.sha256((own + frozen_digest(reference.model)).encode()).hexdigest()
