"""The mean of checkpoints: its weights, and that what it says of itself was measured on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from edgesafe.runtime.errors import EdgesafeError
from edgesafe.train import soup
from edgesafe.train.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from edgesafe.train.config import read_config
from edgesafe.train.data.quadruplets import read_quadruplets
from edgesafe.train.encoders.base import build_encoder
from edgesafe.train.evaluate import EncodeSettings, encode_split, metrics, training_bounds
from edgesafe.train.model import EuclideanDualEncoder, HyperbolicDualEncoder, Lift

SETTINGS = EncodeSettings(torch.device("cpu"))


@pytest.fixture
def make(tmp_path: Path, tiny_config: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """A checkpoint with weights of its own."""

    def checkpoint(
        name: str,
        seed: int,
        layers: int = 2,
        min_radius: float = 0.1,
        dtype: torch.dtype = torch.float32,
        **fields: Any,
    ) -> Path:
        table = tiny_config(train={"bounds_records": 5})
        table["architecture"]["config"]["vision_cfg"]["layers"] = layers
        torch.manual_seed(seed)
        encoder = build_encoder(table["architecture"])
        lift = Lift(encoder.dim, curvature=0.1 * seed)
        model = HyperbolicDualEncoder(encoder, lift, min_radius=min_radius)
        known = {"seed": 3, "config": read_config(table).to_dict()}
        info = CheckpointInfo.of(model, **{**known, **fields})
        save_checkpoint(tmp_path / name, model, info, dtype=dtype)
        return tmp_path / name

    return checkpoint


@pytest.fixture
def invoke(data_folder: Path) -> Callable[..., list[str]]:
    """The arguments of a call on the tiny data."""
    files = ["--data", str(data_folder / "train.jsonl"), "--val", str(data_folder / "val.jsonl")]
    return lambda *paths, out: [*map(str, paths), *files, "--out", str(out)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refusal(line: list[str], status: int) -> str:
    """What is said, once it ended with the status."""
    result = CliRunner().invoke(soup.main, line)
    error = result.exception
    if isinstance(error, EdgesafeError):
        found, said = error.exit_status, str(error)
    else:
        found, said = result.exit_code, result.output
    assert found == status, (found, said, error)
    return said


def test_weights_are_the_mean_and_measures_are_of_it(
    make: Callable[..., Path], invoke: Callable[..., list[str]], data_folder: Path, tmp_path: Path
) -> None:
    a, b, c, out = make("a", 1), make("b", 2, dtype=torch.float16), make("c", 6), tmp_path / "mean"
    before = [files_of(path) for path in (a, b, c)]
    result = CliRunner().invoke(soup.main, invoke(a, b, c, out=out))
    assert result.stdout == f"{out}\n", result.output
    assert before == [files_of(path) for path in (a, b, c)]
    model, info = load_checkpoint(out)
    states = [load_checkpoint(path)[0].state_dict() for path in (a, b, c)]
    for name, found in model.state_dict().items():
        expected = sum(state[name].double() for state in states) / 3
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)
    # Curvatures are kept as logarithms: their mean is the geometric one.
    assert info.geometry["curvature"] == pytest.approx((0.1 * 0.2 * 0.6) ** (1 / 3), rel=1e-5)
    records = read_quadruplets(data_folder / "train.jsonl").records
    assert info.bounds == training_bounds(model, records, SETTINGS, limit=5, seed=3)
    held_out = read_quadruplets(data_folder / "val.jsonl").records
    embedded = encode_split(model, held_out, SETTINGS)
    assert info.metrics == metrics(embedded, held_out, model.curvature)
    assert info.data["records"] == 12 and info.data["validation"]["records"] == 6
    digest = hashlib.sha256(before[1]["model.safetensors"]).hexdigest()
    assert info.data["mean_of"][1] == {"name": "b", "sha256": digest}


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"layers": 1}, "architecture"),
        ({"min_radius": 0.3}, "geometry"),
        ({"method": "meru"}, "method"),
        ({"concepts": [{"name": "fire", "tag": "fire", "prompts": ["a fire"]}]}, "concepts"),
    ],
)
def test_checkpoints_of_another_kind_are_refused(
    other: dict[str, Any],
    what: str,
    make: Callable[..., Path],
    invoke: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    line = invoke(make("a", 1, **other), make("b", 2), out=tmp_path / "mean")
    assert f"differ in their {what}" in refusal(line, 3)
    assert not (tmp_path / "mean").exists()


def test_a_euclidean_model_and_a_hyperbolic_one_have_no_mean(
    make: Callable[..., Path],
    invoke: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    a, b = make("a", 1), make("b", 2)
    model, info = load_checkpoint(b)
    flat = EuclideanDualEncoder(model.encoder)
    save_checkpoint(b, flat, CheckpointInfo.of(flat, config=info.config))
    for pair in ((a, b), (b, a)):
        assert "differ in their geometry" in refusal(invoke(*pair, out=tmp_path / "mean"), 3)


def test_what_cannot_be_a_mean_is_refused_before_anything_is_read(
    make: Callable[..., Path],
    invoke: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    a, b = make("a", 1), make("b", 2)
    (tmp_path / "notes").mkdir()
    before = files_of(b)
    for paths, out, said in (
        ([a], tmp_path / "mean", "at least two"),
        ([a, a], tmp_path / "mean", "each named once"),
        ([a, b], b, "is one of the checkpoints"),
        ([a, b], tmp_path / "notes", "is no checkpoint"),
        ([a, b], a / "model.safetensors" / "mean", "is not a folder"),
    ):
        assert said in refusal(invoke(*paths, out=out), 2)
    assert files_of(b) == before and not list((tmp_path / "notes").iterdir())
    line = invoke(a, b, out=tmp_path / "mean")
    line[line.index("--val") + 1] = str(tmp_path)
    assert "is a directory" in refusal(line, 2)


def test_a_checkpoint_without_a_configuration_is_named(
    make: Callable[..., Path],
    invoke: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    a, b = make("a", 1), make("b", 2, config={})
    said = refusal(invoke(a, b, out=tmp_path / "mean"), 3)
    assert f"{b / 'checkpoint.json'} has no training configuration" in said
    info = json.loads((a / "checkpoint.json").read_text())
    (b / "checkpoint.json").write_text(json.dumps({**info, "config": {"method": 7}}))
    said = refusal(invoke(a, b, out=tmp_path / "mean"), 2)
    assert f"{b / 'checkpoint.json'}: config" in said


def test_bad_records_are_refused_or_left_out(
    make: Callable[..., Path], invoke: Callable[..., list[str]], data_folder: Path, tmp_path: Path
) -> None:
    a, b, out = make("a", 1), make("b", 2), tmp_path / "mean"
    val = tmp_path / "val.jsonl"
    rows = [json.loads(row) for row in (data_folder / "val.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {key: str(data_folder / row[key]) for key in ("safe_image", "unsafe_image")}
    lines = [json.dumps(row) for row in rows] + ['{"id": "half"}']
    val.write_text("\n".join(lines), encoding="utf-8")
    line = invoke(a, b, out=out)
    line[line.index("--val") + 1] = str(val)
    assert "--skip-bad" in refusal(line, 3) and not out.exists()
    assert CliRunner().invoke(soup.main, [*line, "--skip-bad"]).exit_code == 0
    described = load_checkpoint(out)[1].data["validation"]
    assert (described["records"], described["skipped"]) == (6, 1)
