"""The place term against numbers written out by hand, and its way through the objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.config import LossConfig
from edgesafe.train.data.loader import Batch
from edgesafe.train.encoders.base import DualEncoder, build_encoder
from edgesafe.train.losses import place
from edgesafe.train.model import HyperbolicDualEncoder, Lift
from edgesafe.train.objective import HysacObjective

SIZE, B, M = 12, 3, 2


def softplus(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.log1p(np.exp(x)))


def by_hand(
    safe_maps: list[np.ndarray], unsafe_maps: list[np.ndarray], different: np.ndarray
) -> float:
    total = 0.0
    for safe, unsafe in zip(safe_maps, unsafe_maps, strict=True):
        share = np.zeros_like(safe)
        for index in np.ndindex(*safe.shape):
            sample, *cell = index
            rows, columns = (
                slice((i * full) // count, -((-(i + 1) * full) // count))
                for i, count, full in zip(cell, safe.shape[1:], different.shape[1:], strict=True)
            )
            share[index] = different[sample, rows, columns].mean()
        here, elsewhere = share >= 0.15, share < 0.02
        quiet = np.concatenate([unsafe[elsewhere], safe.ravel()])
        total += softplus(-unsafe[here]).mean() + softplus(quiet).mean()
        total += 0.5 * softplus(safe[here]).mean()
    return total / len(safe_maps)


@pytest.fixture
def maps() -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Maps of 4 by 4 and of 2 by 3 cells; a changed block, a changed corner, an unchanged twin."""
    rng = np.random.default_rng(0)
    safe, unsafe = ([rng.normal(size=(B, 4, 4)), rng.normal(size=(B, 2, 3))] for _ in range(2))
    different = np.zeros((B, SIZE, SIZE))
    different[0, 2:8, 5:11] = 1
    different[1, :1, :1] = 1  # 1 of 9 pixels: neither here nor elsewhere
    return safe, unsafe, different


def tensors(arrays: list[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(a).requires_grad_() for a in arrays]


def test_value(maps: tuple[list[np.ndarray], list[np.ndarray], np.ndarray]) -> None:
    safe, unsafe, different = maps
    found = place(tensors(safe), tensors(unsafe), torch.from_numpy(different))
    assert found.ndim == 0
    assert found.item() == pytest.approx(by_hand(safe, unsafe, different), rel=1e-12)
    # Sizes that do not divide the picture are pooled over overlapping cells.
    odd = [np.random.default_rng(s).normal(size=(B, 5, 7)) for s in (1, 2)]
    found = place(tensors(odd[:1]), tensors(odd[1:]), torch.from_numpy(different))
    assert found.item() == pytest.approx(by_hand(odd[:1], odd[1:], different), rel=1e-12)


def test_evidence_goes_where_the_twins_differ(
    maps: tuple[list[np.ndarray], list[np.ndarray], np.ndarray],
) -> None:
    (safe, *_), (unsafe, *_) = tensors(maps[0]), tensors(maps[1])
    different = torch.from_numpy(maps[2])
    torch.autograd.backward(place([safe], [unsafe], different))
    assert safe.grad is not None and unsafe.grad is not None
    share = functional.adaptive_avg_pool2d(different[:, None], (4, 4))[:, 0]
    # Descent raises the evidence of the hazard and lowers every other, most at its own place.
    assert (unsafe.grad[share >= 0.15] < 0).all() and (unsafe.grad[share < 0.02] > 0).all()
    assert not unsafe.grad[(share >= 0.02) & (share < 0.15)].any()
    assert (safe.grad > 0).all()
    sigmoid = safe.detach().sigmoid()
    assert (safe.grad / sigmoid)[share >= 0.15].min() > 2 * (safe.grad / sigmoid)[
        share < 0.15
    ].max()


def test_equal_twins_teach_nothing(
    maps: tuple[list[np.ndarray], list[np.ndarray], np.ndarray],
) -> None:
    safe, unsafe = tensors(maps[0]), tensors(maps[1])
    loss = place(safe, unsafe, torch.zeros(B, SIZE, SIZE, dtype=torch.float64))
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert all(m.grad is not None and not m.grad.any() for m in safe)


class Image(nn.Module):
    """Mean colour as feature, and the red channel at two scales as evidence."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3, 4)
        self.sharp = nn.Conv2d(3, 1, 3, stride=3)
        self.coarse = nn.Conv2d(3, 1, 6, stride=6)
        self.calls: list[int] = []

    def forward(self, pixels: Tensor) -> Tensor:
        self.calls.append(len(pixels))
        found: Tensor = self.out(pixels.mean(dim=(2, 3)))
        return found


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found: Tensor = (self.table(input_ids) * attention_mask[..., None]).sum(1)
        return found


class Evident(DualEncoder):
    """The least encoder with evidence maps."""

    def __init__(self) -> None:
        super().__init__(
            image=Image(),
            text=Text(),
            architecture={"name": "evident"},
            dim=4,
            preprocess=Preprocess(
                SIZE, SIZE, "stretch", "bilinear", (0.5, 0.4, 0.3), (0.25, 0.5, 0.2)
            ),
            tokenizer_json=b"",
            max_tokens=5,
            pad_id=0,
            fixed_length=False,
            weights={},
        )
        self.asked: list[int] = []

    def image_with_evidence(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        self.asked.append(len(pixels))
        image: Any = self.image
        return image(pixels), (image.sharp(pixels)[:, 0], image.coarse(pixels)[:, 0])


def make_batch(encoder: DualEncoder, rgb: np.ndarray) -> Batch:
    """Safe, unsafe and negative pictures (2B + M, H, W, 3) in 0..1, with texts of three ids."""
    mean, std = (np.array(v) for v in (encoder.preprocess.mean, encoder.preprocess.std))
    pixels = torch.from_numpy(((rgb - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))
    ids = torch.randint(1, 9, (2 * B + M, 3), generator=torch.Generator().manual_seed(0))
    rows = torch.arange(2 * B + M)
    return Batch(
        pixels, rows, ids, torch.ones_like(ids), rows[:B], rows[B : 2 * B], rows[2 * B :], B
    )


@pytest.fixture
def rgb() -> np.ndarray:
    """Twins that differ in a block, once by enough and once by too little to count."""
    rng = np.random.default_rng(5)
    safe = rng.uniform(0.2, 0.6, (B, SIZE, SIZE, 3))
    unsafe = safe.copy()
    unsafe[0, :6, :6] += 0.13  # above 0.12 on the average of the channels
    unsafe[1, 3:9, 3:9] += (0.35, 0.0, 0.02)  # 0.123
    unsafe[2, 6:, 6:] += (0.3, 0.0, 0.05)  # 0.117
    return np.concatenate([safe, unsafe, rng.uniform(0, 1, (M, SIZE, SIZE, 3))])


@pytest.mark.parametrize("shell_weight", [0.0, 2.0])
def test_objective_adds_the_weighted_term(rgb: np.ndarray, shell_weight: float) -> None:
    encoder = Evident()
    model = HyperbolicDualEncoder(encoder, Lift(4))
    batch = make_batch(encoder, rgb)
    config = LossConfig(place_weight=1.5, shell_weight=shell_weight)
    terms = HysacObjective(model, config)(batch)
    plain = HysacObjective(model, LossConfig(shell_weight=shell_weight))(batch)
    # Negatives are looked at for the shell term only.
    count = 2 * B + (M if shell_weight else 0)
    assert encoder.asked == [count] and encoder.image.calls == [count, count]

    different = torch.zeros(B, SIZE, SIZE)
    different[0, :6, :6] = different[1, 3:9, 3:9] = 1
    image: Any = encoder.image
    maps = [image.sharp(batch.pixels)[:, 0], image.coarse(batch.pixels)[:, 0]]
    expected = place([m[:B] for m in maps], [m[B : 2 * B] for m in maps], different)
    assert terms["place"].item() == pytest.approx(expected.item(), rel=1e-6) and expected > 0
    assert terms["loss"].item() == pytest.approx((plain["loss"] + 1.5 * expected).item(), rel=1e-6)
    assert set(terms) - set(plain) == {"place"}
    torch.autograd.backward(terms["loss"])
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert image.sharp.weight.grad.any() and image.coarse.weight.grad.any()


def test_without_the_term_no_maps_are_made(rgb: np.ndarray) -> None:
    encoder = Evident()
    terms = HysacObjective(HyperbolicDualEncoder(encoder, Lift(4)), LossConfig())(
        make_batch(encoder, rgb)
    )
    assert "place" not in terms and not encoder.asked


def test_the_limit_of_what_differs_can_be_set(rgb: np.ndarray) -> None:
    encoder = Evident()
    model = HyperbolicDualEncoder(encoder, Lift(4))
    batch = make_batch(encoder, rgb)
    found = [
        HysacObjective(model, LossConfig(place_weight=1.0, place_difference=limit))(batch)["place"]
        for limit in (0.1, 0.12, 0.5)
    ]
    assert found[0] != found[1] and found[2] == 0


def test_maps_may_come_in_bf16(rgb: np.ndarray) -> None:
    encoder = Evident()
    model = HyperbolicDualEncoder(encoder, Lift(4))
    batch = make_batch(encoder, rgb)
    config = LossConfig(place_weight=1.0)
    exact = HysacObjective(model, config)(batch)["place"]
    rough = HysacObjective(model, config, bf16=True)(batch)["place"]
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)


def test_towers_without_maps_are_refused(
    rgb: np.ndarray, tiny_architecture: Callable[[], dict[str, Any]]
) -> None:
    encoder = build_encoder(tiny_architecture())
    objective = HysacObjective(
        HyperbolicDualEncoder(encoder, Lift(encoder.dim)), LossConfig(place_weight=1.0)
    )
    with pytest.raises(UsageError, match=r"place_weight: the image tower of 'open_clip:tiny' has"):
        objective(make_batch(encoder, rgb))


@pytest.mark.parametrize("name", ["place_weight", "place_difference"])
def test_settings_are_checked(name: str) -> None:
    settings: dict[str, Any] = {name: -0.1}
    with pytest.raises(UsageError, match=f"loss.{name} must not be negative"):
        LossConfig(**settings)
