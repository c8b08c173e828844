"""A data set of quadruplets to train on: its records, their images checked, its fingerprint.

The format is that of :mod:`edgesafe.calib.quadruplets`; negatives join the shell term only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesafe.calib.bad_records import BadRecord, BadRecordsError
from edgesafe.calib.quadruplets import Quadruplet, find_file, image_paths, read_records
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import canonical_json, sha256_hex
from edgesafe.train.config import DataConfig
from edgesafe.train.data.images import ImageState, check_images

__all__ = ["Quadruplet", "QuadrupletSet", "read_quadruplets"]


@dataclass(frozen=True)
class QuadrupletSet:
    """The usable records of a file.

    Attributes:
        records: In the order of the file.
        fingerprint: SHA-256 over the records and the bytes of their images.
        bad: What was skipped.
    """

    records: tuple[Quadruplet, ...]
    fingerprint: str
    bad: tuple[BadRecord, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Fingerprint and counts, for a checkpoint."""
        tags: dict[str, int] = {}
        for record in self.records:
            tags[record.tag] = tags.get(record.tag, 0) + 1
        return {
            "fingerprint": self.fingerprint,
            "records": len(self.records),
            "skipped": len({b.line for b in self.bad}),
            "safe_images": len({r.safe_image for r in self.records}),
            "unsafe_images": len({r.unsafe_image for r in self.records}),
            "tags": dict(sorted(tags.items())),
        }


def read_quadruplets(
    path: Path | str, config: DataConfig | None = None, *, skip_bad: bool = False
) -> QuadrupletSet:
    """Reads and checks a file of records.

    Args:
        path: A ``.jsonl``, ``.json`` or ``.parquet`` file, or a folder with ``train.*``.
        config: Templates of image paths, and whether to decode every image.
        skip_bad: Leave bad records out instead of raising.

    Raises:
        BadRecordsError: Some records are bad and ``skip_bad`` is false.
        DataError: The file cannot be read or holds no usable record.
    """
    config = config or DataConfig()
    file = find_file(Path(path), "train")
    parsed, bad = read_records(
        file, safe_images=config.safe_images, unsafe_images=config.unsafe_images
    )
    states = check_images(
        (p for _, r in parsed for p in image_paths(r).values()), decode=config.check_images
    )
    good = []
    for line, record in parsed:
        broken = [(f, states[p]) for f, p in image_paths(record).items() if states[p].problem]
        for field, state in broken:
            bad.append(BadRecord(line, record.id, field, str(state.problem), state.detail))
        if not broken:
            good.append(record)
    bad.sort(key=lambda b: b.line)
    if bad and not skip_bad:
        raise BadRecordsError(str(file), bad)
    if not good:
        raise DataError(f"{file} holds no usable record.")
    return QuadrupletSet(tuple(good), _fingerprint(good, states), tuple(bad))


def _fingerprint(records: Sequence[Quadruplet], states: Mapping[Path, ImageState]) -> str:
    rows = [
        [r.id, r.tag, r.safe_text, r.unsafe_text, r.negative_text]
        + [(f, states[p].sha256) for f, p in image_paths(r).items()]
        for r in records
    ]
    return sha256_hex(canonical_json(rows))
