from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgesafe.cli import main
from edgesafe.train.checkpoint import load_checkpoint, read_info


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


def test_the_architecture_of_the_checkpoint_to_start_from(
    call: Callable[..., Result],
    tiny_config: Callable[..., dict[str, Any]],
    data_folder: Path,
    tmp_path: Path,
) -> None:
    assert call(data_folder).exit_code == 0
    config = tiny_config(train={"epochs": 1})
    kept = config.pop("architecture")
    plain, odd = tmp_path / "plain.json", tmp_path / "odd.json"
    plain.write_text(json.dumps(config))
    arguments = ["train", "hysac", "--data", str(data_folder), "--out", str(tmp_path / "next")]
    arguments += ["--device", "cpu", "--config"]
    init = ["--init", str(tmp_path / "ck")]
    result = CliRunner().invoke(main, [*arguments, str(plain), *init])
    assert result.exit_code == 0, result.output
    assert read_info(tmp_path / "next").architecture["name"] == kept["name"]
    # What the file does say must agree.
    odd.write_text(json.dumps({**config, "architecture": {"config": {"embed_dim": 8}}}))
    result = CliRunner().invoke(main, [*arguments, str(odd), *init, "--out", str(tmp_path / "x")])
    assert result.exit_code == 2 and "another architecture: config differ" in result.stderr
    without = CliRunner().invoke(main, [*arguments, str(plain), "--out", str(tmp_path / "x")])
    assert without.exit_code == 2
    assert 'architecture.name is missing: write name = "edge"' in without.stderr
    none = CliRunner().invoke(main, [*arguments, str(plain), "--init", str(tmp_path / "none")])
    assert none.exit_code == 3 and "none/checkpoint.json cannot be read" in none.stderr
