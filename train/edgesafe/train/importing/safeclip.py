"""The released Safe-CLIPs: folders of transformers' CLIPModel, and one file for open_clip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.checkpoint import CheckpointInfo
from edgesafe.train.importing.openclip_names import from_open_clip, shape_of_open_clip
from edgesafe.train.importing.released import (
    NON_COMMERCIAL,
    Imported,
    Origin,
    built,
    describe,
    euclidean,
    fill,
)
from edgesafe.train.importing.shape import apply_table
from edgesafe.train.importing.source import Source
from edgesafe.train.importing.transformers_names import (
    shape_of_transformers,
    transformers_table,
)
from edgesafe.train.importing.weights import Weights, read_weights

__all__ = ["FILES", "import_safeclip", "transformers_weights"]

CONFIG = "config.json"
OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TRANSFORMERS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
PREPROCESSOR = "preprocessor_config.json"
FILES = (CONFIG, PREPROCESSOR, "model*.safetensors*", "pytorch_model*.bin*")
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}
_NOTICE = (
    "Safe-CLIP by Poppi et al., ECCV 2024 (arXiv 2311.16254), fine-tuned from CLIP. Not for "
    "commercial use."
)


def import_safeclip(source: Source) -> Imported:
    """Reads a release.

    A folder with ``config.json`` is transformers' (ViT-L/14, ViT-L/14-336, ViT-H/14, SD 2.0); a
    file with open_clip's names must be run with QuickGELU in both towers, whatever open_clip's
    own description of ViT-L/14 says.

    Raises:
        CheckpointError: A file is missing, broken, or not what the releases consist of.
    """
    config = source.find(CONFIG)
    file = source.find(*TRANSFORMERS) if config else None
    if config is not None and file is not None:
        return _from_transformers(source, config, read_weights(file))
    path = source.path if source.path.is_file() else source.find(*OPEN_CLIP)
    if path is None:
        raise CheckpointError(
            f"{source.path} holds neither {CONFIG} with {TRANSFORMERS[0]} (or "
            f"{TRANSFORMERS[2]}) nor {OPEN_CLIP[1]}."
        )
    weights = read_weights(path)
    if not any(name.startswith("visual.") for name in weights.tensors):
        raise CheckpointError(
            f"{path} has transformers' names, and only its config.json says which activation it "
            "needs: name the folder that holds both."
        )
    return _from_open_clip(source, weights)


def _from_open_clip(source: Source, weights: Weights) -> Imported:
    where = str(weights.path)
    shape = shape_of_open_clip(weights.tensors, where)
    encoder = built(
        f"{shape.name}-quickgelu", shape.config(quick_gelu=True), _origin(source, weights)
    )
    fill(encoder, from_open_clip(weights.tensors), where)
    return _done(encoder, weights.tensors.get("logit_scale"), source, weights)


def _from_transformers(source: Source, config: Path, weights: Weights) -> Imported:
    state = {
        name: tensor
        for name, tensor in weights.tensors.items()
        if not name.endswith("position_ids") and name != "logit_scale"
    }
    where = str(weights.path)
    settings = _settings(config)
    shape = shape_of_transformers(state, where)
    table = transformers_table(image_layers=shape.image_layers, text_layers=shape.text_layers)
    plain = shape.config(
        quick_gelu=settings["quick_gelu"],
        image_heads=settings["image_heads"],
        text_heads=settings["text_heads"],
    )
    suffix = "-quickgelu" if settings["quick_gelu"] else ""
    encoder = built(
        shape.name + suffix, plain, _origin(source, weights), _pixels(source.find(PREPROCESSOR))
    )
    fill(encoder, apply_table(state, table, where), where)
    return _done(encoder, weights.tensors.get("logit_scale"), source, weights)


def _done(encoder: Any, logit_scale: Tensor | None, source: Source, weights: Weights) -> Imported:
    model = euclidean(encoder, logit_scale, str(weights.path))
    line = describe(weights.path, weights.digest, source.name)
    return Imported(model, CheckpointInfo.of(model, method="safeclip", data={"imported": [line]}))


def _origin(source: Source, weights: Weights) -> Origin:
    line = describe(weights.path, weights.digest, source.name)
    return Origin(NON_COMMERCIAL, (line,), _NOTICE)


def _settings(path: Path) -> dict[str, Any]:
    """Activation and heads from transformers' ``config.json``.

    Raises:
        CheckpointError: It is of another model, or asks for what our towers do not compute.
    """
    from transformers import CLIPConfig

    table = read_json(path)
    kind = table.get("model_type")
    if kind != "clip":
        text_only = " A text encoder alone moderates nothing; name the whole CLIP."
        raise CheckpointError(
            f"{path}: model_type is {kind!r}, and this command reads 'clip'."
            + (text_only if kind == "clip_text_model" else "")
        )
    try:
        config: Any = CLIPConfig.from_dict(dict(table))
    except Exception as error:  # transformers validates in many ways
        raise CheckpointError(f"{path} is not a description of a CLIP ({error}).") from error
    towers = {"image": config.vision_config, "text": config.text_config}
    acts = {tower.hidden_act for tower in towers.values()}
    if len(acts) != 1 or acts - set(_ACTIVATIONS):
        raise CheckpointError(
            f"{path}: hidden_act is {' and '.join(sorted(acts))}; it must be quick_gelu or gelu, "
            "the same in both towers."
        )
    for name, tower in towers.items():
        if tower.layer_norm_eps != 1e-5:
            raise CheckpointError(
                f"{path}: layer_norm_eps of the {name} tower is {tower.layer_norm_eps}, not 1e-5."
            )
    return {
        "quick_gelu": _ACTIVATIONS[acts.pop()],
        "image_heads": int(config.vision_config.num_attention_heads),
        "text_heads": int(config.text_config.num_attention_heads),
    }


def _pixels(path: Path | None) -> dict[str, Any] | None:
    """Mean and standard deviation of the pixels, where they are stated."""
    if path is None:
        return None
    table = read_json(path)
    found = {
        ours: tuple(float(v) for v in table[theirs])
        for theirs, ours in (("image_mean", "mean"), ("image_std", "std"))
        if isinstance(table.get(theirs), list)
    }
    return found or None


def read_json(path: Path) -> dict[str, Any]:
    """Reads an object.

    Raises:
        CheckpointError: It cannot be read or is none.
    """
    try:
        table = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(table, dict):
        raise CheckpointError(f"{path} is not a JSON object.")
    return table


def transformers_weights(source: Source) -> Mapping[str, Tensor]:
    """Weights of a CLIPModel by transformers' names, of a folder or a file.

    Raises:
        CheckpointError: There are none.
    """
    path = source.path if source.path.is_file() else source.find(*TRANSFORMERS)
    if path is None:
        raise CheckpointError(f"{source.path} holds no {TRANSFORMERS[0]} nor {TRANSFORMERS[2]}.")
    return read_weights(path).tensors
