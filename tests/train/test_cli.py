from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgesafe.cli import main
from edgesafe.train.checkpoint import load_checkpoint


@pytest.fixture
def call(tiny_config: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., Result]:
    """Runs ``edgesafe train hysac`` on the tiny configuration."""
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps(tiny_config(train={"epochs": 1})))

    def run(data: Path, *options: str) -> Result:
        arguments = ["train", "hysac", "--config", str(config), "--data", str(data)]
        out = ["--out", str(tmp_path / "ck"), "--device", "cpu"]
        return CliRunner().invoke(main, [*arguments, *out, *options])

    return run


def test_end_to_end(call: Callable[..., Result], data_folder: Path, tmp_path: Path) -> None:
    result = call(data_folder, "--json")
    assert result.exit_code == 0, result.output
    line = json.loads(result.stdout)
    assert line["ended"] == "epochs" and line["steps"] == 3
    assert line["checkpoint"] == str(tmp_path / "ck")
    load_checkpoint(tmp_path / "ck")
    again = call(data_folder)
    assert again.exit_code == 2 and "--resume" in again.stderr
    resumed = call(data_folder, "--resume")
    assert resumed.exit_code == 0 and "auc_image" in resumed.stdout


def test_bad_data_exits_with_3_and_a_table(
    call: Callable[..., Result], data_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(data_folder, data)
    (data / "images/train2_unsafe.png").write_bytes(b"")
    result = call(data)
    assert result.exit_code == 3
    assert "broken_file" in result.stderr and "train2" in result.stderr
    assert "Traceback" not in result.stderr
    assert call(data, "--skip-bad").exit_code == 0


def test_validation_and_templates(
    call: Callable[..., Result], data_folder: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (data_folder / "train.jsonl").read_text().splitlines()]
    rows = [
        {"incremental_id": i, "coco_id": str(i), "safe": r["safe_text"], "nsfw": r["unsafe_text"]}
        for i, r in enumerate(rows)
    ]
    visu = tmp_path / "visu.json"
    visu.write_text(json.dumps(rows))
    safe = f"{data_folder}/images/train{{coco_id}}_safe.png"
    unsafe = f"{data_folder}/images/train{{incremental_id}}_unsafe.png"
    options = ("--safe-images", safe, "--unsafe-images", unsafe)
    result = call(visu, *options, "--val", str(data_folder / "val.jsonl"))
    assert result.exit_code == 0, result.output
    assert "recall_sum" in result.stdout


def test_misspelt_key_exits_with_2(data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('[architecture]\nname = "edge"\n[train]\nepoch = 3\n')
    arguments = ["--config", str(tmp_path / "bad.toml"), "--data", str(data_folder)]
    command = ["train", "hysac", *arguments, "--out", str(tmp_path / "ck")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert 'did you mean "train.epochs"?' in result.stderr
