"""The mean of checkpoints: its weights, and that what it says of itself was measured on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train import soup
from edgesafe.train.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from edgesafe.train.config import read_config
from edgesafe.train.data.quadruplets import read_quadruplets
from edgesafe.train.encoders.base import build_encoder
from edgesafe.train.evaluate import EncodeSettings, training_bounds
from edgesafe.train.model import HyperbolicDualEncoder, Lift

SETTINGS = EncodeSettings(torch.device("cpu"))


@pytest.fixture
def make(tmp_path: Path, tiny_config: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """A checkpoint with weights of its own."""

    def checkpoint(name: str, seed: int, **vision: int) -> Path:
        table = tiny_config(train={"bounds_records": 5})
        table["architecture"]["config"]["vision_cfg"] |= vision
        torch.manual_seed(seed)
        encoder = build_encoder(table["architecture"])
        model = HyperbolicDualEncoder(encoder, Lift(encoder.dim, curvature=0.1 * seed))
        save_checkpoint(
            tmp_path / name,
            model,
            CheckpointInfo.of(
                model,
                seed=3,
                config=read_config(table).to_dict(),
                bounds={"safe_text": {"avg": -1.0}},
            ),
        )
        return tmp_path / name

    return checkpoint


def test_weights_are_the_mean_and_measures_are_of_it(
    make: Callable[..., Path], data_folder: Path, tmp_path: Path
) -> None:
    a, b, c, out = make("a", 1), make("b", 2), make("c", 6), tmp_path / "mean"
    files = ["--data", str(data_folder / "train.jsonl"), "--val", str(data_folder / "val.jsonl")]
    line = [str(a), str(b), str(c), *files, "--out", str(out)]
    assert CliRunner().invoke(soup.main, line).output == f"{out}\n"
    model, info = load_checkpoint(out)
    states = [load_checkpoint(path)[0].state_dict() for path in (a, b, c)]
    for name, found in model.state_dict().items():
        expected = sum(state[name].double() for state in states) / 3
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)
    records = read_quadruplets(data_folder / "train.jsonl").records
    assert info.bounds == training_bounds(model, records, SETTINGS, limit=5, seed=3)
    assert info.bounds != training_bounds(load_checkpoint(c)[0], records, SETTINGS, limit=5, seed=3)
    assert 0 <= info.metrics["auc_image"] <= 1
    assert info.data["mean_of"] == ["a", "b", "c"] and info.data["validation"]["records"] == 6
    assert info.geometry == model.geometry()


def test_other_towers_are_refused(make: Callable[..., Path]) -> None:
    a, b = make("a", 1), make("b", 2, layers=1)
    with pytest.raises(CheckpointError, match="has other towers than"):
        soup.mean_of([a, b])


def test_one_checkpoint_and_a_folder_of_something_else_are_refused(
    make: Callable[..., Path], data_folder: Path, tmp_path: Path
) -> None:
    a = make("a", 1)
    files = ["--data", str(data_folder / "train.jsonl"), "--val", str(data_folder / "val.jsonl")]
    one = CliRunner().invoke(soup.main, [str(a), *files, "--out", str(tmp_path / "x")])
    assert one.exit_code == 2 and "at least two" in one.output
    (tmp_path / "notes").mkdir()
    other = CliRunner().invoke(
        soup.main, [str(a), str(a), *files, "--out", str(tmp_path / "notes")]
    )
    assert other.exit_code == 2 and "is no checkpoint" in other.output
    assert not list((tmp_path / "notes").iterdir())
