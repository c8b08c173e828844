"""Shares on the command line: in range, and numbers."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgesafe.calib.calibrate_cmd import calibrate
from edgesafe.runtime.finite_range import FiniteRange

ROOT = Path(__file__).parents[2]


@click.command()
@click.option("--share", type=FiniteRange(0, min_open=True))
def command(share: float) -> None:
    click.echo(share)


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "inf", "-inf", "1e999"])
def test_what_is_not_finite_is_refused_with_the_option(text: str) -> None:
    found = CliRunner().invoke(command, ["--share", text])
    assert found.exit_code == 2
    assert "'--share'" in found.stderr and "is not a finite number" in found.stderr


@pytest.mark.parametrize(("text", "code"), [("0.5", 0), ("1e9", 0), ("0", 2), ("much", 2)])
def test_the_rest_is_as_of_click(text: str, code: int) -> None:
    found = CliRunner().invoke(command, ["--share", text])
    assert found.exit_code == code and "not a finite number" not in found.stderr


@pytest.mark.parametrize("option", ["--prevalence", "--max-miss", "--band", "--confidence"])
def test_the_shares_of_a_calibration(option: str) -> None:
    found = CliRunner().invoke(calibrate, ["threshold", "d", "--out", "o", option, "nan"])
    assert found.exit_code == 2 and f"'{option}'" in found.stderr


def test_nothing_takes_the_range_that_lets_nan_through() -> None:
    sources = [
        path
        for part in ("runtime", "calib", "export", "train", "samples")
        for path in (ROOT / part / "edgesafe").rglob("*.py")
    ]
    assert len(sources) > 300
    using = [p.name for p in sources if re.search(r"click\.FloatRange\(", p.read_text("utf-8"))]
    assert using == []
    assert issubclass(FiniteRange, click.FloatRange)
