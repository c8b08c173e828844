from __future__ import annotations

import numpy as np
import pytest

from edgesafe.calib.bop import ContinuousSymmetry, ModelInfo, symmetry_transforms
from edgesafe.calib.bop.symmetries import rigid, turn
from edgesafe.runtime.errors import UsageError

HALF = rigid(turn([0, 0, 1], [np.pi]), [[1.0, 2, 3]])


def test_the_identity_comes_first() -> None:
    np.testing.assert_array_equal(symmetry_transforms([]), np.eye(4)[None])
    np.testing.assert_array_equal(symmetry_transforms(HALF), [np.eye(4), HALF[0]])


def test_rodrigues() -> None:
    np.testing.assert_allclose(turn([0, 0, 1], [np.pi / 2])[0] @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    R = turn([0.6, 0, 0.8], np.linspace(0, 6, 9))
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.tile(np.eye(3), (9, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(R), 1)
    np.testing.assert_allclose(R @ [0.6, 0, 0.8], np.tile([0.6, 0, 0.8], (9, 1)), atol=1e-12)


@pytest.mark.parametrize(("step", "count"), [(0.01, 315), (0.05, 63), (1.0, 4)])
def test_the_steps_of_a_continuous_symmetry(step: float, count: int) -> None:
    """ceil(pi / step) turns: a point half a diameter away moves at most ``step`` diameters."""
    axis = ContinuousSymmetry(np.array([0.0, 0, 1]), np.zeros(3))
    found = symmetry_transforms([], [axis], step)
    assert found.shape == (count, 4, 4)
    np.testing.assert_array_equal(found[0], np.eye(4))
    rim = found @ [0.5, 0, 0, 1]
    steps = np.linalg.norm(np.diff(rim, axis=0, append=rim[:1]), axis=1)
    np.testing.assert_allclose(steps, np.sin(np.pi / count), rtol=1e-9)
    assert steps.max() <= step


def test_discrete_and_continuous_together() -> None:
    """A cylinder without marks: any turn about its axis, after turning it over or not."""
    over = rigid(turn([1, 0, 0], [np.pi]), np.zeros((1, 3)))
    found = symmetry_transforms(over, [{"axis": [0, 0, 5], "offset": [0, 0, 7]}], 0.1)
    assert len(found) == 2 * 32
    np.testing.assert_allclose(found[32], over[0], atol=1e-12)
    ends = found @ [0, 0, 1, 1]
    np.testing.assert_allclose(ends[:32, 2], 1)
    np.testing.assert_allclose(ends[32:, 2], -1)
    np.testing.assert_allclose(np.linalg.det(found[:, :3, :3]), 1)


def test_the_offset_stays_where_it_is() -> None:
    offset = np.array([3.0, -4, 5])
    found = symmetry_transforms([], [{"axis": [1, 1, 0], "offset": offset}], 0.1)
    np.testing.assert_allclose(found @ [*offset, 1], np.tile([*offset, 1], (32, 1)), atol=1e-9)


def test_a_step_of_nothing() -> None:
    with pytest.raises(UsageError, match="positive"):
        symmetry_transforms([], [], 0)


def test_model_info_knows_whether_it_is_symmetric() -> None:
    plain = ModelInfo(10, np.zeros(3), np.ones(3))
    assert not plain.symmetric and len(plain.symmetry_transforms()) == 1
    assert ModelInfo(10, np.zeros(3), np.ones(3), HALF).symmetric
