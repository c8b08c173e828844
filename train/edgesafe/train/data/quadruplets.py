"""Records of quadruplets from JSON lines, JSON or parquet, and the data set's fingerprint.

A record has ``safe_image``, ``safe_text``, ``unsafe_image``, ``unsafe_text``, and optionally
``id``, ``tag``, ``negative_image`` and ``negative_text`` (safe look-alikes of the unsafe side;
they join the shell term only). Paths are relative to the folder of the file. ViSU-Text's names
are read too: ``safe``, ``nsfw``, ``incremental_id``; the data set has no images, so their paths
come from templates such as ``coco/train2017/{coco_id}.jpg``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import canonical_json, sha256_hex
from edgesafe.train.config import DataConfig
from edgesafe.train.data.images import ImageState, check_images
from edgesafe.train.data.report import BadRecord, BadRecordsError

ALIASES = {"safe_text": "safe", "unsafe_text": "nsfw", "id": "incremental_id"}
"""Own field name -> ViSU-Text's."""

_TEXTS = ("safe_text", "unsafe_text", "negative_text")
_IMAGES = ("safe_image", "unsafe_image", "negative_image")
_REQUIRED = ("safe_text", "unsafe_text", "safe_image", "unsafe_image")


@dataclass(frozen=True)
class Quadruplet:
    """One record, its texts not empty and its paths absolute or relative to here."""

    id: str
    tag: str
    safe_text: str
    unsafe_text: str
    safe_image: Path
    unsafe_image: Path
    negative_text: str | None = None
    negative_image: Path | None = None


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
    bad: list[BadRecord] = []
    parsed: list[tuple[int, Quadruplet]] = []
    seen: dict[str, int] = {}
    for line, raw in _rows(file, bad):
        record = _parse(line, raw, file.parent, config, bad)
        if record is None:
            continue
        if record.id in seen:
            detail = f"first used on line {seen[record.id]}"
            bad.append(BadRecord(line, record.id, "id", "duplicate_id", detail))
            continue
        seen[record.id] = line
        parsed.append((line, record))
    states = check_images(
        (p for _, r in parsed for p in _paths(r).values()), decode=config.check_images
    )
    good = []
    for line, record in parsed:
        broken = [(f, states[p]) for f, p in _paths(record).items() if states[p].problem]
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


def find_file(path: Path, stem: str) -> Path:
    """The file of records that a path names; in a folder, ``stem`` with a known ending.

    Raises:
        DataError: There is none.
    """
    if path.is_dir():
        for suffix in (".jsonl", ".json", ".parquet"):
            if (path / (stem + suffix)).is_file():
                return path / (stem + suffix)
        raise DataError(f"{path} holds no {stem}.jsonl, {stem}.json or {stem}.parquet.")
    if not path.is_file():
        raise DataError(f"{path} does not exist. Name a file of records or its folder.")
    if path.suffix.lower() not in (".jsonl", ".json", ".parquet"):
        raise DataError(f"{path}: records end in .jsonl, .json or .parquet.")
    return path


def _rows(file: Path, bad: list[BadRecord]) -> Iterator[tuple[int, Any]]:
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        yield from enumerate(_parquet(file), 1)
        return
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 ({error}).") from error
    if suffix == ".json" and text.lstrip().startswith("["):
        try:
            yield from enumerate(json.loads(text), 1)
        except ValueError as error:
            raise DataError(f"{file} is not valid JSON ({error}).") from error
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            bad.append(BadRecord(number, None, None, "bad_json", str(error)))


def _parquet(file: Path) -> list[dict[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        rows: list[dict[str, Any]] = read_table(file).to_pylist()
    except (ArrowException, OSError) as error:
        raise DataError(f"{file} is not a readable parquet file ({error}).") from error
    return rows


def _parse(
    line: int, raw: Any, folder: Path, config: DataConfig, bad: list[BadRecord]
) -> Quadruplet | None:
    """Makes a record of one row, or adds all its problems to ``bad``."""
    if not isinstance(raw, Mapping):
        bad.append(BadRecord(line, None, None, "not_a_record", f"{type(raw).__name__}"))
        return None
    row: dict[str, Any] = dict(raw)
    for own, alias in ALIASES.items():
        if row.get(own) is None and row.get(alias) is not None:
            row[own] = row[alias]
    row_id = str(line) if row.get("id") is None else str(row["id"])
    for field, templates in (
        ("safe_image", config.safe_images),
        ("unsafe_image", config.unsafe_images),
    ):
        if row.get(field) is None and templates:
            row[field] = _from_templates(templates, row, folder)
    problems: list[tuple[str, str, str]] = []
    for field in (*_TEXTS, *_IMAGES):
        value = row.get(field)
        if value is None:
            if field in _REQUIRED:
                other = ALIASES.get(field)
                hint = f'neither "{field}" nor "{other}"' if other else f'no "{field}"'
                problems.append((field, "missing_key", hint))
        elif not isinstance(value, str):
            problems.append((field, "wrong_type", f"{type(value).__name__} instead of a string"))
        elif not value.strip():
            problem = "empty_caption" if field in _TEXTS else "missing_file"
            problems.append((field, problem, "is empty"))
    bad.extend(BadRecord(line, row_id, field, kind, detail) for field, kind, detail in problems)
    if problems:
        return None
    paths = {field: folder / row[field] for field in _IMAGES if row.get(field) is not None}
    texts = {field: row[field].strip() for field in _TEXTS if row.get(field) is not None}
    return Quadruplet(id=row_id, tag=str(row.get("tag") or ""), **texts, **paths)


def _from_templates(templates: Sequence[str], row: Mapping[str, Any], folder: Path) -> str | None:
    """The first path that exists, else the last; None if a template's field is missing."""
    path: str | None = None
    for template in templates:
        try:
            path = template.format_map({k: v for k, v in row.items() if v is not None})
        except (KeyError, ValueError, IndexError, AttributeError):
            continue
        if (folder / path).is_file():
            break
    return path


def _paths(record: Quadruplet) -> dict[str, Path]:
    return {f: getattr(record, f) for f in _IMAGES if getattr(record, f) is not None}


def _fingerprint(records: Sequence[Quadruplet], states: Mapping[Path, ImageState]) -> str:
    rows = [
        [r.id, r.tag, r.safe_text, r.unsafe_text, r.negative_text]
        + [(f, states[p].sha256) for f, p in _paths(r).items()]
        for r in records
    ]
    return sha256_hex(canonical_json(rows))
