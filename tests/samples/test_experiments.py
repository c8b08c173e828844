"""The comparison of the four methods, tiny; and how its shape is read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from edgesafe.calib.retrieval.protocol import TASKS, Row
from edgesafe.runtime.errors import DataError
from edgesafe.samples import experiments
from edgesafe.samples.experiments import METHODS, main, shape_of
from edgesafe.samples.listing import read_listing


def row(task: str, recall: float, *, redirected: bool) -> Row:
    which = next(t for t in TASKS if t.name == task)
    ends = (recall - 0.06, recall + 0.06)
    return Row(which, redirected, 0.0, 10, 10, {1: recall}, {1: ends}, 1.0, None, None, {})


def test_all_four_are_trained_and_measured(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    done = CliRunner().invoke(main, ["--quick", "--work", str(tmp_path), "--steps", "3"])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "experiments.json").read_text())
    assert list(report["models"]) == list(METHODS)
    for name, entry in report["models"].items():
        tasks = {r["task"] for r in entry["rows"]}
        assert tasks == {task.name for task in TASKS}
        moved = [r for r in entry["rows"] if r["redirected"]]
        assert len(moved) == (2 if name.startswith("HySAC") else 0)
        assert (entry["bounds"] is not None) == name.startswith("HySAC")
        assert (entry["radii"] is not None) == name.startswith("HySAC")
        assert entry["steps"] == 3 and entry["ended"] == "epochs" and entry["cpu_minutes"] >= 0
        assert all(name[:18] in done.stdout for name in METHODS)
    assert len(report["shape"]) == 4 and report["shape"][0] in done.stdout
    # What is there is not trained again.
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/model.safetensors")}
    assert len(before) == 4
    assert CliRunner().invoke(main, ["--quick", "--work", str(tmp_path)]).exit_code == 0
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_the_shape_is_read_off_the_rows() -> None:
    def rows(redirect: float, keep: float) -> list[Row]:
        found = []
        for task in ("T*->IuI*", "I*->TuT*"):
            found += [row(task, 0.9, redirected=False), row(task, redirect, redirected=True)]
        return found + [row(t, keep, redirected=False) for t in ("T*->I*uI", "I*->T*uT")]

    flat = [dataclasses.replace(r, redirected=False) for r in rows(0.1, 0.6) if r.recall[1] != 0.9]
    said = shape_of({"CLIP": flat, "HySAC": rows(0.3, 0.5)})
    assert "HySAC 30.0, best other 10.0 (CLIP): as in the paper" in said[0]
    assert "HySAC 50.0, best other 60.0 (CLIP): NOT as in the paper" in said[2]
    said = shape_of({"CLIP": flat, "HySAC": rows(0.2, 0.7)})
    assert said[1].endswith(
        "HySAC 20.0, best other 10.0 (CLIP): higher, but the 95 % intervals overlap"
    )


def test_photos_of_the_test_are_not_trained_on(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    records = [
        {"id": str(i), "photo": f"{i % 40}.jpg", "safe_image": "a.png", "unsafe_image": "b.png",
         "safe_text": "a", "unsafe_text": "b"}
        for i in range(200)
    ]  # fmt: skip
    (source / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    plan = experiments.Plan(tmp_path, tmp_path / "data", 1.0, False)
    experiments._prepare(plan, source)
    train, test = (read_listing(plan.data / f"{n}.jsonl") for n in ("train", "test"))
    assert len(train) + len(test) == 200 and train and test
    assert not {r["photo"] for r in train} & {r["photo"] for r in test}
    assert train[0]["safe_image"] == str((source / "a.png").resolve())
    with pytest.raises(DataError, match="cannot be read as JSON lines"):
        experiments._prepare(experiments.Plan(tmp_path, tmp_path / "other", 1.0, False), tmp_path)
