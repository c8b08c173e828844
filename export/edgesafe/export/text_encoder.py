"""The text tower as a folder of transformers' CLIPTextModel, for text-to-image pipelines.

Such a pipeline reads the states of all tokens, not the embedding; a text tower that redirects what
is unsafe (Safe-CLIP, arXiv 2311.16254, section 5) then makes it draw the safe counterpart. The
tokeniser stays the pipeline's own.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
from torch import Tensor

from edgesafe.export.probes import TEXTS
from edgesafe.runtime.errors import ExportError, UsageError
from edgesafe.runtime.files import atomic_folder
from edgesafe.train.checkpoint import CheckpointInfo, load_checkpoint
from edgesafe.train.encoders.base import DualEncoder
from edgesafe.train.encoders.openclip import ClipTextTower
from edgesafe.train.importing.transformers_names import transformers_table

__all__ = ["text_encoder_option", "write_text_encoder"]

Command = TypeVar("Command", bound=Callable[..., Any])

CONFIG, MODEL, NOTICE = "config.json", "model.safetensors", "NOTICE.txt"
_LIMIT = 1e-4
_SIMPLE = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
"""What transformers' text model knows of open_clip's settings."""


def write_text_encoder(checkpoint: Path, folder: Path, *, overwrite: bool = False) -> float:
    """Writes the text tower of a checkpoint, loads it with transformers and compares.

    Args:
        checkpoint: The folder that training or an import wrote.
        folder: The folder to make.
        overwrite: Replace such a folder.

    Returns:
        The largest relative difference between the embeddings of the loaded folder and ours.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        ExportError: Its text tower is none of CLIP's, or the folder computes something else.
        UsageError: ``folder`` exists.
    """
    if folder.exists() and not overwrite:
        raise UsageError(f"{folder} exists already: choose another name or pass --overwrite")
    if folder.exists() and not (folder / CONFIG).is_file():
        raise UsageError(f"{folder} holds no {CONFIG}: only a text encoder is overwritten")
    model, info = load_checkpoint(checkpoint)
    encoder = model.encoder.eval().requires_grad_(False)
    config = _config(encoder)
    state = _state(encoder, config["num_hidden_layers"])
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        from safetensors.torch import save_file

        save_file(state, temporary / MODEL, metadata={"format": "pt"})
        (temporary / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (temporary / NOTICE).write_text(_notice(info), encoding="utf-8")
        error = _difference(temporary, encoder)
    return error


def _config(encoder: DualEncoder) -> dict[str, Any]:
    architecture = dict(encoder.architecture.get("config") or {})
    text = dict(architecture.get("text_cfg") or {})
    if not isinstance(encoder.text, ClipTextTower) or not set(text) <= _SIMPLE:
        raise ExportError(
            f"the text tower of {encoder.architecture['name']!r} is none that transformers' "
            "CLIPTextModel can hold: --text-encoder is for CLIP's."
        )
    ids = encoder.token_ids(["x"])[0]
    width = int(text.get("width", 512))
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "hidden_size": width,
        "intermediate_size": int(width * text.get("mlp_ratio", 4.0)),
        "num_hidden_layers": int(text.get("layers", 12)),
        "num_attention_heads": int(text.get("heads", 8)),
        "max_position_embeddings": int(text.get("context_length", 77)),
        "vocab_size": int(text.get("vocab_size", 49408)),
        "projection_dim": encoder.dim,
        "hidden_act": "quick_gelu" if architecture.get("quick_gelu") else "gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": ids[0],
        "eos_token_id": ids[-1],
        "pad_token_id": 1,
        "attention_dropout": 0.0,
        "torch_dtype": "float32",
    }


def _state(encoder: DualEncoder, layers: int) -> dict[str, Tensor]:
    own = encoder.state_dict()
    # The embedding's projection stays here: a CLIPTextModel has none.
    table = transformers_table(text_layers=layers)
    del table["text_projection.weight"]
    return {theirs: own[ours].contiguous().clone() for theirs, ours in table.items()}


@torch.no_grad()
def _difference(folder: Path, encoder: DualEncoder) -> float:
    """Loads the folder with transformers and compares embeddings, padded and not."""
    from transformers import CLIPTextModel

    ids, mask = encoder.tokenize(TEXTS)
    with _quiet():
        loaded: Any = CLIPTextModel.from_pretrained(str(folder))
    loaded.eval()
    tower = encoder.text
    assert isinstance(tower, ClipTextTower) and isinstance(tower.text_projection, Tensor)
    found = loaded(input_ids=ids).pooler_output @ tower.text_projection
    expected = tower(ids, mask)
    error = float(((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max())
    if not error <= _LIMIT:
        raise ExportError(
            f"transformers computes something else from the folder: off by {error:.2g} (relative)."
        )
    return error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no advice from transformers inside."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _notice(info: CheckpointInfo) -> str:
    weights = info.weights
    lines = [f"Licence of these weights: {weights.get('licence') or 'not stated'}"]
    lines += [f"Origin: {origin}" for origin in weights.get("origin") or ()]
    lines += [str(weights["notice"])] if weights.get("notice") else []
    return "\n".join(lines) + "\n"


def text_encoder_option(command: Command) -> Command:
    """Add ``--text-encoder`` to the function of a command that writes a package.

    The function must take ``checkpoint``, ``out`` (None where it is not given), ``overwrite`` and
    ``as_json``. Without ``--out`` nothing but the text encoder is written.
    """

    @functools.wraps(command)
    def extended(*, text_encoder: Path | None, **rest: Any) -> None:
        if text_encoder is not None:
            error = write_text_encoder(
                rest["checkpoint"], text_encoder, overwrite=rest["overwrite"]
            )
            click.echo(
                f"{text_encoder}: CLIPTextModel, loaded with transformers, off by {error:.1e}",
                err=True,
            )
            if rest["out"] is None:
                return
        command(**rest)

    option = click.option(
        "--text-encoder",
        type=click.Path(path_type=Path),
        help="Also write the text tower as a folder of transformers' CLIPTextModel; without --out "
        "write nothing else.",
    )
    return option(extended)  # type: ignore[return-value]
