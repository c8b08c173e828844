"""Sampling and loading depend on seed, epoch and record alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.train.config import AugmentConfig
from edgesafe.train.data import Quadruplet, read_quadruplets
from edgesafe.train.data.loader import Batch, ImageLoader, TextTable, TrainingLoader
from edgesafe.train.data.sampler import batches_of_epoch, with_visits
from edgesafe.train.encoders.base import build_encoder


def record(i: int, photo: int) -> Quadruplet:
    return Quadruplet(str(i), "", f"text {i}", f"unsafe {i}", Path(f"s{photo}"), Path(f"u{i}"))


def test_one_pass_sees_each_record_once() -> None:
    records = [record(i, i) for i in range(23)]
    batches = batches_of_epoch(records, seed=1, epoch=0, size=4)
    assert [len(b) for b in batches] == [4] * 5
    assert max(Counter(i for b in batches for i in b).values()) == 1
    assert batches == batches_of_epoch(records, seed=1, epoch=0, size=4)
    assert batches != batches_of_epoch(records, seed=1, epoch=1, size=4)
    assert batches != batches_of_epoch(records, seed=2, epoch=0, size=4)


def test_records_that_share_a_photo_are_kept_apart() -> None:
    records = [record(i, i // 4) for i in range(40)]
    batches = batches_of_epoch(records, seed=0, epoch=0, size=5)
    assert len(batches) == 8
    crowded = [len(b) - len({records[i].safe_image for i in b}) for b in batches]
    mixed = batches_of_epoch(records, seed=0, epoch=0, size=5, distinct=False)
    plain = [len(b) - len({records[i].safe_image for i in b}) for b in mixed]
    assert sum(crowded[:-2]) == 0 < sum(plain)
    assert max(Counter(i for b in batches for i in b).values()) == 1


def test_too_few_distinct_records_still_fill_their_batch() -> None:
    records = [record(i, 0) for i in range(8)]
    assert [len(b) for b in batches_of_epoch(records, seed=0, epoch=0, size=4)] == [4, 4]


def test_epochs_of_a_wanted_length() -> None:
    records = [record(i, i) for i in range(10)]
    assert len(batches_of_epoch(records, seed=0, epoch=0, size=4, count=7)) == 7
    assert len(batches_of_epoch(records, seed=0, epoch=0, size=4, count=1)) == 1


def test_a_small_set_makes_one_batch_for_all_processes() -> None:
    records = [record(i, i) for i in range(5)]
    batches = batches_of_epoch(records, seed=0, epoch=0, size=64, multiple=2)
    assert [len(b) for b in batches] == [4]


@pytest.fixture
def loader(
    data_folder: Path, tiny_architecture: Callable[[], dict[str, Any]]
) -> Callable[..., TrainingLoader]:
    records = read_quadruplets(data_folder).records
    encoder = build_encoder(tiny_architecture())
    table = TextTable.of(records, encoder)

    def make(
        workers: int = 0,
        paths: Path | None = None,
        augmentation: AugmentConfig | None = None,
    ) -> TrainingLoader:
        used = records
        if paths is not None:
            used = tuple(dataclasses.replace(r, unsafe_image=paths) for r in records)
        return TrainingLoader(
            used, encoder, table, augmentation or AugmentConfig(), seed=5, workers=workers
        )

    return make


def same(a: Batch, b: Batch) -> bool:
    names = [f.name for f in dataclasses.fields(Batch) if f.name != "size"]
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in names)


def test_samples_do_not_depend_on_what_came_before(loader: Callable[..., TrainingLoader]) -> None:
    batches = with_visits([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    whole = list(loader().epoch(2, batches))
    rest = list(loader().epoch(2, batches[1:]))
    assert all(same(a, b) for a, b in zip(whole[1:], rest, strict=True))
    other = next(loader().epoch(3, batches))
    assert not torch.equal(other.pixels, whole[0].pixels)


def test_a_record_that_comes_again_looks_another_way(
    loader: Callable[..., TrainingLoader],
) -> None:
    batches = with_visits([[0, 1], [2, 0], [0, 3]])
    assert batches == [[(0, 0), (1, 0)], [(2, 0), (0, 1)], [(0, 2), (3, 0)]]
    first, second, third = loader().epoch(0, batches)
    views = [first.pixels[0], second.pixels[1], third.pixels[0]]
    assert not any(torch.equal(views[i], views[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    # Resumed in the middle, the later views are the same.
    assert same(next(loader().epoch(0, batches[2:])), third)


def test_workers_change_nothing(loader: Callable[..., TrainingLoader]) -> None:
    batches = with_visits([[0, 1], [2, 3]])
    state = torch.get_rng_state()
    alone, helped = (list(loader(n).epoch(0, batches)) for n in (0, 2))
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_batch_holds_each_text_once(loader: Callable[..., TrainingLoader]) -> None:
    batch = next(loader().epoch(0, with_visits([[0, 1, 3]])))
    assert batch.size == 3
    # Records 1 and 3 bring negatives.
    assert batch.pixels.shape == (8, 3, 32, 32) and batch.pixels.dtype == torch.float32
    assert batch.input_ids.shape == (8, 77) == batch.attention_mask.shape
    assert sorted(
        torch.cat([batch.safe_text, batch.unsafe_text, batch.negative_text]).tolist()
    ) == list(range(8))


def test_a_file_that_vanished_is_a_clear_error(
    loader: Callable[..., TrainingLoader], tmp_path: Path
) -> None:
    for workers in (0, 1):
        broken = loader(workers, tmp_path / "gone.png")
        with pytest.raises(DataError, match="gone.png cannot be read") as error:
            list(broken.epoch(0, with_visits([[0, 1]])))
        assert "Traceback" not in str(error.value)


def test_regions_about_what_the_twins_differ_in(loader: Callable[..., TrainingLoader]) -> None:
    plain = AugmentConfig(
        crop_scale=1.0, crop_ratio=1.0, flip=0.0, brightness=0.0, contrast=0.0, saturation=0.0,
        hue=0.0, jpeg=0.0, blur=0.0,
    )  # fmt: skip
    focused = dataclasses.replace(plain, focus=1.0, focus_side=(0.5, 0.5))
    share = []
    for config in (plain, focused):
        batch = next(loader(augmentation=config).epoch(0, with_visits([list(range(12))])))
        assert batch.pixels.shape[2:] == (32, 32)
        gap = (batch.pixels[12:24] - batch.pixels[:12]).abs().mean(dim=1)
        share.append(float((gap > 0.1).float().mean()))
    # A disc of half the side fills a fifth of a square of the whole side, most of one of half.
    assert 0.15 < share[0] < 0.3
    assert 0.7 < share[1] < 1


def test_pictures_of_another_size_need_towers_that_take_them(
    loader: Callable[..., TrainingLoader],
) -> None:
    with pytest.raises(UsageError, match=r"augment\.size.*open_clip:tiny.*Set it to 0"):
        loader(augmentation=AugmentConfig(size=64))


def test_images_alone_come_in_order(data_folder: Path, loader: Any) -> None:
    paths = [data_folder / f"images/train{i}_safe.png" for i in (2, 0, 2)]
    preprocess = loader().dataset.preprocess
    first, second = ImageLoader(preprocess, batch_size=2).batches(paths)
    assert first.shape == (2, 3, 32, 32)
    assert torch.equal(first[0], second[0]) and not torch.equal(first[0], first[1])
