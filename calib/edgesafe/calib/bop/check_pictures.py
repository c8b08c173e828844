"""Are the pictures there, whole, and in one split only?

Two pictures with the same bytes are the same. Near duplicates (saved again, slightly cropped or
brightened) are found by a difference hash: the picture is shrunk to 17 x 16 grey pixels, and each
of 256 bits tells whether a pixel is brighter than its left neighbour (Krawetz, "Kind of Like That",
2013).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop.dataset import BopDataset
from edgesafe.calib.bop.findings import Finding, examples
from edgesafe.runtime.errors import DataError

__all__ = ["check_files", "check_leaks", "difference_hash"]

Bits = NDArray[np.uint8]

_SIDE = 16
_NEAR_BITS = 10
_HASHED = 2000
_ONES = np.array([bin(value).count("1") for value in range(256)], np.uint8)


def check_files(dataset: BopDataset) -> Iterator[Finding]:
    """Look for pictures and masks that are missing or left over."""
    place = dataset.split
    if dataset.missing:
        names = [f"{scene:06d}/{image:06d}" for scene, image in dataset.missing]
        text = f"annotated pictures are not there: {examples(names)}"
        yield Finding("warning", "no_picture", place, text, len(names))
    for scene in dataset.scenes:
        extra = sorted(set(scene.images) - set(scene.im_ids.tolist()))
        if extra:
            names = [str(scene.images[image]) for image in extra]
            text = f"pictures without annotations: {examples(names)}"
            yield Finding("warning", "no_annotation", place, text, len(extra))
        counts = np.diff(scene.starts)
        wanted = {
            f"{image:06d}_{i:06d}.png"
            for image, count in zip(scene.im_ids.tolist(), counts.tolist(), strict=True)
            for i in range(count)
            if image in scene.images
        }
        for name, there in (("mask", scene.has_masks), ("mask_visib", scene.has_visible_masks)):
            found = {file.name for file in (scene.folder / name).iterdir()} if there else wanted
            lost = sorted(wanted - found)
            if lost:
                text = f"{scene.folder / name} lacks {examples(lost)}"
                yield Finding("error", "no_mask", place, text, len(lost))


def check_leaks(splits: Sequence[BopDataset]) -> Iterator[Finding]:
    """Look for pictures that occur twice, above all in two splits, and for unreadable ones.

    Near duplicates are looked for between splits, among at most 2000 pictures of each.
    """
    yield from _same(splits)
    hashes: dict[str, tuple[list[Path], Bits]] = {}
    for dataset in splits:
        paths: list[Path] = []
        rows: list[Bits] = []
        broken: list[str] = []
        # Of a single split only a sample is opened, to see whether pictures can be read.
        for frame in dataset.thinned(_HASHED if len(splits) > 1 else _HASHED // 10).frames:
            try:
                rows.append(difference_hash(frame.rgb_path))
                paths.append(frame.rgb_path)
            except DataError as error:
                broken.append(str(error))
        if broken:
            yield Finding("error", "unreadable", dataset.split, examples(broken), len(broken))
        hashes[dataset.split] = paths, np.array(rows, np.uint8).reshape(-1, _SIDE * _SIDE // 8)
    for (one, (paths, bits)), (other, (others, other_bits)) in combinations(hashes.items(), 2):
        near = [
            (path, others[int(j)])
            for path, row in zip(paths, bits, strict=True)
            for j in np.flatnonzero(_ONES[row ^ other_bits].sum(axis=1) <= _NEAR_BITS)[:1]
        ]
        if near:
            text = f"pictures look the same: {examples([f'{a} and {b}' for a, b in near])}"
            yield Finding("warning", "near_duplicate", f"{one}, {other}", text, len(near))


def difference_hash(path: Path) -> Bits:
    """Return the 256 bits of a picture as 32 bytes.

    Raises:
        DataError: It cannot be read.
    """
    from PIL import Image

    from edgesafe.calib.bop.frame import read_picture

    grey = Image.fromarray(read_picture(path)).convert("L")
    small = np.asarray(grey.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), np.int16)
    return np.packbits(small[:, 1:] > small[:, :-1])


def _same(splits: Sequence[BopDataset]) -> Iterator[Finding]:
    by_size: dict[int, list[tuple[str, Path]]] = defaultdict(list)
    for dataset in splits:
        for frame in dataset.frames:
            by_size[frame.rgb_path.stat().st_size].append((dataset.split, frame.rgb_path))
    by_bytes: dict[bytes, list[tuple[str, Path]]] = defaultdict(list)
    for group in by_size.values():
        # Only files of the same size can be the same.
        for split, path in group if len(group) > 1 else ():
            by_bytes[hashlib.sha256(path.read_bytes()).digest()].append((split, path))
    across: list[str] = []
    within: list[str] = []
    for same in by_bytes.values():
        if len(same) > 1:
            names = " = ".join(str(path) for _, path in same[:2])
            (across if len({split for split, _ in same}) > 1 else within).append(names)
    everywhere = ", ".join(dataset.split for dataset in splits)
    if across:
        text = f"splits share pictures, so that a test on one is none: {examples(across)}"
        yield Finding("error", "split_leak", everywhere, text, len(across))
    if within:
        text = f"pictures occur twice: {examples(within)}"
        yield Finding("warning", "duplicate", everywhere, text, len(within))
