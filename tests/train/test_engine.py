"""The loop: what it writes, how it stops, and that a resumed run is the same run."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from edgesafe.runtime.errors import BackendError, CheckpointError, EdgesafeError, UsageError
from edgesafe.train import engine, evaluate
from edgesafe.train import run as run_module
from edgesafe.train.checkpoint import load_checkpoint, read_info
from edgesafe.train.config import RunConfig, read_config
from edgesafe.train.data import BadRecordsError
from edgesafe.train.engine import RunResult, run_folder
from edgesafe.train.objective import HysacObjective
from edgesafe.train.stop import Watch

Config = Callable[..., dict[str, Any]]


def run(config: dict[str, Any] | RunConfig, data: Path, out: Path, **options: Any) -> RunResult:
    ready = config if isinstance(config, RunConfig) else read_config(config)
    return engine.train(ready, data, out, device="cpu", progress=False, **options)


def lines(out: Path, kind: str) -> list[dict[str, Any]]:
    text = (run_folder(out) / "metrics.jsonl").read_text()
    return [row for row in map(json.loads, text.splitlines()) if row["kind"] == kind]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load((out / "model.safetensors").read_bytes())


def test_a_run_writes_all_that_is_promised(
    tiny_config: Config, data_folder: Path, tmp_path: Path
) -> None:
    concept = {"name": "fire", "tag": "fire", "prompts": ["a fire"]}
    config = {**tiny_config(train={"tensorboard": True}), "concepts": [concept]}
    result = run(config, data_folder, tmp_path / "ck")
    assert (result.ended, result.steps, result.epochs) == ("epochs", 6, 2)
    model, info = load_checkpoint(tmp_path / "ck")
    assert info.config == read_config(config).to_dict()
    assert info.data["records"] == 12 and info.data["validation"]["records"] == 6
    assert info.metrics["recall_sum"] == result.metrics["recall_sum"]
    assert set(info.bounds["unsafe_image"]) == {"avg", "low_05", "up_95"}
    assert info.geometry["curvature"] == pytest.approx(model.curvature.item())
    assert info.concepts[0] == {**concept, "safe": False}
    training = lines(tmp_path / "ck", "train")
    assert [row["step"] for row in training] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "text_image", "entail_safety", "curvature"} <= set(training[0])
    assert [row["epoch"] for row in lines(tmp_path / "ck", "validation")] == [0, 1]
    assert list((run_folder(tmp_path / "ck") / "tensorboard").glob("events*"))
    files = [p for p in tmp_path.rglob("*") if p.is_file() and "events" not in p.name]
    assert {p.suffix for p in files} == {".json", ".jsonl", ".safetensors"}


def test_training_lowers_the_loss_and_orders_the_shells(
    tiny_config: Config, data_folder: Path, tmp_path: Path
) -> None:
    config = tiny_config(
        train={"image": "full", "text": "full", "epochs": 8, "batch_size": 12, "selection": "auc"},
        loss={"shell_weight": 5.0},
        optimiser={"lr": 3e-3},
    )
    result = run(config, data_folder, tmp_path / "ck")
    losses = [row["loss"] for row in lines(tmp_path / "ck", "train")]
    assert losses[-1] < 0.8 * losses[0]
    assert result.metrics["auc"] > 0.9


@pytest.mark.parametrize("stop_at", [1, 4])
def test_resume_is_bit_identical(
    tiny_config: Config,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: int,
) -> None:
    """With dropout, augmentation, accumulation, moments, mean and early stopping all in play."""
    train = {"epochs": 3, "batch_size": 2, "accumulate": 2, "patience": 3, "text": "full"}
    config = tiny_config(
        train={**train, "ema": 0.8},
        loss={"shell_weight": 1.0},
        optimiser={"schedule": "cosine", "warmup_steps": 2, "clip_norm": 1.0},
    )
    run(config, data_folder, tmp_path / "whole")
    real = Watch.verdict

    def interrupt(self: Watch, device: torch.device) -> int:
        steps.append(None)
        if len(steps) == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, device)

    steps: list[None] = []
    monkeypatch.setattr(Watch, "verdict", interrupt)
    result = run(config, data_folder, tmp_path / "parts")
    assert (result.ended, result.steps) == ("interrupted", stop_at)
    torch.manual_seed(99)  # whatever happens in between must not matter
    monkeypatch.setattr(Watch, "verdict", real)
    result = run(config, data_folder, tmp_path / "parts", resume=True)
    assert (result.ended, result.steps) == ("epochs", 9)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
    state = [load((run_folder(tmp_path / n) / "state/state.safetensors").read_bytes())
             for n in ("whole", "parts")]  # fmt: skip
    assert all(torch.equal(state[0][k], state[1][k]) for k in state[0])
    first, second = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in lines(tmp_path / n, "train")]
        for n in ("whole", "parts")
    )
    assert first == second
    assert read_info(tmp_path / "whole") == read_info(tmp_path / "parts")


def test_the_running_mean_is_what_is_kept(
    tiny_config: Config, make_records: Callable[..., Path], tmp_path: Path
) -> None:
    data = make_records(tmp_path / "data", "train", 8)
    run(tiny_config(), data, tmp_path / "own")
    run(tiny_config(train={"ema": 0.9}), data, tmp_path / "mean")
    own, mean = (
        load((run_folder(tmp_path / n) / "state/state.safetensors").read_bytes())
        for n in ("own", "mean")
    )
    kept = weights(tmp_path / "mean")
    learnt = [k.removeprefix("param/") for k in own if k.startswith("param/")]
    for name in learnt:
        # Looking at the mean in between does not touch what learns.
        assert torch.equal(mean[f"param/{name}"], own[f"param/{name}"]), name
    averaged = {n: mean[f"extra/mean/{n}"] for n in learnt}
    assert all(torch.equal(kept[n], averaged[n]) for n in learnt if n in kept)
    assert any(not torch.equal(averaged[n], own[f"param/{n}"]) for n in learnt if n in kept)


def test_resume_after_a_crash_between_saves(
    tiny_config: Config, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(train={"save_minutes": 0.0})
    run(config, data_folder, tmp_path / "whole")
    forward = HysacObjective.forward
    count = 0

    def crash(self: HysacObjective, batch: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            raise RuntimeError("power cut")
        return forward(self, batch)

    monkeypatch.setattr(HysacObjective, "forward", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        run(config, data_folder, tmp_path / "parts")
    run(config, data_folder, tmp_path / "parts", resume=True)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_finished_run_can_be_given_more_epochs(
    tiny_config: Config, data_folder: Path, tmp_path: Path
) -> None:
    run(tiny_config(train={"epochs": 3}), data_folder, tmp_path / "whole")
    run(tiny_config(train={"epochs": 1}), data_folder, tmp_path / "parts")
    result = run(tiny_config(train={"epochs": 3}), data_folder, tmp_path / "parts", resume=True)
    assert result.steps == 9
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_resume_refuses_another_run(
    tiny_config: Config, data_folder: Path, tmp_path: Path, make_records: Callable[..., Path]
) -> None:
    out = tmp_path / "ck"
    with pytest.raises(CheckpointError, match="no run to go on with"):
        run(tiny_config(), data_folder, out, resume=True)
    run(tiny_config(train={"epochs": 1}), data_folder, out)
    with pytest.raises(CheckpointError, match="optimiser.lr was 0.001 and is 0.5"):
        run(tiny_config(optimiser={"lr": 0.5}), data_folder, out, resume=True)
    make_records(tmp_path / "other", "train", 8)
    with pytest.raises(CheckpointError, match="other training data"):
        run(tiny_config(), tmp_path / "other", out, resume=True)
    state = run_folder(out) / "state"
    place = json.loads((state / "state.json").read_text())
    (state / "state.json").write_text(json.dumps({**place, "frozen": "0"}))
    with pytest.raises(CheckpointError, match="other initial weights"):
        run(tiny_config(), data_folder, out, resume=True)
    (state / "state.safetensors").write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="is broken"):
        run(tiny_config(), data_folder, out, resume=True)


def test_keys_that_an_older_version_did_not_know_had_their_default(
    tiny_config: Config, data_folder: Path, tmp_path: Path
) -> None:
    run(tiny_config(train={"epochs": 1}), data_folder, tmp_path / "ck")
    path = run_folder(tmp_path / "ck") / "state/state.json"
    place = json.loads(path.read_text())
    del place["config"]["loss"]["paper_eps"]
    path.write_text(json.dumps(place))
    changed = tiny_config(loss={"paper_eps": True})
    with pytest.raises(CheckpointError, match="loss.paper_eps was False and is True"):
        run(changed, data_folder, tmp_path / "ck", resume=True)
    assert run(tiny_config(), data_folder, tmp_path / "ck", resume=True).steps == 6


def test_a_run_can_start_from_a_checkpoint(
    tiny_config: Config, data_folder: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run(tiny_config(train={"epochs": 1, "image": "full"}), data_folder, first)
    still = {"learn_curvature": False, "learn_scales": False, "learn_temperature": False}
    config = tiny_config(
        train={"epochs": 1, "image": "frozen", "text": "head"}, lift={**still, "min_radius": 0.2}
    )
    run(config, data_folder, second, init=first)
    before, after = weights(first), weights(second)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("encoder.text.") for name in changed)
    info = read_info(second)
    assert info.data["init"] == {"data": info.data["fingerprint"], "seed": 3, "step": 3}
    assert info.geometry["min_radius"] == 0.2
    config["architecture"]["config"]["embed_dim"] = 8
    with pytest.raises(UsageError, match="another architecture: config differ"):
        run(config, data_folder, tmp_path / "third", init=first)


def test_existing_checkpoints_are_not_overwritten(
    tiny_config: Config, data_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "ck").mkdir()
    with pytest.raises(UsageError, match="--resume"):
        run(tiny_config(), data_folder, tmp_path / "ck")


def test_time_limit_stops_cleanly_and_can_be_resumed(
    tiny_config: Config, data_folder: Path, tmp_path: Path
) -> None:
    run(tiny_config(), data_folder, tmp_path / "whole")
    out = tmp_path / "ck"
    result = run(tiny_config(train={"max_minutes": 1e-9}), data_folder, out)
    assert (result.ended, result.steps, result.epochs) == ("max_minutes", 1, 0)
    assert read_info(out).bounds
    assert run(tiny_config(), data_folder, out, resume=True).steps == 6
    training = [lines(n, "train") for n in (out, tmp_path / "whole")]
    assert [r["loss"] for r in training[0]] == [r["loss"] for r in training[1]]


def test_early_stopping_keeps_the_best(
    tiny_config: Config, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([0.3, 0.7, 0.6, 0.5, 0.9])
    real = evaluate.metrics

    def scripted(*arguments: Any) -> dict[str, float]:
        return {**real(*arguments), "auc": next(values)}

    monkeypatch.setattr(run_module, "metrics", scripted)
    config = tiny_config(train={"epochs": 9, "patience": 2, "selection": "auc"})
    result = run(config, data_folder, tmp_path / "ck")
    assert (result.ended, result.epochs) == ("patience", 4)
    assert result.metrics["auc"] == 0.7
    assert read_info(tmp_path / "ck").metrics["step"] == 6
    assert [row["kept"] for row in lines(tmp_path / "ck", "validation")] == [True, True, False,
                                                                             False]  # fmt: skip


def test_selection_by_loss_wants_less(
    tiny_config: Config, data_folder: Path, tmp_path: Path
) -> None:
    config = tiny_config(train={"epochs": 4, "selection": "loss", "image": "full"})
    result = run(config, data_folder, tmp_path / "ck")
    losses = [row["loss"] for row in lines(tmp_path / "ck", "validation")]
    assert result.metrics["loss"] == min(losses)


def test_without_validation_the_last_epoch_is_kept(
    tiny_config: Config, make_records: Callable[..., Path], tmp_path: Path
) -> None:
    data = make_records(tmp_path / "data", "train", 8)
    result = run(tiny_config(), data, tmp_path / "ck")
    assert result.metrics == {}
    assert read_info(tmp_path / "ck").metrics["step"] == 4
    assert read_info(tmp_path / "ck").bounds["safe_text"]["avg"] > 0


def test_texts_of_a_frozen_tower_are_encoded_once(
    tiny_config: Config, data_folder: Path, tmp_path: Path
) -> None:
    found = []
    for cache in (True, False):
        config = tiny_config(train={"text": "frozen", "epochs": 1, "cache_frozen_text": cache})
        run(config, data_folder, tmp_path / str(cache))
        found.append([row["loss"] for row in lines(tmp_path / str(cache), "train")])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_bf16_towers_train(tiny_config: Config, data_folder: Path, tmp_path: Path) -> None:
    plain = run(tiny_config(train={"epochs": 1}), data_folder, tmp_path / "a")
    half = run(tiny_config(train={"epochs": 1, "precision": "bf16"}), data_folder, tmp_path / "b")
    assert half.metrics["loss"] == pytest.approx(plain.metrics["loss"], rel=0.05)
    assert half.metrics["loss"] != plain.metrics["loss"]
    assert {t.dtype for t in weights(tmp_path / "b").values()} == {torch.float32}


def test_bad_records_stop_the_run_and_are_written_down(
    tiny_config: Config, data_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(data_folder, tmp_path / "data")
    (tmp_path / "data/images/train0_safe.png").unlink()
    with pytest.raises(BadRecordsError):
        run(tiny_config(), tmp_path / "data", tmp_path / "ck")
    report = (tmp_path / "ck.bad_records.jsonl").read_text()
    assert json.loads(report)["problem"] == "missing_file"
    assert not (tmp_path / "ck").exists() and not run_folder(tmp_path / "ck").exists()
    config = tiny_config(train={"epochs": 1})
    result = run(config, tmp_path / "data", tmp_path / "ck", skip_bad=True)
    assert result.steps == 2 and read_info(tmp_path / "ck").data["skipped"] == 1


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_spoilt(
    tiny_config: Config, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = HysacObjective.forward

    def poisoned(self: HysacObjective, batch: Any) -> dict[str, torch.Tensor]:
        return {**forward(self, batch), "loss": torch.tensor(float("nan"))}

    monkeypatch.setattr(HysacObjective, "forward", poisoned)
    with pytest.raises(EdgesafeError, match="the loss is nan at step 0"):
        run(tiny_config(), data_folder, tmp_path / "ck")


def test_devices_that_are_not_there(
    tiny_config: Config, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="no CUDA device"):
        engine.train(read_config(tiny_config()), data_folder, tmp_path / "ck", device="cuda")
    with pytest.raises(UsageError, match="use auto, cpu or cuda"):
        engine.train(read_config(tiny_config()), data_folder, tmp_path / "ck", device="tpu")


def test_too_few_records(
    tiny_config: Config, make_records: Callable[..., Path], tmp_path: Path
) -> None:
    data = make_records(tmp_path / "data", "train", 1)
    assert run(tiny_config(train={"epochs": 1}), data, tmp_path / "ck").steps == 1
