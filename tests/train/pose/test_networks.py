"""The networks of pose training: shapes, what the vote counts, and the objects' own weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.pose.detector import Detector
from edgesafe.train.pose.direct import rotation_of
from edgesafe.train.pose.layers import cell_centres
from edgesafe.train.pose.network import RoiNetwork, architecture_of
from edgesafe.train.pose.vote import GATE, OFFSET, VoteHead


def architecture(**changes: Any) -> dict[str, Any]:
    known = {"profile": "tiny", "trunk": "plain", "head": "vote", "keypoints": 9, "objects": 1}
    return architecture_of(**{**known, **changes})


@pytest.mark.parametrize(
    ("profile", "parameters", "size"),
    [("tiny", 0.146e6, 128), ("small", 0.57e6, 256), ("base", 2.28e6, 256)],
)
def test_profiles_have_the_size_of_the_specification(
    profile: str, parameters: float, size: int
) -> None:
    network = RoiNetwork(architecture(profile=profile))
    count = sum(p.numel() for p in network.parameters())
    assert count == pytest.approx(parameters, rel=0.02)
    assert network.size == size


@pytest.mark.parametrize("objects", [1, 3])
@pytest.mark.parametrize("head", ["vote", "direct"])
def test_shapes(head: str, objects: int) -> None:
    network = RoiNetwork(architecture(head=head, objects=objects, size=64, keypoints=7)).eval()
    found = network(torch.randn(2, 3, 64, 64), torch.tensor([0, objects - 1]))
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    if head == "vote":
        assert shapes == {
            "keypoints": (2, 7, 2),
            "covariance": (2, 7, 3),
            "mask": (2, 1, 8, 8),
            "votes": (2, 7, 2, 64),
        }
    else:
        assert shapes == {
            "rotation": (2, 3, 3),
            "centre": (2, 2),
            "log_scale": (2,),
            "mask": (2, 1, 8, 8),
        }


def test_pretrained_trunk_without_its_last_stages() -> None:
    pytest.importorskip("timm")
    network = RoiNetwork(architecture(profile="small", trunk="efficientnet_lite0", size=64)).eval()
    found = network(torch.randn(1, 3, 64, 64))
    assert found["mask"].shape == (1, 1, 8, 8)
    # The whole EfficientNet-Lite0 has 4.65 million.
    assert sum(p.numel() for p in network.parameters()) < 1e6
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.trunk.stages.modules())


def test_a_sample_uses_the_weights_of_its_own_object() -> None:
    network = RoiNetwork(architecture(objects=3, size=64)).eval()
    torch.nn.init.normal_(network.head.last.weight)
    one = torch.randn(1, 3, 64, 64)
    together = network(one.repeat(3, 1, 1, 1), torch.tensor([2, 0, 2]))["keypoints"]
    apart = [network(one, torch.tensor([i]))["keypoints"][0] for i in range(3)]
    torch.testing.assert_close(together, torch.stack([apart[2], apart[0], apart[2]]))
    assert not torch.allclose(apart[0], apart[2], atol=0.1)


def test_cell_centres_are_those_of_the_pixels_they_cover() -> None:
    centres = cell_centres(2, 3, 8)
    assert centres[0].tolist() == [3.5, 11.5, 19.5] * 2
    assert centres[1].tolist() == [3.5] * 3 + [11.5] * 3


class Fixed(torch.nn.Module):
    """A last layer that says what it was told."""

    def __init__(self, raw: torch.Tensor) -> None:
        super().__init__()
        self.raw = raw

    def forward(self, x: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
        return self.raw


def counted(raw: np.ndarray[Any, Any], keypoints: int) -> dict[str, np.ndarray[Any, Any]]:
    """What a vote head makes of its last layer's output (1 + 3K, P)."""
    size = round(raw.shape[1] ** 0.5) * 8
    head = VoteHead(4, 4, size, keypoints, 1).eval()
    head.last = Fixed(torch.tensor(raw)[None])
    found = head(torch.zeros(1, 4, size // 8, size // 8))
    return {name: value[0].numpy() for name, value in found.items()}


def test_votes_are_counted_as_the_specification_says() -> None:
    rng = np.random.default_rng(0)
    keypoints, cells = 2, 16
    raw = rng.normal(size=(1 + 3 * keypoints, cells)).astype(np.float32)
    found = counted(raw, keypoints)
    grid = np.stack([np.tile(np.arange(4), 4), np.repeat(np.arange(4), 4)]) * 8 + 3.5
    mask, offsets, confidence = raw[0], raw[1:5].reshape(2, 2, cells), raw[5:]
    for k in range(keypoints):
        votes = grid + OFFSET * offsets[k]
        logit = confidence[k] - GATE * np.log1p(np.exp(-mask))
        weight = np.exp(logit) / np.exp(logit).sum()
        mean = votes @ weight
        spread = votes - mean[:, None]
        covariance = (spread * weight) @ spread.T
        np.testing.assert_allclose(found["keypoints"][k], mean, rtol=1e-5)
        np.testing.assert_allclose(
            found["covariance"][k], covariance[[0, 0, 1], [0, 1, 1]], rtol=1e-4
        )


def test_cells_beside_the_object_have_no_vote() -> None:
    raw = np.zeros((4, 16), dtype=np.float32)
    raw[0] = -20.0
    raw[0, 5] = 20.0  # the cell at (11.5, 11.5)
    found = counted(raw, 1)
    np.testing.assert_allclose(found["keypoints"], [[11.5, 11.5]], atol=1e-3)
    np.testing.assert_allclose(found["covariance"], 0, atol=1e-3)


def test_six_numbers_become_a_rotation() -> None:
    six = torch.randn(5, 6, dtype=torch.float64)
    R = rotation_of(six)
    torch.testing.assert_close(R @ R.transpose(1, 2), torch.eye(3).double().expand(5, 3, 3))
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(5).double())
    torch.testing.assert_close(R[:, :, 0], torch.nn.functional.normalize(six[:, :3]))


def test_detector_is_silent_at_first() -> None:
    description = {"trunk": "plain", "width": 8, "hidden": 16, "objects": 2}
    found = Detector(description).eval()(torch.randn(1, 3, 64, 96))
    assert found["heat"].shape == (1, 2, 8, 12)
    assert found["box"].shape == (1, 4, 8, 12)
    assert float(found["heat"].detach().sigmoid().mean()) < 0.1
    assert float(found["box"].detach().min()) > 0


@pytest.mark.parametrize("change", [{"trunk": "resnet"}, {"head": "none"}, {"size": "big"}])
def test_broken_descriptions_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        RoiNetwork({**architecture(), **change})
