"""The terms against formulas written out again, naively, in float64."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from edgesafe.train.config import LossConfig
from edgesafe.train.losses import (
    CONTRASTIVE,
    ENTAILMENT,
    Quadruplets,
    contrastive,
    entailment,
    hysac_terms,
    shell,
)

C, K, SCALE = 0.7, 0.1, 9.0


def time(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(1 / C + (x * x).sum(-1)))


def inner(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((x * y).sum(-1) - time(x) * time(y))


def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.arccosh(np.maximum(-C * inner(x, y), 1.0)) / np.sqrt(C))


def root_distance(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.arccosh(np.sqrt(C) * time(x)) / np.sqrt(C))


def symmetric_cross_entropy(x: np.ndarray, y: np.ndarray) -> float:
    logits = -SCALE * distance(x[:, None], y[None, :])
    total = 0.0
    for rows in (logits, logits.T):
        for i, row in enumerate(rows):
            total += np.log(np.exp(row).sum()) - row[i]
    return total / (2 * len(x))


def outside_cone(x: np.ndarray, y: np.ndarray, eta: float) -> float:
    ck = C * inner(x, y)
    cosine = (time(y) + ck * time(x)) / (np.linalg.norm(x, axis=-1) * np.sqrt(ck**2 - 1))
    aperture = np.arcsin(np.minimum(2 * K / (np.sqrt(C) * np.linalg.norm(x, axis=-1)), 1))
    return float(np.maximum(0, np.arccos(cosine) - eta * aperture).mean())


@pytest.fixture
def points() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    names = ("safe_text", "safe_image", "unsafe_text", "unsafe_image")
    found = {n: rng.normal(size=(5, 7)) * (0.3 + 0.2 * i) for i, n in enumerate(names)}
    found["negative_image"] = rng.normal(size=(3, 7))
    found["negative_text"] = rng.normal(size=(2, 7))
    return found


def terms_of(points: dict[str, np.ndarray], config: LossConfig) -> dict[str, float]:
    batch = Quadruplets(**{name: torch.from_numpy(x) for name, x in points.items()})
    c, scale = torch.tensor([C, SCALE], dtype=torch.float64)
    return {k: v.item() for k, v in hysac_terms(batch, c, scale, config, min_radius=K).items()}


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_terms_match_the_formulas(points: dict[str, np.ndarray], eta: float) -> None:
    t, i = points["safe_text"], points["safe_image"]
    ut, ui = points["unsafe_text"], points["unsafe_image"]
    expected = {
        "text_image": symmetric_cross_entropy(t, i),
        "unsafe_text_unsafe_image": symmetric_cross_entropy(ut, ui),
        "text_unsafe_image": symmetric_cross_entropy(t, ui),
        "unsafe_text_image": symmetric_cross_entropy(ut, i),
        "entail_safe": outside_cone(t, i, eta),
        "entail_unsafe": outside_cone(ut, ui, eta),
        "entail_safety": outside_cone(i, ut, eta),
    }
    found = terms_of(points, LossConfig(aperture_scale=eta))
    assert found.pop("loss") == pytest.approx(sum(expected.values()), rel=1e-9)
    assert found == pytest.approx(expected, rel=1e-9)
    assert all(value > 0 for value in expected.values())


@pytest.mark.parametrize("name", [*CONTRASTIVE, *ENTAILMENT])
def test_each_weight_reaches_its_own_term(points: dict[str, np.ndarray], name: str) -> None:
    nothing: dict[str, Any] = {n: 0.0 for n in (*CONTRASTIVE, *ENTAILMENT)}
    found = terms_of(points, LossConfig(**{**nothing, name: 2.5}))
    assert found["loss"] == pytest.approx(2.5 * found[name], rel=1e-12)


def test_released_code_divides_twice(points: dict[str, np.ndarray]) -> None:
    plain = terms_of(points, LossConfig())["loss"]
    assert terms_of(points, LossConfig(normalise="released"))["loss"] == pytest.approx(plain / 49)


def test_shell_term_ranks_distances_of_each_modality(points: dict[str, np.ndarray]) -> None:
    config = LossConfig(shell_weight=2.0, shell_image=0.5, shell_margin=0.2, shell_temperature=0.3)
    found = terms_of(points, config)
    for modality in ("image", "text"):
        safe = np.concatenate([points[f"safe_{modality}"], points[f"negative_{modality}"]])
        unsafe = points[f"unsafe_{modality}"]
        pairs = [
            0.3 * np.log1p(np.exp((root_distance(s) - root_distance(u) + 0.2) / 0.3))
            for s in safe
            for u in unsafe
        ]
        assert found[f"shell_{modality}"] == pytest.approx(np.mean(pairs), rel=1e-9)
    without = terms_of(points, LossConfig())
    extra = 2.0 * (0.5 * found["shell_image"] + found["shell_text"])
    assert found["loss"] == pytest.approx(without["loss"] + extra, rel=1e-9)
    assert not {"shell_image", "shell_text"} & set(without)


def test_shell_pushes_the_safe_side_inwards() -> None:
    safe = torch.tensor([0.5, 0.6], requires_grad=True)
    unsafe = torch.tensor([0.55], requires_grad=True)
    torch.autograd.backward(shell(safe, unsafe, margin=0.1, temperature=0.05))
    assert safe.grad is not None and unsafe.grad is not None
    assert (safe.grad > 0).all() and (unsafe.grad < 0).all()


def test_matching_pairs_lose_less_than_mixed_ones() -> None:
    x = torch.eye(4)
    c, scale = torch.tensor(1.0), torch.tensor(14.0)
    right = contrastive(x, x, c, scale)
    assert right < 0.01 < contrastive(x, x.roll(1, 0), c, scale)


def test_gradients_stay_finite_at_coincident_points_and_at_the_root() -> None:
    x = torch.zeros(3, 4, requires_grad=True)
    c = torch.tensor(1.0, requires_grad=True)
    loss = contrastive(x, x * 1.0, c, torch.tensor(14.0)) + entailment(x, x * 1.0, c, min_radius=K)
    torch.autograd.backward(loss)
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert c.grad is not None and torch.isfinite(c.grad)


def test_paper_eps_reaches_the_cones(points: dict[str, np.ndarray]) -> None:
    exact = terms_of(points, LossConfig())
    shifted = terms_of(points, dataclasses.replace(LossConfig(), paper_eps=True))
    assert shifted["entail_safe"] != exact["entail_safe"]
    assert shifted["entail_safe"] == pytest.approx(exact["entail_safe"], rel=1e-3)
