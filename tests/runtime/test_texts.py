"""Files of texts: one record a line, whatever the line holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesafe.runtime.texts import MAX_LINE, TextRecord, read_texts


def read(path: Path, data: bytes) -> list[tuple[str, str]]:
    path.write_bytes(data)
    return [(r.source.removeprefix(str(path)), _said(r)) for r in read_texts(str(path))]


def _said(record: TextRecord) -> str:
    assert (record.text is None) == (record.refused is not None)
    return record.text if record.refused is None else f"<{record.refused.code}>"  # type: ignore[return-value]


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        b'{"text": "a cat", "id": 1}',
        b'"a dog"',
        b"",
        b'{"caption": "a bird"}',
        b'{"text": 5}',
        b"not json",
        b'{"text": "\xff"}',
        b"[" * 100_000,
        b'{"text": ""}',
    ]
    assert read(tmp_path / "a.jsonl", b"\n".join(lines)) == [
        (":1", "a cat"),
        (":2", "a dog"),
        (":4", "<bad_record>"),
        (":5", "<bad_record>"),
        (":6", "<bad_record>"),
        (":7", "<bad_record>"),
        (":8", "<bad_record>"),
        (":9", ""),
    ]


def test_plain_lines(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbfa cat\r\n\r\n{"text": "x"}\n\xff\n  last'
    assert read(tmp_path / "a.txt", data) == [
        (":1", "a cat"),
        (":3", '{"text": "x"}'),
        (":4", "<bad_record>"),
        (":5", "  last"),
    ]


def test_an_endless_line_is_one_bad_record(tmp_path: Path) -> None:
    data = b"x" * (3 * MAX_LINE) + b"\nshort\n" + b"y" * MAX_LINE
    found = read(tmp_path / "a.txt", data)
    assert [found[0], found[1]] == [(":1", "<bad_record>"), (":2", "short")]
    assert found[2] == (":3", "y" * MAX_LINE)


@pytest.mark.parametrize(
    ("name", "code"), [("nowhere", "missing"), (".", "unreadable"), ("empty.txt", "no_texts")]
)
def test_files_without_texts(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "empty.txt").write_bytes(b"\n \n")
    (record,) = read_texts(str(tmp_path / name))
    assert record.source == str(tmp_path / name)
    assert record.refused is not None
    assert record.refused.code == code
