"""Building blocks of the pose networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ConvNorm", "PerObject", "Residual", "cell_centres"]


class ConvNorm(nn.Sequential):
    """Convolution, batch normalisation and, unless told otherwise, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, active: bool = True
    ) -> None:
        """Makes the layers; the padding keeps an odd kernel centred."""
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False),
            nn.BatchNorm2d(outputs),
            *([nn.ReLU(inplace=True)] if active else []),
        )


class Residual(nn.Module):
    """Two convolutions of 3x3 beside an identity (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        """Makes the convolutions."""
        super().__init__()
        self.body = nn.Sequential(ConvNorm(width, width), ConvNorm(width, width, active=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> the same."""
        return functional.relu(x + self.body(x))


class PerObject(nn.Module):
    """A linear layer with weights for each object, of which every sample uses its own.

    The weights are looked up, so the cost of a sample does not grow with the number of objects.
    """

    def __init__(self, inputs: int, outputs: int, objects: int) -> None:
        """Draws the same weights for every object: they part only where their data differ."""
        super().__init__()
        bound = inputs**-0.5
        one = torch.empty(1, outputs, inputs).uniform_(-bound, bound)
        self.weight = nn.Parameter(one.repeat(objects, 1, 1))
        self.bias = nn.Parameter(torch.zeros(objects, outputs, 1))

    def forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        """(B, inputs, P) and the objects (B,), None where there is one -> (B, outputs, P)."""
        if index is None:
            return torch.matmul(self.weight[0], x) + self.bias[0]
        # index_select becomes one Gather; indexing would become four operators.
        weight, bias = self.weight.index_select(0, index), self.bias.index_select(0, index)
        return torch.bmm(weight, x) + bias


def cell_centres(rows: int, columns: int, stride: int) -> Tensor:
    """Centres (2, rows * columns) of the cells of a feature map, x above y, in input pixels.

    Cell i covers the pixels stride * i ... stride * i + stride - 1, whose centres are whole
    numbers, so its own centre is stride * i + (stride - 1) / 2.
    """
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()]) * float(stride) + (stride - 1) / 2
