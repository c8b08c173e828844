"""`make models`: the order of the steps, what is skipped, and that each is a real command."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgesafe.samples import train_models
from edgesafe.samples.steps import Step
from edgesafe.samples.train_models import Places

ROOT = Path(__file__).parents[2]
Stub = Callable[[Step], int]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    photos = tmp_path / "photos"
    photos.mkdir()
    # By a hash of their names, photos fall into all three splits.
    records = [{"image": f"{i}.jpg", "captions": ["a photo"]} for i in range(40)]
    for record in records:
        (photos / str(record["image"])).touch()
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (photos / "photos.jsonl").write_text(lines, encoding="utf-8")
    root = tmp_path / "root"
    (root / "samples").mkdir(parents=True)
    (root / "samples" / "configs").symlink_to(ROOT / "samples" / "configs")
    (root / "samples" / "data").symlink_to(ROOT / "samples" / "data")
    return Places((photos,), tmp_path / "work", root=root, train=3, val=2)


class Worker:
    """Makes what each step would make, later than all before it."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.did: list[str] = []
        self._clock = 1_000_000_000

    def write(self, path: Path, text: str = "{}") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self._clock += 10
        os.utime(path, (self._clock, self._clock))

    def __call__(self, step: Step) -> int:
        self.did.append(step.name)
        options = dict(zip(step.words, step.words[1:], strict=False))
        out = Path(options.get("--out", step.words[-1]))
        work, kind = self.places.work, step.words[0].rpartition(".")[2]
        if kind == "fetch":
            (out / "photos" / "plain").mkdir(parents=True)
        elif kind == "build":
            self.write(out / "train.jsonl", "{}\n" * self.places.train)
            self.write(out / "val.jsonl", "{}\n" * self.places.val)
        elif "train" in step.words:
            self.write(out / "checkpoint.json", '{"bounds": {"safe_text": {}}}')
        elif "export" in step.words:
            self.write(out / "manifest.json")
        elif kind in ("calibration_set", "heldout_set"):
            self.write(out / "records.jsonl")
        elif kind in ("keep_checkpoint", "soup"):
            self.write(out / "checkpoint.json")
        elif kind == "model_card":
            self.write(self.places.root / "docs" / "moderation-model.json")
        else:
            self.write(out)
        assert work in out.parents or self.places.root in (out, *out.parents)
        return 0


def quiet(line: str) -> None:
    assert line


def test_every_step_needs_only_what_came_before(places: Places) -> None:
    made: set[str] = {str(places.photos[0])}
    for step in train_models.steps(places):
        given = dict(zip(step.words, step.words[1:], strict=False))
        for option, value in given.items():
            inside = value.startswith(str(places.work))
            if option in ("--out", "--root") or not inside:
                continue
            assert any(value == m or value.startswith(m + "/") for m in made), (step.name, value)
        made.add(given.get("--out", step.words[-1]))


def test_everything_runs_once_and_in_order(places: Places) -> None:
    worker = Worker(places)
    said: list[str] = []
    train_models.run(places, worker, said.append)
    names = [step.name for step in train_models.steps(places)]
    assert worker.did == names
    assert len(names) == len(set(names)) == 18
    assert all(name in line for name, line in zip(names, said, strict=True))
    train_models.run(places, worker, said.append)
    assert worker.did == names
    assert all("done before" in line for line in said[len(names) :])


def test_a_failed_step_ends_the_run_which_goes_on_from_there(places: Places) -> None:
    worker = Worker(places)

    def failing(step: Step) -> int:
        return 3 if step.name == "train on texts" else worker(step)

    with pytest.raises(click.ClickException, match="train on texts ended with 3; mend"):
        train_models.run(places, failing, quiet)
    assert worker.did[-1] == "train both towers"
    before = len(worker.did)
    train_models.run(places, worker, quiet)
    assert worker.did[before] == "train on texts"


def test_a_step_that_leaves_nothing_is_not_taken_for_done(places: Places) -> None:
    with pytest.raises(click.ClickException, match="left no complete output"):
        train_models.run(places, lambda step: 0, quiet)


def test_half_an_output_is_made_again(places: Places) -> None:
    worker = Worker(places)
    train_models.run(places, worker, quiet)
    by_name = {step.name: step for step in train_models.steps(places)}
    (places.assets / "cache").mkdir()
    worker.write(places.data / "val.jsonl", "{}\n")
    worker.write(places.work / "images" / "checkpoint.json", '{"bounds": {}}')
    assert not by_name["fetch drawings and photos"].done()
    assert not by_name["make the quadruplets"].done()
    assert not by_name["train on images"].done()
    assert not by_name["take the mean of the three"].done()
    assert by_name["train on texts"].done()


def test_what_is_older_than_its_source_is_made_again(places: Places) -> None:
    worker = Worker(places)
    train_models.run(places, worker, quiet)
    worker.did.clear()
    worker.write(places.work / "thresholds.json")
    train_models.run(places, worker, quiet)
    assert worker.did == [
        "export with thresholds",
        "measure on the held-out set",
        "write the report card",
    ]


def test_a_training_run_with_a_state_is_resumed(places: Places) -> None:
    (places.work / "texts.run" / "state").mkdir(parents=True)
    by_name = {step.name: step for step in train_models.steps(places)}
    assert "--resume" in by_name["train on texts"].words
    assert "--resume" not in by_name["train both towers"].words
    assert "--resume" not in by_name["train on images"].words


def test_each_line_is_a_command_with_these_options(places: Places) -> None:
    train_models.run(places, Worker(places), quiet)
    for step in train_models.steps(places):
        module = importlib.import_module(step.words[0])
        command: click.Command = module.main
        rest = list(step.words[1:])
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), rest.pop(0))
            assert found is not None, step.line
            command = found
        context = command.make_context("step", rest)  # refuses what the command does not take
        assert context.params


def test_a_dry_run_prints_the_steps_and_does_nothing(places: Places) -> None:
    result = CliRunner().invoke(
        train_models.main,
        ["--photos", str(places.photos[0]), "--work", str(places.work), "--dry-run"],
    )
    assert result.exit_code == 0, result.output
    for step in train_models.steps(places):
        assert step.name in result.output
    assert "python -m edgesafe.samples.hazards.fetch --out" in result.output
    assert not places.work.exists()


def test_what_is_missing_is_told_before_anything_is_done(
    places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(train_models, "PROGRAMS", ("no-such-program",))
    monkeypatch.setattr(train_models, "MODULES", {"no_such_module": "samples"})
    bare = tmp_path / "bare"
    bare.mkdir()
    found = "\n".join(train_models.missing(Places((bare,), places.work, root=tmp_path)))
    assert f"{bare} has no photos.jsonl" in found
    assert "no_such_module" in found and "pip install" in found
    assert "no-such-program" in found
    assert "is no checkout" in found
    result = CliRunner().invoke(
        train_models.main, ["--photos", str(bare), "--work", str(places.work)]
    )
    assert result.exit_code == 1
    assert "not everything is there" in result.output
    assert not places.work.exists()


def test_photos_that_reach_no_validation_are_told(tmp_path: Path, places: Places) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "0.jpg").touch()
    record = {"image": "0.jpg", "captions": ["a photo"]}
    (few / "photos.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert any("too few photos" in line for line in train_models.missing(Places((few,), tmp_path)))
    (few / "0.jpg").unlink()
    assert any("not there" in line for line in train_models.missing(Places((few,), tmp_path)))
    assert not any("photos" in line for line in train_models.missing(places))
