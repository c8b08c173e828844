"""Names of the weights of an open_clip model."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from edgesafe.train.importing.shape import Shape, read_shape

__all__ = ["from_open_clip", "shape_of_open_clip", "split_packed"]


def from_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of an open_clip model -> ours; packed attention is split."""
    named = {_own_name(name): tensor for name, tensor in state.items()}
    return split_packed({name: tensor for name, tensor in named.items() if name is not None})


def split_packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Splits every packed projection of an attention into q, k and v."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        head, packed, kind = name.rpartition("in_proj_")
        if packed and head.endswith("."):
            found |= zip((f"{head}{x}_proj.{kind}" for x in "qkv"), tensor.chunk(3), strict=True)
        else:
            found[name] = tensor
    return found


def _own_name(name: str) -> str | None:
    name = name.removeprefix("module.")
    if name.startswith("visual."):
        return "image." + name.removeprefix("visual.")
    ignored = ("logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size")
    if name in ignored or name.endswith("attn_mask"):
        return None
    return "text." + name.removeprefix("text.")


def shape_of_open_clip(state: Mapping[str, Tensor], where: str) -> Shape:
    """Reads the sizes off the weights of an open_clip model with CLIP's two towers.

    Raises:
        CheckpointError: It has other towers.
    """
    text = "text." if "text.token_embedding.weight" in state else ""
    return read_shape(
        state,
        where,
        projection=("visual.proj", 1),
        patch="visual.conv1.weight",
        positions="visual.positional_embedding",
        image_mlp="visual.transformer.resblocks.{}.mlp.c_fc.weight",
        tokens=f"{text}token_embedding.weight",
        context=f"{text}positional_embedding",
        text_mlp=text + "transformer.resblocks.{}.mlp.c_fc.weight",
    )
