"""The experiment on LM-O's real frames: its steps are real commands, and how its table reads."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from edgesafe.runtime.errors import DataError
from edgesafe.samples.lmo_markers import KINDS, NETWORKS, Given, do, main, steps, table
from edgesafe.train.pose.config import load_pose_config


@pytest.fixture
def given(tmp_path: Path) -> Given:
    for name in ("lmo/models", "photos", "work"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "board.json").write_text("{}")
    return Given(
        tmp_path / "lmo", tmp_path / "board.json", (tmp_path / "photos",), tmp_path / "work"
    )


class Worker:
    """Makes what each command would make."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.did: list[str] = []

    def __call__(self, words: Sequence[str]) -> int:
        options = dict(zip(words, words[1:], strict=False))
        out = Path(options["--out"])
        self.did.append(f"{words[0]} {out.name}")
        if words[0] == "render":
            self.write(out / "camera.json")
        elif words[0] == "train":
            out.with_name(out.name + ".run").mkdir(exist_ok=True)
        elif words[0] == "export":
            self.write(out / "manifest.json")
        else:
            names = [word.split("=")[1] for word in words if word.startswith("--model")]
            self.write(out.with_suffix(".json"), json.dumps(report(*names)))
        return 0

    def write(self, path: Path, text: str = "{}") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def report(*names: str) -> dict[str, Any]:
    figure = {"value": 0.25, "interval": [0.1, 0.375]}
    one = {
        "sets": {kind: {"accuracy": figure, "kept": figure} for kind in KINDS},
        "net_gap": figure,
        "marker_follow": {"conflict": {"lands": {"value": None, "interval": [None, None]}}},
        "verdict": "needs_board",
    }
    return {"frames": 7, "networks": dict.fromkeys(names, one)}


def test_each_step_is_a_command_with_these_options(given: Given) -> None:
    for step in steps(given):
        command: click.Command = importlib.import_module("edgesafe.cli").main
        rest = list(step.words)
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), rest.pop(0))
            assert found is not None, step.words
            command = found
        assert command.make_context("step", rest).params
    for one in NETWORKS:
        config = load_pose_config(given.work / f"{one.name}.config.json")
        assert config.detector is None and config.roi.roi_scale == one.roi_scale
        assert config.roi.fit.max_minutes == given.minutes
        assert set(config.names) == {"1", "5", "11"}


def test_everything_is_made_once_and_in_order(given: Given) -> None:
    worker = Worker(given)
    do(given, worker)
    trained = [f"{verb} {one.name}" for one in NETWORKS for verb in ("train", "export")]
    trained = [f"{name}.pkg" if name.startswith("export") else name for name in trained]
    renders = ["render fixed", "render free", "render test"]
    assert worker.did == [*renders, *trained, "markers test.html", "markers real.html"]
    do(given, worker)
    assert len(worker.did) == len(renders) + len(trained) + 2


def test_a_failure_is_told_and_the_next_run_goes_on(given: Given) -> None:
    worker = Worker(given)

    def failing(words: Sequence[str]) -> int:
        return 2 if words[0] == "export" else worker(words)

    with pytest.raises(DataError, match="edgesafe export .* goes on from here"):
        do(given, failing)
    assert worker.did[-1] == f"train {NETWORKS[0].name}"
    train = next(step for step in steps(given) if step.words[0] == "train")
    assert "--resume" in train.words  # what is trained already ends at once
    do(given, worker)
    assert worker.did[-1] == "markers real.html"


def test_the_table_holds_what_was_measured(given: Given) -> None:
    do(given, Worker(given))
    words = ["--lmo", given.lmo, "--board", given.board, "--photos", *given.photos]
    done = CliRunner().invoke(main, [*map(str, words), "--work", str(given.work)])
    assert done.exit_code == 0, done.output
    assert (given.work / "lmo_markers.md").read_text() in done.output
    lines = table(report("shipped", "biased")).splitlines()
    assert lines[2].startswith("| shipped | 25.0 (10.0 to 37.5) |")
    assert lines[2].endswith("| 0.25 (0.10 to 0.38) | – | `needs_board` |")
    assert {line.count("|") for line in lines} == {lines[0].count("|")}


def test_a_dry_run_prints_the_commands(given: Given, tmp_path: Path) -> None:
    words = ["--lmo", given.lmo, "--board", given.board, "--photos", *given.photos, "--dry-run"]
    done = CliRunner().invoke(main, [*map(str, words), "--work", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    assert done.output.count("\n") == 3 + 2 * len(NETWORKS) + 2
    assert "edgesafe markers audit --model=shipped=" in done.output
