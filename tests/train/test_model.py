from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from edgesafe.train import lorentz
from edgesafe.train.encoders.base import build_encoder
from edgesafe.train.model import HyperbolicDualEncoder, ImageHead, Lift, TextHead


def test_scalars_start_where_the_paper_starts_them() -> None:
    lift = Lift(768)
    assert lift.visual_alpha.item() == pytest.approx(math.log(768**-0.5))
    assert lift.textual_alpha.item() == pytest.approx(math.log(768**-0.5))
    assert lift.curvature.item() == 1.0
    assert lift.logit_scale.item() == pytest.approx(math.log(1 / 0.07))


@pytest.mark.parametrize(
    ("value", "alpha", "curvature", "scale"),
    [(50.0, 1.0, 10.0, 100.0), (-50.0, math.exp(-50), 0.1, 1 / 0.07)],
)
def test_clamps(value: float, alpha: float, curvature: float, scale: float) -> None:
    lift = Lift(4)
    with torch.no_grad():
        for parameter in lift.parameters():
            parameter.fill_(value)
    lift.clamp_()
    assert lift.visual_alpha.exp().item() == pytest.approx(alpha)
    assert lift.textual_alpha.exp().item() == pytest.approx(alpha)
    assert lift.curvature.item() == pytest.approx(curvature)
    assert lift.logit_scale.exp().item() == pytest.approx(scale)


def test_length_of_the_scaled_feature_is_the_distance_from_the_root() -> None:
    lift = Lift(8, curvature=2.0, visual_scale=0.3, textual_scale=0.2)
    features = torch.randn(5, 8)
    for lifted, scale in ((lift.image(features), 0.3), (lift.text(features), 0.2)):
        found = lorentz.root_distance(lifted, lift.curvature)
        torch.testing.assert_close(found, scale * features.norm(dim=-1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_geometry_is_never_computed_in_half_precision(dtype: torch.dtype) -> None:
    features = (1 + torch.arange(64.0)[:, None] / 1000).expand(64, 4).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        lifted = Lift(4).image(features)
    assert lifted.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_heads_return_embedding_and_distance(
    tiny_architecture: Callable[[], dict[str, Any]],
) -> None:
    encoder = build_encoder(tiny_architecture())
    model = HyperbolicDualEncoder(encoder, Lift(encoder.dim)).eval()
    ids, mask = encoder.tokenize(["a cat", "two dogs"])
    for embedding, radius in (
        ImageHead(model)(torch.randn(2, 3, 32, 32)),
        TextHead(model)(ids, mask),
    ):
        assert embedding.shape == (2, 16)
        torch.testing.assert_close(radius, lorentz.root_distance(embedding, model.curvature))
