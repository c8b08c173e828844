from __future__ import annotations

from pathlib import Path

import pytest

from edgesafe.runtime.errors import DataError
from edgesafe.samples.listing import read_listing


def test_records_without_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"text": "a\u2028b"}\n\n{"text": "c"}\r\n', encoding="utf-8")
    assert read_listing(path) == [{"text": "a\u2028b"}, {"text": "c"}]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"a": 1}\nnonsense\n', r"records.jsonl:2 is not JSON \(.*\): correct the line"),
        (b"[1]\n", "records.jsonl:1 is no JSON object: correct the line"),
        (b"\xff\n", "records.jsonl cannot be read as JSON lines"),
        (None, "records.jsonl cannot be read as JSON lines"),
    ],
)
def test_what_is_no_listing(tmp_path: Path, data: bytes | None, told: str) -> None:
    path = tmp_path / "records.jsonl"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DataError, match=told):
        read_listing(path)
