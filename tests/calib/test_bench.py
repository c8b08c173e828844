"""``edgesafe bench`` on a tiny package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgesafe.calib.bench import bench
from edgesafe.runtime.errors import MissingExtraError, UsageError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("a.jpg", "b.jpg"):
        pixels = generator.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def test_the_json_holds_every_figure(tiny_package: Path, photos: Path) -> None:
    arguments = ["--model", str(tiny_package), "--images", str(photos), "--runs", "6"]
    result = CliRunner().invoke(bench, [*arguments, "--soak", "40", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert "@" in found["package"] and found["backend"] == "cpu" and found["photos"] == 2
    for kind in ("image", "text"):
        part = found[kind]
        assert part["runs"] == sum(part["decisions"].values()) == 6
        assert set(part["stages"]) == {"decode", "preprocess", "infer", "post", "total"}
        stages = sum(part["stages"][s]["p50"] for s in ("decode", "preprocess", "infer", "post"))
        assert 0 < stages < 3 * part["stages"]["total"]["p99"]
        assert all(row["p50"] <= row["p99"] for row in part["stages"].values())
        assert part["cpu"]["mean"] > 0
    assert found["image"]["decisions"]["undecided"] == 0
    assert 0.05 < found["cold_start_s"] < 30
    assert 10 < found["peak_mib"] < 8000
    soak = found["soak"]
    assert soak["images"] == 40
    assert 10 < soak["start_mib"] <= soak["peak_mib"] + 1
    assert soak["images_per_second"] > 0


def test_the_table_is_for_people(tiny_package: Path, photos: Path) -> None:
    arguments = ["--model", str(tiny_package), "--images", str(photos), "--runs", "3"]
    result = CliRunner().invoke(bench, arguments)
    assert result.exit_code == 0, result.output
    for word in ("package", "machine", "decode", "infer", "total", "CPU", "cold start", "peak"):
        assert word in result.stdout
    assert "memory over" not in result.stdout


def test_the_sub_command_takes_its_own_options_only() -> None:
    result = CliRunner().invoke(bench, ["pose", "--help"])
    assert result.exit_code == 0 and "per region of interest" in result.output
    result = CliRunner().invoke(bench, ["--runs", "3", "pose", "--runs", "10"])
    assert isinstance(result.exception, UsageError)
    assert "after the word pose" in str(result.exception)


def test_the_sub_command_that_needs_torch_is_imported_when_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr("edgesafe.calib.bench.importlib.import_module", nothing)
    missing = "torch.nn"
    listed = CliRunner().invoke(bench, ["--help"])
    assert listed.exit_code == 0, listed.output
    assert "Compare PyTorch, ONNX Runtime and OpenVINO" in listed.stdout
    done = CliRunner().invoke(bench, ["export"])
    assert isinstance(done.exception, MissingExtraError)
    assert "torch is not installed: pip install 'edgesafe[export]'" in str(done.exception)
    missing = "edgesafe.export.gone"
    assert isinstance(CliRunner().invoke(bench, ["export"]).exception, ModuleNotFoundError)
