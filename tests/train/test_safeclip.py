"""Safe-CLIP's terms and its reference; whole runs of it and of the CLIP baseline."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load
from torch import Tensor

from edgesafe.runtime.errors import CheckpointError, UsageError
from edgesafe.train import engine
from edgesafe.train import run as run_module
from edgesafe.train.checkpoint import load_checkpoint
from edgesafe.train.cli import train as command
from edgesafe.train.config import load_config, read_config
from edgesafe.train.engine import RunResult, run_folder
from edgesafe.train.loss_config import ClipConfig, SafeClipConfig
from edgesafe.train.losses import Quadruplets
from edgesafe.train.model import EuclideanDualEncoder, HyperbolicDualEncoder, unit
from edgesafe.train.safeclip import Reference, clip_terms, safeclip_terms

Config = Callable[..., dict[str, Any]]


def run(config: dict[str, Any], data: Path, out: Path, **options: Any) -> RunResult:
    return engine.train(read_config(config), data, out, device="cpu", progress=False, **options)


@pytest.fixture
def safeclip(tiny_config: Config) -> Config:
    return lambda **changes: {**tiny_config(**changes), "method": "safeclip"}


def rows(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return unit(torch.randn(5, 8, generator=generator, dtype=torch.float64))


def nce(x: Tensor, y: Tensor, scale: float) -> float:
    """Symmetric cross entropy, written out."""
    logits = scale * (x @ y.T).numpy()
    total = 0.0
    for table in (logits, logits.T):
        for i, row in enumerate(table):
            total += np.logaddexp.reduce(row) - row[i]
    return total / (2 * len(logits))


def test_the_eight_terms() -> None:
    batch = Quadruplets(*(rows(i) for i in range(4)))
    text, image = rows(4), rows(5)
    found = safeclip_terms(batch, text, image, SafeClipConfig())
    T, V, T_, V_ = batch.safe_text, batch.safe_image, batch.unsafe_text, batch.unsafe_image

    def apart(x: Tensor, y: Tensor) -> float:
        return float(np.mean([1 - float(a @ b) for a, b in zip(x, y, strict=True)]))

    expected = {
        "keep_text": (0.1, apart(T, text)),
        "redirect_text": (0.1, apart(T_, text)),
        "keep_image": (0.1, apart(V, image)),
        "redirect_image": (0.2, apart(V_, image)),
        "match_text": (0.25, nce(T, image, 100)),
        "redirect_text_to_image": (0.25, nce(T_, image, 100)),
        "match_image": (0.25, nce(V, text, 100)),
        "redirect_image_to_text": (0.5, nce(V_, text, 100)),
    }
    assert set(found) == {"loss", *expected}
    for name, (_, value) in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-9), name
    total = sum(weight * value for weight, value in expected.values())
    assert float(found["loss"]) == pytest.approx(total, rel=1e-9)
    released = safeclip_terms(batch, text, image, SafeClipConfig(normalise="released"))
    assert float(released["loss"]) == pytest.approx(total / 1.75 / 8, rel=1e-9)


def test_clips_terms() -> None:
    batch = Quadruplets(*(rows(i) for i in range(4)))
    found = clip_terms(batch, torch.tensor(20.0), ClipConfig(unsafe_text_unsafe_image=0.5))
    safe = nce(batch.safe_text, batch.safe_image, 20)
    unsafe = nce(batch.unsafe_text, batch.unsafe_image, 20)
    assert float(found["loss"]) == pytest.approx(safe + 0.5 * unsafe, rel=1e-6)


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_the_reference_stays_where_it_was(
    mode: str, safeclip: Config, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    class Watched(Reference):
        def __init__(self, model: EuclideanDualEncoder) -> None:
            super().__init__(model)
            seen["reference"], seen["trained"] = self.model, model
            seen["before"] = {k: v.clone() for k, v in model.state_dict().items()}

    monkeypatch.setattr("edgesafe.train.methods.Reference", Watched)
    config = safeclip(train={"image": mode, "text": mode}, lora={"dropout": 0.5})
    run(config, data_folder, tmp_path / "ck")
    reference, trained = seen["reference"], seen["trained"]
    after = reference.state_dict()
    assert after.keys() == seen["before"].keys()  # no adapter came in
    assert all(torch.equal(after[name], tensor) for name, tensor in seen["before"].items())
    assert not any(module.training for module in reference.modules())
    own = {p.data_ptr() for p in trained.parameters()}
    assert not own & {p.data_ptr() for p in reference.parameters()}
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        moved = trained.eval().encode_image(pixels) - reference.encode_image(pixels)
    assert float(moved.norm(dim=-1).min()) > 1e-3


def test_a_run_redirects_and_writes_all_that_is_promised(
    safeclip: Config, data_folder: Path, tmp_path: Path
) -> None:
    config = safeclip(
        train={"image": "full", "text": "full", "epochs": 4, "batch_size": 12},
        # Random towers do not match one another; what is within a modality must still move.
        safeclip={
            "match_text": 0.0,
            "match_image": 0.0,
            "redirect_text_to_image": 0.0,
            "redirect_image_to_text": 0.0,
        },
    )
    result = run(config, data_folder, tmp_path / "ck")
    assert {"recall_sum", "loss"} <= result.metrics.keys() and "auc" not in result.metrics
    model, info = load_checkpoint(tmp_path / "ck")
    assert isinstance(model, EuclideanDualEncoder)
    assert info.method == "safeclip" and info.bounds == {}
    assert info.geometry == {"model": "euclidean", "dim": 16}
    assert model.logit_scale.item() == pytest.approx(math.log(100))
    log = (run_folder(tmp_path / "ck") / "metrics.jsonl").read_text().splitlines()
    steps = [row for row in map(json.loads, log) if row["kind"] == "train"]
    for name in ("loss", "redirect_text", "redirect_image"):
        assert steps[-1][name] < 0.8 * steps[0][name], name


def test_a_resumed_run_is_the_same_run(
    safeclip: Config, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(safeclip(), data_folder, tmp_path / "whole")

    class Impatient(run_module.Watch):
        steps = 0

        def verdict(self, device: torch.device) -> int:
            self.steps += 1
            return run_module.INTERRUPTED if self.steps == 4 else super().verdict(device)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "Watch", Impatient)
        assert run(safeclip(), data_folder, tmp_path / "cut").ended == "interrupted"
    assert run(safeclip(), data_folder, tmp_path / "cut", resume=True).ended == "epochs"
    one, other = (
        load((tmp_path / name / "model.safetensors").read_bytes()) for name in ("whole", "cut")
    )
    assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
    with pytest.raises(CheckpointError, match=r"safeclip\.redirect_text was 0\.1 and is 0\.3"):
        changed = {**safeclip(train={"epochs": 3}), "safeclip": {"redirect_text": 0.3}}
        run(changed, data_folder, tmp_path / "cut", resume=True)


def test_other_initial_weights_are_not_resumed(
    safeclip: Config, data_folder: Path, tmp_path: Path
) -> None:
    # With everything learning, nothing but the reference shows what the run began with.
    config = safeclip(train={"image": "full", "text": "full", "epochs": 1})
    run(config, data_folder, tmp_path / "first")
    other = {**config, "seed": 4}
    run(other, data_folder, tmp_path / "second")
    run(config, data_folder, tmp_path / "ck", init=tmp_path / "first")
    with pytest.raises(CheckpointError, match="other initial weights"):
        run(config, data_folder, tmp_path / "ck", init=tmp_path / "second", resume=True)


def test_a_checkpoint_of_another_geometry_gives_its_towers(
    tiny_config: Config, safeclip: Config, data_folder: Path, tmp_path: Path
) -> None:
    clip = {**tiny_config(train={"epochs": 1}, clip={"temperature": 0.05}), "method": "clip"}
    run(clip, data_folder, tmp_path / "clip")
    start, info = load_checkpoint(tmp_path / "clip")
    assert isinstance(start, EuclideanDualEncoder) and info.method == "clip"
    assert start.logit_scale.item() != pytest.approx(math.log(20), abs=1e-6)  # it learns
    frozen = {"image": "frozen", "text": "frozen", "epochs": 1}
    run(tiny_config(train=frozen), data_folder, tmp_path / "hysac", init=tmp_path / "clip")
    lifted, info = load_checkpoint(tmp_path / "hysac")
    assert isinstance(lifted, HyperbolicDualEncoder)
    assert info.data["init"]["seed"] == 3 and info.bounds
    ours, theirs = lifted.encoder.state_dict(), start.encoder.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_configuration(safeclip: Config, tmp_path: Path) -> None:
    plain = read_config({"method": "safeclip", "architecture": {"name": "edge"}})
    assert (plain.optimiser.lr, plain.optimiser.weight_decay) == (1e-3, 0.0)
    assert (plain.train.batch_size, plain.train.epochs, plain.train.patience) == (128, 50, 5)
    assert read_config(plain.to_dict()) == plain
    for changes, message in (
        ({"loss": {"entail_safe": 0.5}}, "loss is a table of hysac; the method is safeclip"),
        ({"lift": {"curvature": 0.5}}, "lift is a table of hysac"),
        ({"train": {"selection": "auc"}}, "has no distance from a root"),
        ({"safeclip": {"redirect": 1.0}}, 'unknown key "safeclip.redirect"'),
        ({"safeclip": {"keep_text": -1.0}}, "must not be negative"),
    ):
        with pytest.raises(UsageError, match=message):
            read_config(safeclip(**changes))
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"architecture": {"name": "edge"}}))
    assert load_config(file, "safeclip").method == "safeclip"
    assert load_config(file).method == "hysac"


def test_the_commands(safeclip: Config, data_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps(safeclip(train={"epochs": 1})))
    options = ["--config", str(file), "--data", str(data_folder), "--device", "cpu", "--json"]
    done = CliRunner().invoke(command, ["safeclip", *options, "--out", str(tmp_path / "ck")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["ended"] == "epochs"
    wrong = CliRunner().invoke(command, ["hysac", *options, "--out", str(tmp_path / "no")])
    assert isinstance(wrong.exception, UsageError)
    assert "run `edgesafe train safeclip`" in str(wrong.exception)
