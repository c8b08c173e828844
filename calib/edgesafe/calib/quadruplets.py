"""Records of quadruplets from JSON lines, JSON or parquet.

A record has ``safe_image``, ``safe_text``, ``unsafe_image``, ``unsafe_text``, and optionally
``id``, ``tag``, ``negative_image`` and ``negative_text`` (safe look-alikes of the unsafe side).
Paths are relative to the folder of the file. ViSU-Text's names are read too: ``safe``, ``nsfw``,
``incremental_id``; the data set has no images, so their paths come from templates such as
``coco/train2017/{coco_id}.jpg``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesafe.calib.bad_records import BadRecord
from edgesafe.runtime.errors import DataError, MissingExtraError

__all__ = ["ALIASES", "Quadruplet", "find_file", "image_paths", "read_records"]

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


def read_records(
    file: Path,
    *,
    safe_images: Sequence[str] = (),
    unsafe_images: Sequence[str] = (),
) -> tuple[list[tuple[int, Quadruplet]], list[BadRecord]]:
    """Reads a file of records; whether its images are there is not looked at.

    Args:
        file: From :func:`find_file`.
        safe_images: Templates of the paths of safe images for records that name none; the first
            that exists counts.
        unsafe_images: The same for unsafe images.

    Returns:
        (line, record) of every good record, and what is wrong with the others.

    Raises:
        DataError: The file cannot be read.
    """
    bad: list[BadRecord] = []
    parsed: list[tuple[int, Quadruplet]] = []
    seen: dict[str, int] = {}
    templates = {"safe_image": safe_images, "unsafe_image": unsafe_images}
    for line, raw in _rows(file, bad):
        record = _parse(line, raw, file.parent, templates, bad)
        if record is None:
            continue
        if record.id in seen:
            detail = f"first used on line {seen[record.id]}"
            bad.append(BadRecord(line, record.id, "id", "duplicate_id", detail))
            continue
        seen[record.id] = line
        parsed.append((line, record))
    return parsed, bad


def image_paths(record: Quadruplet) -> dict[str, Path]:
    """Field name to path, of the images that a record has."""
    return {f: getattr(record, f) for f in _IMAGES if getattr(record, f) is not None}


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
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error}).") from error
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
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ModuleNotFoundError:
        raise MissingExtraError("pyarrow", "train") from None

    try:
        rows: list[dict[str, Any]] = read_table(file).to_pylist()
    except (ArrowException, OSError) as error:
        raise DataError(f"{file} is not a readable parquet file ({error}).") from error
    return rows


def _parse(
    line: int,
    raw: Any,
    folder: Path,
    image_templates: Mapping[str, Sequence[str]],
    bad: list[BadRecord],
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
    for field, templates in image_templates.items():
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
