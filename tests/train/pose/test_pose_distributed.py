"""Two gloo processes share each batch, agree on the weights and write one checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from edgesafe.train.pose.checkpoint import load_pose_checkpoint
from edgesafe.train.pose.engine import pose_run_folder

SCRIPT = Path(__file__).with_name("two_pose_processes.py")


@pytest.mark.slow
def test_two_processes_train_one_network(
    cubes: Path,
    tmp_path: Path,
    pose_config: Callable[..., dict[str, Any]],
    in_two_processes: Callable[[Path, Path], None],
) -> None:
    job = tmp_path / "job.json"
    job.write_text(
        json.dumps({"folder": str(tmp_path), "data": str(cubes), "config": pose_config()})
    )
    in_two_processes(SCRIPT, job)
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in range(2))
    pixels = [name for name in first if name.startswith("pixels/")]
    assert len(pixels) >= 4
    for name in pixels:
        assert len(first[name]) == len(second[name]) == 4
        assert not torch.equal(first[name], second[name])
    weights = [name for name in first if name.startswith("weight/")]
    assert weights
    for name in weights:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
    checkpoint = load_pose_checkpoint(tmp_path / "two")
    assert checkpoint.networks and all(v.isfinite().all() for v in checkpoint.state.values())
    lines = (pose_run_folder(tmp_path / "two") / "roi" / "metrics.jsonl").read_text().splitlines()
    steps = [line["step"] for line in map(json.loads, lines) if line["kind"] == "train"]
    assert steps == sorted(set(steps)) and len(steps) == len(pixels)
