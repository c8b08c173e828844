"""Parity and storage effect."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.export.parity import LIMIT, Answers, measure_effect, measure_parity
from edgesafe.runtime.errors import ExportError


def answers(scale: float = 1.0, radius: float = 1.0) -> Answers:
    points = np.arange(1.0, 7.0).reshape(2, 3)
    return Answers(points * scale, np.array([0.4, 0.5]) * radius)


def test_parity_takes_the_worst_of_both_outputs() -> None:
    found = measure_parity(answers(1 + 2e-5, 1 + 7e-5), answers())
    assert found.max_relative_error == pytest.approx(7e-5, rel=1e-6)
    assert found.to_json() == {"max_relative_error": found.max_relative_error, "n": 2}
    found = measure_parity(answers(1 + 3e-5, 1), answers())
    assert found.max_relative_error == pytest.approx(3e-5, rel=1e-6)


@pytest.mark.parametrize("off", [1 + 1.1 * LIMIT, np.nan])
def test_parity_refuses(off: float) -> None:
    for found in (answers(off), answers(1, off)):
        with pytest.raises(ExportError, match="does not compute what was trained"):
            measure_parity(found, answers())


def test_storage_effect() -> None:
    turned = Answers(answers().embedding[:, ::-1], np.array([0.41, 0.47]))
    effect = measure_effect(turned, answers())
    assert effect.root_distance_shift_max == pytest.approx(0.03)
    assert effect.root_distance_shift_mean == pytest.approx(0.02)
    assert effect.cosine_min == pytest.approx(10 / 14)
    assert effect.n == 2
