"""Where a run stopped: everything that ``--resume`` needs to go on bit for bit.

Two files in ``CKPT.run/state``: ``state.safetensors`` with what learns, AdamW's moments and the
states of the random number generators; ``state.json`` with the place and the history. What is
frozen is not stored but built again; a digest of it proves that it is the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from edgesafe.runtime.errors import CheckpointError
from edgesafe.runtime.files import atomic_folder
from edgesafe.train.config import RunConfig

FORMAT = "edgesafe.run-state/1"
TENSORS = "state.safetensors"
PLACE = "state.json"
MAY_CHANGE = (
    "train.epochs",
    "train.patience",
    "train.save_minutes",
    "train.max_minutes",
    "train.log_every",
    "train.tensorboard",
    "train.bounds_records",
    "data.workers",
    "data.check_images",
    "data.validation",
)
"""Keys of the configuration that a resumed run may have changed."""


@dataclass
class Place:
    """How far a run has come.

    Attributes:
        epoch: The epoch that is under way, from 0.
        batch: Forward passes of it that are done.
        step: Optimiser steps done in all.
        stale: Epochs since the best one.
        best: Best value of the selection metric, None before the first evaluation.
        seconds: Time spent training, over all resumptions.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    stale: int = 0
    best: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Identity:
    """What must be the same when a run goes on.

    Attributes:
        config: The configuration as plain values.
        data: Fingerprint of the training data.
        frozen: Digest of the weights that do not learn.
        processes: Number of processes.
    """

    config: Mapping[str, Any]
    data: str
    frozen: str
    processes: int


def save_state(
    folder: Path,
    place: Place,
    identity: Identity,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    generators: Mapping[str, Tensor],
    extra: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the state in place of the last one.

    Args:
        folder: The folder to write.
        place: How far the run has come.
        identity: What it must fit when it goes on.
        model: Its trainable parameters are kept.
        optimiser: AdamW, whose groups have ``names``.
        generators: States of random number generators by name, uint8.
        extra: Whatever else changes with training, by name: a running mean, batch statistics.
    """
    tensors = {f"rng/{name}": state for name, state in generators.items()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            tensors[f"param/{name}"] = parameter.detach().cpu().contiguous()
    for name, tensor in (extra or {}).items():
        tensors[f"extra/{name}"] = tensor.detach().cpu().contiguous()
    for name, parameter in _named(optimiser):
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"adam/{key}/{name}"] = value.detach().cpu().contiguous()
    text = json.dumps({"format": FORMAT, **asdict(identity), "place": asdict(place)}, indent=2)
    with atomic_folder(folder, overwrite=True) as temporary:
        (temporary / TENSORS).write_bytes(save_safetensors(tensors))
        (temporary / PLACE).write_text(text, encoding="utf-8")


def restore_state(
    folder: Path,
    identity: Identity,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    extra: Mapping[str, Tensor] | None = None,
    defaults: Mapping[str, Any] | None = None,
    may_change: Collection[str] = MAY_CHANGE,
) -> tuple[Place, dict[str, Tensor]]:
    """Puts a saved state back.

    Args:
        folder: Where it is.
        identity: Of the run that goes on.
        model: Its trainable parameters are filled.
        optimiser: Its moments are filled.
        extra: Tensors that are filled, those that `save_state` was given.
        defaults: What a key of the configuration was before there was such a key; those of
            `RunConfig` where None.
        may_change: Dotted keys of the configuration that need not be the same.

    Returns:
        The place, and the states of the random number generators.

    Raises:
        CheckpointError: There is no state, it is broken, or it belongs to another run.
    """
    try:
        found = json.loads((folder / PLACE).read_bytes())
        tensors = load_safetensors((folder / TENSORS).read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"{folder} holds no run to go on with ({error.strerror or error}). "
            "Start it without --resume."
        ) from error
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder} is broken ({error}). Start again.") from error
    if found.get("format") != FORMAT:
        raise CheckpointError(f"{folder}: the format is not {FORMAT!r}. Start again.")
    if defaults is None:
        defaults = RunConfig(architecture={"name": ""}).to_dict()
    _compare(folder, found, identity, defaults, may_change)
    try:
        place = Place(**{f.name: found["place"][f.name] for f in fields(Place)})
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(tensors[f"param/{name}"])
            for name, tensor in (extra or {}).items():
                tensor.copy_(tensors[f"extra/{name}"])
        _restore_adam(optimiser, tensors)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder} does not fit this model ({error}). Start again."
        ) from error
    prefix = "rng/"
    return place, {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def frozen_digest(model: nn.Module) -> str:
    """SHA-256 over the names and bytes of all parameters that do not learn and all buffers."""
    digest = hashlib.sha256()
    frozen = [(n, p) for n, p in model.named_parameters() if not p.requires_grad]
    for name, tensor in [*frozen, *model.named_buffers()]:
        digest.update(name.encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().tobytes())
    return digest.hexdigest()


def _named(optimiser: torch.optim.Optimizer) -> list[tuple[str, nn.Parameter]]:
    return [
        pair
        for group in optimiser.param_groups
        for pair in zip(group["names"], group["params"], strict=True)
    ]


def _restore_adam(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    for name, parameter in _named(optimiser):
        state = {}
        for key in ("step", "exp_avg", "exp_avg_sq"):
            value = tensors.get(f"adam/{key}/{name}")
            if value is not None:
                # AdamW keeps its step counter on the CPU.
                state[key] = value if key == "step" else value.to(parameter.device)
        if state:
            optimiser.state[parameter] = state


def _compare(
    folder: Path,
    found: Mapping[str, Any],
    identity: Identity,
    defaults: Mapping[str, Any],
    may_change: Collection[str],
) -> None:
    # A key that an older version did not know had its default then.
    old = {**_flat(defaults), **_flat(found.get("config", {}))}
    new = _flat(identity.config)
    changed = sorted(
        key
        for key in old.keys() | new.keys()
        if old.get(key) != new.get(key) and key not in may_change
    )
    if changed:
        raise CheckpointError(
            f"{folder} was made with another configuration: {changed[0]} was "
            f"{old.get(changed[0])!r} and is {new.get(changed[0])!r} "
            f"({len(changed)} differ). Take the old one, or start again."
        )
    for key, what in (
        ("data", "other training data"),
        ("frozen", "other initial weights"),
        ("processes", "another number of processes"),
    ):
        if found.get(key) != getattr(identity, key):
            raise CheckpointError(f"{folder} was made with {what}. Use the same, or start again.")


def _flat(table: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{at}.{key}" if at else key
        if isinstance(value, Mapping):
            flat.update(_flat(value, name))
        else:
            flat[name] = value
    return flat
