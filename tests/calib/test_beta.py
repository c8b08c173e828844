"""The incomplete beta function against mpmath."""

from __future__ import annotations

import mpmath  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesafe.calib.beta import beta_quantile, regularized_beta


@settings(deadline=None, max_examples=100)
@given(x=st.floats(1e-6, 1 - 1e-6), a=st.integers(1, 300), b=st.integers(1, 300))
def test_regularized_beta_is_the_binomial_tail(x: float, a: int, b: int) -> None:
    n = a + b - 1
    with mpmath.workdps(40):
        p = mpmath.mpf(x)
        tail = mpmath.fsum(
            mpmath.binomial(n, i) * p**i * (1 - p) ** (n - i) for i in range(a, n + 1)
        )
    assert regularized_beta(x, a, b) == pytest.approx(float(tail), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("x", "a", "b"), [(0.2, 0.5, 0.5), (0.7, 2.5, 1.25), (0.5, 2000.5, 1999)])
def test_regularized_beta_of_fractional_parameters(x: float, a: float, b: float) -> None:
    with mpmath.workdps(40):
        want = float(mpmath.betainc(a, b, 0, x, regularized=True))
    assert regularized_beta(x, a, b) == pytest.approx(want, rel=1e-10)


@settings(deadline=None, max_examples=100)
@given(p=st.floats(0.001, 0.999), a=st.integers(1, 500), b=st.integers(1, 500))
def test_the_quantile_is_the_inverse(p: float, a: int, b: int) -> None:
    assert regularized_beta(beta_quantile(p, a, b), a, b) == pytest.approx(p, abs=1e-11)


def test_the_ends() -> None:
    assert regularized_beta(0.0, 2, 3) == 0.0
    assert regularized_beta(1.0, 2, 3) == 1.0
    # Beta(1, 1) is uniform; Beta(2, 1) has the distribution function x squared.
    assert regularized_beta(0.3, 1, 1) == pytest.approx(0.3, rel=1e-14)
    assert regularized_beta(0.3, 2, 1) == pytest.approx(0.09, rel=1e-14)
    assert beta_quantile(0.25, 2, 1) == pytest.approx(0.5, rel=1e-14)
