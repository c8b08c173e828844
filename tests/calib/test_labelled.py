"""Labelled data: both forms, and every way to break a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgesafe.calib.labelled import read_labelled
from edgesafe.runtime.errors import DataError, SourceError


def _lines(path: Path, *records: Any) -> Path:
    text = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in records)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder(tmp_path: Path) -> None:
    for name in ("safe/a.jpg", "unsafe/b.png", "unsafe/weapon/cam/c.jpg", "unsafe/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = read_labelled(tmp_path)
    assert [(r.name, r.unsafe, r.tag) for r in found] == [
        ("safe/a.jpg", False, None),
        ("unsafe/b.png", True, None),
        ("unsafe/weapon/cam/c.jpg", True, "weapon"),
    ]
    assert found[0].content == tmp_path / "safe" / "a.jpg"


def test_json_lines_keep_what_else_they_say(tmp_path: Path) -> None:
    path = _lines(
        tmp_path / "d.jsonl",
        {"image": "sub/a.jpg", "label": "unsafe", "tag": "fire", "kind": "hazard"},
        "",
        {"text": "hello", "label": "safe", "tag": None},
    )
    image, text = read_labelled(path)
    assert image.content == tmp_path / "sub" / "a.jpg" and image.fields["kind"] == "hazard"
    assert (image.modality, image.unsafe, image.tag) == ("image", True, "fire")
    assert (text.name, text.content, text.unsafe, text.tag) == ("d.jsonl:3", "hello", False, None)


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[]",
        {"label": "safe"},
        {"image": "a", "text": "b", "label": "safe"},
        {"image": 3, "label": "safe"},
        {"text": "  ", "label": "safe"},
        {"text": "a"},
        {"text": "a", "label": "SAFE"},
        {"text": "a", "label": True},
        {"text": "a", "label": "safe", "tag": 7},
    ],
)
def test_broken_records_are_all_named(tmp_path: Path, record: Any) -> None:
    path = _lines(tmp_path / "d.jsonl", {"text": "ok", "label": "safe"}, record, "nothing")
    with pytest.raises(DataError, match="2 broken records") as caught:
        read_labelled(path)
    assert "  2     -" in str(caught.value) and "  3     -" in str(caught.value)


def test_one_thing_cannot_be_both(tmp_path: Path) -> None:
    records = [{"text": "a", "label": label} for label in ("safe", "safe", "unsafe")]
    with pytest.raises(DataError, match="1 broken record"):
        read_labelled(_lines(tmp_path / "d.jsonl", *records))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_labelled(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="no folder safe and no folder unsafe"):
        read_labelled(tmp_path)
    with pytest.raises(DataError, match="holds no record"):
        read_labelled(_lines(tmp_path / "empty.jsonl"))
    for name in ("safe", "unsafe"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="no image file"):
        read_labelled(tmp_path)
