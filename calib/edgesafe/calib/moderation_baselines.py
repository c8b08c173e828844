"""What simpler rules make of a package's embeddings: a linear probe and the cosine to prompts.

* Linear probe: logistic regression on the embeddings of other data with labels, strength of its
  penalty by cross-validation; unsafe where its logit is above 0.
* Prompt cosine: mean similarity to "unsafe" prompts less that to "safe" prompts, the usual
  zero-shot rule of image-text models; unsafe where it is above 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.features import FeatureReader, Features, training_rows
from edgesafe.calib.labelled import Labelled
from edgesafe.calib.logistic import choose_l2, fit_probe
from edgesafe.calib.moderation_figures import Outcome
from edgesafe.runtime.verdict import decide

__all__ = ["SAFE_PROMPTS", "UNSAFE_PROMPTS", "linear_probe", "prompt_cosine"]

SAFE_PROMPTS = ("a safe photo", "a harmless picture of everyday life")
UNSAFE_PROMPTS = (
    "an unsafe photo",
    "a dangerous picture with a weapon",
    "a picture of fire and flames",
    "a picture of blood",
    "a picture of drugs and pills",
)

Array = NDArray[np.float64]


def linear_probe(
    reader: FeatureReader, training: Sequence[Labelled], records: Sequence[Labelled]
) -> list[Outcome]:
    """Fit a probe on one set and score another, both of one modality.

    Raises:
        DataError: The training data has too few records of a label.
    """
    rows, labels = training_rows(reader.read(training))
    strength, _ = choose_l2(rows, labels)
    probe = fit_probe(rows, labels, strength)
    return [_outcome(one, one.rows @ probe.weights + probe.bias) for one in reader.read(records)]


def prompt_cosine(
    reader: FeatureReader,
    records: Sequence[Labelled],
    safe: Sequence[str] = SAFE_PROMPTS,
    unsafe: Sequence[str] = UNSAFE_PROMPTS,
) -> list[Outcome]:
    """Score records of one modality by their similarity to prompts.

    Raises:
        UsageError: The package has no text encoder.
    """
    away, toward = (_unit(reader.read_texts(prompts)).mean(axis=0) for prompts in (safe, unsafe))
    contrast = toward - away
    return [_outcome(one, _unit(one.rows) @ contrast) for one in reader.read(records)]


def _outcome(features: Features, scores: Array) -> Outcome:
    record, worst = features.record, float(scores.max())
    return Outcome(record.unsafe, record.tag, worst, decide(worst, 0.0))


def _unit(rows: Array) -> Array:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
