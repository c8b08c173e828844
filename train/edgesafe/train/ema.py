"""The running mean of the weights, which is what a run keeps."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Generator

import torch
from torch import Tensor, nn

__all__ = ["RunningMean"]

_STATISTICS = ("running_mean", "running_var")


class RunningMean:
    """An exponential moving average of a network (Polyak and Juditsky 1992).

    Attributes:
        network: The averaged copy, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Copies the network; a decay of 0 follows it without delay."""
        self._learning = {n for n, p in network.named_parameters() if p.requires_grad}
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The averaged parameters by name; what never learns is not among them."""
        every = self.network.named_parameters()
        return {name: p.detach() for name, p in every if name in self._learning}

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

    @contextlib.contextmanager
    def lent(self, network: nn.Module) -> Generator[None, None, None]:
        """The network holds the mean inside, and its own weights again afterwards."""
        own, theirs = self._tensors(self.network), self._tensors(network)
        kept = [tensor.clone() for tensor in theirs]
        torch._foreach_copy_(theirs, own)
        try:
            yield
        finally:
            torch._foreach_copy_(theirs, kept)

    def _tensors(self, network: nn.Module) -> list[Tensor]:
        """Parameters that learn and the statistics of batch normalisations.

        No other buffers: the mean of two infinities, as masks have them, is no number.
        """
        named = [(n, p.detach()) for n, p in network.named_parameters() if n in self._learning]
        named += [(n, b) for n, b in network.named_buffers() if n.endswith(_STATISTICS)]
        return [tensor for _, tensor in named]
