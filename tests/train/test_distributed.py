"""Two gloo processes are one process with the same global batch."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from edgesafe.train import engine
from edgesafe.train.config import read_config
from edgesafe.train.engine import run_folder

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def config(tiny_config: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return tiny_config(
        lora={"dropout": 0.0},
        loss={"shell_weight": 1.0},
        train={"epochs": 2, "batch_size": 4, "text": "full"},
    )


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory,
    config: dict[str, Any],
    data_folder: Path,
    in_two_processes: Callable[[Path, Path], None],
) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    job = folder / "job.json"
    job.write_text(json.dumps({"folder": str(folder), "data": str(data_folder), "config": config}))
    in_two_processes(SCRIPT, job)
    return folder


def test_loss_and_gradients_are_those_of_one_process(
    both: Path, config: dict[str, Any], data_folder: Path
) -> None:
    spec = importlib.util.spec_from_file_location("two_processes", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    alone = script.gradients(config, data_folder, 0, 1)
    for rank in range(2):
        found = load((both / f"rank{rank}.safetensors").read_bytes())
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(
                found[name],
                value,
                rtol=1e-4,
                atol=1e-6,
                msg=functools.partial("{}: {}".format, name),
            )


def test_a_run_is_that_of_one_process(
    both: Path, config: dict[str, Any], data_folder: Path, tmp_path: Path
) -> None:
    wide = {**config, "train": {**config["train"], "batch_size": 8}}
    engine.train(read_config(wide), data_folder, tmp_path / "one", device="cpu", progress=False)

    def losses(out: Path) -> list[float]:
        rows = (run_folder(out) / "metrics.jsonl").read_text().splitlines()
        return [row["loss"] for row in map(json.loads, rows) if row["kind"] == "train"]

    assert losses(both / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-3)
    found = [json.loads((both / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert found[0] == found[1] and found[0]["recall_sum"] >= 0
