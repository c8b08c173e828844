"""Batches of samples, the same whenever and wherever they are made."""

from __future__ import annotations

import signal
from collections.abc import Generator, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgesafe.runtime.errors import EdgesafeError
from edgesafe.runtime.preprocess import Preprocess

__all__ = ["Batch", "Samples", "batches_of_epoch", "collate", "load"]

Batch = dict[str, Tensor]
Sample = dict[str, npt.NDArray[Any]]

PICTURES = frozenset({"pixels", "counterfactual"})


class Samples(Protocol):
    """Augmented samples; ``sample`` must depend on its arguments alone."""

    def __len__(self) -> int:
        """How many there are in an epoch."""

    def sample(self, epoch: int, number: int) -> Sample:
        """A sample: ``pixels`` uint8 (H, W, 3), and further arrays of fixed shapes."""


def batches_of_epoch(
    count: int, *, seed: int, epoch: int, size: int, multiple: int = 1
) -> list[list[int]]:
    """Shuffles the numbers of samples into batches, as a function of seed and epoch.

    Args:
        count: Number of samples.
        seed: Seed of the run.
        epoch: Number of the epoch.
        size: Samples of a (global) batch.
        multiple: A smaller only batch is cut to a multiple of this (the number of processes).

    Returns:
        The batches; an incomplete last one is left out, unless it is the only one.
    """
    order = np.random.default_rng([seed, epoch, 1]).permutation(count).tolist()
    if count < size:
        order = order[: count // multiple * multiple]
        return [order] if order else []
    return [order[i : i + size] for i in range(0, count - size + 1, size)]


def collate(samples: Sequence[Sample], preprocess: Preprocess) -> Batch:
    """Stacks samples; pictures become float32 (B, 3, H, W), normalised."""
    stacked = {name: np.stack([s[name] for s in samples]) for name in samples[0]}
    for name in PICTURES & stacked.keys():
        stacked[name] = preprocess.normalize(stacked[name])
    return {name: torch.from_numpy(value) for name, value in stacked.items()}


def load(
    samples: Samples,
    epoch: int,
    batches: Sequence[Sequence[int]],
    preprocess: Preprocess,
    *,
    workers: int,
    pin: bool = False,
) -> Generator[Batch, None, None]:
    """Yields the given batches of an epoch.

    Raises:
        EdgesafeError: A sample cannot be made.
    """
    if workers == 0:
        for batch in batches:
            yield collate([samples.sample(epoch, number) for number in batch], preprocess)
        return
    if not batches:
        return
    loader: DataLoader[Any] = DataLoader(
        _Worker(samples),
        batch_sampler=[[(epoch, number) for number in batch] for batch in batches],
        collate_fn=_Collate(preprocess),
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_start_worker,
        # DataLoader draws a seed for its workers; not from the global generator.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, EdgesafeError):
            raise batch
        yield batch


class _Worker(Dataset[Any]):
    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, key: tuple[int, int]) -> Sample | EdgesafeError:
        try:
            return self.samples.sample(*key)
        except EdgesafeError as error:
            # As a value: one that crosses from a worker brings its traceback along as text.
            return error


class _Collate:
    def __init__(self, preprocess: Preprocess) -> None:
        self.preprocess = preprocess

    def __call__(self, samples: list[Any]) -> Batch | EdgesafeError:
        for sample in samples:
            if isinstance(sample, EdgesafeError):
                return sample
        return collate(samples, self.preprocess)


def _start_worker(worker: int) -> None:
    del worker
    cv2.setNumThreads(1)
    # Ctrl-C reaches every process of the terminal; only the training process may act on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
