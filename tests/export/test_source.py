"""What is neither a checkpoint nor a package is said to be so, whatever the options."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgesafe.export.cli import export
from edgesafe.export.source import check_source
from edgesafe.runtime.errors import UsageError


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--out", "o"],
        ["--sbom", "s.json"],
        ["--trt", "--out", "o"],
        ["--verify-build"],
        ["--precision", "fp16", "--out", "o"],
        ["--text-encoder", "o"],
    ],
)
@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("nope", "it does not exist"),
        ("empty", "it holds neither file"),
        ("photo.jpg", "it is a file"),
    ],
)
def test_a_source_that_is_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    source: str,
    found: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.jpg").write_bytes(b"dear")
    done = CliRunner().invoke(export, [source, *options])
    assert isinstance(done.exception, UsageError), done.output
    neither = "is neither a checkpoint (checkpoint.json) nor a package (manifest.json)"
    assert str(done.exception).startswith(f"{source} {neither}: {found}.")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "photo.jpg"]


def test_both_kinds_are_known(tmp_path: Path, tiny_package: Path) -> None:
    check_source(tiny_package)
    (tmp_path / "checkpoint.json").write_text("{}")
    check_source(tmp_path)
    (tmp_path / "checkpoint.json").unlink()
    pytest.raises(UsageError, check_source, tmp_path)
