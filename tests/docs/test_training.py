"""docs/training.md has every key of a configuration with its default, every field and term."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from edgesafe.calib import bad_records as report
from edgesafe.calib import quadruplets
from edgesafe.train import config, lorentz, loss_config, losses
from edgesafe.train.encoders import openclip
from edgesafe.train.losses import Quadruplets, hysac_terms

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
TABLES = {
    field.name: field.default
    for field in dataclasses.fields(config.RunConfig)
    if dataclasses.is_dataclass(field.default)
}


def shown(value: Any) -> str:
    """A default as the page writes it: TOML's way, `none` for a key that is left out."""
    if value is None:
        return "none"
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def section(heading: str) -> str:
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGE, re.M | re.S)
    assert found, heading
    return found.group(1)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_key_is_there_with_its_default(name: str) -> None:
    table = TABLES[name]
    assert table is not None and not isinstance(table, type)
    wanted = {f.name: shown(getattr(table, f.name)) for f in dataclasses.fields(table)}
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .+ \|$", section(f"[{name}]"), re.M)
    assert dict(rows) == wanted
    assert len(rows) == len(wanted)


def test_the_page_has_these_tables_and_no_other() -> None:
    assert set(re.findall(r"^### \[(\w+)\]$", PAGE, re.M)) == set(TABLES)
    top = section("Configuration")
    for field in dataclasses.fields(config.RunConfig):
        assert field.name in TABLES or f"`{field.name}`" in top or f"[{field.name}]" in top
    for field in dataclasses.fields(config.Concept):
        assert f"`{field.name}`" in top
    assert f"`seed` ({config.RunConfig.seed})" in top


def test_every_term_of_the_loss_is_there() -> None:
    points = lorentz.exp_map0(torch.eye(4, 8) * 0.5, 1.0)
    batch = Quadruplets(points, points, points, points)
    settings = config.LossConfig(shell_weight=1.0)
    one = torch.tensor(1.0)
    terms = set(hysac_terms(batch, one, one, settings, min_radius=0.1)) - {"loss"}
    assert hasattr(losses, "place")
    first = re.findall(r"^\| (`.+?`) \|", section("The loss"), re.M)
    assert {name for cell in first for name in re.findall(r"`(\w+)`", cell)} == terms | {"place"}


def test_every_term_of_the_other_losses_is_there() -> None:
    text = section("Safe-CLIP")
    terms = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.+?`) \|", text, re.M))))
    fields = {f.name for f in dataclasses.fields(loss_config.SafeClipConfig)}
    assert terms == fields - {"temperature", "normalise"}
    for table, values in config.METHOD_DEFAULTS["safeclip"].items():
        for key, value in values.items():
            shown_value = f"{value:g}" if isinstance(value, float) else shown(value)
            assert f"`{table}.{key}` {shown_value}" in text.replace("\n", " ")


def test_every_field_of_a_record_is_there() -> None:
    text = section("Records")
    for field in dataclasses.fields(quadruplets.Quadruplet):
        assert f"`{field.name}`" in text
    for own, alias in quadruplets.ALIASES.items():
        assert re.search(rf"^\| `{own}` \| `{alias}` \|", text, re.M)


def test_every_problem_of_a_record_is_there() -> None:
    text = section("Records")
    described = re.findall(r"``(\w+)``", str(report.BadRecord.__doc__))
    problems = {name for name in described if name.islower() and "_" in name}
    tree = ast.parse(Path(str(quadruplets.__file__)).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BadRecord":
            if isinstance(node.args[3], ast.Constant):
                problems.add(str(node.args[3].value))
    assert len(problems) == 8
    assert {name for name in problems if f"`{name}`" not in text} == set()


def test_every_argument_of_an_architecture_is_there() -> None:
    (row,) = re.findall(r"^\| `open_clip:NAME` .*$", PAGE, re.M)
    assert {name for name in openclip.ARGUMENTS if f"`{name}`" not in row} == set()
