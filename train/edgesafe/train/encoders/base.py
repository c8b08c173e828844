"""The one interface of every pair of towers, and the registry that builds them by name.

A `DualEncoder` maps normalised pixels and token ids to un-normalised Euclidean features of one
common dimension. It knows its own preprocessing and tokeniser, and which of its parts may be
trained; it knows nothing of hyperbolic space (`edgesafe.train.model` adds that).

To add an encoder: subclass `DualEncoder`, write a builder
``build(architecture, *, pretrained, tokenizer_json) -> DualEncoder`` and list it in `_BUILDERS`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.preprocess import Preprocess

_BUILDERS = {
    "edge": "edgesafe.train.encoders.edge:build_edge",
    "open_clip": "edgesafe.train.encoders.openclip:build_open_clip",
}
"""Name before the colon of ``architecture["name"]`` -> ``module:function`` of its builder."""


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters; the defaults are HySAC's (arXiv 2503.12127).

    Attributes:
        r: Rank.
        alpha: Numerator of the scale ``alpha / r``.
        dropout: Dropout in front of the down-projection.
        targets: Last parts of the module names to adapt; empty means the encoder's own choice.
    """

    r: int = 16
    alpha: float = 1.0
    dropout: float = 0.1
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingPlan:
    """Which parameters of the two towers learn, and how fast.

    Attributes:
        image: ``lora``, ``full``, ``frozen``, ``head`` or ``from:BLOCK``. ``head`` trains what
            belongs to no block of `DualEncoder.blocks`, ``from:BLOCK`` that and every block from
            BLOCK to the last.
        text: The same for the text tower.
        freeze: Last parts of the names of modules that stay as they are whatever ``image`` and
            ``text`` say, such as ``conv_dw``.
        lora: Settings of the adapters.
        lr_scale: Start of a parameter's name (``image.trunk``) -> multiplier of the learning
            rate; the longest match counts.
    """

    image: str = "lora"
    text: str = "lora"
    freeze: tuple[str, ...] = ()
    lora: LoraSettings = LoraSettings()
    lr_scale: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ParameterGroup:
    """Trainable parameters that share a multiplier of the learning rate.

    Attributes:
        named: ``(name, parameter)`` in the encoder's own order.
        lr_scale: Multiplier of the base learning rate.
    """

    named: tuple[tuple[str, nn.Parameter], ...]
    lr_scale: float


@dataclass(frozen=True)
class Padding:
    """Makes rectangular batches of lists of token ids.

    Attributes:
        max_tokens: Width of a batch of fixed length.
        pad_id: Id that fills the rest of a row.
        fixed_length: Whether every batch is ``max_tokens`` wide, or as wide as its longest row.
    """

    max_tokens: int
    pad_id: int
    fixed_length: bool

    def __call__(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Returns ``input_ids`` and ``attention_mask``, both (B, T) int64."""
        width = self.max_tokens if self.fixed_length else max(map(len, rows), default=1)
        ids = torch.full((len(rows), width), self.pad_id, dtype=torch.int64)
        mask = torch.zeros((len(rows), width), dtype=torch.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
            mask[i, : len(row)] = 1
        return ids, mask


class DualEncoder(nn.Module):
    """An image tower and a text tower with features of one dimension.

    Attributes:
        image: Pixels (B, 3, H, W) float32, normalised -> features (B, dim), not normalised.
        text: ``input_ids`` and ``attention_mask`` (B, T) int64 -> features (B, dim).
        architecture: JSON-ready description from which `build_encoder` makes the same modules.
        dim: Dimension of the features.
        preprocess: From RGB bytes to pixels.
        tokenizer_json: A `tokenizers` file that gives the ids with their special tokens;
            truncation and padding are not configured inside.
        max_tokens: Longest sequence, special tokens included.
        pad_id: Id that fills the rest of a row.
        fixed_length: Whether rows are always padded to ``max_tokens``.
        weights: ``licence``, ``origin`` (list) and ``notice`` of the initial weights.
        head_with_lora: Whether ``lora`` also trains what belongs to no block.
        any_size: Whether the image tower takes pictures of any size.
    """

    image: nn.Module
    text: nn.Module
    head_with_lora: bool = False
    any_size: bool = False

    def __init__(
        self,
        *,
        image: nn.Module,
        text: nn.Module,
        architecture: Mapping[str, Any],
        dim: int,
        preprocess: Preprocess,
        tokenizer_json: bytes,
        max_tokens: int,
        pad_id: int,
        fixed_length: bool,
        weights: Mapping[str, Any],
    ) -> None:
        """Keeps the towers and what belongs to them; see the attributes."""
        super().__init__()
        self.image = image
        self.text = text
        self.architecture = dict(architecture)
        self.dim = dim
        self.preprocess = preprocess
        self.tokenizer_json = tokenizer_json
        self.max_tokens = max_tokens
        self.pad_id = pad_id
        self.fixed_length = fixed_length
        self.weights = dict(weights)

    # What a subclass may refine

    def blocks(self, tower: str) -> dict[str, nn.Module]:
        """Named parts of ``image`` or ``text``, from the input to the output.

        What belongs to none of them is the tower's head.
        """
        del tower
        return {}

    def lora_targets(self, tower: str) -> tuple[str, ...]:
        """Last parts of the module names that ``lora`` adapts in ``image`` or ``text``."""
        del tower
        return ()

    def image_with_evidence(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Image features (B, dim) and maps of logits (B, h, w) that say where the evidence is.

        Raises:
            UsageError: The image tower has no such maps.
        """
        del pixels
        raise UsageError(
            f"loss.place_weight: the image tower of {self.architecture['name']!r} has no evidence "
            'maps. Set it to 0, or use the architecture "edge".'
        )

    # Text

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Turns texts into padded ids.

        Returns:
            ``input_ids`` and ``attention_mask``, both (B, T) int64; T is ``max_tokens`` for
            fixed-length towers, else the longest row of the batch.
        """
        return self.padding(self.token_ids(texts))

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Turns texts into unpadded, truncated lists of ids with their special tokens."""
        tokenizer = _tokenizer(self.tokenizer_json, self.max_tokens)
        return [list(row.ids) for row in tokenizer.encode_batch(list(texts))]

    @property
    def padding(self) -> Padding:
        """How lists of ids become a batch."""
        return Padding(self.max_tokens, self.pad_id, self.fixed_length)

    # Training

    def prepare_training(self, plan: TrainingPlan) -> list[ParameterGroup]:
        """Freezes and adapts the towers as the plan says.

        Returns:
            The trainable parameters, grouped by their multiplier of the learning rate.

        Raises:
            UsageError: An unknown mode or block, or a LoRA target or a name to freeze that matches
                no module.
        """
        self.requires_grad_(False)
        for tower, mode in (("image", plan.image), ("text", plan.text)):
            self._prepare_tower(tower, mode, plan.lora)
        for name in plan.freeze:
            self._freeze(name)
        groups: dict[float, list[tuple[str, nn.Parameter]]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(_lr_scale(name, plan.lr_scale), []).append((name, parameter))
        return [ParameterGroup(tuple(named), scale) for scale, named in sorted(groups.items())]

    def is_frozen(self, tower: str) -> bool:
        """Whether no parameter of ``image`` or ``text`` learns."""
        return not any(p.requires_grad for p in cast(nn.Module, getattr(self, tower)).parameters())

    def train(self, mode: bool = True) -> DualEncoder:
        """Like `nn.Module.train`, but what is frozen stays in evaluation mode.

        Dropout has no business in a frozen part, and the statistics of batch normalisation are
        kept as they were: the batches of a fine-tuning run are too small to estimate them.
        """
        super().train(mode)
        if mode:
            for module in self.modules():
                batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
                if batch_norm or _has_only_frozen_parameters(module):
                    module.eval()
        return self

    def _prepare_tower(self, tower: str, mode: str, lora: LoraSettings) -> None:
        module = cast(nn.Module, getattr(self, tower))
        if mode == "frozen":
            return
        if mode == "full":
            module.requires_grad_(True)
        elif mode == "head":
            self._unfreeze_head(tower)
        elif mode == "lora":
            from edgesafe.train.lora import inject

            # First the adapters, so that the head keeps whatever it is told below.
            inject(module, lora, self.lora_targets(tower), where=tower)
            if self.head_with_lora:
                self._unfreeze_head(tower)
        elif mode.startswith("from:"):
            blocks = self.blocks(tower)
            first = mode.removeprefix("from:")
            if first not in blocks:
                raise UsageError(
                    f"train.{tower} = {mode!r}: the {tower} tower has no block {first!r}. "
                    f"Name one of: {', '.join(blocks) or '(this tower has no blocks)'}."
                )
            names = list(blocks)
            for name in names[names.index(first) :]:
                blocks[name].requires_grad_(True)
            self._unfreeze_head(tower)
        else:
            raise UsageError(
                f"train.{tower} = {mode!r} is unknown. Use lora, full, frozen, head or from:BLOCK."
            )

    def _freeze(self, name: str) -> None:
        # The root has no name, and an empty name must not freeze it.
        found = [m for n, m in self.named_modules() if n and f".{n}".endswith(f".{name}")]
        if not found:
            raise UsageError(
                f"train.freeze: no module of the towers is named {name!r}. Give the last part of a "
                "module's name, such as conv_dw."
            )
        for module in found:
            module.requires_grad_(False)

    def _unfreeze_head(self, tower: str) -> None:
        in_blocks = {id(p) for block in self.blocks(tower).values() for p in block.parameters()}
        for parameter in cast(nn.Module, getattr(self, tower)).parameters():
            if id(parameter) not in in_blocks:
                parameter.requires_grad_(True)


class _Builder(Protocol):
    def __call__(
        self, architecture: Mapping[str, Any], *, pretrained: bool, tokenizer_json: bytes | None
    ) -> DualEncoder: ...


def build_encoder(
    architecture: Mapping[str, Any],
    *,
    pretrained: bool = True,
    tokenizer_json: bytes | None = None,
) -> DualEncoder:
    """Builds the pair of towers that a description names.

    Args:
        architecture: ``name`` (``edge``, ``open_clip:ViT-B-32``) and the keyword arguments of
            that encoder's builder.
        pretrained: Whether to load the initial weights that the description names. A checkpoint
            that brings its own weights is read with False and then needs none of those files.
        tokenizer_json: The tokeniser kept in a checkpoint, in place of the builder's own.

    Raises:
        UsageError: The name is unknown.
    """
    name = architecture.get("name")
    family = name.split(":", 1)[0] if isinstance(name, str) else None
    if family not in _BUILDERS:
        raise UsageError(
            f"architecture.name = {name!r} is unknown. "
            'Use "edge", or "open_clip:NAME" such as "open_clip:ViT-B-32".'
        )
    module, function = _BUILDERS[family].split(":")
    builder = cast(_Builder, getattr(importlib.import_module(module), function))
    return builder(architecture, pretrained=pretrained, tokenizer_json=tokenizer_json)


def read_arguments(architecture: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Fills in an architecture's arguments and refuses those that the builder does not know.

    Raises:
        DataError: An argument has no entry in ``defaults``.
    """
    unknown = sorted(set(architecture) - set(defaults) - {"name"})
    if unknown:
        raise DataError(
            f"architecture {architecture.get('name')!r}: unknown argument {unknown[0]!r}. "
            f"It takes: {', '.join(sorted(defaults)) or 'none'}."
        )
    return {key: architecture.get(key, value) for key, value in defaults.items()}


@lru_cache(maxsize=4)
def _tokenizer(file: bytes, max_tokens: int) -> Any:
    """Parsing takes longer than most batches; the encoders of one run share a file."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(file.decode("utf-8"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def _lr_scale(name: str, scales: Mapping[str, float]) -> float:
    # An adapter inserts `base_layer` and its own names; the user knows the plain ones only.
    plain = re.sub(r"\.(base_layer|lora_[A-Z]\w*\.\w+)(?=\.|$)", "", name)
    matches = [p for p in scales if plain == p or plain.startswith(p + ".")]
    return float(scales[max(matches, key=len)]) if matches else 1.0


def _has_only_frozen_parameters(module: nn.Module) -> bool:
    parameters: Iterator[nn.Parameter] = module.parameters()
    first = next(parameters, None)
    return (
        first is not None
        and not first.requires_grad
        and not any(p.requires_grad for p in parameters)
    )
