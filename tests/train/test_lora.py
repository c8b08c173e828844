"""Adapters sit where HySAC puts them, all of them learn, and merging changes no output."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from edgesafe.runtime.errors import UsageError
from edgesafe.train.config import LossConfig
from edgesafe.train.encoders.base import DualEncoder, LoraSettings, TrainingPlan, build_encoder
from edgesafe.train.lora import merged_state_dict
from edgesafe.train.losses import Quadruplets, hysac_terms
from edgesafe.train.model import HyperbolicDualEncoder, Lift


@pytest.fixture
def encoder(tiny_architecture: Callable[[], dict[str, Any]]) -> DualEncoder:
    return build_encoder(tiny_architecture())


def adapted(encoder: DualEncoder) -> set[str]:
    names = (n for n, p in encoder.named_parameters() if p.requires_grad)
    return {n.split(".lora_")[0] for n in names}


def stir(model: nn.Module) -> None:
    """Moves the adapters off their start, where B is zero and A has no gradient."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)


def test_targets_are_hysacs(encoder: DualEncoder) -> None:
    groups = encoder.prepare_training(TrainingPlan())
    blocks = ("attn.k_proj", "attn.v_proj", "attn.out_proj", "mlp.c_fc", "mlp.c_proj")
    assert adapted(encoder) == {
        "image.conv1",
        *(f"{t}.transformer.resblocks.{i}.{b}" for t in ("image", "text") for i in range(2)
          for b in blocks),
    }  # fmt: skip
    assert all("lora_" in name for g in groups for name, _ in g.named)


def test_size_at_vit_l_is_that_of_the_released_model() -> None:
    with torch.device("meta"):
        encoder = build_encoder({"name": "open_clip:ViT-L-14-quickgelu"})
        (group,) = encoder.prepare_training(TrainingPlan())
    assert len(group.named) == 2 * 181
    assert sum(parameter.numel() for _, parameter in group.named) == 8_676_544


def test_every_adapter_gets_a_gradient(encoder: DualEncoder) -> None:
    encoder.prepare_training(TrainingPlan(lora=LoraSettings(r=4, alpha=4.0, dropout=0.0)))
    stir(encoder)
    model = HyperbolicDualEncoder(encoder, Lift(encoder.dim)).train()
    ids, mask = encoder.tokenize([f"thing {i} of {i * i}" for i in range(6)])
    images, texts = model.encode_image(torch.randn(6, 3, 32, 32)), model.encode_text(ids, mask)
    batch = Quadruplets(texts[:3], images[:3], texts[3:], images[3:])
    lift = model.lift
    loss = hysac_terms(batch, lift.curvature, lift.logit_scale.exp(), LossConfig(), min_radius=0.1)
    torch.autograd.backward(loss["loss"])
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert len(learning) == 2 * (10 + 10 + 1) + 4
    for name, parameter in learning.items():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_merging_changes_no_output_and_no_weight(
    encoder: DualEncoder, tiny_architecture: Callable[[], dict[str, Any]]
) -> None:
    encoder.prepare_training(TrainingPlan(lora=LoraSettings(r=4, alpha=8.0)))
    stir(encoder)
    encoder.eval()
    before = copy.deepcopy(encoder.state_dict())
    merged = build_encoder(tiny_architecture()).eval()
    merged.load_state_dict(merged_state_dict(encoder))
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())
    pixels = torch.randn(2, 3, 32, 32)
    ids, mask = encoder.tokenize(["a", "b c"])
    with torch.no_grad():
        torch.testing.assert_close(merged.image(pixels), encoder.image(pixels))
        torch.testing.assert_close(merged.text(ids, mask), encoder.text(ids, mask))


def test_own_targets_may_live_in_one_tower(encoder: DualEncoder) -> None:
    encoder.prepare_training(TrainingPlan(lora=LoraSettings(targets=("conv1", "c_fc"))))
    assert {name.rsplit(".", 1)[-1] for name in adapted(encoder)} == {"conv1", "c_fc"}


def test_target_that_is_nowhere(encoder: DualEncoder) -> None:
    plan = TrainingPlan(lora=LoraSettings(targets=("qkv",)))
    with pytest.raises(UsageError, match="the image tower has no layer qkv"):
        encoder.prepare_training(plan)


def test_modes_free_what_they_say(encoder: DualEncoder) -> None:
    def learning(image: str, text: str) -> set[str]:
        encoder.prepare_training(TrainingPlan(image=image, text=text))
        return {n for n, p in encoder.named_parameters() if p.requires_grad}

    assert learning("frozen", "frozen") == set()
    assert encoder.is_frozen("image")
    head = {"image.ln_post.weight", "image.ln_post.bias", "image.proj"}
    assert learning("head", "frozen") == head
    from_last = learning("from:block1", "frozen")
    assert head < from_last
    assert all(".resblocks.1." in n for n in from_last - head)
    assert learning("full", "frozen") == {
        n for n, _ in encoder.named_parameters() if n.startswith("image.")
    }
    assert learning("frozen", "from:embed") == {
        n for n, _ in encoder.named_parameters() if n.startswith("text.")
    }


@pytest.mark.parametrize("mode", ["from:block9", "half", "from:"])
def test_unknown_modes(encoder: DualEncoder, mode: str) -> None:
    with pytest.raises(UsageError, match=f"train.image = '{mode}'"):
        encoder.prepare_training(TrainingPlan(image=mode))


def test_learning_rates_follow_the_longest_name(encoder: DualEncoder) -> None:
    scales = {"image": 0.5, "image.transformer.resblocks.1": 0.1}
    groups = encoder.prepare_training(TrainingPlan(lr_scale=scales))
    by_name = {n: g.lr_scale for g in groups for n, _ in g.named}
    assert {s for n, s in by_name.items() if ".resblocks.1." in n and n[0] == "i"} == {0.1}
    assert {s for n, s in by_name.items() if ".resblocks.0." in n and n[0] == "i"} == {0.5}
    assert {s for n, s in by_name.items() if n.startswith("text.")} == {1.0}


def test_what_is_frozen_stays_in_evaluation_mode() -> None:
    class Pair(DualEncoder):
        pass

    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
            self.high = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())

    pair = Pair(
        image=Tower(), text=Tower(), architecture={}, dim=2, preprocess=None,  # type: ignore[arg-type]
        tokenizer_json=b"", max_tokens=4, pad_id=0, fixed_length=False, weights={},
    )  # fmt: skip
    pair.requires_grad_(False)
    pair.image.high.requires_grad_(True)
    pair.train()
    image: Any = pair.image
    assert not image.low[1].training and image.high[2].training
    assert not image.high[1].training
    assert not any(m.training for m in pair.text.modules())
