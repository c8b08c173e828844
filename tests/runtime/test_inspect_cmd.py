from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgesafe.runtime import PackageError, write_package
from edgesafe.runtime.errors import CheckpointError
from edgesafe.runtime.inspect_cmd import inspect


def _run(*arguments: Any) -> str:
    result = CliRunner().invoke(inspect, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_package_is_shown_for_a_person(tiny_package: Path) -> None:
    text = _run(tiny_package)
    for part in (
        "tiny",
        "Lorentz, curvature 1, dimension 8",
        "image.onnx",
        "16 x 16 pixels, stretch, bicubic",
        "up to 12 tokens",
        "0.5000  (95 % interval 0.4500 to 0.5500, 100 cases)",
        "false alarms: 5.0 % (1.0 to 10.0 %, 100 cases)",
        "largest relative error 1.0e-06 (8 inputs)",
        "weapon            knife",
        "animal (allowed)  dog",
        "CC0-1.0",
        "knows red and the word knife",
        "not a signature",
    ):
        assert part in text


def test_json_is_the_manifest_on_one_line(tiny_package: Path) -> None:
    text = _run(tiny_package, "--json")
    assert text.count("\n") == 1
    assert json.loads(text) == json.loads((tiny_package / "manifest.json").read_bytes())


def test_a_missing_threshold_is_pointed_out(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    del fields["thresholds"]["text"]
    write_package(tmp_path / "p", fields, files)
    assert "text   none: every verdict will be undecided" in _run(tmp_path / "p")


def test_a_manifest_cannot_steer_the_terminal(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    fields["limits"] = ["\x1b[2J\x1b[1;31mall is well\u202e"]
    write_package(tmp_path / "p", fields, files)
    text = _run(tmp_path / "p")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "all is well" in text


def test_a_damaged_package_is_not_shown(tiny_package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    shutil.copytree(tiny_package, folder)
    (folder / "image.onnx").write_bytes(b"")
    with pytest.raises(PackageError, match="image.onnx"):
        _run(folder)


def test_a_checkpoint_is_shown_without_torch(tmp_path: Path) -> None:
    info = {
        "format": "edgesafe.checkpoint/1",
        "method": "hysac",
        "seed": 7,
        "architecture": {"name": "edge"},
        "metrics": {"recall_sum": 1.5},
        "weights": {"licence": "Apache-2.0", "origin": ["a"], "notice": ""},
        "concepts": [{"name": "knife", "tag": "weapon", "prompts": ["a knife"]}],
        "bounds": {},
    }
    (tmp_path / "checkpoint.json").write_text(json.dumps(info))
    text = _run(tmp_path)
    for part in ("hysac", "recall_sum  1.5", "Apache-2.0", "a knife"):
        assert part in text
    assert "Bounds" not in text
    assert json.loads(_run(tmp_path, "--json")) == info


@pytest.mark.parametrize("data", ["", "[]", "{}", '{"format": "other/1"}', '{"format": NaN}'])
def test_a_broken_checkpoint_is_refused(tmp_path: Path, data: str) -> None:
    (tmp_path / "checkpoint.json").write_text(data)
    with pytest.raises(CheckpointError, match="checkpoint.json"):
        _run(tmp_path)


def test_a_folder_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="not a model package"):
        _run(tmp_path)
