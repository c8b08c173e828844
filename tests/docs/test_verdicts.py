"""docs/verdicts.md lists every reason code of the runtime, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from edgesafe.runtime import gate, texts, tokenizer
from edgesafe.runtime.containers import base

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")

# Name of a call -> position of the reason code among its arguments.
CALLS = {"Refused": 0, "BadText": 0, "BadOutput": 0, "undecided": 0, "_problem": 1}
# Functions and variables that choose a code before it reaches such a call.
CHOOSERS = {"_failure", "_decode_error"}
VARIABLES = {"reason", "code"}
CODE = re.compile(r"[a-z]+(_[a-z0-9]+)*")


def name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def strings(node: ast.AST) -> Iterator[str]:
    """The values that an expression can have, of those that are plain strings."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from strings(node.body)
        yield from strings(node.orelse)


def codes_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            position = CALLS.get(name_of(node.func))
            if position is not None and len(node.args) > position:
                yield from strings(node.args[position])
        elif isinstance(node, ast.FunctionDef) and node.name in CHOOSERS:
            for part in ast.walk(node):
                if isinstance(part, ast.Return) and isinstance(part.value, ast.Tuple):
                    yield from strings(part.value.elts[0])
        elif isinstance(node, ast.Assign):
            (target,) = node.targets[:1]
            pairs = (
                zip(target.elts, node.value.elts, strict=False)
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                else [(target, node.value)]
            )
            for variable, value in pairs:
                if isinstance(variable, ast.Name) and variable.id in VARIABLES:
                    yield from strings(value)


def source_codes() -> set[str]:
    found: set[str] = set()
    for path in sorted((ROOT / "runtime" / "edgesafe").rglob("*.py")):
        if path.parent.name in ("pose", "backends"):
            continue  # test_pose.py; backends give no verdicts
        found |= set(codes_in(ast.parse(path.read_text(encoding="utf-8"))))
    return found


def documented() -> list[tuple[str, bool, str]]:
    """Code, whether it makes the command exit with 3, and what to do."""
    rows = re.findall(r"^\| `(\w+)`( †)? \| [^|]+ \| ([^|]+) \|$", PAGE, re.M)
    return [(code, bool(mark), advice) for code, mark, advice in rows]


def test_every_reason_of_the_source_is_documented_and_no_other() -> None:
    found = source_codes()
    assert len(found) > 30
    assert all(CODE.fullmatch(code) for code in found)
    reasons = PAGE.partition("## Reasons")[2]
    codes = set(re.findall(r"^\| `(\w+)`", reasons, re.M))
    assert codes - found == set(), "documented, but nothing gives it"
    assert found - codes == set(), "given, but not documented"


def test_no_reason_is_documented_twice_or_without_advice() -> None:
    codes = [code for code, _, _ in documented() if code not in ("safe", "unsafe", "undecided")]
    assert len(codes) == len(set(codes))
    assert set(codes) == source_codes()


def test_the_limits_on_the_page_are_those_of_the_source() -> None:
    assert gate.MAX_BYTES == 20_000_000 and "more than 20 MB" in PAGE
    assert base.MAX_PIXELS == 25_000_000 and "25 megapixels" in PAGE
    assert base.MAX_ASPECT == 50 and "50:1" in PAGE
    assert base.MIN_SIDE == 8 and "below 8 pixels" in PAGE
    assert tokenizer.MAX_CHARACTERS == 100_000 and "100,000 characters" in PAGE
    assert texts.MAX_LINE == 1_000_000 and "longer than 1 MB" in PAGE


def test_what_ends_with_status_3_is_marked() -> None:
    """Codes of entries that are `problem`s, and what `moderate` turns into one."""
    path = ROOT / "runtime" / "edgesafe" / "runtime"
    problems: set[str] = set()
    for node in ast.walk(ast.parse((path / "sources.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and name_of(node.func) == "_problem":
            problems |= set(strings(node.args[1]))
    problems |= {"unopened", "missing_extra", "no_texts"}
    assert {code for code, marked, _ in documented() if marked} == problems
