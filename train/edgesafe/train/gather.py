"""All-gather with a gradient, so that the loss of a global batch is the loss of one process.

Every process computes the whole loss of the gathered batch. The gradient that reaches its own rows
is summed over the processes on the way back, which makes it (number of processes) times the
gradient of that loss; the averaging of distributed data parallel then cancels the factor. What the
loss uses directly (curvature, temperature) gets the same gradient in every process, and the
average leaves it as it is. So the step equals that of a single process with the global batch.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch import distributed as dist


def world_size() -> int:
    """Number of processes, 1 where there is no process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenates the rows of all processes in the order of their ranks, differentiably.

    Args:
        rows: (N, …); N may differ between the processes and may be 0.
    """
    if world_size() == 1:
        return rows
    counts = _counts(rows)
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded = torch.cat([rows, padded[len(rows) :]])
    every = cast(Tensor, _AllGather.apply(padded))
    return torch.cat([part[:n] for part, n in zip(every.unbind(0), counts, strict=True)])


def _counts(rows: Tensor) -> list[int]:
    own = torch.tensor([len(rows)], device=rows.device)
    every = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(every, own)
    return [int(n) for n in every]


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        every = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(every, rows.contiguous())
        return torch.stack(every)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[dist.get_rank()]
