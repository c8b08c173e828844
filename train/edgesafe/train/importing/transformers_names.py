"""Names of the weights of transformers' CLIPModel, whole or in halves."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from edgesafe.train.importing.shape import Shape, pair, read_shape

__all__ = ["POSITIONS", "fold_patch_bias", "shape_of_transformers", "transformers_table"]

POSITIONS = "vision_model.embeddings.position_embedding.weight"

_BLOCK = (
    ("self_attn.q_proj", "attn.q_proj"),
    ("self_attn.k_proj", "attn.k_proj"),
    ("self_attn.v_proj", "attn.v_proj"),
    ("self_attn.out_proj", "attn.out_proj"),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
)


def transformers_table(
    *, image_layers: int | None = None, text_layers: int | None = None
) -> dict[str, str]:
    """Names of a CLIPModel of transformers -> ours; ``.T`` behind what is transposed.

    Args:
        image_layers: Of the image tower; None leaves it out.
        text_layers: Of the text tower; None leaves it out.
    """
    table: dict[str, str] = {}
    if image_layers is not None:
        table |= {
            "vision_model.embeddings.class_embedding": "image.class_embedding",
            "vision_model.embeddings.patch_embedding.weight": "image.conv1.weight",
            POSITIONS: "image.positional_embedding",
            **pair("vision_model.pre_layrnorm", "image.ln_pre"),  # sic
            **_blocks("vision_model", "image", image_layers),
            **pair("vision_model.post_layernorm", "image.ln_post"),
            "visual_projection.weight": "image.proj.T",
        }
    if text_layers is not None:
        table |= {
            "text_model.embeddings.token_embedding.weight": "text.token_embedding.weight",
            "text_model.embeddings.position_embedding.weight": "text.positional_embedding",
            **_blocks("text_model", "text", text_layers),
            **pair("text_model.final_layer_norm", "text.ln_final"),
            "text_projection.weight": "text.text_projection.T",
        }
    return table


def shape_of_transformers(state: Mapping[str, Tensor], where: str) -> Shape:
    """Reads the sizes off a CLIPModel's weights.

    Raises:
        CheckpointError: A tower is missing, or the sizes make no CLIP.
    """
    image, text = "vision_model.embeddings", "text_model.embeddings"
    return read_shape(
        state,
        where,
        projection=("visual_projection.weight", 0),
        patch=f"{image}.patch_embedding.weight",
        positions=f"{image}.position_embedding.weight",
        image_mlp="vision_model.encoder.layers.{}.mlp.fc1.weight",
        tokens=f"{text}.token_embedding.weight",
        context=f"{text}.position_embedding.weight",
        text_mlp="text_model.encoder.layers.{}.mlp.fc1.weight",
    )


def _blocks(theirs: str, ours: str, layers: int) -> dict[str, str]:
    return {
        foreign: own
        for i in range(layers)
        for a, b in _BLOCK
        for foreign, own in pair(
            f"{theirs}.encoder.layers.{i}.{a}", f"{ours}.transformer.resblocks.{i}.{b}"
        ).items()
    }


def fold_patch_bias(state: dict[str, Tensor]) -> bool:
    """Moves a bias of transformers' patch convolution into the positions of the patches.

    CLIP's convolution has none; peft 0.4 gave every convolution that it adapted a random one, and
    the model then trained with it. Added to the position of each patch it has the same effect.

    Returns:
        Whether there was one that is not zero.
    """
    bias = state.pop("vision_model.embeddings.patch_embedding.bias", None)
    if bias is None or not bool(bias.any()):
        return False
    positions = state[POSITIONS].clone()
    positions[1:] += bias
    state[POSITIONS] = positions
    return True
