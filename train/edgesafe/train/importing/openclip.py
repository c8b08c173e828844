"""Weights of open_clip: a folder that describes them, or a file and a named architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgesafe.runtime.errors import CheckpointError, UsageError
from edgesafe.train.checkpoint import CheckpointInfo
from edgesafe.train.encoders.base import build_encoder
from edgesafe.train.importing.openclip_names import from_open_clip
from edgesafe.train.importing.released import Imported, Origin, describe, euclidean, fill
from edgesafe.train.importing.safeclip import OPEN_CLIP, read_json
from edgesafe.train.importing.source import Source
from edgesafe.train.importing.weights import read_weights

__all__ = ["FILES", "import_openclip"]

CONFIG = "open_clip_config.json"
FILES = (CONFIG, *OPEN_CLIP)
_PREPROCESS = ("mean", "std", "interpolation", "resize_mode")


def import_openclip(
    source: Source,
    *,
    architecture: str | None = None,
    quick_gelu: bool | None = None,
    licence: str | None = None,
) -> Imported:
    """Reads weights of a named or described architecture.

    Args:
        source: Folder or file.
        architecture: open_clip's name; needed for a file.
        quick_gelu: Whether the MLPs use QuickGELU; None for what the architecture says.
        licence: Of the weights, which no file states.

    Raises:
        CheckpointError: The weights are missing, broken, or of another architecture.
        UsageError: There is nothing that says which architecture they are of.
    """
    path = source.path if source.path.is_file() else source.find(*OPEN_CLIP)
    if path is None:
        raise CheckpointError(f"{source.path} holds neither {OPEN_CLIP[0]} nor {OPEN_CLIP[1]}.")
    description = source.find(CONFIG) if source.path.is_dir() else None
    table: Mapping[str, Any] = read_json(description) if description else {}
    config = None if architecture else table.get("model_cfg")
    if architecture is None and config is None:
        raise UsageError(
            f"{source.path}: nothing says which architecture these weights are of. Name it with "
            f"--architecture (such as ViT-B-32, or ViT-B-32-quickgelu for OpenAI's), or name a "
            f"folder with {CONFIG}."
        )
    weights = read_weights(path)
    line = describe(path, weights.digest, source.name)
    origin = Origin(licence or "unknown", (line,), "")
    stated = table.get("preprocess_cfg") or {}
    pixels = {key: stated[key] for key in _PREPROCESS if key in stated}
    encoder = build_encoder(
        {
            "name": f"open_clip:{architecture or source.name}",
            "config": config,
            "quick_gelu": quick_gelu,
            "preprocess": pixels or None,
            "weights": origin.to_json(),
        },
        pretrained=False,
    )
    fill(encoder, from_open_clip(weights.tensors), str(path))
    model = euclidean(encoder, weights.tensors.get("logit_scale"), str(path))
    info = CheckpointInfo.of(model, method="clip", data={"imported": [line]})
    return Imported(model, replace(info, weights=origin.to_json()))
