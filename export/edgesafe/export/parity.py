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
    """Outputs of one encoder over ``n`` inputs.

    Attributes:
        embedding: Space parts, or vectors of length 1 (n, d).
        root_distance: Distances from the root (n,); None where there is no root.
    """

    embedding: NDArray[np.floating[Any]]
    root_distance: NDArray[np.floating[Any]] | None = None


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
        root_distance_shift_mean: Mean absolute change of the root distance; None without a root.
        root_distance_shift_max: Largest absolute change of the root distance; None without a root.
        cosine_min: Smallest cosine between an embedding before and after.
        n: Inputs.
    """

    root_distance_shift_mean: float | None
    root_distance_shift_max: float | None
    cosine_min: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without what there is none of."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def measure_parity(found: Answers, truth: Answers) -> Parity:
    """Compares answers with those in float64.

    The error of an embedding is the length of the difference over the length of the truth; that
    of a root distance is relative to the true distance.

    Raises:
        ExportError: It is above :data:`LIMIT`, or an answer is not finite.
    """
    embedding = np.linalg.norm(found.embedding - truth.embedding, axis=1)
    embedding /= np.linalg.norm(truth.embedding, axis=1)
    errors = [embedding]
    if found.root_distance is not None and truth.root_distance is not None:
        errors.append(np.abs(found.root_distance - truth.root_distance) / truth.root_distance)
    worst = float(np.max(errors))
    # Written so that NaN fails.
    if not worst <= LIMIT:
        raise ExportError(
            f"the exported model is off by {worst:.2g} (relative), more than {LIMIT:.0e}: it does "
            "not compute what was trained. Report the architecture; do not use the package."
        )
    return Parity(worst, len(embedding))


def measure_effect(stored: Answers, original: Answers) -> StorageEffect:
    """Compares the answers with rounded weights to those with the original ones."""
    shift = None
    if stored.root_distance is not None and original.root_distance is not None:
        shift = np.abs(stored.root_distance - original.root_distance)
    product = np.sum(stored.embedding * original.embedding, axis=1)
    lengths = [np.linalg.norm(a.embedding, axis=1) for a in (stored, original)]
    return StorageEffect(
        root_distance_shift_mean=None if shift is None else float(shift.mean()),
        root_distance_shift_max=None if shift is None else float(shift.max()),
        cosine_min=float(np.min(product / (lengths[0] * lengths[1]))),
        n=len(product),
    )


def join(parts: Sequence[Answers]) -> Answers:
    """Joins the answers of several batches."""
    radii = [p.root_distance for p in parts if p.root_distance is not None]
    return Answers(
        np.concatenate([p.embedding for p in parts]), np.concatenate(radii) if radii else None
    )


def run_onnx(
    model: bytes,
    batches: Sequence[Mapping[str, NDArray[Any]]],
    outputs: Sequence[str] = ("embedding", "root_distance"),
) -> Answers:
    """Runs a model in ONNX Runtime on the CPU, as the runtime package does.

    Args:
        model: The file.
        batches: Arrays by input name.
        outputs: ``embedding`` and, where there is one, ``root_distance``.
    """
    from edgesafe.runtime.sessions import open_session

    session = open_session(model, backend="cpu", threads=1, where="the exported model")
    return join([Answers(*session.run(list(outputs), batch)) for batch in batches])
