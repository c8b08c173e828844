"""Tensors out of a file that somebody else wrote, and nothing but tensors.

A ``.pth`` or ``.bin`` file is a pickle, which is a program. It is read by torch's restricted
unpickler, which knows tensors and plain containers; whatever asks for more is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.importing.pickle_scan import scan_pickle

__all__ = ["Weights", "read_weights"]

_PICKLES = (".pth", ".pt", ".bin")
_PROTOCOL = 2
"""Of pickles: what torch writes, and the newest that its restricted unpickler knows."""
_NESTED = ("model", "state_dict")
"""Keys under which training checkpoints keep the weights, beside optimiser and counters."""


@dataclass(frozen=True)
class Weights:
    """The tensors of one release.

    Attributes:
        tensors: By their names in the file; floating-point ones as float32.
        digest: SHA-256 of the file, or of all its shards.
        path: The file.
    """

    tensors: Mapping[str, Tensor] = field(repr=False)
    digest: str
    path: Path


def read_weights(path: Path) -> Weights:
    """Reads a ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file, or the index of shards.

    Raises:
        CheckpointError: It cannot be read, holds more than tensors, or a number is not finite.
    """
    if path.name.endswith(".index.json"):
        tensors, digest = _read_shards(path)
    else:
        tensors, digest = _read_file(path), _digest(path)
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors.")
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            tensors[name] = tensor = tensor.float()
            if name.rpartition(".")[2] != "attn_mask" and not bool(torch.isfinite(tensor).all()):
                raise CheckpointError(
                    f"{path}: {name!r} holds numbers that are not finite. Fetch the file again."
                )
    return Weights(tensors, digest, path)


def _read_file(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in _PICKLES:
        return _read_pickle(path)
    raise CheckpointError(
        f"{path}: weights are read from .safetensors, {', '.join(_PICKLES)} files only."
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is broken ({error}). Fetch it again.") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            # What it would warn of is refused a moment later, in our words.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # an unpickler fails in a hundred ways
        raise _refusal(path, error) from error
    return _only_tensors(found, path)


def _refusal(path: Path, error: Exception) -> CheckpointError:
    """Say why torch refused a file; its own words advise to load it all the same."""
    text = str(error)
    scan = scan_pickle(path)
    asked = [*scan.names, *re.findall(r"Unsupported global: GLOBAL (\S+)", text)]
    if "TorchScript" in text:
        reason = "it is a TorchScript archive, which is a program"
    elif asked:
        reason = (
            f"it holds more than tensors (it asks for {', '.join(list(dict.fromkeys(asked))[:5])})"
        )
    elif scan.kind == "broken" or isinstance(error, EOFError) or "unexpected EOF" in text:
        return CheckpointError(
            f"{path} is broken: it ends too early or a part of it is missing. Fetch it again."
        )
    elif scan.kind == "other":
        return CheckpointError(
            f"{path} is refused: it cannot be read as tensors (it begins like no file of "
            "PyTorch). Fetch it again."
        )
    elif scan.protocol > _PROTOCOL:
        reason = (
            f"it is a pickle of protocol {scan.protocol}, and without running it no more than "
            f"{_PROTOCOL} is read"
        )
    else:
        reason = f"it cannot be read as tensors ({type(error).__name__})"
    return CheckpointError(
        f"{path} is refused: {reason}. Only plain tensors are read, for anything else in such a "
        "file is code that would run. Save its state dict as safetensors where you trust it."
    )


def _only_tensors(found: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(found, Mapping):
        for name in _NESTED:
            if isinstance(found.get(name), Mapping):
                found = found[name]
                break
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, not named tensors.")
    strange = [name for name, value in found.items() if not isinstance(value, Tensor)]
    if strange:
        kind = type(found[strange[0]]).__name__
        raise CheckpointError(
            f"{path}: {str(strange[0])!r} is a {kind}, not a tensor; this is no file of weights."
        )
    return {str(name): value for name, value in found.items()}


def _read_shards(index: Path) -> tuple[dict[str, Tensor], str]:
    try:
        table = json.loads(index.read_bytes())["weight_map"]
        names = sorted(set(table.values()))
        plain = all(isinstance(n, str) and Path(n).name == n for n in names)
    except OSError as error:
        raise _unreadable(index, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is not an index of shards ({error!r}).") from error
    if not plain:
        raise CheckpointError(f"{index} names files outside of its folder: it is refused.")
    tensors: dict[str, Tensor] = {}
    digests = []
    for name in names:
        tensors |= _read_file(index.parent / name)
        digests.append(_digest(index.parent / name))
    missing = sorted(set(table) - set(tensors))
    if missing:
        raise CheckpointError(f"{index}: the shards lack {missing[0]!r} ({len(missing)} in all).")
    return tensors, hashlib.sha256("".join(digests).encode()).hexdigest()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{path} cannot be read ({error.strerror or error}).")
