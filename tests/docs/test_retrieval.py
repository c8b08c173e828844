"""docs/retrieval.md and docs/explain.md name every option and field, and no other."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import click
import pytest

from edgesafe.calib.explain.explain_cmd import explain
from edgesafe.calib.explain.explanation import Calibration, ConceptView, Met, Standing
from edgesafe.calib.retrieval.answer import Answer, Step
from edgesafe.calib.retrieval.evaluate_cmd import retrieval
from edgesafe.calib.retrieval.index_cmd import index
from edgesafe.calib.retrieval.retrieve_cmd import retrieve

DOCS = Path(__file__).parents[2] / "docs"
RETRIEVAL = (DOCS / "retrieval.md").read_text(encoding="utf-8")
EXPLAIN = (DOCS / "explain.md").read_text(encoding="utf-8")


def options(*commands: click.Command) -> set[str]:
    params = [p for command in commands for p in command.params if isinstance(p, click.Option)]
    return {name for p in params for name in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize(
    ("page", "commands"), [(RETRIEVAL, (index, retrieve, retrieval)), (EXPLAIN, (explain,))]
)
def test_every_option(page: str, commands: tuple[click.Command, ...]) -> None:
    named = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", page))
    known = options(*commands)
    # `--parts` is the default: its other side is what one writes.
    assert known - named <= {"--parts", "--index"}
    assert named - known <= {"-q"}  # a letter of a formula


def test_every_field_of_an_answer() -> None:
    told = set(re.findall(r"`([a-z_]+)`", RETRIEVAL))
    names = {one.name for one in fields(Answer)} - {"hits"} | {one.name for one in fields(Step)}
    assert names | {"results", "rank", "rank_before", "meta"} <= told


def test_every_field_of_an_explanation() -> None:
    told = set(re.findall(r"`([a-z_0-9]+)`", EXPLAIN))
    angles = {"direction", "angle", "half_aperture"}
    for kind in (Met, ConceptView, Standing, Calibration):
        names = {one.name for one in fields(kind)}
        assert {f"{n}_deg" if n in angles else n for n in names} <= told | {"inside"}


def test_the_picture_is_there() -> None:
    assert "(explain.png)" in EXPLAIN and (DOCS / "explain.png").stat().st_size < 200_000
