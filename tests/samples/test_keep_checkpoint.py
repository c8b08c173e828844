"""The kept checkpoint: half the bytes, the same model, and no other folder is ever replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from edgesafe.samples import keep_checkpoint
from edgesafe.train.checkpoint import CheckpointInfo


def test_matrices_are_kept_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Path, object, torch.dtype]] = []
    model, info = object(), CheckpointInfo({}, {}, {})
    monkeypatch.setattr(keep_checkpoint, "load_checkpoint", lambda path: (model, info))
    monkeypatch.setattr(
        keep_checkpoint,
        "save_checkpoint",
        lambda path, model, info, *, dtype: calls.append((path, model, dtype)),
    )
    result = CliRunner().invoke(keep_checkpoint.main, [str(tmp_path), str(tmp_path / "kept")])
    assert result.exit_code == 0, result.output
    assert calls == [(tmp_path / "kept", model, torch.float16)]


def test_a_folder_that_is_no_checkpoint_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("keep me", encoding="utf-8")
    result = CliRunner().invoke(keep_checkpoint.main, [str(tmp_path), str(tmp_path / "notes")])
    assert result.exit_code == 2
    assert "is no checkpoint" in result.output
    assert (tmp_path / "notes" / "a.txt").read_text(encoding="utf-8") == "keep me"
