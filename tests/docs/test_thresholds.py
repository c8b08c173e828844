"""docs/thresholds.md and docs/evaluation.md say what the commands take and compute."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from edgesafe.calib.calibrate_probe_cmd import probe
from edgesafe.calib.calibrate_threshold_cmd import threshold
from edgesafe.calib.classifier_card import read_card
from edgesafe.calib.classifier_recipes import RECIPES
from edgesafe.calib.evaluate_moderation_cmd import moderation
from edgesafe.calib.miss_control import needed_cases
from edgesafe.calib.moderation_figures import FIXED_FPR
from edgesafe.runtime.thresholds import Threshold

DOCS = Path(__file__).parents[2] / "docs"
THRESHOLDS = (DOCS / "thresholds.md").read_text(encoding="utf-8")
EVALUATION = (DOCS / "evaluation.md").read_text(encoding="utf-8")


def options(command: click.Command) -> set[str]:
    return {p.opts[0] for p in command.params if isinstance(p, click.Option)}


@pytest.mark.parametrize(("page", "command"), [(THRESHOLDS, threshold), (EVALUATION, moderation)])
def test_every_option_is_described(page: str, command: click.Command) -> None:
    assert options(command) - set(re.findall(r"--[a-z-]*[a-z]", page)) == set()
    rows = set(re.findall(r"^\| `(--[a-z-]+)", page, re.M))
    assert rows and rows <= options(command)


def test_the_probe_has_no_option_of_other_meaning() -> None:
    assert options(probe) - options(threshold) == {"--fit-share", "--l2"}
    assert "`--fit-share`" in THRESHOLDS


def test_the_needed_cases_are_those_that_are_computed() -> None:
    rows = re.findall(r"^\| ([\d.]+) \| (\d+) \| (\d+) \|$", THRESHOLDS, re.M)
    assert len(rows) == 5
    for rate, at_95, at_90 in rows:
        assert (needed_cases(float(rate), 0.95), needed_cases(float(rate), 0.9)) == (
            int(at_95),
            int(at_90),
        )


def test_the_example_of_the_manifest_has_the_keys_of_the_manifest() -> None:
    example = THRESHOLDS.partition('```json\n"thresholds"')[2].partition("```")[0]
    keys = set(re.findall(r'"(\w+)":', example))
    assert set(Threshold.__dataclass_fields__) - keys == {"concepts"}


def test_the_card_on_the_page_is_one(tmp_path: Path) -> None:
    pytest.importorskip("tomllib")
    (text,) = re.findall(r"```toml\n(.*?)```", EVALUATION, re.S)
    (tmp_path / "card.toml").write_text(text, encoding="utf-8")
    card = read_card(tmp_path / "card.toml")
    assert card.preprocess.crop_fraction == 0.875 and card.labels[1].unsafe


def test_the_recipes_are_listed_with_their_licences() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| ([\w.-]+) \|$", EVALUATION, re.M))
    assert {n: r.card["weights"]["licence"] for n, r in RECIPES.items()} == rows
    assert f"FNR AT {100 * FIXED_FPR:g} % FPR" in EVALUATION
