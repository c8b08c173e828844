"""SOURCE of ``edgesafe index``: pictures, and files of records, as a stream of things to index.

Pictures come as everywhere (:mod:`edgesafe.runtime.sources`). A file that ends in ``.jsonl`` or
``.ndjson`` holds one object a line, ``{"image": PATH}`` (relative to the file) or
``{"text": TEXT}``, with an optional ``id`` and ``caption``; other keys are kept as they are. A file
that ends in ``.txt`` holds one text a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgesafe.calib.retrieval.items import read_meta
from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.fields import parse_json
from edgesafe.runtime.gate import Refused
from edgesafe.runtime.sources import expand
from edgesafe.runtime.texts import read_texts
from edgesafe.runtime.verdict import Modality

__all__ = ["Entry", "NotIndexed", "read_entries"]

_RECORDS = (".jsonl", ".ndjson")
_MAX_LINE = 1_000_000


@dataclass(frozen=True)
class Entry:
    """One thing to index.

    Attributes:
        id: See :class:`.items.Item`.
        source: For messages and answers.
        modality: ``"image"`` or ``"text"``.
        content: Path of the picture, or the text.
        caption: What the user says about a picture.
        meta: Other keys of the user's record.
    """

    id: str
    source: str
    modality: Modality
    content: str
    caption: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NotIndexed:
    """Something that is not in the index, and why.

    Attributes:
        source: Which.
        reason: As a code.
        detail: For a person.
        missing: Whether a whole SOURCE is not there, so that the run did not do what was asked.
    """

    source: str
    reason: str
    detail: str
    missing: bool = False


def read_entries(
    arguments: Iterable[str], lines: Iterable[str] = ()
) -> Iterator[Entry | NotIndexed]:
    """Turn SOURCE arguments into entries, lazily and in the order given.

    Args:
        arguments: As the user typed them.
        lines: Standard input, for ``-``: one SOURCE a line.
    """
    for argument in arguments:
        if argument != "-":
            yield from _one(argument)
            continue
        names = (line.rstrip("\r\n") for line in lines)
        for name in names:
            if name and name != "-":
                yield from _one(name)


def _one(argument: str) -> Iterator[Entry | NotIndexed]:
    if os.path.isfile(argument) and argument.lower().endswith(_RECORDS):
        yield from _records(argument)
    elif os.path.isfile(argument) and argument.lower().endswith(".txt"):
        for record in read_texts(argument):
            if record.text is not None:
                yield Entry(record.source, record.source, "text", record.text)
            elif record.refused is not None:
                missing = record.source == argument
                yield _refused(record.source, record.refused, missing)
    else:
        for source in expand([argument]):
            if source.problem is not None:
                yield _refused(source.name, source.problem, missing=True)
            elif source.kind == "image":
                yield Entry(source.name, source.name, "image", source.target)
            else:
                detail = f"a {source.kind} is not indexed: cut it into pictures first"
                yield NotIndexed(source.name, "unsupported_source", detail, missing=True)


def _records(path: str) -> Iterator[Entry | NotIndexed]:
    folder = Path(path).parent
    found = False
    try:
        with open(path, "rb") as file:
            number = 0
            while line := file.readline(_MAX_LINE + 1):
                number += 1
                if not line.strip():
                    continue
                found = True
                source = f"{path}:{number}"
                if len(line) > _MAX_LINE:
                    while line and not line.endswith(b"\n"):
                        line = file.readline(_MAX_LINE)
                    yield NotIndexed(source, "bad_record", f"longer than {_MAX_LINE} bytes")
                    continue
                try:
                    yield _record(line, source, folder)
                except PackageError as error:
                    yield NotIndexed(source, "bad_record", str(error))
    except OSError as error:
        yield NotIndexed(path, "unreadable", error.strerror or str(error), missing=True)
        return
    if not found:
        yield NotIndexed(path, "no_records", "there is no record in this file", missing=True)


def _record(line: bytes, source: str, folder: Path) -> Entry:
    record = parse_json(line.removeprefix(b"\xef\xbb\xbf"), source, mend="")
    if ("image" in record) == ("text" in record):
        raise PackageError(f'{source}: needs either "image" or "text"')
    modality: Modality = "image" if "image" in record else "text"
    content = record.text(modality)
    if modality == "image":
        content = str(folder / content)
    item_id = record.value.get("id")
    if item_id is not None and not (isinstance(item_id, (str, int)) and str(item_id)):
        raise record.fail("id", "must be a text or a number")
    caption = record.text("caption", empty=True) if "caption" in record else ""
    fallback = content if modality == "image" else source
    return Entry(
        id=fallback if item_id is None else str(item_id),
        source=fallback,
        modality=modality,
        content=content,
        caption=caption,
        meta=read_meta(record, "image", "text", "id", "caption"),
    )


def _refused(source: str, refused: Refused, missing: bool) -> NotIndexed:
    return NotIndexed(source, refused.code, refused.detail, missing)
