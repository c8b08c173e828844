"""Lorentz geometry in numpy: exact values, 50-digit properties, limits."""

from __future__ import annotations

import inspect
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesafe.runtime import lorentz

X, Y = np.array([0.3, 0.4]), np.array([0.6, 0.1])
# c: inner(x, y), distance, root_distance(x), angle at x, angle at y, half_aperture(x), exp_map0(x)
EXACT = {
    0.1: (-10.08982541, 0.42353573, 0.49793976, 1.72131572, 2.19282010, 1.57079633, 0.30125156),
    1.0: (-1.08862523, 0.41796231, 0.48121183, 1.78938973, 2.21022924, 0.41151685, 0.31265718),
    10.0: (-0.18558600, 0.38877795, 0.39178861, 2.12649610, 2.36855808, 0.12683087, 0.44158810),
}
# Largest errors that a search over 3,000 pairs met were a quarter of these or less.
RELATIVE = {
    np.float64: {"inner": 4e-13, "distance": 1e-13, "root": 2e-15, "log": 2e-15, "exp": 5e-14},
    np.float32: {"inner": 6e-4, "distance": 8e-5, "root": 1e-6, "log": 1e-6, "exp": 3e-5},
}
ANGLE = {np.float64: 1e-14, np.float32: 1e-5}


@pytest.mark.parametrize("c", EXACT)
def test_published_table(c: float) -> None:
    inner, dist, root, at_x, at_y, aperture, mapped = EXACT[c]
    near: dict[str, Any] = {"rtol": 0, "atol": 6e-9}
    np.testing.assert_allclose(lorentz.inner(X, Y, c), inner, **near)
    np.testing.assert_allclose(lorentz.distance(X, Y, c), dist, **near)
    np.testing.assert_allclose(lorentz.root_distance(X, c), root, **near)
    np.testing.assert_allclose(lorentz.exterior_angle(X, Y, c), at_x, **near)
    np.testing.assert_allclose(lorentz.exterior_angle(Y, X, c), at_y, **near)
    np.testing.assert_allclose(lorentz.half_aperture(X, c), aperture, **near)
    np.testing.assert_allclose(lorentz.exp_map0(X, c), [mapped, mapped * 4 / 3], rtol=0, atol=8e-9)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float]:
    """Two points of norm 1e-6 to 20: unrelated, close, on one ray, or on opposite rays."""
    d = draw(st.sampled_from([2, 3, 5, 16, 128, 1024]))
    c = 10.0 ** draw(st.floats(-1, 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    u, w = (v / np.linalg.norm(v) for v in rng.standard_normal((2, d)))
    norms = st.floats(-6, np.log10(20)).map(lambda e: 10.0**e)
    n, m = draw(norms), draw(norms)
    gap = n * 10.0 ** draw(st.floats(-6, 0))
    y = draw(st.sampled_from([m * w, n * u + gap * w, m * u + gap * w, -m * u + gap * w]))
    return n * u, y * min(1.0, 20 / np.linalg.norm(y)), c


def reference(x: np.ndarray, y: np.ndarray, c: float) -> dict[str, Any]:
    """Every function from its definition, at 50 digits, from the numbers as they are stored."""
    a, b = ([mpmath.mpf(float(v)) for v in point] for point in (x, y))
    k = mpmath.mpf(float(c))
    s, xx, yy, xy = mpmath.sqrt(k), mpmath.fdot(a, a), mpmath.fdot(b, b), mpmath.fdot(a, b)
    n, xt, yt = mpmath.sqrt(xx), mpmath.sqrt(1 / k + xx), mpmath.sqrt(1 / k + yy)
    across = mpmath.sqrt(max(yy - (xy / n) ** 2, 0))
    return {
        "inner": xy - xt * yt,
        "distance": mpmath.acosh(max(k * (xt * yt - xy), 1)) / s,
        "root": mpmath.asinh(s * n) / s,
        "log": mpmath.asinh(s * n) / (s * n),
        "exp": mpmath.sinh(s * n) / (s * n),
        "angle": mpmath.atan2(across, s * (xt * xy / n - n * yt)),
        "sine": mpmath.mpf("0.2") / (s * n),
    }


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@settings(max_examples=120, deadline=None)
@given(pair=pairs())
def test_against_fifty_digits(kind: Any, pair: tuple[np.ndarray, np.ndarray, float]) -> None:
    x, y, c = pair[0].astype(kind), pair[1].astype(kind), kind(pair[2])
    peak = np.argmax(np.abs(x))
    with mpmath.workdps(50):
        true = reference(x, y, c)
        got = {
            "inner": lorentz.inner(x, y, c),
            "distance": lorentz.distance(x, y, c),
            "root": lorentz.root_distance(x, c),
            "log": lorentz.log_map0(x, c)[peak] / x[peak],
            "exp": lorentz.exp_map0(x, c)[peak] / x[peak],
        }
        for name, value in got.items():
            assert value.dtype == kind
            error = abs(mpmath.mpf(float(value)) - true[name])
            assert error <= RELATIVE[kind][name] * abs(true[name]), name
        pairwise = lorentz.pairwise_distance(x[None], y[None], c)[0, 0]
        error = abs(mpmath.mpf(float(pairwise)) - true["distance"])
        slack = 1e-7 * float(np.linalg.norm(x)) if kind is np.float32 else 0
        assert error <= RELATIVE[kind]["distance"] * true["distance"] + slack
        if not np.array_equal(x, y):
            angle = mpmath.mpf(float(lorentz.exterior_angle(x, y, c)))
            assert abs(angle - true["angle"]) <= ANGLE[kind]
        # asin has an infinite slope where the aperture saturates: hold it to the angles of sines
        # that differ by the rounding of their computation.
        eps = float(np.finfo(kind).eps)
        low, high = (mpmath.asin(min(1, true["sine"] * (1 + e * eps))) for e in (-6, 6))
        aperture = mpmath.mpf(float(lorentz.half_aperture(x, c)))
        assert low * (1 - 2 * eps) <= aperture <= high * (1 + 2 * eps)


@pytest.mark.parametrize(("kind", "reach"), [(np.float32, 78.0), (np.float64, 690.0)])
def test_maps_are_inverse_over_the_whole_range(kind: Any, reach: float) -> None:
    for c in (0.1, 1.0, 10.0):
        norms = np.geomspace(1e-30, reach / np.sqrt(c), 60)
        u = (norms[:, None] * np.array([0.6, -0.48, 0.64])).astype(kind)
        x = lorentz.exp_map0(u, c)
        tight = 40 * np.finfo(kind).eps
        np.testing.assert_allclose(lorentz.log_map0(x, c), u, rtol=tight)
        np.testing.assert_allclose(lorentz.root_distance(x, c), norms, rtol=tight)


def test_norm_twenty_at_curvature_ten_fits_float32() -> None:
    u = np.full((1, 4), 10.0, np.float32)
    true = mpmath.sinh(mpmath.sqrt(10) * 20) / (mpmath.sqrt(10) * 20) * 10
    np.testing.assert_allclose(lorentz.exp_map0(u, 10.0), float(true), rtol=1e-5)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_exp_map_saturates_without_overflow(kind: Any) -> None:
    x = lorentz.exp_map0(np.array([3e4, 4e4], kind), 10.0)
    assert np.isfinite(x).all()
    np.testing.assert_allclose(x[1] / x[0], 4 / 3, rtol=1e-6)
    assert np.isfinite(lorentz.root_distance(x, 10.0))
    assert np.isfinite(lorentz.distance(x, -x, 10.0))


def test_distance_is_a_metric() -> None:
    rng = np.random.default_rng(3)
    x, y, z = rng.standard_normal((3, 200, 6)) * rng.uniform(1e-3, 3, (3, 200, 1))
    for c in (0.1, 1.0, 10.0):
        xy, yz, xz = (lorentz.distance(a, b, c) for a, b in ((x, y), (y, z), (x, z)))
        np.testing.assert_array_equal(xy, lorentz.distance(y, x, c))
        assert np.all(xy + yz >= xz * (1 - 1e-12))
        assert np.all(lorentz.distance(x, x, c) == 0)
        np.testing.assert_allclose(
            lorentz.distance(x, np.zeros(6), c), lorentz.root_distance(x, c), rtol=1e-13
        )


def test_pairwise_matches_rows_and_broadcasts() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, 5, 8)), rng.standard_normal((2, 7, 8))
    full = lorentz.distance(x[:, :, None], y[:, None], 1.7)
    assert full.shape == (2, 5, 7)
    np.testing.assert_array_equal(lorentz.pairwise_distance(x, y, 1.7), full)
    single = lorentz.pairwise_distance(x.astype(np.float32), y.astype(np.float32), 1.7)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, full, rtol=1e-6)


def test_half_aperture_saturates_at_a_right_angle() -> None:
    x = np.array([[0.0, 0.0], [1e-6, 0.0], [0.2, 0.0], [0.21, 0.0]])
    got = lorentz.half_aperture(x, 1.0)
    np.testing.assert_array_equal(got[:3], np.pi / 2)
    assert got[3] == pytest.approx(np.arcsin(0.2 / 0.21), abs=1e-15)
    assert lorentz.half_aperture(x[3], 1.0, min_radius=0.05) == pytest.approx(np.arcsin(0.1 / 0.21))


def test_angles_on_the_ray_and_at_the_limits() -> None:
    x = np.array([0.3, 0.4, 0.0])
    points = np.stack([1.5 * x, 0.5 * x, -x, 0 * x, x])
    for c in (0.1, 1.0, 10.0):
        got = lorentz.exterior_angle(x, points, c)
        np.testing.assert_allclose(got, [0, np.pi, np.pi, np.pi, 0], atol=1e-15)
        assert lorentz.exterior_angle(0 * x, x, c) == np.pi / 2


def test_entails() -> None:
    x = np.array([0.5, 0.0])
    inside = lorentz.entails(x, np.array([[0.9, 0.01], [0.0, 0.9], [0.1, 0.0], [0.5, 0.0]]), 1.0)
    assert inside.tolist() == [True, False, False, True]
    assert inside.dtype == np.bool_
    assert lorentz.entails(np.zeros(2), x, 1.0)


def test_paper_eps_gives_the_shifted_values() -> None:
    eps, c = 1e-5, 0.1
    assert lorentz.half_aperture(X, c, paper_eps=True) == pytest.approx(np.arcsin(1 - eps))
    at = lorentz.half_aperture(X, 10.0, paper_eps=True)
    assert at == pytest.approx(np.arcsin(0.2 / (0.5 * np.sqrt(10) + eps)), abs=1e-15)
    shift = lorentz.exterior_angle(X, Y, c, paper_eps=True) - lorentz.exterior_angle(X, Y, c)
    assert 1e-6 < abs(shift) < 9e-5


def test_not_finite_coordinates_give_nan_quietly() -> None:
    x = np.array([[np.nan, 1.0], [np.inf, 1.0], [1.0, 1.0]], np.float32)
    y = np.ones(2, np.float32)
    for value in (
        lorentz.root_distance(x, 1.0),
        lorentz.distance(x, y, 1.0),
        lorentz.exterior_angle(x, y, 1.0),
        lorentz.half_aperture(x, 1.0),
        lorentz.exp_map0(x, 1.0)[:, 0],
    ):
        assert np.isnan(value).tolist() == [True, True, False]
    assert lorentz.entails(x, y, 1.0).tolist() == [False, False, True]


@pytest.mark.parametrize("c", [0.0, -1.0, np.nan, np.inf, np.ones(3)])
def test_curvature_must_be_one_positive_number(c: Any) -> None:
    with pytest.raises(ValueError, match="curvature"):
        lorentz.root_distance(X, c)


def test_float_types() -> None:
    for kind, result in ((np.float16, np.float32), (np.int64, np.float64)):
        assert lorentz.exp_map0(np.ones(3, kind), np.float64(1.0)).dtype == result
    assert lorentz.exp_map0(np.ones(3, np.float32), np.float64(2.0)).dtype == np.float32


def test_all_is_complete() -> None:
    home = {name for name, value in vars(lorentz).items() if inspect.isfunction(value)}
    assert set(lorentz.__all__) == {name for name in home if not name.startswith("_")} - {"cast"}
