"""Checkpoints of pose training: a folder with ``model.safetensors`` and ``checkpoint.json``.

The weights of a network have its name in front: ``roi/trunk…``, ``detector/…``. The folder is
written beside its final place and renamed into it. Nothing in it is a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from edgesafe.runtime.errors import CheckpointError
from edgesafe.runtime.files import atomic_folder
from edgesafe.train.checkpoint import FORMAT, INFO_FILE, MODEL_FILE
from edgesafe.train.pose.detector import Detector
from edgesafe.train.pose.network import RoiNetwork
from edgesafe.train.pose.objects import KnownObject

__all__ = ["METHOD", "NetworkInfo", "PoseCheckpoint", "is_pose_checkpoint", "load_pose_checkpoint"]

METHOD = "pose"


@dataclass(frozen=True)
class NetworkInfo:
    """One network of a checkpoint; all of it JSON-ready.

    Attributes:
        name: In front of the names of its weights.
        kind: ``roi`` or ``detector``.
        objects: Ids, in the order of its index.
        architecture: What it is built from.
        preprocess: `edgesafe.runtime.preprocess.Preprocess.to_dict`.
        options: For the package: ``roi_scale``; or ``max_per_object`` and ``min_score``.
        config: The settings that it was trained with.
        metrics: Steps, samples, seconds, and what was measured on held-out data.
    """

    name: str
    kind: str
    objects: tuple[int, ...]
    architecture: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def build(self, *, pretrained: bool = False) -> RoiNetwork | Detector:
        """Builds the network.

        Raises:
            CheckpointError: The architecture is not valid.
        """
        kind = RoiNetwork if self.kind == "roi" else Detector
        return kind(self.architecture, pretrained=pretrained)


@dataclass(frozen=True)
class PoseCheckpoint:
    """Networks with their weights, and everything about them that is not a weight.

    Attributes:
        networks: By name.
        state: Their weights, by ``network/parameter``.
        objects: All objects, in the order of their ids.
        data: ``fingerprint`` and counts of the training data.
        seed: Of the run.
        weights: ``licence``, ``origin`` and ``notice``.
    """

    networks: tuple[NetworkInfo, ...]
    state: Mapping[str, Tensor] = field(repr=False)
    objects: tuple[KnownObject, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    weights: Mapping[str, Any] = field(default_factory=dict)

    def info(self, name: str) -> NetworkInfo | None:
        """The network of that name."""
        return next((info for info in self.networks if info.name == name), None)

    def network(self, name: str) -> RoiNetwork | Detector:
        """Builds a network with its weights, in evaluation mode.

        Raises:
            CheckpointError: There is none, or the weights do not fit it.
        """
        info = self.info(name)
        if info is None:
            raise CheckpointError(f"the checkpoint holds no network {name!r}.")
        network = info.build()
        try:
            network.load_state_dict(self.state_of(name))
        except RuntimeError as error:
            raise CheckpointError(f"the weights of {name!r} do not fit it ({error}).") from error
        network.eval()
        return network

    def state_of(self, name: str) -> dict[str, Tensor]:
        """Weights of a network by the names of its parameters."""
        start = f"{name}/"
        return {k[len(start) :]: v for k, v in self.state.items() if k.startswith(start)}

    def with_network(self, info: NetworkInfo, network: nn.Module) -> PoseCheckpoint:
        """The same with a network added or replaced."""
        others = tuple(i for i in self.networks if i.name != info.name)
        start = f"{info.name}/"
        state = {k: v for k, v in self.state.items() if not k.startswith(start)}
        for name, tensor in network.state_dict().items():
            state[start + name] = tensor.detach().cpu().contiguous().clone()
        return replace(self, networks=(*others, info), state=state)

    def save(self, path: Path | str) -> None:
        """Writes the folder, in place of one that may be there.

        Raises:
            CheckpointError: It cannot be written.
        """
        info = {
            "format": FORMAT,
            "method": METHOD,
            "objects": [known.to_json() for known in self.objects],
            "networks": [vars(network) for network in self.networks],
            "data": self.data,
            "seed": self.seed,
            "weights": self.weights,
        }
        try:
            text = json.dumps(info, indent=2, ensure_ascii=False, allow_nan=False)
            with atomic_folder(Path(path), overwrite=True) as folder:
                (folder / MODEL_FILE).write_bytes(save_safetensors(dict(self.state)))
                (folder / INFO_FILE).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise CheckpointError(
                f"{path}: the checkpoint cannot be written ({error.strerror or error}). "
                "Choose a folder on a disk with room that you may write to."
            ) from error
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: {INFO_FILE} cannot be written: {error}.") from error


def is_pose_checkpoint(path: Path | str) -> bool:
    """Whether a folder looks like a checkpoint of pose training."""
    try:
        data = json.loads((Path(path) / INFO_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and data.get("method") == METHOD


def load_pose_checkpoint(path: Path | str) -> PoseCheckpoint:
    """Reads a checkpoint.

    Raises:
        CheckpointError: A file is missing or broken, or it is no checkpoint of pose training.
    """
    folder = Path(path)
    try:
        data = json.loads((folder / INFO_FILE).read_bytes())
        state = load_safetensors((folder / MODEL_FILE).read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be read ({error.strerror or error}). "
            "A checkpoint is a folder made by `edgesafe train pose`."
        ) from error
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder} is broken ({error}). Copy it again or retrain.") from error
    if not isinstance(data, dict) or (data.get("format"), data.get("method")) != (FORMAT, METHOD):
        raise CheckpointError(f"{folder} is no checkpoint of pose training of this version.")
    try:
        networks = tuple(
            NetworkInfo(**{**entry, "objects": tuple(int(n) for n in entry["objects"])})
            for entry in data["networks"]
        )
        return PoseCheckpoint(
            networks=networks,
            state=state,
            objects=tuple(KnownObject.from_json(entry) for entry in data["objects"]),
            data=data["data"],
            seed=int(data["seed"]),
            weights=data["weights"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / INFO_FILE} is broken ({error!r}).") from error
