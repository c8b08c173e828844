from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file, save_file

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.checkpoint import CheckpointInfo, load_checkpoint, read_info, save_checkpoint
from edgesafe.train.encoders.base import LoraSettings, TrainingPlan, build_encoder
from edgesafe.train.model import HyperbolicDualEncoder, Lift


@pytest.fixture
def model(tiny_architecture: Callable[[], dict[str, Any]]) -> HyperbolicDualEncoder:
    encoder = build_encoder(tiny_architecture())
    encoder.prepare_training(TrainingPlan(lora=LoraSettings(r=2, alpha=4.0)))
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    lift = Lift(encoder.dim, curvature=0.4, visual_scale=0.9, temperature=0.02)
    return HyperbolicDualEncoder(encoder, lift, min_radius=0.07)


@pytest.fixture
def saved(model: HyperbolicDualEncoder, tmp_path: Path) -> Path:
    info = CheckpointInfo.of(
        model, seed=9, metrics={"auc": 0.5}, concepts=[{"name": "fire", "tag": "fire"}]
    )
    save_checkpoint(tmp_path / "ck", model, info)
    return tmp_path / "ck"


def outputs(model: HyperbolicDualEncoder) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids, mask = model.encoder.tokenize(["a cat", "a photo of two dogs"])
    with torch.no_grad():
        return (
            model.encode_image(torch.randn(2, 3, 32, 32, generator=generator)),
            model.encode_text(ids, mask),
        )


def test_round_trip(model: HyperbolicDualEncoder, saved: Path) -> None:
    loaded, info = load_checkpoint(saved)
    assert not any(module.training for module in loaded.modules())
    assert not any("lora" in name for name in loaded.state_dict())
    model.eval()
    for found, expected in zip(outputs(loaded), outputs(model), strict=True):
        torch.testing.assert_close(found, expected)
    assert loaded.min_radius == 0.07 and info.geometry["min_radius"] == 0.07
    assert loaded.curvature.item() == pytest.approx(0.4)
    assert info.seed == 9 and info.metrics == {"auc": 0.5}
    assert info.concepts == [{"name": "fire", "tag": "fire"}]
    assert info.preprocess == model.encoder.preprocess.to_dict()
    assert sorted(p.name for p in saved.iterdir()) == [
        "checkpoint.json",
        "model.safetensors",
        "tokenizer.json",
    ]


def test_a_second_save_takes_the_place_of_the_first(
    model: HyperbolicDualEncoder, saved: Path
) -> None:
    save_checkpoint(saved, model, dataclasses.replace(read_info(saved), seed=10))
    assert read_info(saved).seed == 10
    assert sorted(p.name for p in saved.parent.iterdir()) == ["ck"]


def test_half_precision_storage(model: HyperbolicDualEncoder, saved: Path) -> None:
    half = saved.parent / "half"
    save_checkpoint(half, model, read_info(saved), dtype=torch.float16)
    stored = load_file(half / "model.safetensors")
    assert stored["encoder.image.proj"].dtype == torch.float16
    assert stored["lift.curv"].dtype == stored["encoder.image.ln_post.bias"].dtype == torch.float32
    loaded, _ = load_checkpoint(half)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    model.eval()
    for found, expected in zip(outputs(loaded), outputs(model), strict=True):
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0.01)


def edit(path: Path, **changes: Any) -> None:
    data = json.loads((path / "checkpoint.json").read_text())
    (path / "checkpoint.json").write_text(json.dumps({**data, **changes}))


def test_broken_checkpoints(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(saved.parent / "none")
    weights = saved / "model.safetensors"
    whole = weights.read_bytes()
    state = load(whole)
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="is broken"):
        load_checkpoint(saved)
    save_file({k: v for k, v in state.items() if k != "lift.curv"}, weights)
    with pytest.raises(CheckpointError, match="lacks 'lift.curv'"):
        load_checkpoint(saved)
    save_file({**state, "extra": torch.zeros(1)}, weights)
    with pytest.raises(CheckpointError, match="unknown 'extra'"):
        load_checkpoint(saved)
    save_file({**state, "encoder.image.proj": torch.zeros(1, 1)}, weights)
    with pytest.raises(CheckpointError, match="has the shape"):
        load_checkpoint(saved)
    weights.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other/9"}, "the format is 'other/9'"),
        ({"architecture": {"name": "resnet"}}, "architecture.name = 'resnet' is unknown"),
        ({"geometry": {}}, "geometry.min_radius is missing"),
    ],
)
def test_broken_descriptions(saved: Path, changes: dict[str, Any], message: str) -> None:
    edit(saved, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved)


def test_description_that_is_not_json(saved: Path) -> None:
    (saved / "checkpoint.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        load_checkpoint(saved)
    (saved / "checkpoint.json").write_text('{"format": "edgesafe.checkpoint/1"}')
    with pytest.raises(CheckpointError, match="the key 'architecture' is missing"):
        load_checkpoint(saved)


def test_not_a_number_is_no_json(model: HyperbolicDualEncoder, tmp_path: Path) -> None:
    info = CheckpointInfo.of(model, metrics={"auc": float("nan")})
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tmp_path / "ck", model, info)
    assert list(tmp_path.iterdir()) == []
