from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgesafe.runtime
from edgesafe.runtime.verdict import Timings, Verdict, decide, worst

BAD = [math.nan, math.inf, -math.inf, None]


def _verdict(score: float | None, threshold: float | None = 0.5, /, **changes: Any) -> Verdict:
    decision = decide(score, threshold)
    fields: dict[str, Any] = {
        "decision": decision,
        "score": score,
        "radius": score,
        "threshold": threshold,
        "concepts": (),
        "reason": "why" if decision == "undecided" else None,
        "detail": None,
        "modality": "image",
        "ms": Timings(),
        "package": "tiny@1#0",
    }
    return Verdict(**{**fields, **changes})


@pytest.mark.parametrize(
    ("score", "threshold", "decision"),
    [(0.4, 0.5, "safe"), (0.5, 0.5, "safe"), (0.6, 0.5, "unsafe"), (0.0, 0.0, "safe")],
)
def test_a_score_is_compared_with_the_threshold(
    score: float, threshold: float, decision: str
) -> None:
    assert decide(score, threshold) == decision


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_finite_is_undecided(bad: float | None) -> None:
    assert decide(bad, 0.5) == "undecided"
    assert decide(0.5, bad) == "undecided"
    assert decide(bad, bad) == "undecided"


@given(st.floats(), st.floats())
def test_safe_needs_a_finite_score_below_the_threshold(score: float, threshold: float) -> None:
    holds = math.isfinite(score) and math.isfinite(threshold) and score <= threshold
    assert (decide(score, threshold) == "safe") == holds


def test_safe_is_written_down_in_one_place() -> None:
    """No other line of the runtime, its comparisons included, produces the word as a value."""
    found = []
    for file in Path(edgesafe.runtime.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Constant):
                if node.value.value == "safe":
                    found.append(file.name)
            if isinstance(node, ast.keyword) and node.arg == "decision":
                assert not (isinstance(node.value, ast.Constant) and node.value.value == "safe")
    assert found == ["verdict.py"]


def test_a_verdict_is_not_a_truth_value() -> None:
    with pytest.raises(TypeError, match="compare verdict.decision"):
        bool(_verdict(0.1))


@pytest.mark.parametrize(
    "changes",
    [
        {"decision": "safe", "score": 0.6},
        {"decision": "safe", "score": math.nan},
        {"decision": "safe", "score": None},
        {"decision": "safe", "threshold": None},
        {"decision": "safe", "reason": "truncated"},
        {"decision": "unsafe", "score": 0.1},
        {"decision": "undecided", "reason": None},
        {"decision": "undecided", "reason": ""},
    ],
)
def test_a_verdict_that_contradicts_itself_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"bear|reason"):
        _verdict(0.4, **changes)


def test_undecided_keeps_reason_and_detail() -> None:
    verdict = Verdict.undecided("truncated", "half is missing", modality="image", package="p")
    assert (verdict.decision, verdict.reason) == ("undecided", "truncated")
    assert verdict.detail == "half is missing"
    assert (verdict.score, verdict.threshold, verdict.ms) == (None, None, Timings())


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.1, 0.4, 0.2], 0.4),
        ([0.1, 0.9, 0.4], 0.9),
        ([0.6, 0.9], 0.9),
        ([0.1, None], None),
        ([None, 0.9], 0.9),
    ],
)
def test_the_worst_view_counts(scores: list[float | None], expected: float | None) -> None:
    assert worst([_verdict(score) for score in scores]).score == expected


def test_the_worst_view_takes_the_time_of_all() -> None:
    assert worst([_verdict(0.1)], Timings(decode=3.0)).ms.total == 3.0
    with pytest.raises(ValueError, match="empty"):
        worst([])
