"""`edgesafe export PKG --triton …`: bundles of a package that is not written again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgesafe.export.cli import export
from edgesafe.runtime.errors import UsageError


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(export, [str(a) for a in arguments])


def test_all_bundles_of_a_package(tiny_package: Path, tmp_path: Path) -> None:
    arguments = [
        tiny_package, "--triton", tmp_path / "t", "--deepstream", tmp_path / "d",
        "--sbom", tmp_path / "s.json", "--model-card", tmp_path / "new" / "card.md",
    ]  # fmt: skip
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout)["bundles"]
    assert written["triton"] == {"folder": str(tmp_path / "t"), "plans_to_build": []}
    assert (tmp_path / "t" / "tiny-image" / "config.pbtxt").is_file()
    assert (tmp_path / "d" / "nvinfer_image.txt").is_file()
    assert json.loads((tmp_path / "s.json").read_bytes())["specVersion"] == "1.6"
    assert (tmp_path / "new" / "card.md").read_text().startswith("# tiny")
    again = run(*arguments)
    assert isinstance(again.exception, UsageError) and "exists already" in str(again.exception)
    assert run(*arguments, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--opset", "20"], "--opset makes another package"),
        (["--trt", "--out", "x"], "a run of its own"),
    ],
)
def test_what_asks_for_another_package_needs_its_name(
    tiny_package: Path, tmp_path: Path, more: list[str], words: str
) -> None:
    done = run(tiny_package, "--sbom", tmp_path / "s.json", *more)
    assert isinstance(done.exception, UsageError) and words in str(done.exception)
    assert not (tmp_path / "s.json").exists()


@pytest.mark.parametrize(
    "more", [["--triton-backend", "tensorrt"], ["--triton-backend", "onnxruntime"],
             ["--triton-batch", "4"]],
)  # fmt: skip
@pytest.mark.parametrize("other", [["--sbom", "s.json"], ["--out", "zz"]])
def test_options_of_triton_need_it(
    tiny_package: Path,
    tmp_path: Path,
    more: list[str],
    other: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(tiny_package, *other, *more)
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == f"{more[0]} is an option of --triton DIR"
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_needs_out(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.json").write_text("{}")
    done = run(tmp_path, "--sbom", tmp_path / "s.json")
    assert isinstance(done.exception, UsageError) and "--out PKG is needed" in str(done.exception)
