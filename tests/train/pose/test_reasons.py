"""Consistency under other surroundings, and gradients beside the object."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgesafe.train.pose.config import read_pose_config
from edgesafe.train.pose.engine import pose_run_folder, train_pose
from edgesafe.train.pose.reasons import answer, answer_size, consistency, reasons

B, K, S = 2, 3, 32


def vote(keypoints: torch.Tensor, mask: float = 0.0) -> dict[str, torch.Tensor]:
    return {"keypoints": keypoints, "mask": torch.full((len(keypoints), 1, 4, 4), mask)}


def direct() -> dict[str, torch.Tensor]:
    return {
        "rotation": torch.eye(3).expand(B, 3, 3),
        "centre": torch.full((B, 2), 8.0),
        "log_scale": torch.zeros(B),
        "mask": torch.zeros(B, 1, 4, 4),
    }


def test_answers_have_their_size() -> None:
    assert answer(vote(torch.zeros(B, K, 2))).shape == (B, answer_size("vote", K))
    assert answer(direct()).shape == (B, answer_size("direct", K))


def test_consistency_against_its_formula() -> None:
    one, two = vote(torch.zeros(B, K, 2), 2.0), vote(torch.full((B, K, 2), 8.0), -1.0)
    p = 1 / (1 + math.exp(-2.0))
    q = 1 / (1 + math.exp(1.0))
    entropy = -(p * math.log(q) + (1 - p) * math.log(1 - q))
    # Two units of four pixels: |2| - 1/2.
    assert float(consistency(one, two)) == pytest.approx(1.5 + entropy / 2, rel=1e-5)
    # The masks of the picture itself are the truth and get no gradient.
    one["mask"].requires_grad_()
    assert not consistency(one, vote(torch.zeros(B, K, 2))).requires_grad


def test_gradients_count_beside_the_object_only() -> None:
    pixels = torch.rand(B, 3, S, S, requires_grad=True)
    weight = torch.zeros(3, S, S)
    weight[:, 4, 4] = 8.0  # on the object
    weight[1, 30, 30] = 3.0  # beside it
    keypoints = (pixels * weight).sum(dim=(1, 2, 3))[:, None, None].expand(B, 1, 2)
    mask = torch.zeros(B, 1, 4, 4)
    mask[:, :, 0, 0] = 0.2
    u = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    found = reasons({"keypoints": keypoints}, pixels, mask, u)
    expected = np.mean([(3 * 3.0 / 8) ** 2, (3 / 8) ** 2])
    assert float(found) == pytest.approx(expected, rel=1e-5)
    # The cell beside the object belongs to it.
    mask[:, :, 2, 2] = 1.0
    assert float(reasons({"keypoints": keypoints}, pixels, mask, u)) == 0


@pytest.mark.parametrize("head", ["vote", "direct"])
def test_a_run_with_both_lowers_them(
    cubes: Path, tmp_path: Path, pose_config: Callable[..., dict[str, Any]], head: str
) -> None:
    data = shutil.copytree(cubes, tmp_path / "data")
    roi = {"head": head, "consistency": 0.5, "reasons": 0.01}
    fit = {"epochs": 12, "batch_size": 8, "lr": 3e-3, "log_every": 1}
    table = pose_config(roi={**roi, "fit": fit})
    train_pose(read_pose_config(table), [data], tmp_path / "out", device="cpu", progress=False)
    text = (pose_run_folder(tmp_path / "out") / "roi" / "metrics.jsonl").read_text()
    steps = [row for row in map(json.loads, text.splitlines()) if row["kind"] == "train"]
    assert all(row["reasons"] >= 0 for row in steps)
    early, late = (np.mean([r["consistency"] for r in part]) for part in (steps[:3], steps[-3:]))
    assert late < early


def test_the_counterfactual_keeps_the_object(
    cubes: Path, tmp_path: Path, pose_config: Callable[..., dict[str, Any]]
) -> None:
    import cv2

    from edgesafe.train.pose.regions import RegionSamples

    seen: list[dict[str, Any]] = []
    sample = RegionSamples.sample

    def spy(self: RegionSamples, epoch: int, number: int) -> dict[str, Any]:
        seen.append(sample(self, epoch, number))
        return seen[-1]

    table = pose_config(
        roi={"consistency": 1.0, "fit": {"epochs": 1}},
        data={"background": 0.0, "occlude": 0.0, "erase": 0.0},
        colour={"strength": 0.0},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RegionSamples, "sample", spy)
        train_pose(read_pose_config(table), [cubes], tmp_path / "out", device="cpu", progress=False)
    assert seen
    for one in seen:
        side = one["pixels"].shape[0]
        inside = cv2.resize(one["mask"][0], (side, side), interpolation=cv2.INTER_NEAREST)
        change = np.abs(one["pixels"].astype(int) - one["counterfactual"]).mean(axis=2)
        if (inside == 1).any():  # cells of which at most a trace of a pixel is beside it
            assert change[inside == 1].mean() < 1
        assert change[inside == 0].mean() > 10
