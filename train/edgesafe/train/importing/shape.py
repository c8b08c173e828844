"""The sizes of a CLIP read off its weights, and renaming by a table that must fit exactly.

Our names are those of open_clip's CLIP with its attention unpacked (`encoders.openclip`). A layout
is a table from foreign names to ours; what is in a file and not in the table, or the other way
round, means that the file is something else, and is never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgesafe.runtime.errors import CheckpointError

__all__ = ["Shape", "apply_table", "as_scalar", "pair", "read_shape"]

_HEAD_WIDTH = 64
"""Of every CLIP; the number of heads cannot be seen in the weights."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a CLIP, as far as they are seen in its weights.

    Attributes:
        dim: Of the embeddings.
        image_size: Side of the image, pixels.
        patch: Side of a patch, pixels.
        image_width: Of the image transformer.
        image_layers: The same.
        image_mlp: The same.
        text_width: Of the text transformer.
        text_layers: The same.
        text_mlp: The same.
        context: Longest text, tokens.
        vocabulary: Tokens.
    """

    dim: int
    image_size: int
    patch: int
    image_width: int
    image_layers: int
    image_mlp: int
    text_width: int
    text_layers: int
    text_mlp: int
    context: int
    vocabulary: int

    def config(
        self,
        *,
        quick_gelu: bool,
        image_heads: int | None = None,
        text_heads: int | None = None,
        pre_norm: bool = True,
    ) -> dict[str, Any]:
        """open_clip's configuration of it.

        Args:
            quick_gelu: Whether the MLPs use x * sigmoid(1.702 x).
            image_heads: Heads of the image transformer; None for width / 64.
            text_heads: The same for text.
            pre_norm: Whether the image transformer has a norm in front.

        Raises:
            CheckpointError: The heads do not divide the width.
        """
        heads = {
            "image": (self.image_width, image_heads or max(1, self.image_width // _HEAD_WIDTH)),
            "text": (self.text_width, text_heads or max(1, self.text_width // _HEAD_WIDTH)),
        }
        for tower, (width, count) in heads.items():
            if width % count:
                raise CheckpointError(f"the {tower} tower's {count} heads do not divide {width}.")
        vision: dict[str, Any] = {
            "image_size": self.image_size,
            "patch_size": self.patch,
            "layers": self.image_layers,
            "width": self.image_width,
            "head_width": self.image_width // heads["image"][1],
            "mlp_ratio": self.image_mlp / self.image_width,
        }
        if not pre_norm:
            vision["no_ln_pre"] = True
        text = {
            "context_length": self.context,
            "vocab_size": self.vocabulary,
            "width": self.text_width,
            "heads": heads["text"][1],
            "layers": self.text_layers,
            "mlp_ratio": self.text_mlp / self.text_width,
        }
        return {
            "embed_dim": self.dim,
            "vision_cfg": vision,
            "text_cfg": text,
            "quick_gelu": quick_gelu,
        }

    @property
    def name(self) -> str:
        """Such as ``ViT-L-14`` or ``ViT-L-14-336``."""
        size = {384: "S", 512: "M", 768: "B", 1024: "L", 1280: "H", 1408: "g", 1664: "bigG"}
        letter = size.get(self.image_width, str(self.image_width))
        at = "" if self.image_size == 224 else f"-{self.image_size}"
        return f"ViT-{letter}-{self.patch}{at}"


def read_shape(
    state: Mapping[str, Tensor],
    where: str,
    *,
    projection: tuple[str, int],
    patch: str,
    positions: str,
    image_mlp: str,
    tokens: str,
    context: str,
    text_mlp: str,
) -> Shape:
    """Reads the sizes off the weights of one layout.

    Args:
        state: The weights.
        where: What to call the file in messages.
        projection: Name of the image projection, and which of its axes is the embedding's.
        patch: Name of the patch convolution's weight.
        positions: Name of the image positions (cells + 1, width).
        image_mlp: Name of the first MLP weight of a block of the image tower, with ``{}``.
        tokens: Name of the token table.
        context: Name of the text positions.
        text_mlp: As ``image_mlp``.

    Raises:
        CheckpointError: One of them is not there, or the sizes make no CLIP.
    """
    first = (image_mlp.format(0), text_mlp.format(0))
    for name in (projection[0], patch, positions, tokens, context, *first):
        if name not in state:
            raise CheckpointError(
                f"{where} has no {name!r}: it is not in the layout that this command reads, or "
                "lacks a tower."
            )
    cells = state[positions].shape[0] - 1
    side = round(cells**0.5)
    size = state[patch].shape[-1]
    if side * side != cells or state[patch].ndim != 4:
        raise CheckpointError(f"{where}: {cells} patches do not make a square image.")
    return Shape(
        dim=state[projection[0]].shape[projection[1]],
        image_size=side * size,
        patch=size,
        image_width=state[patch].shape[0],
        image_layers=_count(state, image_mlp),
        image_mlp=state[first[0]].shape[0],
        text_width=state[tokens].shape[1],
        text_layers=_count(state, text_mlp),
        text_mlp=state[first[1]].shape[0],
        context=state[context].shape[0],
        vocabulary=state[tokens].shape[0],
    )


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    number = 0
    while pattern.format(number) in state:
        number += 1
    return number


def apply_table(
    state: Mapping[str, Tensor], table: Mapping[str, str], where: str
) -> dict[str, Tensor]:
    """Renames (and transposes) every tensor by a table.

    Raises:
        CheckpointError: A tensor is missing, or is not in the table.
    """
    for problem, names in (
        ("lacks", sorted(set(table) - set(state))),
        ("has the unknown", sorted(set(state) - set(table))),
    ):
        if names:
            raise CheckpointError(
                f"{where} {problem} {names[0]!r} ({len(names)} in all): it is not in the layout "
                "that this command reads."
            )
    renamed = {}
    for name, own in table.items():
        transposed = own.endswith(".T")
        renamed[own.removesuffix(".T")] = state[name].T.contiguous() if transposed else state[name]
    return renamed


def pair(theirs: str, ours: str) -> dict[str, str]:
    """Table of the weight and the bias of one layer."""
    return {f"{theirs}.{part}": f"{ours}.{part}" for part in ("weight", "bias")}


def as_scalar(tensor: Tensor, name: str, where: str) -> float:
    """The one number of a tensor.

    Raises:
        CheckpointError: It has more.
    """
    if tensor.numel() != 1 or not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"{where}: {name!r} must be one finite number.")
    return float(tensor.reshape(()))
