"""Which records make which batch, as a pure function of seed and epoch.

Nothing here keeps state, so a resumed run finds its place by counting batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from edgesafe.train.data.quadruplets import Quadruplet

LOOK_AHEAD = 16


def batches_of_epoch(
    records: Sequence[Quadruplet],
    *,
    seed: int,
    epoch: int,
    size: int,
    count: int = 0,
    distinct: bool = True,
    multiple: int = 1,
) -> list[list[int]]:
    """Shuffles the records into batches.

    Args:
        records: The data.
        seed: Seed of the run.
        epoch: Number of the epoch.
        size: Records per (global) batch.
        count: Wanted number of batches; 0 for one pass. More than one pass is made where needed.
        distinct: Keep records that share a photo or a text apart as far as they allow it.
        multiple: A smaller only batch is cut to a multiple of this (the number of processes).

    Returns:
        Indices of records. The incomplete last batch of a pass is left out, unless it is the
        only one.
    """
    keys = [_keys(record) for record in records] if distinct else None
    batches: list[list[int]] = []
    part = 0
    while True:
        rng = np.random.default_rng([seed, epoch, part])
        order = [int(i) for i in rng.permutation(len(records))]
        made = _apart(order, keys, size) if keys else _chunks(order, size)
        if len(records) < size:
            made = [order[: len(order) // multiple * multiple]]
        batches += made
        part += 1
        if len(batches) >= count:
            return batches[:count] if count else batches


def with_visits(batches: Sequence[Sequence[int]]) -> list[list[tuple[int, int]]]:
    """Each record with how often it came before in the epoch, so that it can look another way."""
    visits: Counter[int] = Counter()
    numbered = []
    for batch in batches:
        numbered.append([(index, visits[index]) for index in batch])
        visits.update(batch)
    return numbered


def _chunks(order: list[int], size: int) -> list[list[int]]:
    return [order[i : i + size] for i in range(0, len(order) - size + 1, size)]


def _keys(record: Quadruplet) -> frozenset[tuple[str, str]]:
    return frozenset(
        {
            ("image", str(record.safe_image)),
            ("image", str(record.unsafe_image)),
            ("text", record.safe_text),
            ("text", record.unsafe_text),
        }
    )


def _apart(
    order: list[int], keys: Sequence[frozenset[tuple[str, str]]], size: int
) -> list[list[int]]:
    """Fills each batch with the first records that share nothing with it.

    Only ``LOOK_AHEAD`` batches' worth of records is searched; what is still missing then is
    filled up with the next records as they come.
    """
    waiting = order
    batches = []
    while len(waiting) >= size:
        used: set[tuple[str, str]] = set()
        batch: list[int] = []
        passed: list[int] = []
        window = LOOK_AHEAD * size
        for position, index in enumerate(waiting):
            if len(batch) == size or position >= window:
                passed += waiting[position:]
                break
            if used.isdisjoint(keys[index]):
                batch.append(index)
                used |= keys[index]
            else:
                passed.append(index)
        missing = size - len(batch)
        batches.append(batch + passed[:missing])
        waiting = passed[missing:]
    return batches
