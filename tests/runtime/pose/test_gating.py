"""The confidence: in 0..1, and monotone in what it is made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesafe.runtime.manifest_pose import Gates
from edgesafe.runtime.pose.gating import fit_confidence, mask_confidence
from edgesafe.runtime.pose.pnp import PnpSolution

GATES = Gates(100.0, 3.0, 0.1, 5.0, 100.0, 2000.0)


class Entry:
    diameter = 150.0


def _solution(mahalanobis: float = 1.0, spread: float = 1.0, used: int = 9) -> PnpSolution:
    covariance = np.diag([1e-4] * 3 + [4.0] * 3) * spread
    kept = np.arange(9) < used
    return PnpSolution(np.eye(3), np.array([0, 0, 500.0]), covariance, 1.0, mahalanobis, kept)


_sizes = st.floats(0.01, 1e4)


@given(_sizes, _sizes, _sizes, st.integers(6, 9))
def test_it_lies_between_nothing_and_certainty(
    mask: float, mahalanobis: float, spread: float, used: int
) -> None:
    sure = fit_confidence(mask, _solution(mahalanobis, spread, used), Entry(), GATES)
    assert 0 <= sure < 1
    more = 1.5
    least = [
        fit_confidence(mask / more, _solution(mahalanobis, spread, used), Entry(), GATES),
        fit_confidence(mask, _solution(mahalanobis * more, spread, used), Entry(), GATES),
        fit_confidence(mask, _solution(mahalanobis, spread * more, used), Entry(), GATES),
        fit_confidence(mask, _solution(mahalanobis, spread, used - 1), Entry(), GATES),
    ]
    assert all(other <= sure for other in least)


def test_a_good_fit_is_sure_and_no_mask_is_nothing() -> None:
    sharp = replace(_solution(0.5, 0.01))
    assert fit_confidence(1e4, sharp, Entry(), GATES) > 0.95
    assert fit_confidence(0.0, sharp, Entry(), GATES) == 0
    assert mask_confidence(100.0, GATES) == pytest.approx(0.5)
    assert mask_confidence(0.0, replace(GATES, min_mask_px=0.0)) == 0
