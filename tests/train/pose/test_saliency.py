from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.pose.network import RoiNetwork, architecture_of
from edgesafe.train.pose.saliency import (
    METHODS,
    answer_vector,
    saliency,
    saliency_maps,
)


class Linear(nn.Module):
    """Keypoints that are a linear function of some of the pixels."""

    def __init__(self, seen: Tensor) -> None:
        super().__init__()
        self.objects, self.seen = 1, seen
        self.weights = torch.randn(4, *seen.shape, generator=torch.Generator().manual_seed(1))

    def trunk(self, pixels: Tensor) -> Tensor:
        return pixels * self.seen

    def head(self, features: Tensor, index: Tensor | None) -> dict[str, Tensor]:
        flat = torch.einsum("nchw,bchw->bn", self.weights, features)
        return {"keypoints": flat.reshape(-1, 2, 2)}


@pytest.fixture
def half() -> Linear:
    seen = torch.zeros(3, 8, 8)
    seen[:, :, :4] = 1
    return Linear(seen)


def test_the_gradient_of_a_linear_network_is_its_weights(half: Linear):
    pixels = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = saliency_maps(
        cast(RoiNetwork, half), pixels, torch.zeros(1, dtype=torch.long), METHODS[:2], seed=3
    )
    directions = torch.randn(6, 4, generator=torch.Generator().manual_seed(3))
    along = torch.einsum("un,nchw->uchw", directions, half.weights * half.seen) / 8
    np.testing.assert_allclose(
        maps["gradient"], along.abs().sum(1).mean(0).numpy(), rtol=1e-4, atol=1e-6
    )
    features = pixels[0] * half.seen
    norms = torch.einsum("un,nchw->uchw", directions, half.weights).flatten(2).norm(dim=2) / 8
    expected = (norms[..., None, None] * features).abs().sum(1).mean(0)
    np.testing.assert_allclose(maps["gradcam"], expected.numpy(), rtol=1e-4, atol=1e-6)
    for values in maps.values():
        assert values[:, :4].sum() > 0 and values[:, 4:].sum() == 0


def test_integrated_gradients_of_a_linear_network_are_gradient_times_input(half: Linear):
    pytest.importorskip("captum", reason="captum is not installed")
    pixels = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = saliency_maps(
        cast(RoiNetwork, half), pixels, torch.zeros(1, dtype=torch.long), ["integrated"], seed=3
    )
    directions = torch.randn(6, 4, generator=torch.Generator().manual_seed(3))
    along = torch.einsum("un,nchw->uchw", directions, half.weights * half.seen) / 8
    expected = (along * pixels[0]).abs().sum(1).mean(0)
    np.testing.assert_allclose(maps["integrated"], expected.numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("head", ["vote", "direct"])
def test_maps_of_both_heads(head: str):
    torch.manual_seed(0)
    shape = architecture_of(
        profile="tiny", trunk="plain", head=head, size=64, width=8, keypoints=5, objects=2
    )
    network = RoiNetwork(shape).eval()
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        answer = answer_vector(network(pixels, torch.tensor([1])))
    assert answer.shape == (1, 10 if head == "vote" else 12)
    before = [p.clone() for p in network.parameters()]
    maps = saliency_maps(network, pixels, torch.tensor([1]))
    again = saliency_maps(network, pixels, torch.tensor([1]))
    assert maps["gradient"].shape == (64, 64) and maps["gradcam"].shape == (8, 8)
    for name, values in maps.items():
        assert np.isfinite(values).all() and values.min() >= 0 and values.max() > 0
        np.testing.assert_array_equal(values, again[name])
    assert all(
        p.grad is None and (p == q).all() for p, q in zip(network.parameters(), before, strict=True)
    )


def test_a_checkpoint_that_is_not_there(tmp_path: Path):
    command: list[Any] = [str(tmp_path / "none"), str(tmp_path), "--out", str(tmp_path / "o")]
    with pytest.raises(CheckpointError, match="none"):
        CliRunner().invoke(saliency, command, catch_exceptions=False)
