"""``--overwrite`` replaces what edgesafe made, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgesafe.export.bundles.ownership import MARKER, check_folder, mark_folder
from edgesafe.export.cli import export
from edgesafe.runtime.errors import UsageError

OPTIONS = ["--triton", "--deepstream"]


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(export, [str(a) for a in arguments])


def refused(*arguments: Any) -> str:
    done = run(*arguments)
    assert isinstance(done.exception, UsageError), done.output
    assert done.exception.exit_status == 2
    return str(done.exception)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_folder_of_others_is_left_alone(tiny_package: Path, tmp_path: Path, option: str) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "dear.jpg").write_bytes(b"dear")
    # What others write beside it is no proof.
    (photos / "README.md").write_text("# Triton model repository of x")
    assert "pass --overwrite" in refused(tiny_package, option, photos)
    assert "that edgesafe made" in refused(tiny_package, option, photos, "--overwrite")
    assert (photos / "dear.jpg").read_bytes() == b"dear"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]


@pytest.mark.parametrize("option", OPTIONS)
def test_the_folder_one_stands_in_is_left_alone(
    tiny_package: Path, tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert "that edgesafe made" in refused(tiny_package, option, ".", "--overwrite")
    assert "that edgesafe made" in refused(tiny_package, option, "..", "--overwrite")
    assert [p.name for p in tmp_path.iterdir()] == ["work.txt"]


@pytest.mark.parametrize("option", OPTIONS)
def test_its_own_folder_is_replaced(tiny_package: Path, tmp_path: Path, option: str) -> None:
    target = tmp_path / "made"
    assert run(tiny_package, option, target).exit_code == 0
    marker = json.loads((target / MARKER).read_text())
    there = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    assert set(marker["files"]) == there
    before = target.stat().st_ino
    assert run(tiny_package, option, target, "--overwrite").exit_code == 0
    assert target.stat().st_ino != before


def test_its_own_folder_is_replaced_from_within(
    tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "made"
    assert run(tiny_package, "--triton", target).exit_code == 0
    monkeypatch.chdir(target)
    assert run(tiny_package, "--triton", ".", "--overwrite").exit_code == 0
    assert (target / MARKER).is_file() and [p.name for p in tmp_path.iterdir()] == ["made"]


def test_a_model_that_somebody_added_is_left_alone(tiny_package: Path, tmp_path: Path) -> None:
    target = tmp_path / "repository"
    assert run(tiny_package, "--triton", target).exit_code == 0
    added = target / "theirs" / "1" / "model.onnx"
    added.parent.mkdir(parents=True)
    added.write_bytes(b"dear")
    (added.parent / "more").symlink_to(added)
    words = refused(tiny_package, "--triton", target, "--overwrite")
    assert "'theirs/1/model.onnx'" in words and "and 1 more" in words
    assert added.read_bytes() == b"dear"


def test_the_engine_that_nvinfer_leaves_is_no_hindrance(tiny_package: Path, tmp_path: Path) -> None:
    target = tmp_path / "nvinfer"
    assert run(tiny_package, "--deepstream", target).exit_code == 0
    (target / "image_nvinfer.onnx_b1_gpu0_fp32.engine").write_bytes(b"plan")
    assert run(tiny_package, "--deepstream", target, "--overwrite").exit_code == 0
    assert not list(target.glob("*.engine"))


def test_one_kind_does_not_replace_the_other(tiny_package: Path, tmp_path: Path) -> None:
    target = tmp_path / "made"
    assert run(tiny_package, "--triton", target).exit_code == 0
    words = refused(tiny_package, "--deepstream", target, "--overwrite")
    assert "is not DeepStream configurations that edgesafe made" in words


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x"}', "[" * 100_000])
def test_a_marker_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(UsageError, match="that edgesafe made"):
        check_folder(tmp_path, "triton", overwrite=True)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    mark_folder(real, "triton", "x@1")
    check_folder(real, "triton", overwrite=True)
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(UsageError, match="is not a folder"):
        check_folder(tmp_path / "link", "triton", overwrite=True)


def test_refusals_come_before_anything_is_written(tiny_package: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    (tmp_path / "s.json").write_text("{}")
    assert "pass --overwrite" in refused(
        tiny_package, "--triton", new, "--sbom", tmp_path / "s.json"
    )
    assert "named twice" in refused(tiny_package, "--triton", new, "--deepstream", new)
    assert not new.exists()
