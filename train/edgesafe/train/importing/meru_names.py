"""Names of the weights of MERU (arXiv 2304.09172) and of its CLIP baseline."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from edgesafe.train.importing.openclip_names import split_packed
from edgesafe.train.importing.shape import Shape, apply_table, pair, read_shape

__all__ = ["meru_state", "shape_of_meru"]

_KINDS = ("weight", "bias")


def shape_of_meru(state: Mapping[str, Tensor], where: str) -> Shape:
    """Reads the sizes off the weights of MERU (arXiv 2304.09172).

    Raises:
        CheckpointError: It is no MERU.
    """
    flat = dict(state)
    if "visual.pos_embed" in flat:
        flat["visual.pos_embed"] = flat["visual.pos_embed"].flatten(0, -2)
    return read_shape(
        flat,
        where,
        projection=("visual_proj.weight", 0),
        patch="visual.patch_embed.proj.weight",
        positions="visual.pos_embed",
        image_mlp="visual.blocks.{}.mlp.fc1.weight",
        tokens="textual.token_embed.weight",
        context="textual.posit_embed",
        text_mlp="textual.resblocks.{}.mlp.c_fc.weight",
    )


def meru_state(state: Mapping[str, Tensor], shape: Shape, where: str) -> dict[str, Tensor]:
    """Weights of MERU -> ours.

    Its image tower is timm's vision transformer: the attention is packed, and the patch
    convolution has a bias, which is added to the positions of the patches instead.

    Raises:
        CheckpointError: The file has other names.
    """
    table: dict[str, str] = {
        "visual.cls_token": "class_token",
        "visual.pos_embed": "positions",
        "visual.patch_embed.proj.weight": "image.conv1.weight",
        "visual.patch_embed.proj.bias": "patch_bias",
        **pair("visual.norm", "image.ln_post"),
        "visual_proj.weight": "image.proj.T",
        "textual.token_embed.weight": "text.token_embedding.weight",
        "textual.posit_embed": "text.positional_embedding",
        **pair("textual.ln_final", "text.ln_final"),
        "textual_proj.weight": "text.text_projection.T",
    }
    for i in range(shape.image_layers):
        theirs, ours = f"visual.blocks.{i}", f"image.transformer.resblocks.{i}"
        table |= {f"{theirs}.attn.qkv.{k}": f"{ours}.attn.in_proj_{k}" for k in _KINDS}
        for a, b in (
            ("norm1", "ln_1"),
            ("attn.proj", "attn.out_proj"),
            ("norm2", "ln_2"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
        ):
            table |= pair(f"{theirs}.{a}", f"{ours}.{b}")
    for i in range(shape.text_layers):
        theirs, ours = f"textual.resblocks.{i}", f"text.transformer.resblocks.{i}"
        table |= {f"{theirs}.attn.in_proj_{k}": f"{ours}.attn.in_proj_{k}" for k in _KINDS}
        for part in ("attn.out_proj", "ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj"):
            table |= pair(f"{theirs}.{part}", f"{ours}.{part}")
    renamed = apply_table(state, table, where)
    token = renamed.pop("class_token").reshape(-1)
    positions = renamed.pop("positions").reshape(-1, shape.image_width).clone()
    positions[1:] += renamed.pop("patch_bias")
    renamed |= {"image.class_embedding": token, "image.positional_embedding": positions}
    return split_packed(renamed)
