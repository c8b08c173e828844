"""Commands that write a file at their end look at its place before they begin."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgesafe.calib.calibrate_cmd import calibrate
from edgesafe.calib.evaluate_cmd import evaluate
from edgesafe.calib.explain.explain_cmd import explain
from edgesafe.calib.markers.markers_cmd import markers
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.pose.pose_cmd import pose


@pytest.mark.parametrize(
    ("command", "arguments", "option"),
    [
        (calibrate, "threshold none --out made", "--report"),
        (calibrate, "probe none --model none --out made", "--report"),
        (calibrate, "camera none.png --board chessboard:9x6:25", "--out"),
        (evaluate, "retrieval none", "--out"),
        (evaluate, "pose none", "--out"),
        (evaluate, "pose none", "--csv"),
        (explain, "words", "--out"),
        (markers, "audit --data none --results none", "--out"),
        (pose, "none.png --camera none.json", "--csv"),
    ],
)
def test_the_place_is_looked_at_first(
    command: click.Command,
    arguments: str,
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    found = CliRunner().invoke(command, [*arguments.split(), option, "file/r.html"])
    error = found.exception
    assert isinstance(error, UsageError), found.output
    assert f"{option} file/r.html: file is not a folder" in str(error)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
