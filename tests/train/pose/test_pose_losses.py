"""The losses of the pose networks against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from edgesafe.train.pose.detector import DetectorTargets, detector_terms
from edgesafe.train.pose.losses import DirectTargets, VoteTargets, direct_terms, vote_terms

B, S, K, P = 3, 2, 4, 16


def vote_found(keypoints: Tensor, covariance: Tensor | None = None) -> dict[str, Tensor]:
    if covariance is None:
        covariance = torch.zeros(B, K, 3)
    return {
        "keypoints": keypoints,
        "covariance": covariance,
        "mask": torch.zeros(B, 1, 4, 4),
        "votes": keypoints[..., None].expand(B, K, 2, P),
    }


def test_keypoints_are_compared_with_the_nearest_symmetry() -> None:
    truth = torch.rand(B, S, K, 2) * 64
    found = vote_found(truth[:, 1] + 0.4)
    terms = vote_terms(found, VoteTargets(truth, torch.ones(B, 1, 4, 4)), nll=0.0)
    # 0.1 units of four pixels: 0.5 * 0.1^2 / beta, twice.
    assert float(terms["keypoints"]) == pytest.approx(2 * 0.5 * 0.1**2 / 0.25, rel=1e-3)
    assert float(terms["votes"]) == pytest.approx(0.2, rel=1e-3)
    assert float(terms["error"]) == pytest.approx(0.4 * 2**0.5, rel=1e-3)
    assert float(terms["mask"]) == pytest.approx(np.log(2), rel=1e-4)
    total = terms["mask"] + terms["keypoints"] + 0.3 * terms["votes"]
    torch.testing.assert_close(terms["loss"], total)


def test_votes_count_on_the_object_only() -> None:
    truth = torch.zeros(B, 1, K, 2)
    found = vote_found(torch.zeros(B, K, 2))
    votes = torch.zeros(B, K, 2, P)
    votes[..., 0] = 8.0
    found["votes"] = votes
    mask = torch.zeros(B, 1, 4, 4)
    assert float(vote_terms(found, VoteTargets(truth, mask), nll=0.0)["votes"]) == 0
    mask[:, :, 0, :2] = 1.0
    # Two cells of each sample count, one of them is wrong by 8 + 8 pixels.
    assert float(vote_terms(found, VoteTargets(truth, mask), nll=0.0)["votes"]) == pytest.approx(
        2.0
    )


def test_likelihood_against_numpy() -> None:
    rng = np.random.default_rng(0)
    mean, truth = rng.normal(size=(2, B, K, 2)) * 3
    root = rng.normal(size=(B, K, 2, 2)) * 2
    full = root @ root.transpose(0, 1, 3, 2)
    covariance = np.stack([full[..., 0, 0], full[..., 0, 1], full[..., 1, 1]], axis=-1)
    wide = full + np.eye(2)
    error = mean - truth
    inside = np.einsum("bki,bkij,bkj->bk", error, np.linalg.inv(wide), error)
    expected = 0.5 * (inside + np.log(np.linalg.det(wide))).mean()
    found = vote_found(torch.tensor(mean), torch.tensor(covariance))
    targets = VoteTargets(torch.tensor(truth)[:, None], torch.ones(B, 1, 4, 4).double())
    found["mask"] = found["mask"].double()
    terms = vote_terms(found, targets, nll=0.05)
    assert float(terms["nll"]) == pytest.approx(expected, rel=1e-6)
    without = vote_terms(found, targets, nll=0.0)["loss"]
    torch.testing.assert_close(terms["loss"] - without, 0.05 * terms["nll"])


def test_direct_terms_of_a_quarter_turn() -> None:
    turned = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    points = torch.tensor([[[10.0, 0, 0], [0, 10, 0]]])
    targets = DirectTargets(
        rotation=torch.stack([torch.eye(3), turned])[None],
        centre=torch.tensor([[[30.0, 30.0], [31.0, 30.0]]]),
        log_scale=torch.tensor([[0.0, 0.0]]),
        mask=torch.zeros(1, 1, 4, 4),
        points=points,
        diameter=torch.tensor([20.0]),
    )
    found = {
        "rotation": torch.eye(3)[None],
        "centre": torch.tensor([[34.0, 26.0]]),
        "log_scale": torch.tensor([0.25]),
        "mask": torch.zeros(1, 1, 4, 4),
    }
    terms = direct_terms(found, targets)
    assert float(terms["points"]) == 0  # the first symmetry is the nearest
    assert float(terms["centre"]) == pytest.approx(8 / 16)
    assert float(terms["depth"]) == pytest.approx(0.25)
    assert float(terms["error"]) == pytest.approx(0, abs=0.1)
    alone = DirectTargets(**{**vars(targets), "rotation": turned[None, None]})
    # Both points move by 10 along x and along y: 20 of a diameter of 20.
    assert float(direct_terms(found, alone)["points"]) == pytest.approx(1.0)
    assert float(direct_terms(found, alone)["error"]) == pytest.approx(90, abs=0.1)


def test_detector_terms_of_the_truth_are_small() -> None:
    heat = torch.zeros(1, 2, 4, 4)
    heat[0, 1, 2, 2] = 1.0
    box = torch.full((1, 4, 4, 4), 10.0)
    weight = heat[:, 1:]
    good = {"heat": torch.where(heat == 1, 8.0, -8.0), "box": box.clone()}
    bad = {"heat": torch.where(heat == 1, -8.0, 8.0), "box": box * 0.5}
    targets = DetectorTargets(heat, box, weight)
    right, wrong = (detector_terms(f, targets, box=1.0) for f in (good, bad))
    assert float(right["loss"]) < 1e-3
    assert float(right["iou"]) == pytest.approx(1)
    assert float(wrong["iou"]) == pytest.approx(0.25)
    # A box inside the true one: the generalised IoU is the IoU; L1 is 5 px of a side of 20.
    assert float(wrong["box"]) == pytest.approx(0.75 + 0.25)
    assert float(wrong["heat"]) > 8
