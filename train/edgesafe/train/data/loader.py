"""From records to batches of tensors, the same whenever and wherever they are made.

What is drawn for a sample depends on (seed, epoch, record, visit) alone, the visit being how often
the record came before in the epoch, not on the worker that makes it nor on what was drawn before;
so a run resumed in the middle of an epoch sees the very same pixels.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.config import AugmentConfig
from edgesafe.train.data.augment import (
    Geometry,
    augment,
    changed_box,
    draw_focus,
    draw_geometry,
)
from edgesafe.train.data.images import read_rgb, rgb_array
from edgesafe.train.data.quadruplets import Quadruplet
from edgesafe.train.encoders.base import DualEncoder

_CHANGED = 0.04
"""Share of the range of brightness by which a cell of two twins must differ to be looked at; a
JPEG's noise, averaged over a cell, stays below it."""


class TextTable:
    """The unique texts of a data set with their token ids.

    Attributes:
        texts: Each text once, in the order of its first use.
        ids: Unpadded token ids per text.
    """

    def __init__(self, texts: Sequence[str], encoder: DualEncoder) -> None:
        """Tokenises each text once."""
        self.texts = list(dict.fromkeys(texts))
        self.ids = encoder.token_ids(self.texts)
        self._row = {text: i for i, text in enumerate(self.texts)}

    @classmethod
    def of(cls, records: Sequence[Quadruplet], encoder: DualEncoder) -> TextTable:
        """The table of all texts of the records."""
        texts = [t for r in records for t in (r.safe_text, r.unsafe_text, r.negative_text) if t]
        return cls(texts, encoder)

    def row(self, text: str) -> int:
        """Row of a text."""
        return self._row[text]


@dataclass(frozen=True)
class Batch:
    """What one forward pass of one process reads.

    Attributes:
        pixels: Normalised images (2B + M, 3, H, W): safe, unsafe, then the M negatives.
        text_rows: Rows of the `TextTable` of the U unique texts of the batch (U,).
        input_ids: Their token ids (U, T).
        attention_mask: The mask of these (U, T).
        safe_text: Position among the unique texts per quadruplet (B,).
        unsafe_text: The same for the unsafe texts (B,).
        negative_text: The same for the negatives (N,).
        size: B.
    """

    pixels: Tensor
    text_rows: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    safe_text: Tensor
    unsafe_text: Tensor
    negative_text: Tensor
    size: int

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        moved = {
            f.name: getattr(self, f.name).to(device, non_blocking=True)
            for f in fields(self)
            if f.name != "size"
        }
        return replace(self, **moved)

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; `DataLoader` calls this."""
        pinned = {
            f.name: getattr(self, f.name).pin_memory() for f in fields(self) if f.name != "size"
        }
        return replace(self, **pinned)


_Sample = tuple[Quadruplet, list[np.ndarray[Any, np.dtype[np.uint8]]]]


class _Training(Dataset[Any]):
    """Augmented uint8 images of (epoch, record, visit); an error comes back as a value."""

    def __init__(
        self,
        records: Sequence[Quadruplet],
        preprocess: Preprocess,
        config: AugmentConfig,
        seed: int,
    ) -> None:
        self.records = records
        self.preprocess = preprocess
        self.config = config
        self.seed = seed

    def __getitem__(self, key: tuple[int, int, int]) -> _Sample | DataError:
        epoch, index, visit = key
        record = self.records[index]
        rng = np.random.default_rng([self.seed, epoch, index, visit])
        paths = [record.safe_image, record.unsafe_image]
        if record.negative_image is not None:
            paths.append(record.negative_image)
        read = []
        for path in paths:
            image = _read(path)
            if isinstance(image, DataError):
                return image
            read.append(image)
        images = []
        geometry = self._geometry(rng, read[0], read[1])
        for position, image in enumerate(read):
            if position == 2:  # the negative is no twin of the others
                geometry = draw_geometry(rng, self.config)
            images.append(augment(image, self.preprocess, geometry, rng, self.config))
        return record, images

    def _geometry(
        self, rng: np.random.Generator, safe: Image.Image, unsafe: Image.Image
    ) -> Geometry:
        if self.config.focus > 0 and rng.random() < self.config.focus:
            box = changed_box(safe, unsafe, _CHANGED)
            if box is not None:
                return draw_focus(rng, self.config, box)
        return draw_geometry(rng, self.config)


class TrainingLoader:
    """Batches of one process.

    Args:
        records: The data.
        encoder: For its preprocessing and its padding.
        texts: The table of all their texts.
        augmentation: Settings.
        seed: Seed of the run.
        workers: Processes; 0 for none.
        pin: Whether to use page-locked memory.
    """

    def __init__(
        self,
        records: Sequence[Quadruplet],
        encoder: DualEncoder,
        texts: TextTable,
        augmentation: AugmentConfig,
        *,
        seed: int,
        workers: int = 0,
        pin: bool = False,
    ) -> None:
        """Keeps what the workers need.

        Raises:
            UsageError: ``augment.size`` is set for towers that take one size only.
        """
        preprocess = _training_preprocess(encoder, augmentation.size)
        self.dataset = _Training(records, preprocess, augmentation, seed)
        self.collate = _Collate(encoder, texts)
        self.workers = workers
        self.pin = pin

    def epoch(
        self, epoch: int, batches: Sequence[Sequence[tuple[int, int]]]
    ) -> Generator[Batch, None, None]:
        """Yields the given batches of records and visits; see `sampler.with_visits`.

        Raises:
            DataError: An image cannot be read any more.
        """
        keys = [[(epoch, *draw) for draw in batch] for batch in batches]
        yield from _load(self.dataset, keys, self.collate, self.workers, self.pin)


def _training_preprocess(encoder: DualEncoder, size: int) -> Preprocess:
    if not size:
        return encoder.preprocess
    if not encoder.any_size:
        raise UsageError(
            f"augment.size: the image tower of {encoder.architecture['name']!r} takes pictures of "
            f"one size. Set it to 0."
        )
    return replace(encoder.preprocess, width=size, height=size)


class ImageLoader:
    """Unaugmented images in order, each path as often as it is named."""

    def __init__(
        self, preprocess: Preprocess, *, workers: int = 0, batch_size: int = 64, pin: bool = False
    ) -> None:
        """Keeps the settings."""
        self.preprocess = preprocess
        self.workers = workers
        self.batch_size = batch_size
        self.pin = pin

    def batches(self, paths: Sequence[Path]) -> Generator[Tensor, None, None]:
        """Yields normalised pixels (B, 3, H, W).

        Raises:
            DataError: An image cannot be read.
        """
        keys = [
            list(range(i, min(i + self.batch_size, len(paths))))
            for i in range(0, len(paths), self.batch_size)
        ]
        dataset = _Plain(paths, self.preprocess)
        yield from _load(dataset, keys, _StackImages(self.preprocess), self.workers, self.pin)


class _Plain(Dataset[Any]):
    def __init__(self, paths: Sequence[Path], preprocess: Preprocess) -> None:
        self.paths = paths
        self.preprocess = preprocess

    def __getitem__(self, index: int) -> Any:
        image = _read(self.paths[index])
        return image if isinstance(image, DataError) else self.preprocess.resize(rgb_array(image))


class _StackImages:
    def __init__(self, preprocess: Preprocess) -> None:
        self.preprocess = preprocess

    def __call__(self, samples: list[Any]) -> Tensor | DataError:
        for sample in samples:
            if isinstance(sample, DataError):
                return sample
        return torch.from_numpy(self.preprocess.normalize(np.stack(samples)))


class _Collate:
    def __init__(self, encoder: DualEncoder, texts: TextTable) -> None:
        self.preprocess = encoder.preprocess
        self.pad = encoder.padding
        self.texts = texts

    def __call__(self, samples: list[_Sample | DataError]) -> Batch | DataError:
        good: list[_Sample] = []
        for sample in samples:
            if isinstance(sample, DataError):
                return sample
            good.append(sample)
        images = [images[0] for _, images in good] + [images[1] for _, images in good]
        images += [images[2] for _, images in good if len(images) > 2]
        safe = [self.texts.row(record.safe_text) for record, _ in good]
        unsafe = [self.texts.row(record.unsafe_text) for record, _ in good]
        negative = [self.texts.row(r.negative_text) for r, _ in good if r.negative_text]
        rows = list(dict.fromkeys(safe + unsafe + negative))
        place = {row: i for i, row in enumerate(rows)}
        input_ids, attention_mask = self.pad([self.texts.ids[row] for row in rows])
        return Batch(
            pixels=torch.from_numpy(self.preprocess.normalize(np.stack(images))),
            text_rows=torch.tensor(rows),
            input_ids=input_ids,
            attention_mask=attention_mask,
            safe_text=torch.tensor([place[row] for row in safe]),
            unsafe_text=torch.tensor([place[row] for row in unsafe]),
            negative_text=torch.tensor([place[row] for row in negative], dtype=torch.int64),
            size=len(good),
        )


def _read(path: Path) -> Any:
    try:
        return read_rgb(path)
    except Exception as error:  # a broken file makes Pillow raise almost anything
        # As a value: an exception that crosses from a worker brings its traceback along as text.
        return DataError(f"{path} cannot be read ({error or type(error).__name__}).")


def _load(
    dataset: Dataset[Any],
    keys: list[list[Any]],
    collate: Callable[[list[Any]], Any],
    workers: int,
    pin: bool,
) -> Generator[Any, None, None]:
    if not keys:
        return
    loader = DataLoader(
        dataset,
        batch_sampler=keys,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_start_worker if workers else None,
        # DataLoader draws a seed for its workers; from a generator of its own, so that the draw
        # does not move the global one, which dropout uses.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        yield batch


def _start_worker(worker: int) -> None:
    del worker
    # Ctrl-C reaches every process of the terminal; only the training process may act on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
