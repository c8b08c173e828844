"""Does the exported model compute what was trained? Two questions, answered apart.

*Parity* compares the shipped file, run by ONNX Runtime in float32, with the torch model holding
the same stored weights, run in float64: what export and single precision lose. *Storage effect*
compares that torch model with the one before its weights were rounded: what fp16 or int8 storage
changes. Neither can hide the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime.errors import ExportError

__all__ = [
    "LIMIT",
    "Answers",
    "Parity",
    "StorageEffect",
    "join",
    "measure_effect",
    "measure_parity",
    "run_onnx",
]

LIMIT = 1e-4
"""Largest relative error of an export."""


@dataclass(frozen=True)
class Answers:
    """Outputs of one encoder over ``n`` inputs: space parts (n, d), root distances (n,)."""

    embedding: NDArray[np.floating[Any]]
    root_distance: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Parity:
    """Largest relative error over ``n`` inputs and both outputs."""

    max_relative_error: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """The manifest's form."""
        return asdict(self)


@dataclass(frozen=True)
class StorageEffect:
    """What the storage of the weights changes, over ``n`` inputs.

    Attributes:
        root_distance_shift_mean: Mean absolute change of the root distance.
        root_distance_shift_max: Largest absolute change of the root distance.
        cosine_min: Smallest cosine between an embedding before and after.
        n: Inputs.
    """

    root_distance_shift_mean: float
    root_distance_shift_max: float
    cosine_min: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def measure_parity(found: Answers, truth: Answers) -> Parity:
    """Compares answers with those in float64.

    The error of an embedding is the length of the difference over the length of the truth; that
    of a root distance is relative to the true distance.

    Raises:
        ExportError: It is above :data:`LIMIT`, or an answer is not finite.
    """
    embedding = np.linalg.norm(found.embedding - truth.embedding, axis=1)
    embedding /= np.linalg.norm(truth.embedding, axis=1)
    radius = np.abs(found.root_distance - truth.root_distance) / truth.root_distance
    worst = float(np.max([embedding, radius]))
    # Written so that NaN fails.
    if not worst <= LIMIT:
        raise ExportError(
            f"the exported model is off by {worst:.2g} (relative), more than {LIMIT:.0e}: it does "
            "not compute what was trained. Report the architecture; do not use the package."
        )
    return Parity(worst, len(embedding))


def measure_effect(stored: Answers, original: Answers) -> StorageEffect:
    """Compares the answers with rounded weights to those with the original ones."""
    shift = np.abs(stored.root_distance - original.root_distance)
    product = np.sum(stored.embedding * original.embedding, axis=1)
    lengths = [np.linalg.norm(a.embedding, axis=1) for a in (stored, original)]
    return StorageEffect(
        root_distance_shift_mean=float(shift.mean()),
        root_distance_shift_max=float(shift.max()),
        cosine_min=float(np.min(product / (lengths[0] * lengths[1]))),
        n=len(shift),
    )


def join(parts: Sequence[Answers]) -> Answers:
    """Joins the answers of several batches."""
    return Answers(
        np.concatenate([p.embedding for p in parts]),
        np.concatenate([p.root_distance for p in parts]),
    )


def run_onnx(model: bytes, batches: Sequence[Mapping[str, NDArray[Any]]]) -> Answers:
    """Runs a model in ONNX Runtime on the CPU, as the runtime package does."""
    from edgesafe.runtime.sessions import open_session

    session = open_session(model, backend="cpu", threads=1, where="the exported model")
    runs = [session.run(["embedding", "root_distance"], batch) for batch in batches]
    return join([Answers(embedding, radius) for embedding, radius in runs])
