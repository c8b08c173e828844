"""What each release consists of, and what must hold of it before it is believed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.checkpoint import CheckpointInfo
from edgesafe.train.encoders.base import DualEncoder, build_encoder
from edgesafe.train.importing.shape import as_scalar
from edgesafe.train.model import (
    LOG_ALPHA_MAX,
    LOG_CURVATURE_RANGE,
    LOG_LOGIT_SCALE_RANGE,
    EuclideanDualEncoder,
    HyperbolicDualEncoder,
    Lift,
    SafetyModel,
)

__all__ = [
    "NON_COMMERCIAL",
    "Imported",
    "Origin",
    "built",
    "check_complete",
    "euclidean",
    "fill",
    "hyperbolic",
]

NON_COMMERCIAL = "CC-BY-NC-4.0"
# The released code clamps before a step, so a value may be a step outside.
_SLACK = 1e-2
_SCALARS = ("curv", "visual_alpha", "textual_alpha", "logit_scale")


@dataclass(frozen=True)
class Imported:
    """A release as a model and its description.

    Attributes:
        model: In evaluation mode.
        info: What goes into ``checkpoint.json``.
        notes: What a person should know about this very file.
    """

    model: SafetyModel
    info: CheckpointInfo
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Origin:
    """Terms of use of some weights, and where they come from.

    Attributes:
        licence: Its short name.
        sources: One line per file or paper.
        notice: A sentence for a person.
    """

    licence: str
    sources: tuple[str, ...]
    notice: str

    def to_json(self) -> dict[str, Any]:
        """The manifest's form."""
        return {"licence": self.licence, "origin": list(self.sources), "notice": self.notice}


def built(
    name: str,
    config: Mapping[str, Any],
    origin: Origin,
    preprocess: Mapping[str, Any] | None = None,
) -> DualEncoder:
    """Empty towers of a configuration of open_clip, with the description of their weights."""
    return build_encoder(
        {
            "name": f"open_clip:{name}",
            "config": dict(config),
            "preprocess": dict(preprocess) if preprocess else None,
            "weights": origin.to_json(),
        },
        pretrained=False,
    )


def fill(encoder: DualEncoder, state: Mapping[str, Tensor], where: str) -> None:
    """Puts weights into towers.

    Raises:
        CheckpointError: Some are missing, unknown or of another shape.
    """
    own = encoder.state_dict()
    check_complete(state, own, where)
    wrong = sorted(name for name in own if own[name].shape != state[name].shape)
    if wrong:
        raise CheckpointError(
            f"{where}: {wrong[0]!r} has the shape {tuple(state[wrong[0]].shape)}, the architecture "
            f"wants {tuple(own[wrong[0]].shape)} ({len(wrong)} in all)."
        )
    encoder.load_state_dict(dict(state))


def check_complete(state: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Refuses weights that are not exactly those that are wanted.

    Raises:
        CheckpointError: One is missing or unknown.
    """
    for problem, names in (
        ("lacks", sorted(set(wanted) - set(state))),
        ("has the unknown", sorted(set(state) - set(wanted))),
    ):
        if names:
            raise CheckpointError(f"{where} {problem} {names[0]!r} ({len(names)} in all).")


def hyperbolic(
    encoder: DualEncoder, scalars: Mapping[str, Tensor], where: str
) -> HyperbolicDualEncoder:
    """Towers with the lift of a file.

    Args:
        encoder: The towers.
        scalars: ``curv``, ``visual_alpha``, ``textual_alpha`` and ``logit_scale``, in log space.
        where: What to call the file in messages.

    Raises:
        CheckpointError: One is missing, or outside of the range that training keeps it in.
    """
    missing = sorted(set(_SCALARS) - set(scalars))
    if missing:
        raise CheckpointError(f"{where} lacks {missing[0]!r}: it is no hyperbolic model.")
    values = {name: as_scalar(scalars[name], name, where) for name in _SCALARS}
    for name, (low, high) in {
        "curv": LOG_CURVATURE_RANGE,
        "visual_alpha": (-math.inf, LOG_ALPHA_MAX),
        "textual_alpha": (-math.inf, LOG_ALPHA_MAX),
        "logit_scale": LOG_LOGIT_SCALE_RANGE,
    }.items():
        if not low - _SLACK <= values[name] <= high + _SLACK:
            raise CheckpointError(
                f"{where}: {name} is {values[name]:.4f}, which training keeps in "
                f"{low:.4f}..{high:.4f}: these are not the weights of such a model."
            )
    lift = Lift(encoder.dim)
    with torch.no_grad():
        for name, value in values.items():
            getattr(lift, name).fill_(value)
    return HyperbolicDualEncoder(encoder, lift).eval()


def euclidean(encoder: DualEncoder, logit_scale: Tensor | None, where: str) -> EuclideanDualEncoder:
    """Towers on the sphere, with the temperature of a file where it has one."""
    model = EuclideanDualEncoder(encoder)
    if logit_scale is not None:
        with torch.no_grad():
            model.logit_scale.fill_(as_scalar(logit_scale, "logit_scale", where))
    return model.eval()


def describe(path: Path, digest: str, name: str) -> str:
    """One line of an origin: the release, the file and its digest; no folder of this machine."""
    file = "" if path.name == name else f" {path.name},"
    return f"{name},{file} sha256 {digest}"


def notes_of(*notes: str | None) -> tuple[str, ...]:
    """Those that there are."""
    return tuple(note for note in notes if note)


def first(names: Sequence[str], limit: int = 3) -> str:
    """A few names for a message."""
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
