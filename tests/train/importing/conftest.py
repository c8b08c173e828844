"""Releases of random weights in the exact layouts of the real ones, with their own forward."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

LORA = ("k_proj", "v_proj", "out_proj", "fc1", "fc2", "patch_embedding")
TEXT = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1}
VISION = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1,
          "image_size": 32, "patch_size": 8}  # fmt: skip
FULL_TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
FULL_VISION = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
               "image_size": 224, "patch_size": 14}  # fmt: skip
BOUNDS = {
    "S": {"avg": 0.44, "low_05": 0.43, "up_95": 0.46},
    "V": {"avg": 0.527, "low_05": 0.52, "up_95": 0.537},
    "U": {"avg": 0.617, "low_05": 0.6, "up_95": 0.628},
    "G": {"avg": 0.755, "low_05": 0.74, "up_95": 0.78},
}


class ReleasedHysac(nn.Module):
    """The modules that the released state dict is of: two halves of CLIP inside peft, scalars."""

    def __init__(self, text: dict[str, Any], vision: dict[str, Any], rank: int) -> None:
        super().__init__()
        from peft import LoraConfig, get_peft_model
        from transformers import (
            CLIPTextConfig,
            CLIPTextModelWithProjection,
            CLIPVisionConfig,
            CLIPVisionModelWithProjection,
        )

        def adapted(model: nn.Module) -> nn.Module:
            config = LoraConfig(r=rank, lora_alpha=1, lora_dropout=0.1, target_modules=list(LORA))
            with warnings.catch_warnings():
                # peft asks transformers 5 for what it has renamed.
                warnings.simplefilter("ignore", FutureWarning)
                return get_peft_model(model, config)

        self.visual = adapted(CLIPVisionModelWithProjection(CLIPVisionConfig(**vision)))
        self.textual = adapted(CLIPTextModelWithProjection(CLIPTextConfig(**text)))
        for name, value in (
            ("logit_scale", 3.5),
            ("curv", math.log(0.1)),
            ("visual_alpha", -0.4),
            ("textual_alpha", -0.9),
        ):
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))
        self.register_buffer("pixel_mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("pixel_std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if "lora_B" in name or name.endswith("bias"):
                    parameter.normal_(std=0.1)

    @torch.no_grad()
    def encode(self, pixels: Tensor, ids: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Space parts in float64, the adapters unmerged, by the formulas of the paper."""
        self.double().eval()
        features = (
            self.visual(pixel_values=pixels.double()).image_embeds,
            self.textual(input_ids=ids).text_embeds,
        )
        scales = (self.visual_alpha.exp(), self.textual_alpha.exp())
        image, text = (lifted((s * f).numpy(), 0.1) for s, f in zip(scales, features, strict=True))
        return image, text


def lifted(u: np.ndarray, curvature: float) -> np.ndarray:
    """exp_map0, written out."""
    r = np.sqrt(curvature) * np.linalg.norm(u, axis=-1, keepdims=True)
    return np.sinh(r) / r * u


def old_naming(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As peft 0.4 wrote them: no base_layer, and a random bias of the patch convolution."""
    renamed = {name.replace(".base_layer.", "."): tensor for name, tensor in state.items()}
    prefix = "visual.base_model.model.vision_model.embeddings"
    width = renamed[f"{prefix}.class_embedding"].shape[0]
    renamed[f"{prefix}.patch_embedding.bias"] = 0.1 * torch.randn(width)
    renamed[f"{prefix}.position_ids"] = torch.arange(17)[None]
    return renamed


@pytest.fixture(autouse=True)
def _small_and_alone() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def make_hysac() -> Callable[..., ReleasedHysac]:
    """A release, tiny or at the size of ViT-L/14."""

    def make(
        *, image_layers: int = 2, text_layers: int = 2, rank: int = 4, full_size: bool = False
    ) -> ReleasedHysac:
        torch.manual_seed(0)
        text, vision = (FULL_TEXT, FULL_VISION) if full_size else (TEXT, VISION)
        common = {"projection_dim": 768 if full_size else 32}
        return ReleasedHysac(
            {**text, **common, "num_hidden_layers": text_layers},
            {**vision, **common, "num_hidden_layers": image_layers},
            rank,
        )

    return make


@pytest.fixture(scope="session")
def write_hysac() -> Callable[..., Path]:
    """Writes a release into a folder, as it is published."""

    def write(folder: Path, state: dict[str, Tensor]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({k: v.clone() for k, v in state.items()}, folder / "hysac_model.pth")
        (folder / "hysac_bounds.json").write_text(json.dumps(BOUNDS))
        return folder

    return write


@pytest.fixture(scope="session")
def peft_04() -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return old_naming


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Any]:
    """transformers' CLIPModel of random weights."""

    def make(act: str = "quick_gelu", *, heads: int = 2, image_layers: int = 2, **text: Any) -> Any:
        from transformers import CLIPConfig, CLIPModel

        torch.manual_seed(1)
        vision = {**VISION, "num_attention_heads": heads, "num_hidden_layers": image_layers}
        config = CLIPConfig(
            text_config={**TEXT, "num_hidden_layers": 2, "hidden_act": act, **text},
            vision_config={**vision, "hidden_act": act},
            projection_dim=32,
        )
        model = CLIPModel(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(std=0.1)
        return model

    return make
