"""The running mean of the weights, which is what a run keeps."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["RunningMean"]


class RunningMean:
    """An exponential moving average of a network (Polyak and Juditsky 1992).

    Attributes:
        network: The averaged copy, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Copies the network; a decay of 0 follows it without delay."""
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Moves towards the network after an optimiser step, counted from 1.

        Early on the decay is smaller, or the mean would drag the initial weights along.
        """
        decay = min(self.decay, step / (step + 9)) if self.decay else 0.0
        own, theirs = self._tensors(self.network), self._tensors(network)
        torch._foreach_lerp_(own, theirs, 1 - decay)
        for mean, value in zip(self.network.buffers(), network.buffers(), strict=True):
            if not mean.is_floating_point():
                mean.copy_(value)

    @staticmethod
    def _tensors(network: nn.Module) -> list[Tensor]:
        """Parameters and the statistics of batch normalisations."""
        buffers = [b for b in network.buffers() if b.is_floating_point()]
        return [*(p.detach() for p in network.parameters()), *buffers]
