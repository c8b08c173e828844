"""Checkpoints: a folder with ``model.safetensors``, ``checkpoint.json`` and ``tokenizer.json``.

The folder is written beside its final place and renamed into it, so that a crash leaves either
the old checkpoint or the new one. Nothing in it is a pickle. Adapters are merged into the weights
they adapt: a checkpoint holds plain towers, whatever way they were trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from edgesafe.runtime.errors import CheckpointError, EdgesafeError
from edgesafe.runtime.files import atomic_folder
from edgesafe.train.encoders.base import DualEncoder, build_encoder
from edgesafe.train.lora import merged_state_dict
from edgesafe.train.model import EuclideanDualEncoder, HyperbolicDualEncoder, Lift, SafetyModel

FORMAT = "edgesafe.checkpoint/1"
MODEL_FILE = "model.safetensors"
INFO_FILE = "checkpoint.json"
TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True)
class CheckpointInfo:
    """Everything about a checkpoint that is not a weight; all of it JSON-ready.

    Attributes:
        architecture: What `build_encoder` needs to make the towers.
        preprocess: `edgesafe.runtime.preprocess.Preprocess.to_dict`.
        geometry: `SafetyModel.geometry`.
        method: ``hysac``, ``safeclip``, ``clip`` or ``meru``.
        config: The whole training configuration.
        data: ``fingerprint`` and counts of the training data.
        seed: Seed of the run.
        metrics: What was measured on the validation data at the kept step.
        bounds: ``avg``, ``low_05`` and ``up_95`` of the distance from the root per class
            (``safe_text``, ``safe_image``, ``unsafe_text``, ``unsafe_image``) on training data.
        weights: ``licence``, ``origin`` and ``notice`` of the initial weights.
        concepts: ``name``, ``tag`` and ``prompts`` of each concept of the policy.
    """

    architecture: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    geometry: Mapping[str, Any]
    method: str = "hysac"
    config: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    bounds: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    concepts: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(cls, model: SafetyModel, **rest: Any) -> CheckpointInfo:
        """Fills in what the model itself knows; ``rest`` are the other attributes."""
        encoder = model.encoder
        known: dict[str, Any] = {
            "architecture": encoder.architecture,
            "preprocess": encoder.preprocess.to_dict(),
            "weights": encoder.weights,
            "geometry": model.geometry(),
        }
        return cls(**{**known, **rest})

    def to_json(self) -> dict[str, Any]:
        """The object that is written as ``checkpoint.json``."""
        return {"format": FORMAT, **{f.name: getattr(self, f.name) for f in fields(self)}}


def save_checkpoint(
    path: Path | str,
    model: SafetyModel,
    info: CheckpointInfo,
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a checkpoint, in place of one that may be there.

    Args:
        path: The folder to write.
        model: The model; it is left as it is (adapters are merged into copies).
        info: What goes into ``checkpoint.json``.
        dtype: Storage of the matrices; scalars and vectors always stay float32.

    Raises:
        CheckpointError: The folder cannot be written, or ``info`` holds what JSON cannot.
    """
    state = {
        name: tensor.detach().to("cpu", _storage(tensor, dtype)).contiguous()
        for name, tensor in merged_state_dict(model).items()
    }
    try:
        text = json.dumps(info.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: checkpoint.json cannot be written: {error}.") from error
    try:
        with atomic_folder(Path(path), overwrite=True) as folder:
            (folder / MODEL_FILE).write_bytes(save_safetensors(state))
            (folder / INFO_FILE).write_text(text + "\n", encoding="utf-8")
            (folder / TOKENIZER_FILE).write_bytes(model.encoder.tokenizer_json)
    except OSError as error:
        raise CheckpointError(
            f"{path}: the checkpoint cannot be written ({error.strerror or error}). "
            "Choose a folder on a disk with room that you may write to."
        ) from error


def may_replace(path: Path) -> bool:
    """Whether a checkpoint may be written there: nothing is there, or a checkpoint."""
    return not path.exists() or (path / INFO_FILE).is_file()


def load_checkpoint(path: Path | str) -> tuple[SafetyModel, CheckpointInfo]:
    """Reads a checkpoint.

    Returns:
        The model on the CPU in float32 and evaluation mode, and its description.

    Raises:
        CheckpointError: A file is missing or broken, or does not fit the others.
    """
    folder = Path(path)
    info = read_info(folder)
    weights = _read(folder, MODEL_FILE)
    try:
        encoder = build_encoder(
            info.architecture, pretrained=False, tokenizer_json=_read(folder, TOKENIZER_FILE)
        )
        model = _empty(encoder, info.geometry)
    except EdgesafeError as error:
        raise CheckpointError(f"{folder / INFO_FILE}: {error}") from error
    try:
        state = load_safetensors(weights)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{folder / MODEL_FILE} is broken ({error}). Copy the checkpoint again or retrain."
        ) from error
    _fit(state, model.state_dict(), folder)
    model.load_state_dict(
        {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in state.items()
        }
    )
    return model.eval(), info


def _empty(encoder: DualEncoder, geometry: Mapping[str, Any]) -> SafetyModel:
    """The model of a geometry, before its weights are read."""
    kind = geometry.get("model", "lorentz")
    if kind == "euclidean":
        return EuclideanDualEncoder(encoder)
    if kind != "lorentz":
        raise CheckpointError(
            f"geometry.model is {kind!r}; this version knows lorentz and euclidean."
        )
    try:
        min_radius = float(geometry["min_radius"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError("geometry.min_radius is missing.") from error
    return HyperbolicDualEncoder(encoder, Lift(encoder.dim), min_radius=min_radius)


def read_info(path: Path | str) -> CheckpointInfo:
    """Reads ``checkpoint.json`` alone.

    Raises:
        CheckpointError: It is missing, broken or of another format.
    """
    where = Path(path) / INFO_FILE
    try:
        data = json.loads(_read(Path(path), INFO_FILE))
    except ValueError as error:
        raise CheckpointError(f"{where} is not valid JSON ({error}).") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise CheckpointError(f"{where}: the format is {found!r}, this version reads {FORMAT!r}.")
    known = {f.name for f in fields(CheckpointInfo)}
    missing = sorted({"architecture", "preprocess", "geometry"} - set(data))
    if missing:
        raise CheckpointError(f"{where}: the key {missing[0]!r} is missing.")
    return CheckpointInfo(**{key: value for key, value in data.items() if key in known})


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{folder / name} cannot be read ({error.strerror or error}). "
            "A checkpoint is a folder made by `edgesafe train` or `edgesafe import`."
        ) from error


def _storage(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    if not tensor.is_floating_point():
        return tensor.dtype
    return dtype if tensor.ndim >= 2 else torch.float32


def _fit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], folder: Path) -> None:
    for problem, names in (
        ("lacks", sorted(set(wanted) - set(state))),
        ("has the unknown", sorted(set(state) - set(wanted))),
    ):
        if names:
            raise CheckpointError(
                f"{folder / MODEL_FILE} {problem} {names[0]!r} ({len(names)} in all): "
                "it does not belong to the architecture in checkpoint.json."
            )
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"{folder / MODEL_FILE}: {name!r} has the shape {tuple(tensor.shape)}, "
                f"the architecture in checkpoint.json wants {tuple(wanted[name].shape)}."
            )
