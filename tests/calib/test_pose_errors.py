"""Errors of poses against answers that can be told by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesafe.calib.bop import symmetry_transforms
from edgesafe.calib.bop.symmetries import rigid, turn
from edgesafe.calib.pose_errors import add, adi, mspd, mssd, rotation_translation

Array = NDArray[np.float64]

IDENTITY = np.eye(3)
T = np.array([10.0, -20.0, 500.0])
CUBE = np.array(list(itertools.product((-10.0, 10.0), repeat=3)))
K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
HALF_TURN = rigid(turn([0, 0, 1], [math.pi]), [[0.0, 0, 0]])
AXIS = [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]


def about_z(degrees: float) -> Array:
    return turn([0, 0, 1], [math.radians(degrees)])[0]


def test_a_shift_is_the_add_and_the_mssd() -> None:
    shifted = T + [3, 4, 12]
    assert add(IDENTITY, shifted, IDENTITY, T, CUBE) == pytest.approx(13)
    assert mssd(IDENTITY, shifted, IDENTITY, T, CUBE) == pytest.approx(13)


def test_a_right_pose_has_no_error() -> None:
    R = turn([0.6, 0, 0.8], [0.3])[0]
    assert add(R, T, R, T, CUBE) == 0
    assert adi(R, T, R, T, CUBE) == pytest.approx(0, abs=1e-12)
    assert mssd(R, T, R, T, CUBE) == 0
    assert mspd(R, T, R, T, CUBE, K=K) == pytest.approx(0, abs=1e-9)


def test_a_quarter_turn_of_a_cube() -> None:
    """Every corner goes to its neighbour: 20 mm. Of a set of corners nothing is to be seen."""
    quarter = about_z(90)
    assert add(quarter, T, IDENTITY, T, CUBE) == pytest.approx(20)
    assert adi(quarter, T, IDENTITY, T, CUBE) == pytest.approx(0, abs=1e-9)
    assert mssd(quarter, T, IDENTITY, T, CUBE) == pytest.approx(20)
    quarters = rigid(turn([0, 0, 1], np.radians([90, 180, 270])), np.zeros((3, 3)))
    assert mssd(quarter, T, IDENTITY, T, CUBE, symmetry_transforms(quarters)) == pytest.approx(
        0, abs=1e-9
    )
    # The half turn is a symmetry, the quarter is not.
    half = symmetry_transforms(HALF_TURN)
    assert mssd(quarter, T, IDENTITY, T, CUBE, half) == pytest.approx(20)
    assert mssd(about_z(180), T, IDENTITY, T, CUBE, half) == pytest.approx(0, abs=1e-9)


def test_adi_goes_from_the_truth_to_the_estimate() -> None:
    """Truth at 0, 10, 30, estimate at 40, 50, 70: 40, 30, 10 this way, 10, 20, 40 back."""
    line = np.array([[0.0, 0, 0], [10, 0, 0], [30, 0, 0]])
    assert adi(IDENTITY, T + [40, 0, 0], IDENTITY, T, line) == pytest.approx(80 / 3)
    # Turned round, at 35, 25, 5: 5, 5, 5 instead of the 35, 15, 25 of ADD.
    assert adi(about_z(180), T + [35, 0, 0], IDENTITY, T, line) == pytest.approx((5 + 5 + 5) / 3)
    assert add(about_z(180), T + [35, 0, 0], IDENTITY, T, line) == pytest.approx(75 / 3)


def test_the_depth_changes_the_mspd_as_a_pinhole_does() -> None:
    square = np.array([[50.0, 0, 0], [-50, 0, 0], [0, 50, 0]])
    near, far = np.array([0.0, 0, 500]), np.array([0.0, 0, 600])
    expected = 600 * 50 * (1 / 500 - 1 / 600)
    assert mspd(IDENTITY, near, IDENTITY, far, square, K=K) == pytest.approx(expected)


def test_a_shift_across_in_pixels() -> None:
    flat = CUBE * [1, 1, 0]
    shift = mspd(IDENTITY, [6.0, 8, 500], IDENTITY, [0.0, 0, 500], flat, K=K)
    assert shift == pytest.approx(10 * 600 / 500)


def test_behind_the_camera_is_infinitely_wrong() -> None:
    assert mspd(IDENTITY, [0, 0, 5], IDENTITY, T, CUBE, K=K) == math.inf


def test_a_continuous_symmetry() -> None:
    """A rim of 40 points at 100 mm: its steps are as fine as the symmetry is cut into turns."""
    angles = 2 * np.pi * np.arange(40) / 40
    rim = np.stack([100 * np.cos(angles), 100 * np.sin(angles), np.zeros(40)], axis=1)
    syms = symmetry_transforms(np.zeros((0, 4, 4)), AXIS, max_step=0.01)
    assert len(syms) == 315
    half_step = math.pi / 315
    for degrees in (1, 33.3, 179):
        error = mssd(about_z(degrees), T, IDENTITY, T, rim, syms)
        assert error <= 2 * 100 * math.sin(half_step / 2) + 1e-9
    # At most half of a hundredth of the diameter, which is what the step promises.
    assert 2 * 100 * math.sin(half_step / 2) <= 0.01 * 200 / 2
    tilted = turn([1, 0, 0], [0.1])[0]
    expected = 2 * 100 * math.sin(0.05)
    assert mssd(tilted, T, IDENTITY, T, rim, syms) == pytest.approx(expected, rel=1e-3)
    assert mspd(about_z(77), T, IDENTITY, T, rim, syms, K=K) < 600 * 1.01 / 400


def test_a_symmetry_about_an_axis_that_misses_the_origin() -> None:
    offset = np.array([30.0, 0, 0])
    syms = symmetry_transforms([], [{"axis": [0, 0, 2.0], "offset": offset}], max_step=0.05)
    pin = np.array([[30.0, 0, -5], [30, 0, 5]])
    turned = syms[7]
    R, t = turned[:3, :3], turned[:3, 3]
    assert mssd(R, R @ np.zeros(3) + t, IDENTITY, np.zeros(3), pin, syms) < 1e-9
    np.testing.assert_allclose(pin @ R.T + t, pin, atol=1e-9)
    angle, shift = rotation_translation(R, t + [0, 0, 4], IDENTITY, np.zeros(3), syms)
    assert angle == pytest.approx(0, abs=1e-5)
    assert shift == pytest.approx(4)


@pytest.mark.parametrize("degrees", [1e-4, 5.0, 120.0, 180.0])
def test_the_angle(degrees: float) -> None:
    angle, shift = rotation_translation(about_z(degrees), T + [0, 3, 4], IDENTITY, T)
    assert angle == pytest.approx(degrees, rel=1e-6)
    assert shift == pytest.approx(5)


def test_the_angle_to_the_nearest_symmetry() -> None:
    angle, _ = rotation_translation(about_z(175), T, IDENTITY, T, symmetry_transforms(HALF_TURN))
    assert angle == pytest.approx(5)


def test_many_symmetries_at_once_give_the_same() -> None:
    """The points are looked at in parts; the parts must not matter."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(3000, 3)) * 30
    syms = symmetry_transforms(HALF_TURN, AXIS, max_step=0.05)
    R, t = turn([0, 0.6, 0.8], [0.4])[0], T + [1, 2, 3]
    by_hand = min(
        np.linalg.norm(
            (points @ R.T + t) - ((points @ S[:3, :3].T + S[:3, 3]) @ IDENTITY.T + T), axis=1
        ).max()
        for S in syms
    )
    assert mssd(R, t, IDENTITY, T, points, syms) == pytest.approx(by_hand)
