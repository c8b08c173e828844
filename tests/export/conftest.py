"""Tiny dual encoders: a CNN with batch normalisation; a two-layer BERT or a bag of words."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train import checkpoint as checkpoints
from edgesafe.train.encoders.base import DualEncoder, build_encoder
from edgesafe.train.model import HyperbolicDualEncoder, Lift

DIM = 24


class TinyImage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.mix = nn.Conv2d(16, 64, 3, stride=2)
        self.bank = nn.Parameter(torch.randn(64, 64) * 0.2)
        self.out = nn.Linear(64, DIM)

    def forward(self, pixels: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(pixels)))
        x = torch.relu(self.mix(self.depthwise(x)))
        return cast(Tensor, self.out(torch.tanh(x.mean(dim=(2, 3)) @ self.bank)))


class TinyText(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config: dict[str, Any] = {
            "vocab_size": vocabulary,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "max_position_embeddings": 160,
            "attn_implementation": "sdpa",
        }
        self.bert = BertModel(BertConfig(**config), add_pooling_layer=False)
        self.out = nn.Linear(64, DIM)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        tokens = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask[..., None].to(tokens.dtype)
        return cast(Tensor, self.out((tokens * weight).sum(1) / weight.sum(1)))


class BagOfWords(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, 64)
        self.norm = nn.LayerNorm(64)
        self.out = nn.Linear(64, DIM)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        weight = attention_mask[..., None].to(self.table.weight.dtype)
        return cast(Tensor, self.out(self.norm((self.table(input_ids) * weight).sum(1))))


def tokenizer_json() -> bytes:
    """A word-piece tokeniser that knows single characters only."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    letters = string.ascii_letters + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{x}" for x in letters)]
    tokenizer = Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer.to_str().encode()


def build_tiny(
    architecture: Mapping[str, Any],
    *,
    pretrained: bool = True,
    tokenizer_json: bytes | None = None,
) -> DualEncoder:
    data = tokenizer_json or globals()["tokenizer_json"]()
    vocabulary = len(json.loads(data)["model"]["vocab"])
    mean, std = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
    return DualEncoder(
        image=TinyImage(),
        text=BagOfWords(vocabulary) if architecture["words"] else TinyText(vocabulary),
        architecture=dict(architecture),
        dim=DIM,
        preprocess=Preprocess(32, 40, "stretch", "bicubic", mean, std),
        tokenizer_json=data,
        max_tokens=128,
        pad_id=0,
        fixed_length=False,
        weights={"licence": "Apache-2.0", "origin": ["random numbers"], "notice": ""},
    )


def tiny_model(*, words: bool) -> HyperbolicDualEncoder:
    torch.manual_seed(0)
    encoder = build_tiny({"name": "tiny", "words": words})
    norm = encoder.image.get_submodule("norm")
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.uniform_(-0.5, 0.5)
    norm.running_var.uniform_(0.5, 2)
    lift = Lift(DIM, curvature=0.7, visual_scale=0.8, textual_scale=0.6)
    return HyperbolicDualEncoder(encoder, lift).eval()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture()
def model() -> HyperbolicDualEncoder:
    return tiny_model(words=False).requires_grad_(False)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint of the tiny model, which `load_checkpoint` can read while the tests run."""
    folder = tmp_path_factory.mktemp("export") / "checkpoint"
    bounds = {"avg": 0.5, "low_05": 0.4, "up_95": 0.6}
    model = tiny_model(words=True)
    info = checkpoints.CheckpointInfo.of(
        model,
        seed=7,
        data={"fingerprint": "f" * 64, "train": 10},
        bounds={"safe_text": bounds, "unsafe_image": bounds},
        concepts=[
            {"name": "knife", "tag": "weapon", "prompts": ["a knife", "a sharp blade"]},
            {"name": "flower", "tag": "nature", "prompts": ["a flower"], "safe": True},
        ],
        config={"data": "/somewhere/on/a/machine"},
    )
    checkpoints.save_checkpoint(folder, model, info)
    with pytest.MonkeyPatch.context() as patch:
        # The fixture lives as long as the session: other encoders are built as ever.

        def build(architecture: Mapping[str, Any], **rest: Any) -> DualEncoder:
            builder = build_tiny if architecture.get("name") == "tiny" else build_encoder
            return builder(architecture, **rest)

        patch.setattr(checkpoints, "build_encoder", build)
        yield folder
