"""open_clip's towers: unpacked without a change, tokenised without torch, loaded from a file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgesafe.runtime.errors import CheckpointError, DataError, UsageError
from edgesafe.train.encoders.attention import UnpackedAttention, unpack_attention
from edgesafe.train.encoders.base import DualEncoder, build_encoder
from edgesafe.train.encoders.clip_tokenizer import clip_tokenizer_json

Architecture = Callable[[], dict[str, Any]]

TEXTS = [
    "a photo of a cat",
    "",
    "   ",
    "Hello, World! it's I'm you'll DON'T we've they're he'd",
    "naïve café 北京 日本語テスト 한국어 العربية मनुष्य",
    "e\u0301 combining marks",
    "ΟΔΟΣ ΣΑΣ Σ",
    "İstanbul straße",
    "“quotes” ‘single’ don’t",
    "tabs\tand\nlines\r\nand\rmore\u2028",
    "&amp;lt; &quot;x&quot; 5 &gt; 3 &amp; AT&T &eacute;",
    "ﬁne oﬃce ＦＵＬＬ　width！",
    "emoji 👩‍👩‍👧 🔥🔥 ❤️",
    "12345 3.14 ½ ² ١٢٣",
    "<start_of_text> a <end_of_text> b",
    "\x1b[31mred\x1b[0m a\x00b\x07 \ufeff",
    "\x91old\x92 \x99",
    "zero\u200bwidth soft\u00adhyphen nbsp\u00a0here",
    "___---!!! http://x.com/?a=b&c=d",
    "ſ 'ſ 'S",
    "word " * 100,
    "x" * 500,
]


@pytest.fixture(scope="module")
def simple() -> Any:
    return open_clip.tokenizer.SimpleTokenizer()


@pytest.fixture
def original(tiny_architecture: Architecture) -> Any:
    """open_clip's own tiny model, with biases that are not zero."""
    model = open_clip.CLIP(**tiny_architecture()["config"]).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return model


@pytest.fixture
def encoder(original: Any, tiny_architecture: Architecture, tmp_path: Path) -> DualEncoder:
    save_file(original.state_dict(), tmp_path / "weights.safetensors")
    checkpoint = str(tmp_path / "weights.safetensors")
    return build_encoder({**tiny_architecture(), "checkpoint": checkpoint}).eval()


@pytest.mark.parametrize("text", TEXTS)
def test_ids_equal_open_clips(encoder: DualEncoder, simple: Any, text: str) -> None:
    ids, mask = encoder.tokenize([text])
    assert ids.tolist() == simple([text]).tolist()
    length = int(mask.sum())
    assert mask[0, :length].all() and not mask[0, length:].any()
    assert ids[0, length - 1] == simple.eot_token_id and not ids[0, length:].any()


def test_truncation_is_left_to_the_reader(simple: Any) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(clip_tokenizer_json(simple).decode())
    assert tokenizer.truncation is None and tokenizer.padding is None
    assert len(tokenizer.encode("word " * 100).ids) == 102


def test_towers_equal_open_clips(encoder: DualEncoder, original: Any, simple: Any) -> None:
    pixels = torch.randn(3, 3, 32, 32)
    ids, mask = encoder.tokenize(TEXTS[:5] + ["word " * 100])
    with torch.no_grad():
        images, texts = encoder.image(pixels), encoder.text(ids, mask)
        torch.testing.assert_close(images, original.encode_image(pixels), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(texts, original.encode_text(ids), rtol=1e-5, atol=1e-6)
        # A causal text tower needs no padding to be right.
        short, short_mask = ids[:1, :9], mask[:1, :9]
        torch.testing.assert_close(encoder.text(short, short_mask), texts[:1])


def test_quick_gelu_is_another_function(
    original: Any, tiny_architecture: Architecture, tmp_path: Path
) -> None:
    save_file(original.state_dict(), tmp_path / "weights.safetensors")
    architecture = {**tiny_architecture(), "checkpoint": str(tmp_path / "weights.safetensors")}
    plain = build_encoder({**architecture, "quick_gelu": False}).eval()
    quick = build_encoder({**architecture, "quick_gelu": True}).eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(quick.image(pixels), original.encode_image(pixels))
        assert (plain.image(pixels) - quick.image(pixels)).abs().max() > 1e-4


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", ["none", "causal", "per_head"])
def test_unpacked_attention_equals_packed(batch_first: bool, kind: str) -> None:
    packed = nn.MultiheadAttention(16, 4, batch_first=batch_first)
    with torch.no_grad():
        packed.in_proj_bias.normal_()
        packed.out_proj.bias.normal_()
    x = torch.randn(3, 5, 16)
    mask = {
        "none": None,
        "causal": torch.full((5, 5), float("-inf")).triu(1),
        "per_head": torch.randn(12, 5, 5),
    }[kind]
    if not batch_first:
        x = x.transpose(0, 1)
    expected = packed(x, x, x, need_weights=False, attn_mask=mask)[0]
    found, weights = UnpackedAttention(packed)(x, x, x, attn_mask=mask)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert weights is None


def test_unpacked_attention_of_unlike_widths() -> None:
    packed = nn.MultiheadAttention(16, 4, kdim=12, vdim=8, batch_first=True, bias=False)
    q, k, v = torch.randn(2, 3, 16), torch.randn(2, 5, 12), torch.randn(2, 5, 8)
    expected = packed(q, k, v, need_weights=False)[0]
    torch.testing.assert_close(UnpackedAttention(packed)(q, k, v)[0], expected)


def test_no_packed_attention_is_left(encoder: DualEncoder, original: Any) -> None:
    assert not any(isinstance(m, nn.MultiheadAttention) for m in encoder.modules())
    assert unpack_attention(copy.deepcopy(original)) == 4


def test_known_architecture_by_name() -> None:
    encoder = build_encoder({"name": "open_clip:ViT-S-32-alt"})
    assert (encoder.dim, encoder.max_tokens, encoder.fixed_length) == (256, 77, True)
    assert encoder.preprocess.mode == "crop" and encoder.preprocess.height == 224
    with torch.no_grad():
        assert encoder.image(torch.zeros(1, 3, 224, 224)).shape == (1, 256)


def test_description_rebuilds_the_same_modules(encoder: DualEncoder) -> None:
    again = build_encoder(
        encoder.architecture, pretrained=False, tokenizer_json=encoder.tokenizer_json
    )
    again.load_state_dict(encoder.state_dict())
    assert again.architecture == encoder.architecture
    assert "sha256" in encoder.weights["origin"][0] and "checkpoint" not in encoder.architecture


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "open_clip:ViT-Z-1", "config": None}, "does not know 'ViT-Z-1'"),
        ({"name": "open_clip:roberta-ViT-B-32", "config": None}, "from a model hub"),
        ({"name": "open_clip:coca_ViT-B-32", "config": None}, "not supported"),
        ({"name": "open_clip:ViT-B-16-SigLIP", "config": None}, "CLIP's tokeniser"),
        ({"name": "resnet"}, "architecture.name = 'resnet' is unknown"),
    ],
)
def test_unsupported_architectures(
    tiny_architecture: Architecture, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        build_encoder({**tiny_architecture(), **change})


def test_unknown_argument(tiny_architecture: Architecture) -> None:
    with pytest.raises(DataError, match="unknown argument 'chekpoint'"):
        build_encoder({**tiny_architecture(), "chekpoint": "x"})


def test_weights_that_cannot_be_used(
    tiny_architecture: Architecture, original: Any, tmp_path: Path
) -> None:
    architecture = tiny_architecture()
    path = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match="cannot be read"):
        build_encoder({**architecture, "checkpoint": str(path)})
    path.write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="not a file of plain tensors"):
        build_encoder({**architecture, "checkpoint": str(path)})
    state = original.state_dict()
    state["visual.proj"] = torch.zeros(3, 3)
    save_file(state, path)
    with pytest.raises(CheckpointError, match="'visual.proj' does not fit"):
        build_encoder({**architecture, "checkpoint": str(path)})


def test_no_code_in_a_checkpoint_is_run(tiny_architecture: Architecture, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Evil()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="not a file of plain tensors"):
        build_encoder({**tiny_architecture(), "checkpoint": str(tmp_path / "w.pt")})
    assert not (tmp_path / "ran").exists()
