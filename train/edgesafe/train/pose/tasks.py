"""What the loop trains: a network with its samples, losses and validation."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.pose.config import DetectorConfig, FitConfig, RoiConfig
from edgesafe.train.pose.detector import Detector, DetectorTargets, detector_terms
from edgesafe.train.pose.loader import Batch, Samples
from edgesafe.train.pose.losses import DirectTargets, VoteTargets, direct_terms, vote_terms
from edgesafe.train.pose.network import RoiNetwork
from edgesafe.train.pose.reasons import consistency, reasons

__all__ = ["DetectorObjective", "Objective", "RoiObjective", "Task", "Validator"]

Array = npt.NDArray[np.float64]
Report = tuple[dict[str, float], dict[str, npt.NDArray[np.uint8]]]


class Objective(nn.Module):
    """One forward pass of training, as the one call that distributed data parallel sees.

    Attributes:
        network: What learns.
        bf16: Whether its convolutions run in bf16.
    """

    def __init__(self, network: nn.Module, *, bf16: bool = False) -> None:
        """Keeps the network."""
        super().__init__()
        self.network = network
        self.bf16 = bf16

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The terms of a batch, ``loss`` among them, where ``progress`` of the run is done."""
        return self.terms(self._seen(batch), batch, progress)

    def _seen(self, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(batch["pixels"].device.type, torch.bfloat16, enabled=self.bf16):
            return self.look(batch)

    def look(self, batch: Batch) -> dict[str, Tensor]:
        """Runs the network."""
        raise NotImplementedError

    def terms(self, found: dict[str, Tensor], batch: Batch, progress: float) -> dict[str, Tensor]:
        """Compares what it said with what it should have said."""
        raise NotImplementedError


class RoiObjective(Objective):
    """That of the network of a region of interest."""

    def __init__(
        self,
        network: RoiNetwork,
        config: RoiConfig,
        surfaces: list[Array],
        diameters: list[float],
        *,
        bf16: bool = False,
    ) -> None:
        """Keeps the settings and, for the direct head, points of the models.

        Args:
            network: The network.
            config: Its settings.
            surfaces: (N, 3) points of each object's surface, in the order of the network.
            diameters: Of each object, mm.
            bf16: See `Objective`.
        """
        super().__init__(network, bf16=bf16)
        self.config = config
        points = torch.tensor(np.stack(surfaces), dtype=torch.float32)
        # Not weights: they come from the data.
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("diameters", torch.tensor(diameters), persistent=False)

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """See `Objective.forward`; with the terms of `edgesafe.train.pose.reasons`, if wanted."""
        config = self.config
        if config.reasons > 0:
            batch = {**batch, "pixels": batch["pixels"].detach().requires_grad_()}
        found = self._seen(batch)
        terms = self.terms(found, batch, progress)
        if config.consistency > 0:
            other = self._seen({**batch, "pixels": batch["counterfactual"]})
            terms["consistency"] = consistency(found, other)
            terms["loss"] = terms["loss"] + config.consistency * terms["consistency"]
        if config.reasons > 0:
            terms["reasons"] = reasons(found, batch["pixels"], batch["mask"], batch["directions"])
            terms["loss"] = terms["loss"] + config.reasons * terms["reasons"]
        return terms

    def look(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.look`."""
        found: dict[str, Tensor] = self.network(batch["pixels"], batch["object"])
        return found

    def terms(self, found: dict[str, Tensor], batch: Batch, progress: float) -> dict[str, Tensor]:
        """See `Objective.terms`."""
        config = self.config
        if config.head == "vote":
            targets = VoteTargets(batch["keypoints"], batch["mask"])
            nll = config.nll_weight if progress >= config.nll_start else 0.0
            return vote_terms(found, targets, nll=nll, vote=config.vote_weight)
        index = batch["object"]
        points, diameters = self.get_buffer("points"), self.get_buffer("diameters")
        return direct_terms(
            found,
            DirectTargets(
                rotation=batch["rotation"],
                centre=batch["centre"],
                log_scale=batch["log_scale"],
                mask=batch["mask"],
                points=points[index],
                diameter=diameters[index],
            ),
        )


class DetectorObjective(Objective):
    """That of the detector."""

    def __init__(self, network: Detector, config: DetectorConfig, *, bf16: bool = False) -> None:
        """Keeps the settings."""
        super().__init__(network, bf16=bf16)
        self.config = config

    def look(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.look`."""
        found: dict[str, Tensor] = self.network(batch["pixels"])
        return found

    def terms(self, found: dict[str, Tensor], batch: Batch, progress: float) -> dict[str, Tensor]:
        """See `Objective.terms`."""
        del progress
        targets = DetectorTargets(batch["heat"], batch["box"], batch["weight"])
        return detector_terms(found, targets, box=self.config.box_weight)


class Validator(Protocol):
    """Measures a network on held-out data."""

    def __call__(self, network: nn.Module) -> Report:
        """Metrics by name, and pictures (H, W, 3) for TensorBoard."""


class Task:
    """A network to train.

    Attributes:
        name: Of its folder in the run's, and of its weights in the checkpoint.
        objective: With the network.
        samples: The training samples.
        preprocess: Of the pixels.
        fit: The loop's settings.
        validate: None where nothing is held out.
    """

    def __init__(
        self,
        name: str,
        objective: Objective,
        samples: Samples,
        preprocess: Preprocess,
        fit: FitConfig,
        validate: Validator | None,
    ) -> None:
        """Keeps the parts."""
        self.name = name
        self.objective = objective
        self.samples = samples
        self.preprocess = preprocess
        self.fit = fit
        self.validate = validate

    @property
    def network(self) -> nn.Module:
        """What learns."""
        return self.objective.network
