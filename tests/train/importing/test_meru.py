"""`edgesafe import meru`: timm's vision transformer, a bias of the patches, ImageNet's pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.importing.meru import import_meru
from edgesafe.train.importing.source import locate
from edgesafe.train.model import EuclideanDualEncoder, HyperbolicDualEncoder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, 1, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        hidden = nn.functional.gelu(self.mlp["c_fc"](self.ln_2(x)))
        return x + self.mlp["c_proj"](hidden)


class Textual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token_embed = nn.Embedding(49408, 64)
        self.posit_embed = nn.Parameter(torch.randn(77, 64))
        self.resblocks = nn.ModuleList(Block(64) for _ in range(2))
        self.ln_final = nn.LayerNorm(64)
        self.register_buffer("attn_mask", torch.ones(77, 77).triu(1).bool())


class Released(nn.Module):
    """The modules that the published state dict is of."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = timm.create_model(
            "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=128, depth=2, num_heads=2,
            num_classes=0, global_pool="token", norm_layer=nn.LayerNorm,
        )  # fmt: skip
        self.textual = Textual()
        self.visual_proj = nn.Linear(128, 32, bias=False)
        self.textual_proj = nn.Linear(64, 32, bias=False)
        for name, value in (
            ("logit_scale", 3.0),
            ("curv", math.log(0.4)),
            ("visual_alpha", -1.0),
            ("textual_alpha", -0.5),
        ):
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))
        self.register_buffer("pixel_mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("pixel_std", torch.tensor(STD)[:, None, None])
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith(("bias", "cls_token", "pos_embed")):
                    parameter.normal_(std=0.3)

    @torch.no_grad()
    def tangent(self, unit_range: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        pixels = (unit_range - self.pixel_mean) / self.pixel_std
        image = self.visual_proj(self.visual(pixels)) * self.visual_alpha.exp()
        x = self.textual.token_embed(ids) + self.textual.posit_embed
        for block in self.textual.resblocks:
            x = block(x, self.textual.attn_mask)
        x = self.textual.ln_final(x)[torch.arange(len(ids)), ids.argmax(dim=-1)]
        return image, self.textual_proj(x) * self.textual_alpha.exp()


@pytest.fixture(scope="module")
def released() -> Released:
    torch.manual_seed(0)
    return Released().eval()


def save(released: Released, folder: Path, *without: str) -> Path:
    state = {k: v.float() for k, v in released.state_dict().items() if k not in without}
    training = {"model": state, "optimizer": {"lr": 1e-4}, "iteration": 120_000}
    torch.save(training, folder / "meru_vit_l.pth")
    return folder / "meru_vit_l.pth"


def lifted(u: Tensor, curvature: float) -> Any:
    r = math.sqrt(curvature) * np.linalg.norm(u.numpy(), axis=-1, keepdims=True)
    return np.sinh(r) / r * u.numpy()


def test_the_import_computes_what_the_release_computes(released: Released, tmp_path: Path) -> None:
    done = import_meru(locate(str(save(released, tmp_path)), ()))
    model = done.model.double()
    assert isinstance(model, HyperbolicDualEncoder) and done.info.method == "meru"
    ids, mask = model.encoder.tokenize(["a photo of a cat", "x"])
    plain = torch.rand(2, 3, 32, 32).double()
    preprocess = model.encoder.preprocess
    assert preprocess.mean == pytest.approx(MEAN) and preprocess.std == pytest.approx(STD)
    mean, std = (torch.tensor(v)[:, None, None].double() for v in (MEAN, STD))
    with torch.no_grad():
        image = model.encode_image((plain - mean) / std).numpy()
        text = model.encode_text(ids, mask).numpy()
    wanted = released.double().tangent(plain, ids)
    for found, tangent in zip((image, text), wanted, strict=True):
        truth = lifted(tangent, 0.4)
        assert np.linalg.norm(found - truth) / np.linalg.norm(truth) < 1e-6
    assert done.info.weights["licence"] == "CC-BY-NC-4.0"


def test_the_clip_baseline_of_the_paper(released: Released, tmp_path: Path) -> None:
    save(released, tmp_path, "curv", "visual_alpha", "textual_alpha")
    done = import_meru(locate(str(tmp_path), ()))
    assert isinstance(done.model, EuclideanDualEncoder) and done.info.method == "clip"
    assert any("CLIP baseline" in note for note in done.notes)


def test_what_is_no_meru_is_refused(released: Released, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds 0 \.pth files"):
        import_meru(locate(str(tmp_path), ()))
    for without, message in (
        ("visual.blocks.1.attn.qkv.bias", "lacks 'visual.blocks.1.attn.qkv.bias'"),
        ("visual.pos_embed", "has no 'visual.pos_embed'"),
        ("pixel_mean", "pixel_mean must hold three numbers"),
        ("textual_alpha", "lacks 'textual_alpha'"),
    ):
        with pytest.raises(CheckpointError, match=message):
            import_meru(locate(str(save(released, tmp_path, without)), ()))
