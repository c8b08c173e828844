"""Any open_clip architecture with weights from a local file, or random ones.

``architecture`` takes, beside ``name = "open_clip:ViT-B-32"``:

* ``checkpoint``: a ``.safetensors`` file, or a ``.pt``/``.bin`` file of plain tensors (read with
  ``weights_only``, so that no code in it can run). Nothing is ever downloaded.
* ``quick_gelu``: whether the MLPs use QuickGELU, as OpenAI's weights need; None keeps what the
  architecture says (``ViT-B-32`` does not, ``ViT-B-32-quickgelu`` does).
* ``config``: open_clip's own configuration, in place of the one that the name stands for.
* ``preprocess``: ``mean``, ``std``, ``interpolation``, ``resize_mode`` (``squash`` or
  ``shortest``) where the weights want others than CLIP's.
* ``tokenizer``: a `tokenizers` file, for architectures whose text tower is not CLIP's.
* ``weights``: ``licence``, ``origin`` and ``notice`` of the checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgesafe.runtime.errors import CheckpointError, MissingExtraError, UsageError
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.encoders.attention import unpack_attention
from edgesafe.train.encoders.base import DualEncoder, read_arguments
from edgesafe.train.encoders.clip_tokenizer import clip_tokenizer_json

ARGUMENTS: dict[str, Any] = {
    "checkpoint": None,
    "quick_gelu": None,
    "config": None,
    "preprocess": None,
    "tokenizer": None,
    "weights": None,
}
_POOLS = ("argmax", "eos", "first", "last")


class ClipTextTower(nn.Module):
    """CLIP's text transformer, pooled at the last token that the mask keeps.

    open_clip looks for the largest id instead. For CLIP's ids that is the same token, unless a
    text spells out the end-of-text token, which would hide everything after it from the search.
    """

    def __init__(self, source: nn.Module, pool: str) -> None:
        """Takes over the parts of an open_clip text tower.

        Args:
            source: `open_clip.CLIP` or its `TextTransformer`.
            pool: open_clip's name of the pooling.
        """
        super().__init__()
        parts = cast(Any, source)
        self.token_embedding: nn.Embedding = parts.token_embedding
        self.positional_embedding: nn.Parameter = parts.positional_embedding
        self.transformer: nn.Module = parts.transformer
        self.ln_final: nn.Module = parts.ln_final
        self.text_projection: nn.Module | nn.Parameter | None = parts.text_projection
        self.pool = pool
        self.pad_mask = bool(getattr(parts, "use_pad_mask", False))
        self.heads = int(getattr(parts, "heads", 0))
        self.attn_mask: Tensor | None
        self.register_buffer("attn_mask", parts.attn_mask, persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Turns ids and mask (B, T) into features (B, d)."""
        length = input_ids.shape[1]
        x = self.token_embedding(input_ids) + self.positional_embedding[:length]
        x = self.transformer(x, attn_mask=self._attention(attention_mask, length, x.dtype))
        pooled = self._pool(self.ln_final(x), attention_mask)
        if self.text_projection is None:
            return pooled
        if isinstance(self.text_projection, nn.Module):
            return cast(Tensor, self.text_projection(pooled))
        return pooled @ self.text_projection

    def _attention(self, mask: Tensor, length: int, dtype: torch.dtype) -> Tensor | None:
        causal = None if self.attn_mask is None else self.attn_mask[:length, :length]
        if not self.pad_mask:
            return causal
        hidden = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        hidden = hidden.masked_fill(mask == 0, float("-inf"))
        hidden = hidden[:, None, None].expand(-1, self.heads, length, -1).flatten(0, 1)
        return hidden if causal is None else hidden + causal

    def _pool(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.pool == "first":
            return x[:, 0]
        if self.pool == "last":
            return x[:, -1]
        last = mask.sum(dim=1) - 1
        return x[torch.arange(x.shape[0], device=x.device), last]


class OpenClipEncoder(DualEncoder):
    """open_clip's two towers with what may be trained in them."""

    def blocks(self, tower: str) -> dict[str, nn.Module]:
        """``embed`` and ``block0`` … of a transformer; see `DualEncoder.blocks`."""
        module = cast(Any, getattr(self, tower))
        transformer = getattr(module, "transformer", None)
        if transformer is None or not hasattr(transformer, "resblocks"):
            return {}
        layers = {f"block{i}": block for i, block in enumerate(transformer.resblocks)}
        return {"embed": _embedding_parts(module), **layers}

    def lora_targets(self, tower: str) -> tuple[str, ...]:
        """HySAC's: k, v and output projections, both MLP layers, the patch convolution."""
        targets = ("k_proj", "v_proj", "out_proj", "c_fc", "c_proj")
        return (*targets, "conv1") if tower == "image" else targets


def build_open_clip(
    architecture: Mapping[str, Any], *, pretrained: bool, tokenizer_json: bytes | None
) -> DualEncoder:
    """Builds towers by open_clip's name of the architecture; see the module's docstring.

    Raises:
        UsageError: The name is unknown, or its text tower is of a kind that is not supported.
        CheckpointError: The file of weights is missing, broken or of another architecture.
    """
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise MissingExtraError("open_clip", "train") from error

    arguments = read_arguments(architecture, ARGUMENTS)
    full_name = str(architecture["name"])
    name = full_name.partition(":")[2]
    config = arguments["config"] or open_clip.get_model_config(name)
    if config is None:
        raise UsageError(
            f"architecture.name = {full_name!r}: open_clip {open_clip.__version__} does not know "
            f"{name!r}. `python -c 'import open_clip; print(open_clip.list_models())'` lists all."
        )
    config = _plain_config(config, arguments["quick_gelu"])
    _require_supported(config, full_name)
    tokenizer_json = tokenizer_json or _tokenizer(config, arguments["tokenizer"], full_name)
    model = _model(config)
    weights = dict(arguments["weights"] or {})
    if pretrained and arguments["checkpoint"]:
        weights = _load(model, Path(arguments["checkpoint"]), weights)
    text_source = model.text if hasattr(model, "text") else model
    pool = str(getattr(text_source, "pool_type", getattr(text_source, "text_pool_type", "")))
    unpack_attention(model)
    return OpenClipEncoder(
        image=model.visual,
        text=ClipTextTower(text_source, pool),
        architecture={
            "name": full_name,
            "config": config,
            "preprocess": arguments["preprocess"],
            "weights": weights,
        },
        dim=int(config["embed_dim"]),
        preprocess=_preprocess(model, arguments["preprocess"] or {}),
        tokenizer_json=tokenizer_json,
        max_tokens=int(text_source.context_length),
        pad_id=int(config["text_cfg"].get("pad_id", 0)),
        fixed_length=True,
        weights={"licence": "unknown", "origin": [full_name], "notice": "", **weights},
    )


def _plain_config(config: Mapping[str, Any], quick_gelu: bool | None) -> dict[str, Any]:
    plain = {key: dict(v) if isinstance(v, Mapping) else v for key, v in config.items()}
    # The towers are built here and their weights read here; open_clip must fetch none.
    for tower in ("vision_cfg", "text_cfg"):
        plain.setdefault(tower, {})
        for key in ("timm_model_pretrained", "hf_model_pretrained"):
            if key in plain[tower]:
                plain[tower][key] = False
    if quick_gelu is not None:
        plain["quick_gelu"] = quick_gelu
    return plain


def _require_supported(config: Mapping[str, Any], name: str) -> None:
    text = config["text_cfg"]
    for key, what in (("hf_model_name", "from a model hub"), ("embed_cls", "with a class token")):
        if text.get(key):
            raise UsageError(f"{name}: text towers {what} are not supported.")
    if text.get("pool_type", "argmax") not in _POOLS:
        raise UsageError(f"{name}: the text pooling {text['pool_type']!r} is not supported.")
    if config.get("multimodal_cfg") is not None or config["vision_cfg"].get("output_tokens"):
        raise UsageError(f"{name}: generative models are not supported, only dual encoders.")


def _model(config: Mapping[str, Any]) -> Any:
    from open_clip import CLIP, CustomTextCLIP

    known = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_scale",
             "init_logit_bias", "nonscalar_logit_scale")  # fmt: skip
    arguments = {key: config[key] for key in known if key in config}
    return (CustomTextCLIP if config.get("custom_text") else CLIP)(**arguments)


def _load(model: nn.Module, path: Path, weights: dict[str, Any]) -> dict[str, Any]:
    """Reads the weights; returns their description with the digest of the file."""
    from open_clip.factory import load_state_dict

    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"architecture.checkpoint: {path} cannot be read ({error.strerror or error})."
        ) from error
    try:
        state = dict(load_state_dict(str(path), device="cpu", weights_only=True))
    except Exception as error:  # an unpickler fails in a hundred ways
        raise CheckpointError(
            f"architecture.checkpoint: {path} is not a file of plain tensors ({error}). "
            "Convert a TorchScript archive to safetensors first."
        ) from error
    for name in ("input_resolution", "context_length", "vocab_size"):
        state.pop(name, None)
    own = model.state_dict()
    if any(key.startswith("text.") for key in own) and "token_embedding.weight" in state:
        from open_clip.model import convert_to_custom_text_state_dict

        state = convert_to_custom_text_state_dict(state)
    unfit = sorted(set(own) ^ set(state)) + sorted(
        key for key in set(own) & set(state) if own[key].shape != state[key].shape
    )
    if unfit:
        raise CheckpointError(
            f"architecture.checkpoint: {path} belongs to another architecture: {unfit[0]!r} "
            f"does not fit ({len(unfit)} in all)."
        )
    model.load_state_dict(state)
    return {"origin": [f"{path.name}, sha256 {digest}"], **weights}


def _preprocess(model: Any, changes: Mapping[str, Any]) -> Preprocess:
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from open_clip.model import get_model_preprocess_cfg

    settings = {"mean": OPENAI_DATASET_MEAN, "std": OPENAI_DATASET_STD}
    settings |= get_model_preprocess_cfg(model) | dict(changes)
    size = settings.get("size", 224)
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    mode = settings.get("resize_mode", "shortest")
    return Preprocess(
        height=int(height),
        width=int(width),
        mode="stretch" if mode == "squash" else "crop",
        interpolation="bilinear" if settings.get("interpolation") == "bilinear" else "bicubic",
        mean=_three(settings["mean"]),
        std=_three(settings["std"]),
    )


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(v) for v in values)
    return red, green, blue


def _tokenizer(config: Mapping[str, Any], file: str | None, name: str) -> bytes:
    if file is not None:
        try:
            return Path(file).read_bytes()
        except OSError as error:
            raise UsageError(
                f"architecture.tokenizer: {file} cannot be read ({error.strerror or error})."
            ) from error
    text = config["text_cfg"]
    cleaning = (text.get("tokenizer_kwargs") or {}).get("clean", "lower")
    if text.get("hf_tokenizer_name") or text.get("tokenizer_mode") or cleaning != "lower":
        raise UsageError(
            f"{name} does not use CLIP's tokeniser. Name its file as architecture.tokenizer."
        )
    return _clip_tokenizer()


@cache
def _clip_tokenizer() -> bytes:
    from open_clip.tokenizer import SimpleTokenizer

    return clip_tokenizer_json(SimpleTokenizer())


def _embedding_parts(module: Any) -> nn.Module:
    """What stands in front of the first block, as one module that shares the parameters."""
    names = ("conv1", "ln_pre", "token_embedding", "class_embedding", "positional_embedding")
    parts = nn.Module()
    for name in names:
        part = getattr(module, name, None)
        if isinstance(part, nn.Module):
            parts.add_module(name, part)
        elif isinstance(part, nn.Parameter):
            parts.register_parameter(name, part)
    return parts
