"""docs/pose.md lists every reason of a refused pose, docs/pose-training.md every key."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from edgesafe.runtime.pose import estimator
from edgesafe.runtime.pose.bop_csv import HEADER
from edgesafe.runtime.pose.output import as_record
from edgesafe.runtime.pose.result import Pose
from edgesafe.train.pose import config
from edgesafe.train.pose.network import PROFILES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "pose.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs" / "pose-training.md").read_text(encoding="utf-8")
TABLES = {
    "roi": config.RoiConfig(),
    "detector": config.DetectorConfig(),
    "fit": config.FitConfig(),
    "data": config.DataConfig(),
    "colour": config.ColourConfig(),
    "weights": config.WeightsConfig(),
}


def section(page: str, heading: str) -> str:
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page, re.M | re.S)
    assert found, heading
    return found.group(1)


def documented() -> dict[str, bool]:
    """Code, and whether it makes the command exit with 3."""
    rows = re.findall(
        r"^\| `(\w+)`( †)? \| [^|]+ \| [^|]+ \|$", section(PAGE, "Refused poses"), re.M
    )
    assert len({code for code, _ in rows}) == len(rows)
    return {code: bool(mark) for code, mark in rows}


def test_every_reason_of_the_source_is_documented_and_no_other() -> None:
    found = set()
    for path in (ROOT / "runtime" / "edgesafe" / "runtime" / "pose").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refused":
                assert isinstance(node.args[0], ast.Constant), path
                found.add(node.args[0].value)
    assert set(documented()) == found
    table = re.findall(r"^``(\w+)`` ", str(estimator.__doc__), re.M)
    assert set(table) <= found and len(table) > 10


def test_what_ends_with_status_3_is_marked() -> None:
    assert {code for code, marked in documented().items() if marked} == {
        "wrong_resolution",
        "unopened",
        "missing_extra",
    }


def test_the_shown_line_of_json_has_the_keys_of_a_line() -> None:
    shown = json.loads(re.findall(r"^```json\n(.*?)^```", PAGE, re.M | re.S)[0])
    line = as_record("frame.jpg", 0, Pose(1, "part", reason="not_detected"))
    assert set(shown) == set(line) and set(shown["ms"]) == set(line["ms"])
    assert len(shown["R"]) == 9 and len(shown["covariance"]) == 21
    assert f"`{HEADER}`" in PAGE


def shown(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_key_is_there_with_its_default(name: str) -> None:
    table = TABLES[name]
    fields = [field.name for field in dataclasses.fields(table) if field.name != "fit"]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .+ \|$", section(TRAINING, f"[{name}]"), re.M)
    assert dict(rows) == {field: shown(getattr(table, field)) for field in fields}
    assert [key for key, _ in rows] == fields


def test_the_page_has_these_tables_and_no_other() -> None:
    assert set(re.findall(r"^### \[(\w+)\]$", TRAINING, re.M)) == set(TABLES)
    top = section(TRAINING, "Configuration")
    plain = config.PoseConfig()
    for field in dataclasses.fields(plain):
        assert field.name in TABLES or f"`{field.name}`" in top, field.name
    assert f"`seed` ({plain.seed})" in top
    assert config.RoiConfig().fit == config.DetectorConfig().fit == config.FitConfig()
    text = "; ".join(f"{name} {width}, {size}" for name, (width, size) in PROFILES.items())
    assert text in top


def test_the_shown_configuration_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```", TRAINING, re.M | re.S)
    (tmp_path / "pose.toml").write_text(text, encoding="utf-8")
    found = config.load_pose_config(tmp_path / "pose.toml")
    assert found.names == {"1": "bracket", "2": "knob"} and found.detector is not None
    assert found.roi.fit.max_minutes == 60
