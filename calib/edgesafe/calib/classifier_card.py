"""The card of an ONNX classifier: what its file does not say about itself.

TOML or JSON, strict::

    activation = "softmax"            # or "sigmoid", or "none" where the scores are probabilities
    labels = [{name = "neutral", unsafe = false}, {name = "porn", unsafe = true}]
    layout = "nchw"                   # optional, or "nhwc"
    channels = "rgb"                  # optional, or "bgr"
    input = "pixels"                  # optional where the model has one input
    output = "logits"                 # optional where it has one output
    name = "my-classifier"            # optional
    intended_use = "…"                # optional
    limits = ["…"]                    # optional

    [preprocess]                      # as in a manifest: of pixel values in 0..1, red first
    height = 224
    width = 224
    mode = "stretch"
    interpolation = "bilinear"
    mean = [0.5, 0.5, 0.5]
    std = [0.5, 0.5, 0.5]
    crop_fraction = 0.875             # optional

    [weights]
    licence = "MIT"
    origin = ["who made them, and where they are from"]
    notice = ""                       # optional
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesafe.runtime.errors import DataError, PackageError, SourceError
from edgesafe.runtime.fields import Fields
from edgesafe.runtime.manifest_parts import ACTIVATIONS, Label, read_labels, read_preprocess
from edgesafe.runtime.preprocess import Preprocess

__all__ = ["Card", "find_card", "parse_card", "read_card"]

_KEYS = {
    "": {
        "activation", "labels", "layout", "channels", "input", "output", "name", "intended_use",
        "limits", "preprocess", "weights",
    },
    "weights": {"licence", "origin", "notice"},
}  # fmt: skip


@dataclass(frozen=True)
class Card:
    """What a card says; see the module for the meaning of each."""

    activation: str
    labels: tuple[Label, ...]
    layout: str
    channels: str
    input: str | None
    output: str | None
    name: str | None
    intended_use: str
    limits: tuple[str, ...]
    preprocess: Preprocess
    weights: Mapping[str, Any]


def find_card(model: Path) -> Path:
    """Return the card that lies beside a model: the same name with .toml or .json.

    Raises:
        SourceError: There is none.
    """
    for suffix in (".toml", ".json"):
        if model.with_suffix(suffix).is_file():
            return model.with_suffix(suffix)
    raise SourceError(
        f"{model} has no card beside it: write {model.with_suffix('.toml').name} with its labels, "
        "activation, preprocess and weights (docs/evaluation.md shows one), or name one with --card"
    )


def read_card(path: Path) -> Card:
    """Read a card from a file.

    Raises:
        SourceError: It cannot be read.
        DataError: It is no TOML or JSON, or a value is missing, unknown or out of its range.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        plain = json.loads(text) if path.suffix.lower() == ".json" else _toml(text, path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid: {error}") from None
    return parse_card(plain, str(path))


def parse_card(plain: Any, where: str) -> Card:
    """Check the content of a card.

    Raises:
        DataError: A value is missing, unknown or out of its range.
    """
    try:
        card = Fields(plain, where)
        weights = card.fields("weights")
        for name, fields in (("", card), ("weights", weights)):
            unknown = sorted(set(fields.value) - _KEYS[name])
            if unknown:
                raise DataError(f"{fields.where} has unknown keys {unknown}")
        return Card(
            activation=card.one_of("activation", *ACTIVATIONS),
            labels=read_labels(card),
            layout=card.one_of("layout", "nchw", "nhwc") if "layout" in card else "nchw",
            channels=card.one_of("channels", "rgb", "bgr") if "channels" in card else "rgb",
            input=card.text("input") if "input" in card else None,
            output=card.text("output") if "output" in card else None,
            name=card.text("name") if "name" in card else None,
            intended_use=card.text("intended_use") if "intended_use" in card else "not stated",
            limits=card.texts("limits") if "limits" in card else (),
            preprocess=read_preprocess(card.fields("preprocess")),
            weights={
                "licence": weights.text("licence"),
                "origin": list(weights.texts("origin")),
                "notice": weights.text("notice", empty=True) if "notice" in weights else "",
            },
        )
    except PackageError as error:
        raise DataError(str(error)) from None


def _toml(text: str, path: Path) -> Any:
    for module in ("tomllib", "tomli"):
        try:
            return importlib.import_module(module).loads(text)
        except ModuleNotFoundError:
            continue
    raise DataError(f"{path}: this Python reads no TOML: pip install tomli, or write it as .json")
