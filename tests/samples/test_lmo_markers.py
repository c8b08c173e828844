"""The experiment on LM-O's real frames: its steps are real commands, and how its table reads."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from edgesafe.samples.lmo_markers import KINDS, NETWORKS, Given, main, steps, table, write_configs
from edgesafe.samples.steps import Step, run_steps
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

    def __init__(self) -> None:
        self.did: list[str] = []

    def __call__(self, step: Step) -> int:
        options = dict(zip(step.words, step.words[1:], strict=False))
        out = Path(options["--out"])
        self.did.append(step.name)
        if "render" in step.words:
            self.write(out / "camera.json")
        elif "export" in step.words:
            self.write(out / "manifest.json")
        elif "audit" in step.words:
            names = [word.split("=")[1] for word in step.words if word.startswith("--model")]
            self.write(out.with_suffix(".json"), json.dumps(report(*names)))
        else:
            networks = [{"metrics": {"keypoint_px": 3.0}}] * 3
            self.write(out / "checkpoint.json", json.dumps({"networks": networks}))
        return 0

    def write(self, path: Path, text: str = "{}") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def do(given: Given, worker: Callable[[Step], int]) -> None:
    run_steps(lambda: steps(given), worker, lambda line: None)


def report(*names: str) -> dict[str, Any]:
    figure = {"value": 0.25, "interval": [0.1, 0.375]}
    one = {
        "sets": {kind: {"accuracy": figure, "kept": figure} for kind in KINDS},
        "net_gap": figure,
        "marker_follow": {"conflict": {"lands": {"value": None, "interval": [None, None]}}},
        "verdict": "needs_board",
    }
    return {"frames": 7, "networks": dict.fromkeys(names, one)}


def test_each_line_is_a_command_with_these_options(given: Given) -> None:
    for step in steps(given):
        command: click.Command = importlib.import_module(step.words[0]).main
        rest = list(step.words[1:])
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), rest.pop(0))
            assert found is not None, step.line
            command = found
        assert command.make_context("step", rest).params
    write_configs(given)
    for one in NETWORKS:
        config = load_pose_config(given.work / f"{one.name}.config.json")
        assert config.detector is None and config.data.background == one.background
        assert config.roi.fit.max_minutes == given.minutes
        assert set(config.names) == {"1", "5", "11"}


def test_one_object_and_wider_regions(given: Given) -> None:
    wide = replace(given, objects=(5,), roi_scale=3.0)
    lines = [step.line for step in steps(wide)]
    assert "--ids 1,5,11" in lines[0] and "--objects 5 " in lines[-1]
    write_configs(wide)
    config = load_pose_config(given.work / "biased.config.json")
    assert config.objects == (5,) and config.roi.roi_scale == 3.0


def test_everything_is_made_once(given: Given) -> None:
    worker = Worker()
    do(given, worker)
    assert worker.did == [step.name for step in steps(given)]
    assert all(step.done() for step in steps(given))
    do(given, worker)
    assert len(worker.did) == len(steps(given))


def test_half_a_training_is_gone_on_with(given: Given) -> None:
    def failing(step: Step) -> int:
        if step.name != "train biased":
            return Worker()(step)
        Worker().write(given.work / "biased" / "checkpoint.json", '{"networks": []}')
        (given.work / "biased.run").mkdir()
        return 3

    with pytest.raises(click.ClickException, match="train biased ended with 3"):
        do(given, failing)
    resumed = [step.name for step in steps(given) if "--resume" in step.words]
    assert resumed == ["train biased"]
    worker = Worker()
    do(given, worker)
    assert worker.did[0] == "train biased" and worker.did[-1] == "audit on real frames"


def test_the_table_holds_what_was_measured(given: Given) -> None:
    do(given, Worker())
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
    for step in steps(given):
        assert step.name in done.output
    assert "python -m edgesafe.cli markers audit --model=shipped=" in done.output
    assert not (tmp_path / "new").exists()
