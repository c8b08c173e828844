"""What the same towers reach without hyperbolic training, on the same held-out listings.

    python -m edgesafe.samples.baselines --train TRAIN.jsonl --listing L --texts TEXTS.jsonl --out F

* linear probe: logistic regression on the frozen, globally pooled features of each tower, fitted
  on the training quadruplets;
* prompt cosine: similarity to "unsafe" prompts minus similarity to "safe" prompts in the joint
  space of the untrained edge pair, the usual zero-shot rule.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from edgesafe.cli import run
from edgesafe.runtime.errors import MissingExtraError
from edgesafe.runtime.files import atomic_write
from edgesafe.samples.listing import read_listing
from edgesafe.samples.policy import auc_with_interval
from edgesafe.train.encoders.base import DualEncoder, build_encoder
from edgesafe.train.encoders.edge import mean_of

SAFE_PROMPTS = ("a safe photo", "a harmless picture of everyday life")
UNSAFE_PROMPTS = (
    "an unsafe photo",
    "a dangerous picture with a weapon",
    "a picture of fire and flames",
    "a picture of blood",
    "a picture of drugs and pills",
)
Features = NDArray[np.float32]


@torch.no_grad()
def _in_batches(
    items: list[Any], encode: Callable[[list[Any]], Tensor], size: int = 16
) -> Features:
    parts = [encode(items[i : i + size]).numpy() for i in range(0, len(items), size)]
    return np.concatenate(parts)


class FrozenPair:
    """The untrained edge pair with the features that the baselines read."""

    def __init__(self) -> None:
        """Load the released weights of both towers."""
        self.encoder: DualEncoder = build_encoder({"name": "edge"}).eval()

    def _pixels(self, paths: list[Path]) -> Tensor:
        rows = []
        for path in paths:
            with Image.open(path) as image:
                rows.append(self.encoder.preprocess(np.asarray(image.convert("RGB"))))
        return torch.from_numpy(np.stack(rows))

    def pooled_images(self, paths: list[Path]) -> Features:
        """Globally averaged last feature map (N, 1280)."""
        trunk: Any = self.encoder.image.trunk
        return _in_batches(
            paths, lambda part: trunk.forward_features(self._pixels(part)).mean(dim=(2, 3))
        )

    def joint_images(self, paths: list[Path]) -> Features:
        """Joint embeddings (N, 384), unit length."""
        return _in_batches(paths, lambda part: self.encoder.image(self._pixels(part)))

    def pooled_texts(self, texts: list[str]) -> Features:
        """Mean token states (N, 384)."""
        bert: Any = self.encoder.text.bert

        def encode(part: list[str]) -> Tensor:
            ids, mask = self.encoder.tokenize(part)
            return mean_of(bert(input_ids=ids, attention_mask=mask).last_hidden_state, mask)

        return _in_batches(texts, encode)

    def joint_texts(self, texts: list[str]) -> Features:
        """Joint embeddings (N, 384), unit length."""
        return _in_batches(texts, lambda part: self.encoder.text(*self.encoder.tokenize(part)))


def _sklearn(name: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{name}")
    except ModuleNotFoundError as error:
        raise MissingExtraError("sklearn", "samples") from error


def _probe(train: Features, labels: NDArray[np.int64], test: Features) -> NDArray[np.float64]:
    scaler = _sklearn("preprocessing").StandardScaler()
    regression = _sklearn("linear_model").LogisticRegression(C=0.01, max_iter=2000)
    model = _sklearn("pipeline").make_pipeline(scaler, regression)
    return np.asarray(model.fit(train, labels).decision_function(test), np.float64)


def _result(scores: NDArray[np.float64], unsafe: NDArray[np.bool_]) -> dict[str, Any]:
    found = auc_with_interval(scores[~unsafe], scores[unsafe])
    return {"auc": found["value"], "interval": found["interval"]}


@click.command()
@click.option("--train", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--count", default=1500, show_default=True, help="Training quadruplets of the probe.")
@click.option("--listing", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--texts", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path))
def main(train: Path, count: int, listing: Path, texts: Path, out: Path) -> None:
    """Measure the baselines."""
    pair = FrozenPair()
    quadruplets = read_listing(train)[:count]
    labels = np.repeat([0, 1], len(quadruplets))
    images, sentences = read_listing(listing), read_listing(texts)
    unsafe = np.array([r["label"] == "unsafe" for r in images])
    unsafe_text = np.array([r["label"] == "unsafe" for r in sentences])
    paths = [listing.parent / r["image"] for r in images]
    words = [r["text"] for r in sentences]

    fitted = [train.parent / r[k] for k in ("safe_image", "unsafe_image") for r in quadruplets]
    said = [r[k] for k in ("safe_text", "unsafe_text") for r in quadruplets]
    safe_prompts, unsafe_prompts = (
        pair.joint_texts(list(p)).mean(axis=0) for p in (SAFE_PROMPTS, UNSAFE_PROMPTS)
    )
    contrast = (unsafe_prompts - safe_prompts).astype(np.float64)
    found = {
        "linear_probe": {
            "image": _result(
                _probe(pair.pooled_images(fitted), labels, pair.pooled_images(paths)), unsafe
            ),
            "text": _result(
                _probe(pair.pooled_texts(said), labels, pair.pooled_texts(words)), unsafe_text
            ),
        },
        "prompt_cosine": {
            "image": _result(pair.joint_images(paths) @ contrast, unsafe),
            "text": _result(pair.joint_texts(words) @ contrast, unsafe_text),
        },
    }
    atomic_write(out, json.dumps(found, indent=1).encode())
    click.echo(json.dumps(found, indent=1))


if __name__ == "__main__":
    run(main)
