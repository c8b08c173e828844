from __future__ import annotations

import numpy as np
import pytest

from edgesafe.calib.render.ground import Ground
from edgesafe.calib.render.shapes import box

K = np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]])
FRAME = np.full((240, 320, 3), 9, np.uint8)
WHITE = np.ones(3)
# A camera that looks straight down from 600 mm, its x along the ground's.
DOWN = np.diag([1.0, -1.0, -1.0])
T = np.array([0, 0, 600.0])


def ground(half: tuple[float, float] = (100.0, 80.0)) -> Ground:
    shape = (round(2 * half[1]), round(2 * half[0]), 3)
    return Ground(half, 1.0, np.full(shape, 200, np.uint8))


def test_the_table_covers_what_its_corners_enclose():
    seen = ground().paint(FRAME, DOWN, T, K, WHITE)
    # 300 / 600 px per mm: 100 x 80 px about the middle.
    covered = seen[..., 0] > 100
    assert covered.sum() == pytest.approx(100 * 80, rel=0.04)
    assert covered[119, 159] and not covered[119, 105] and not covered[75, 159]
    assert (seen[~covered][..., 0] <= 105).all()


def test_the_picture_lies_with_y_up():
    table = ground()
    table.texture[:80, :100] = [250, 0, 0]  # x < 0, y > 0
    point = DOWN @ np.array([-50.0, 40.0, 0]) + T
    column, row = (K @ point / point[2])[:2].astype(int)
    seen = table.paint(FRAME, DOWN, T, K, WHITE)
    assert seen[row, column].tolist() == [250, 0, 0]
    assert seen[row, 319 - column].tolist() == [200, 200, 200]


def test_a_table_that_reaches_behind_the_camera_ends_at_the_horizon():
    # Looking along the ground from 100 mm above it.
    ahead = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    seen = ground((2000.0, 2000.0)).paint(FRAME, ahead, np.array([0, 100.0, 0]), K, WHITE)
    assert (seen[:119] == 9).all()
    assert (seen[150:] == 200).all()


def test_a_table_behind_the_camera_is_not_seen():
    seen = ground().paint(FRAME, DOWN, np.array([0, 0, -600.0]), K, WHITE)
    np.testing.assert_array_equal(seen, FRAME)


def test_a_shadow_falls_away_from_the_light():
    table = ground()
    light = np.array([0.6, 0.0, 0.8])  # from +x
    body = box([20, 20, 40])
    table.cast_shadow(body, np.eye(3), np.array([0, 0, 20.0]), light, 0.5, 2.0)
    row = table.paint(FRAME, DOWN, T, K, WHITE)[119, :, 0].astype(int)
    # 40 mm high: 30 mm of shadow towards -x, 15 px; nothing on the other side.
    assert row[159 - 12] < 140
    assert row[159 + 12] > 190
