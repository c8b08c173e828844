"""Texts of ``--text-file``: JSON lines, or one text a line.

A file ending in ``.jsonl``, ``.ndjson`` or ``.json`` holds one JSON value a line: a string, or an
object with a string under ``"text"``. Any other file holds one text a line, as it stands. Blank
lines are nobody's text and are left out; every other line yields exactly one record, a damaged one
with the reason ``bad_record``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from edgesafe.runtime.gate import Refused

__all__ = ["TextRecord", "read_texts"]

MAX_LINE = 1_000_000
"""Longest line that is read, in bytes."""

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class TextRecord:
    """One text, or why there is none.

    Attributes:
        source: file and line, ``posts.jsonl:12``; the file alone where it could not be read.
        text: the text; None where ``refused`` says why.
        refused: the reason.
    """

    source: str
    text: str | None = None
    refused: Refused | None = None


def read_texts(path: str) -> Iterator[TextRecord]:
    """Read the texts of a file, one line at a time.

    Yields:
        One record a line; a single record ``missing``, ``unreadable`` or ``no_texts`` where there
        is nothing to judge, whose source is the file itself.
    """
    found = False
    try:
        with open(path, "rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    while line and not line.endswith(b"\n"):
                        line = file.readline(MAX_LINE)
                    text: str | Refused = Refused("bad_record", f"longer than {MAX_LINE} bytes")
                elif line.strip() in (b"", b"\xef\xbb\xbf"):
                    continue
                else:
                    text = _parse(line, path.lower().endswith(_JSON_SUFFIXES))
                found = True
                source = f"{path}:{number}"
                if isinstance(text, Refused):
                    yield TextRecord(source, refused=text)
                else:
                    yield TextRecord(source, text)
    except (FileNotFoundError, NotADirectoryError):
        yield TextRecord(path, refused=Refused("missing", "there is no such file"))
        return
    except OSError as error:
        yield TextRecord(path, refused=Refused("unreadable", error.strerror or str(error)))
        return
    if not found:
        yield TextRecord(path, refused=Refused("no_texts", "there is no text in this file"))


def _parse(line: bytes, as_json: bool) -> str | Refused:
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        return Refused("bad_record", "not UTF-8")
    if not as_json:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Refused("bad_record", f"not JSON: {error}")
    if isinstance(value, dict):
        value = value.get("text")
    if not isinstance(value, str):
        return Refused("bad_record", 'neither a string nor an object with a string under "text"')
    return value
