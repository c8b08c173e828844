"""Lines of JSON with exactly the contract's keys; a table that aligns; quiet progress."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace

import pytest

from edgesafe.runtime.output import JsonLines, Progress, Table, as_record, printable, summary
from edgesafe.runtime.verdict import ConceptScore, Timings, Verdict

UNSAFE = Verdict(
    decision="unsafe",
    score=1.25,
    radius=1.25,
    threshold=1.0,
    concepts=(ConceptScore("knife", "weapon", 0.75, 0.1, 0.2, True),),
    reason=None,
    detail=None,
    modality="image",
    ms=Timings(1.23456, 2, 3, 4),
    package="p@1#ab",
)
UNDECIDED = Verdict.undecided("truncated", "cut", modality="image", package="p@1#ab")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_record_has_the_keys_of_the_contract() -> None:
    assert as_record("a.jpg", 0, UNSAFE) == {
        "source": "a.jpg",
        "index": 0,
        "verdict": "unsafe",
        "score": 1.25,
        "radius": 1.25,
        "threshold": 1.0,
        "probability": None,
        "concepts": [{"name": "knife", "score": 0.75}],
        "reason": None,
        "package": "p@1#ab",
        "ms": {"decode": 1.235, "preprocess": 2, "infer": 3, "post": 4},
    }
    record = as_record("b", None, UNDECIDED)
    assert [record[key] for key in ("score", "radius", "threshold", "index")] == [None] * 4
    assert (record["verdict"], record["reason"]) == ("undecided", "truncated")


def test_json_lines_survive_any_file_name() -> None:
    out, err = io.StringIO(), io.StringIO()
    name = "a\udcff\n\x1b[2J\u202e.jpg"
    JsonLines(out, err).write(name, 0, UNDECIDED)
    (line,) = out.getvalue().splitlines()
    assert line.isascii()
    assert json.loads(line)["source"] == name
    assert err.getvalue() == "a\\udcff\\n\\x1b[2J\\u202e.jpg: truncated: cut\n"


def test_the_table_aligns_and_is_plain_where_it_is_piped() -> None:
    out = io.StringIO()
    table = Table(out)
    table.write("a.jpg", 0, UNSAFE)
    table.write("clip.mp4", 7, UNDECIDED)
    assert out.getvalue().splitlines() == [
        "VERDICT      SCORE    LIMIT  CONCEPT                MS  SOURCE",
        "unsafe       1.250    1.000  knife                10.2  a.jpg",
        "undecided        -        -  -                     0.0  clip.mp4#7  (truncated: cut)",
    ]


def test_an_unsafe_row_names_what_is_unsafe() -> None:
    cat = ConceptScore("cat", "everyday", 0.9, 0.1, 0.2, True, harmless=True)
    for decision, named in (("unsafe", "knife"), ("safe", "cat")):
        out = io.StringIO()
        verdict = replace(
            UNSAFE,
            decision=decision,
            score=1.25 if decision == "unsafe" else 0.5,
            radius=1.25 if decision == "unsafe" else 0.5,
            concepts=(cat, *UNSAFE.concepts),
        )
        Table(out).write("a.jpg", 0, verdict)
        assert named in out.getvalue()
        assert ({"knife", "cat"} - {named}).pop() not in out.getvalue()


def test_the_table_is_coloured_on_a_terminal() -> None:
    out = Terminal()
    Table(out).write("a\x1b[2J.jpg", 0, UNSAFE)
    assert "\x1b[31munsafe" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()


def test_progress_is_for_terminals_only() -> None:
    counts = Counter(safe=3, unsafe=1)
    pipe, terminal = io.StringIO(), Terminal()
    for stream in (pipe, terminal):
        progress = Progress(stream, 8)
        progress.draw(4, counts)
        progress.draw(5, counts)  # too soon after the first
        progress.clear()
    assert pipe.getvalue() == ""
    assert terminal.getvalue().count("3 safe, 1 unsafe, 0 undecided") == 1
    assert "[##########..........] 4/8" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("count", [0, 5])
def test_summary(count: int) -> None:
    assert summary(Counter(undecided=count)) == f"0 safe, 0 unsafe, {count} undecided"


def test_printable() -> None:
    utf8 = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert printable("Zürich 写真.jpg", utf8) == "Zürich 写真.jpg"
    assert printable("Zürich", ascii_only) == "Z\\xfcrich"
    assert printable("a\tb\r\x07", utf8) == "a\\tb\\r\\x07"
