"""The configuration, the schedule, the running mean, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from edgesafe.runtime.errors import UsageError
from edgesafe.train.cli import train
from edgesafe.train.pose.config import FitConfig, load_pose_config, read_pose_config
from edgesafe.train.pose.loader import batches_of_epoch
from edgesafe.train.pose.network import RoiNetwork, architecture_of
from edgesafe.train.pose.schedule import adamw, lr_factor

CONFIGS = Path(__file__).parents[3] / "samples" / "configs"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"roi": {"profil": "tiny"}}, 'did you mean "roi.profile"'),
        ({"roi": {"size": 100}}, "multiple of 32"),
        ({"roi": {"profile": "tiny", "trunk": "efficientnet_lite0"}}, "plain"),
        ({"roi": {"fit": {"lr": 0}}}, "lr"),
        ({"roi": {"fit": {"clock": "sun"}}}, "wall or cpu"),
        ({"detector": {"width_px": 300}}, "multiple of 16"),
        ({"data": {"shift": 2.0}}, "shift"),
        ({"colour": {"hue": 2.0}}, "hue"),
        ({"names": {"ape": "1"}}, "id"),
        ({"objects": [1, 1]}, "different"),
        ({"method": "hysac"}, "pose"),
    ],
)
def test_bad_keys_and_values_are_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_pose_config(table)


def test_plain_form_reads_back() -> None:
    config = read_pose_config({"detector": {"zoom": [0.8, 1.2]}, "names": {"1": "ape"}})
    assert read_pose_config(config.to_dict()) == config
    assert read_pose_config({}).detector is None


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("pose-*.toml")), ids=lambda p: p.name)
def test_sample_configurations_are_valid(path: Path) -> None:
    assert load_pose_config(path).method == "pose"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_pose_config(tmp_path / "missing.toml")
    (tmp_path / "a.toml").write_text("x = ")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_pose_config(tmp_path / "a.toml")
    (tmp_path / "a.yaml").write_text("x: 1")
    with pytest.raises(UsageError, match="ends in"):
        load_pose_config(tmp_path / "a.yaml")


def test_one_cycle_rises_and_falls() -> None:
    fit = FitConfig(warmup=0.2, final_lr=0.01)
    assert lr_factor(0.0, fit) == pytest.approx(0.04)
    assert lr_factor(0.1, fit) == pytest.approx(0.52)
    assert lr_factor(0.2, fit) == pytest.approx(1.0)
    assert lr_factor(0.6, fit) == pytest.approx(0.505)
    assert lr_factor(1.0, fit) == pytest.approx(0.01)
    assert lr_factor(0.1, FitConfig(warmup=0.2, schedule="cosine")) == pytest.approx(0.5)


def test_groups_of_the_optimiser() -> None:
    pytest.importorskip("timm")
    network = RoiNetwork(
        architecture_of(
            profile="small", trunk="efficientnet_lite0", head="vote", keypoints=9, objects=2
        )
    )
    optimiser = adamw(network, FitConfig(trunk_lr=0.1, freeze=2, weight_decay=0.5))
    named = {n: g for g in optimiser.param_groups for n in g["names"]}
    assert named["head.last.weight"]["weight_decay"] == 0.5
    assert named["head.last.bias"]["weight_decay"] == 0
    assert named["head.last.weight"]["lr_scale"] == 1
    assert named["trunk.stages.1.0.conv_pw.weight"]["lr_scale"] == 0.1
    assert not [name for name in named if name.startswith(("trunk.stem", "trunk.stages.0"))]
    learning = {n for n, p in network.named_parameters() if p.requires_grad}
    assert learning == set(named)


def test_an_epoch_sees_each_sample_once() -> None:
    batches = batches_of_epoch(23, seed=1, epoch=2, size=5)
    seen = [n for batch in batches for n in batch]
    assert len(batches) == 4 and len(set(seen)) == 20
    assert batches == batches_of_epoch(23, seed=1, epoch=2, size=5)
    assert batches != batches_of_epoch(23, seed=1, epoch=3, size=5)
    assert [len(b) for b in batches_of_epoch(3, seed=1, epoch=0, size=8, multiple=2)] == [2]


def test_command(cubes: Path, tmp_path: Path, pose_config: Callable[..., dict[str, Any]]) -> None:
    config = tmp_path / "pose.json"
    config.write_text(json.dumps(pose_config(roi={"fit": {"epochs": 1}})))
    out = tmp_path / "out"
    arguments = ["pose", "--config", str(config), "--data", str(cubes), "--out", str(out)]
    arguments += ["--device", "cpu", "--cache", str(tmp_path / "cache")]
    done = CliRunner().invoke(train, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["networks"][0]["name"] == "roi" and found["networks"][0]["steps"] == 4
    assert len(list((tmp_path / "cache").iterdir())) == 2
    again = CliRunner().invoke(train, arguments)
    assert isinstance(again.exception, UsageError)


def test_command_takes_a_list_of_frames(
    cubes: Path, tmp_path: Path, pose_config: Callable[..., dict[str, Any]]
) -> None:
    config = tmp_path / "pose.json"
    config.write_text(json.dumps(pose_config(roi={"fit": {"epochs": 1}})))
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(str(i) for i in range(4)))
    done = CliRunner().invoke(
        train,
        [
            *("pose", "--config", str(config), "--data", str(cubes), "--val", str(cubes)),
            *("--out", str(tmp_path / "out"), "--device", "cpu", "--split", str(listed)),
        ],
    )
    assert done.exit_code == 0, done.output
    data = json.loads((tmp_path / "out" / "checkpoint.json").read_text())["data"]
    # With --val none are held out.
    assert data["frames"] == 4
    assert "recall" in done.stdout


def test_workers_make_the_same_batches(
    cubes: Path, tmp_path: Path, pose_config: Callable[..., dict[str, Any]]
) -> None:
    from edgesafe.train.pose.checkpoint import load_pose_checkpoint
    from edgesafe.train.pose.engine import train_pose

    found = []
    for workers in (0, 1):
        table = pose_config(roi={"fit": {"epochs": 1}}, data={"workers": workers})
        out = tmp_path / str(workers)
        train_pose(read_pose_config(table), [cubes], out, device="cpu", progress=False)
        found.append(load_pose_checkpoint(out).state)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
