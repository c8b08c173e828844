from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgesafe.runtime.errors import UsageError
from edgesafe.train import optim
from edgesafe.train.config import RunConfig, read_config
from edgesafe.train.encoders.base import build_encoder
from edgesafe.train.model import HyperbolicDualEncoder, Lift


def model_of(config: RunConfig) -> HyperbolicDualEncoder:
    encoder = build_encoder(config.architecture)
    return HyperbolicDualEncoder(encoder, Lift(encoder.dim))


def test_decay_is_for_matrices(tiny_config: Callable[..., dict[str, Any]]) -> None:
    config = read_config(tiny_config(train={"image": "full", "text": "lora"}))
    groups = optim.prepare(model_of(config), config)
    decay = {name: g["weight_decay"] for g in groups for name in g["names"]}
    assert decay["encoder.image.proj"] == 0.2
    assert decay["encoder.image.ln_post.weight"] == decay["encoder.image.ln_post.bias"] == 0.0
    assert decay["encoder.image.class_embedding"] == 0.0
    scalars = ("visual_alpha", "textual_alpha", "curv", "logit_scale")
    assert all(decay[f"lift.{name}"] == 0.0 for name in scalars)
    assert {d for name, d in decay.items() if "lora_" in name} == {0.2}


def test_scalars_can_be_frozen(tiny_config: Callable[..., dict[str, Any]]) -> None:
    lift = {"learn_curvature": False, "learn_temperature": False, "lr_scale": 0.5}
    config = read_config(tiny_config(lift=lift))
    groups = optim.prepare(model_of(config), config)
    assert groups[-1]["names"] == ["lift.visual_alpha", "lift.textual_alpha"]
    assert groups[-1]["lr_scale"] == 0.5


def test_nothing_to_learn(tiny_config: Callable[..., dict[str, Any]]) -> None:
    lift = {f"learn_{name}": False for name in ("curvature", "temperature", "scales")}
    config = read_config(tiny_config(train={"image": "frozen", "text": "frozen"}, lift=lift))
    with pytest.raises(UsageError, match="nothing learns"):
        optim.prepare(model_of(config), config)


def test_learning_rate(tiny_config: Callable[..., dict[str, Any]]) -> None:
    constant = read_config(tiny_config(optimiser={"warmup_steps": 4}))
    assert [optim.lr_factor(s, 100, constant) for s in (0, 1, 3, 4, 99)] == [0.25, 0.5, 1, 1, 1]
    settings = {"warmup_steps": 10, "schedule": "cosine", "final_lr": 0.1}
    cosine = read_config(tiny_config(optimiser=settings))
    found = [optim.lr_factor(s, 110, cosine) for s in (0, 9, 10, 60, 110)]
    assert found == pytest.approx([0.1, 1.0, 1.0, 0.55, 0.1])
