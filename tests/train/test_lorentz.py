"""Lorentz geometry in torch: parity with numpy, gradients, geoopt."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import geoopt
import numpy as np
import pytest
import torch
from torch import Tensor

from edgesafe.runtime import lorentz as reference
from edgesafe.train import lorentz

ONE_POINT = ["exp_map0", "log_map0", "root_distance", "half_aperture"]
TWO_POINTS = ["inner", "distance", "exterior_angle"]
CURVATURES = [0.1, 1.0, 10.0]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def points(count: int, d: int, low: float, high: float, seed: int = 0) -> np.ndarray:
    """Random directions with norms spread evenly over the decades of low..high."""
    rng = np.random.default_rng(seed)
    v = rng.standard_normal((count, d))
    norms = np.exp(rng.uniform(np.log(low), np.log(high), (count, 1)))
    return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True) * norms)


def test_same_names_and_signatures_as_numpy() -> None:
    assert lorentz.__all__ == reference.__all__
    for name in lorentz.__all__:
        ours, theirs = (inspect.signature(getattr(m, name)) for m in (lorentz, reference))
        assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
            (p.name, p.kind, p.default) for p in theirs.parameters.values()
        ]


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("c", CURVATURES)
def test_parity_with_numpy(kind: Any, c: float) -> None:
    loose = 400 * float(np.finfo(kind).eps)
    for d in (2, 64, 1024):
        x = points(60, d, 1e-6, 20, 1).astype(kind)
        y = np.concatenate([points(30, d, 1e-6, 20, 2), x[30:] * 1.01]).astype(kind)
        tx, ty = torch.from_numpy(x), torch.from_numpy(y)
        for name in ONE_POINT + TWO_POINTS:
            args, targs = ((x,), (tx,)) if name in ONE_POINT else ((x, y), (tx, ty))
            expected = getattr(reference, name)(*args, c)
            got = getattr(lorentz, name)(*targs, c).numpy()
            assert got.dtype == kind and got.shape == expected.shape
            np.testing.assert_allclose(got, expected, rtol=loose, atol=loose, err_msg=name)
        np.testing.assert_allclose(
            lorentz.pairwise_distance(tx, ty, c),
            reference.pairwise_distance(x, y, c),
            rtol=loose,
            atol=1e-6 if kind is np.float32 else 0,
        )
        expected = reference.entails(x, y, c)
        assert np.mean(lorentz.entails(tx, ty, c).numpy() == expected) == 1
        assert expected.any() and not expected.all()


@pytest.mark.parametrize("c", CURVATURES)
def test_paper_eps_parity_with_numpy(c: float) -> None:
    x, y = points(60, 16, 0.3, 2, 1), points(60, 16, 0.3, 2, 2)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    np.testing.assert_allclose(
        lorentz.half_aperture(tx, c, paper_eps=True),
        reference.half_aperture(x, c, paper_eps=True),
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        lorentz.exterior_angle(tx, ty, c, paper_eps=True),
        reference.exterior_angle(x, y, c, paper_eps=True),
        rtol=1e-11,
    )


@pytest.mark.parametrize("name", ONE_POINT + TWO_POINTS + ["pairwise_distance"])
@pytest.mark.parametrize("c", CURVATURES)
def test_gradients_are_those_of_finite_differences(name: str, c: float) -> None:
    # Norms either side of the branch of the series, and of the saturated aperture.
    x = torch.from_numpy(points(8, 3, 1e-5, 4, 5)).requires_grad_()
    y = torch.from_numpy(points(8, 3, 1e-2, 4, 6)).requires_grad_()
    k = torch.tensor(c, dtype=torch.float64, requires_grad=True)
    args = (x, k) if name in ONE_POINT else (x, y, k)
    if name in ("exterior_angle", "half_aperture"):
        args = (x.detach().mul(20).requires_grad_(), *args[1:])
    function: Callable[..., Tensor] = getattr(lorentz, name)
    assert torch.autograd.gradcheck(function, args, eps=1e-7, atol=2e-5, rtol=1e-4)


def test_float32_gradients_follow_float64() -> None:
    for c in CURVATURES:
        x = points(200, 16, 0.05, 5, 7)
        y = np.concatenate([points(100, 16, 0.05, 5, 8), x[100:] + points(100, 16, 0.01, 0.1, 9)])
        x, y = x.astype(np.float32), y.astype(np.float32)
        for name in TWO_POINTS:
            grads = []
            for kind in (torch.float64, torch.float32):
                a = torch.tensor(x, dtype=kind, requires_grad=True)
                getattr(lorentz, name)(a, torch.tensor(y, dtype=kind), c).sum().backward()
                assert a.grad is not None
                grads.append(a.grad.double())
            error = (grads[1] - grads[0]).norm(dim=-1) / grads[0].norm(dim=-1)
            assert error.max() < 2e-4, (name, c)


def degenerate(kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Pairs at which a naive form divides by zero or meets an infinite slope."""
    x = torch.tensor([0.3, 0.4, 0.0], dtype=kind)
    edge = torch.tensor([0.2, 0.0, 0.0], dtype=kind)
    zero, tiny = torch.zeros(3, dtype=kind), 1e-30
    step = torch.finfo(kind).eps
    rows = [
        (x, x), (x, -x), (x, 2 * x), (x, 0.5 * x), (zero, zero), (zero, x), (x, zero),
        (x, x * (1 + step)), (x * tiny, x), (x, x * tiny), (x * tiny, x * tiny), (20 * x, 40 * x),
        (edge, x), (edge * (1 + step), x), (edge * (1 - step), x),
        (1e-6 * x, 1e-6 * x * (1 + step)), (40 * x, -40 * x), (x, -x * (1 + step)),
    ]  # fmt: skip
    return torch.stack([a for a, _ in rows]), torch.stack([b for _, b in rows])


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ONE_POINT + TWO_POINTS + ["pairwise_distance"])
@pytest.mark.parametrize("c", CURVATURES)
def test_values_and_gradients_stay_finite(name: str, kind: torch.dtype, c: float) -> None:
    x, y = (v.requires_grad_() for v in degenerate(kind))
    k = torch.tensor(c, dtype=kind, requires_grad=True)
    value = getattr(lorentz, name)(*((x, k) if name in ONE_POINT else (x, y, k)))
    assert value.isfinite().all()
    value.sum().backward()
    leaves = (x, k) if name in ONE_POINT else (x, y, k)
    for leaf in leaves:
        assert leaf.grad is not None and leaf.grad.isfinite().all()


def test_gradients_at_the_kinks() -> None:
    x = torch.tensor([[0.3, 0.4], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    torch.autograd.backward(lorentz.distance(x, x.detach().clone(), 1.0).sum())
    assert x.grad is not None and not x.grad.any()
    u = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    jacobian = torch.func.jacrev(lambda v: lorentz.exp_map0(v, 2.0))(u)
    torch.testing.assert_close(jacobian, torch.eye(2, dtype=torch.float64))


def test_distance_from_the_root_has_the_true_gradient() -> None:
    x = torch.tensor([0.3, 0.4], dtype=torch.float64)
    root = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    torch.autograd.backward(lorentz.distance(x, root, 1.0))
    # At the root the metric is Euclidean: the gradient is the unit vector away from x.
    torch.testing.assert_close(root.grad, torch.tensor([-0.6, -0.8], dtype=torch.float64))


def test_saturated_aperture_has_no_gradient() -> None:
    x = torch.tensor([[0.1, 0.1], [0.5, 0.5]], requires_grad=True)
    torch.autograd.backward(lorentz.half_aperture(x, 1.0).sum())
    assert x.grad is not None
    assert not x.grad[0].any() and (x.grad[1] < 0).all()


def test_half_precision_and_autocast_stay_in_float32() -> None:
    x = torch.from_numpy(points(32, 64, 0.4, 0.6, 1)).float()
    y = torch.from_numpy(points(32, 64, 0.4, 0.6, 2)).float()
    plain = lorentz.pairwise_distance(x, y, 0.1), lorentz.exterior_angle(x, y, 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = lorentz.pairwise_distance(x, y, 0.1), lorentz.exterior_angle(x, y, 0.1)
    for a, b in zip(plain, cast, strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert lorentz.distance(x.bfloat16(), y.half(), 0.1).dtype == torch.float32


def test_curvature_must_be_positive() -> None:
    for c in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="curvature"):
            lorentz.root_distance(torch.ones(2), c)


@pytest.mark.parametrize("c", CURVATURES)
def test_against_geoopt(c: float) -> None:
    # geoopt's manifold is held by its squared radius k = 1/c and by full points, time first; its
    # clamps make it wrong nearer to the root than .1 and for separations below .01.
    manifold = geoopt.Lorentz(k=torch.tensor(1 / c, dtype=torch.float64))
    x = torch.from_numpy(points(200, 32, 0.1, 3, 11))
    step = torch.from_numpy(points(100, 32, 0.01, 0.1, 12))
    y = torch.cat([torch.from_numpy(points(100, 32, 0.1, 3, 13)), x[100:] + step])

    def full(v: Tensor) -> Tensor:
        return torch.cat([(1 / c + v.square().sum(-1, keepdim=True)).sqrt(), v], dim=-1)

    tangent = torch.cat([torch.zeros(200, 1, dtype=torch.float64), x], dim=-1)
    expected = {
        "inner": manifold.inner(None, full(x), full(y)),
        "distance": manifold.dist(full(x), full(y)),
        "root_distance": manifold.dist0(full(x)),
        "exp_map0": manifold.expmap0(tangent)[:, 1:],
        "log_map0": manifold.logmap0(full(x))[:, 1:],
    }
    for name, value in expected.items():
        args = (x, y) if name in ("inner", "distance") else (x,)
        torch.testing.assert_close(
            getattr(lorentz, name)(*args, c), value, rtol=2e-6, atol=1e-9, msg=name
        )
