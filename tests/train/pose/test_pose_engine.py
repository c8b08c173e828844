"""Runs of pose training: learning, stopping, going on, several networks, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgesafe.runtime.errors import CheckpointError, DataError, UsageError
from edgesafe.train.pose.checkpoint import is_pose_checkpoint, load_pose_checkpoint
from edgesafe.train.pose.config import read_pose_config
from edgesafe.train.pose.engine import PoseResult, pose_run_folder, train_pose

from .conftest import write_cubes

Table = dict[str, Any]
Make = Callable[..., Table]
PLAIN = {"background": 0.0, "occlude": 0.0, "erase": 0.0}


def run(table: Table, data: Path, out: Path, **options: Any) -> PoseResult:
    return train_pose(read_pose_config(table), [data], out, device="cpu", progress=False, **options)


def lines(out: Path, network: str = "roi") -> list[Table]:
    text = (pose_run_folder(out) / network / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def states(out: Path) -> dict[str, torch.Tensor]:
    return dict(load_pose_checkpoint(out).state)


def test_a_handful_of_crops_is_learnt_to_less_than_a_pixel(
    tmp_path: Path, pose_config: Make
) -> None:
    data = write_cubes(tmp_path / "data", 6)
    table = pose_config(
        roi={
            "width": 16,
            "fit": {"epochs": 90, "batch_size": 12, "lr": 4e-3, "ema": 0.9, "log_every": 30},
        },
        data={**PLAIN, "shift": 0.05, "scale": 0.05, "validation_share": 0.0},
        colour={"strength": 0.0},
    )
    result = run(table, data, tmp_path / "out", validation=data)
    found = result.networks[0]
    assert found.ended == "epochs" and found.epochs == found.steps == 90
    assert found.metrics["keypoint_px"] < 1
    assert found.metrics["recall"] > 0.4  # of cubes of thirty pixels


def test_the_direct_head_learns_too(tmp_path: Path, pose_config: Make) -> None:
    data = write_cubes(tmp_path / "data", 4, objects=(1,))
    table = pose_config(
        roi={
            "head": "direct",
            "width": 16,
            "fit": {"epochs": 80, "batch_size": 4, "lr": 4e-3, "ema": 0.9, "log_every": 20},
        },
        data={**PLAIN, "shift": 0.02, "scale": 0.02, "validation_share": 0.0},
        colour={"strength": 0.0},
    )
    result = run(table, data, tmp_path / "out", validation=data)
    errors = [line["error"] for line in lines(tmp_path / "out") if line["kind"] == "train"]
    assert errors[-1] < 0.3 * errors[0]
    assert "recall/obj_000001" in result.networks[0].metrics


def test_resumed_run_equals_an_uninterrupted_one(
    cubes: Path, tmp_path: Path, pose_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pose_config(roi={"fit": {"epochs": 3, "precision": "bf16"}})
    run(table, cubes, tmp_path / "whole")

    from edgesafe.train.pose.fit import Fit

    step = Fit._step

    def stop_after(self: Fit, batch: Any) -> Any:
        values = step(self, batch)
        if self.place.step == 6:  # in the middle of the second epoch
            self.watch.interrupted = True
        return values

    monkeypatch.setattr(Fit, "_step", stop_after)
    first = run(table, cubes, tmp_path / "parts")
    assert first.interrupted and first.networks[0].steps == 6
    monkeypatch.undo()
    last = run(table, cubes, tmp_path / "parts", resume=True)
    assert last.networks[0].ended == "epochs"
    whole, parts = states(tmp_path / "whole"), states(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    losses = [
        [line["loss"] for line in lines(tmp_path / name) if line["kind"] == "train"]
        for name in ("whole", "parts")
    ]
    assert losses[0] == losses[1]


def test_resume_refuses_another_run(cubes: Path, tmp_path: Path, pose_config: Make) -> None:
    out = tmp_path / "out"
    run(pose_config(), cubes, out)
    with pytest.raises(CheckpointError, match=r"network\.head"):
        run(pose_config(roi={"head": "direct"}), cubes, out, resume=True)
    with pytest.raises(CheckpointError, match=r"fit\.lr"):
        run(pose_config(roi={"fit": {"lr": 1e-4}}), cubes, out, resume=True)
    with pytest.raises(UsageError, match="--resume"):
        run(pose_config(), cubes, out)
    longer = run(pose_config(roi={"fit": {"epochs": 3}}), cubes, out, resume=True)
    assert longer.networks[0].epochs == 3


def test_a_budget_of_time_ends_the_run_and_its_schedule(
    cubes: Path, tmp_path: Path, pose_config: Make
) -> None:
    fit = {"max_minutes": 2.5 / 60, "clock": "cpu", "save_minutes": 0.01}
    result = run(pose_config(roi={"fit": fit}), cubes, tmp_path / "out")
    found = result.networks[0]
    assert found.ended == "max_minutes"
    assert 2.4 < found.seconds < 6
    assert found.epochs > 2  # epochs are not looked at
    trained = [line for line in lines(tmp_path / "out") if line["kind"] == "train"]
    assert trained[-1]["lr_factor"] < 0.05
    again = run(pose_config(roi={"fit": fit}), cubes, tmp_path / "out", resume=True)
    assert again.networks[0].steps <= found.steps + 1


def test_one_network_for_each_object_and_a_detector(
    cubes: Path, tmp_path: Path, pose_config: Make
) -> None:
    table = pose_config(
        roi={"per_object": True},
        detector={"width": 8, "width_px": 96, "height_px": 80, "fit": {"epochs": 2}},
        names={"5": "die"},
    )
    out = tmp_path / "out"
    result = run(table, cubes, out)
    assert [n.name for n in result.networks] == ["roi-000001", "roi-000005", "detector"]
    found = load_pose_checkpoint(out)
    assert [k.name for k in found.objects] == ["obj_000001", "die"]
    assert found.info("roi-000005").objects == (5,)
    assert found.network("roi-000005").objects == 1
    heat = found.network("detector")(torch.zeros(1, 3, 80, 96))["heat"]
    assert heat.shape == (1, 2, 10, 12)
    assert found.info("detector").metrics["step"] == result.networks[2].steps
    assert found.data["instances"] > 0 and found.data["depth_mm"][0] > 200


def test_networks_can_be_trained_one_after_another(
    cubes: Path, tmp_path: Path, pose_config: Make
) -> None:
    table = pose_config(detector={"width": 8, "width_px": 96, "height_px": 80, "fit": {}})
    table["detector"]["fit"] = table["roi"]["fit"]
    out = tmp_path / "out"
    run(table, cubes, out, only="roi")
    before = states(out)
    with pytest.raises(UsageError, match="exists"):
        run(table, cubes, out, only="roi")
    run(table, cubes, out, only="detector")
    found = load_pose_checkpoint(out)
    assert [n.name for n in found.networks] == ["roi", "detector"]
    assert all(torch.equal(found.state[name], before[name]) for name in before)
    with pytest.raises(UsageError, match=r"\[detector\]"):
        run(pose_config(), cubes, tmp_path / "other", only="detector")


def test_init_takes_weights_over_by_object(cubes: Path, tmp_path: Path, pose_config: Make) -> None:
    one = pose_config(objects=[5], roi={"fit": {"epochs": 1}})
    run(one, cubes, tmp_path / "one")
    slow = pose_config(roi={"fit": {"epochs": 1, "lr": 1e-9, "ema": 0.0}})
    run(slow, cubes, tmp_path / "both", init=tmp_path / "one")
    old, new = states(tmp_path / "one"), states(tmp_path / "both")
    torch.testing.assert_close(new["roi/head.last.weight"][1:], old["roi/head.last.weight"])
    torch.testing.assert_close(new["roi/trunk.far.weight"], old["roi/trunk.far.weight"])
    other = pose_config(roi={"width": 16})
    with pytest.raises(CheckpointError, match="width"):
        run(other, cubes, tmp_path / "wide", init=tmp_path / "one")


def test_photos_and_symmetries_in_a_run(cubes: Path, tmp_path: Path, pose_config: Make) -> None:
    import cv2

    data = shutil.copytree(cubes, tmp_path / "data")
    info = json.loads((data / "models" / "models_info.json").read_text())
    info["5"]["symmetries_continuous"] = [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]
    (data / "models" / "models_info.json").write_text(json.dumps(info))
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for i in range(2):
        cv2.imwrite(str(photos / f"{i}.png"), rng.integers(0, 256, (64, 80, 3), dtype=np.uint8))
    table = pose_config(data={"background": 1.0}, roi={"symmetry_step": 0.2})
    result = run(table, data, tmp_path / "out", photos=[photos])
    assert result.networks[0].steps > 0
    with pytest.raises(DataError, match="photos"):
        run(table, data, tmp_path / "none", photos=[tmp_path / "missing"])


def test_tensorboard_shows_pictures(cubes: Path, tmp_path: Path, pose_config: Make) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    table = pose_config(roi={"fit": {"epochs": 1, "tensorboard": True}})
    run(table, cubes, tmp_path / "out")
    events = EventAccumulator(str(pose_run_folder(tmp_path / "out") / "roi" / "tensorboard"))
    events.Reload()
    assert events.Tags()["images"] == ["regions"]
    assert "validation/recall" in events.Tags()["scalars"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": [1, 9]}, r"no object \[9\]"),
        ({"data": {"min_visible": 1.0}}, "visible"),
    ],
)
def test_data_that_cannot_be_learnt(
    cubes: Path, tmp_path: Path, pose_config: Make, change: Table, message: str
) -> None:
    data = cubes
    if "data" in change:
        data = shutil.copytree(cubes, tmp_path / "data")
        path = data / "train" / "000000" / "scene_gt_info.json"
        info = json.loads(path.read_text())
        for frame in info.values():
            for instance in frame:
                instance["visib_fract"] = 0.5
        path.write_text(json.dumps(info))
    with pytest.raises(DataError, match=message):
        run(pose_config(**change), data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_masks_are_named(cubes: Path, tmp_path: Path, pose_config: Make) -> None:
    data = shutil.copytree(cubes, tmp_path / "data")
    masks = data / "train" / "000000" / "mask_visib"
    (masks / "000003_000001.png").unlink()
    with pytest.raises(DataError, match="mask"):
        run(pose_config(), data, tmp_path / "out")
    shutil.rmtree(masks)
    with pytest.raises(DataError, match="mask_visib"):
        run(pose_config(), data, tmp_path / "out")
    with pytest.raises(DataError, match="is not a folder"):
        run(pose_config(), tmp_path / "nothing", tmp_path / "out")


def test_a_truncated_picture_is_named(cubes: Path, tmp_path: Path, pose_config: Make) -> None:
    data = shutil.copytree(cubes, tmp_path / "data")
    picture = data / "train" / "000000" / "rgb" / "000002.png"
    picture.write_bytes(b"no picture")
    with pytest.raises(DataError, match="000002"):
        run(pose_config(), data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    left = list((pose_run_folder(tmp_path / "out") / "cache").iterdir())
    assert not [path for path in left if path.name.startswith(".")]


def test_a_loss_that_is_not_finite_stops_the_run(
    cubes: Path, tmp_path: Path, pose_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgesafe.runtime.errors import EdgesafeError
    from edgesafe.train.pose.tasks import RoiObjective

    terms = RoiObjective.terms

    def spoilt(self: RoiObjective, *rest: Any) -> Any:
        found = terms(self, *rest)
        return {**found, "loss": found["loss"] * float("nan")}

    monkeypatch.setattr(RoiObjective, "terms", spoilt)
    with pytest.raises(EdgesafeError, match=r"fit\.lr"):
        run(pose_config(), cubes, tmp_path / "out")


def test_checkpoints_that_are_broken(cubes: Path, tmp_path: Path, pose_config: Make) -> None:
    out = tmp_path / "out"
    run(pose_config(roi={"fit": {"epochs": 1}}), cubes, out)
    assert is_pose_checkpoint(out) and not is_pose_checkpoint(tmp_path)
    found = load_pose_checkpoint(out)
    with pytest.raises(CheckpointError, match="detector"):
        found.network("detector")
    short = dataclasses.replace(found, state={})
    with pytest.raises(CheckpointError, match="weights"):
        short.network("roi")
    (out / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="broken"):
        load_pose_checkpoint(out)
    (out / "checkpoint.json").write_text('{"format": "edgesafe.checkpoint/1"}')
    with pytest.raises(CheckpointError):
        load_pose_checkpoint(out)
