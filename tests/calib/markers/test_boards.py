from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgesafe.calib.calibration_board import CalibrationBoard
from edgesafe.calib.markers.boards import dictionary_markers, read_board
from edgesafe.calib.markers.detect import MarkerFinder, find_board_pose
from edgesafe.runtime.errors import SourceError, UsageError
from edgesafe.runtime.pose.intrinsics import Camera


@pytest.mark.parametrize(
    "layout",
    [
        "grid:4x4:40:12:DICT_4X4_50",
        "grid:3x3:50:14:apriltag_36h11:5",
        "charuco:5x5:40:30:DICT_5X5_100",
    ],
)
def test_a_board_in_a_photo_is_found_where_it_lies(
    layout: str,
    take_photo: Callable[..., Any],
    pose_of_camera: Callable[[int], Any],
    lens: Camera,
):
    board, T = read_board(layout), pose_of_camera(1)
    rgb = take_photo(board, T, None, np.random.default_rng(0))
    found = MarkerFinder.of_board(board).find(rgb)
    # A far marker may be too small.
    assert len(found) >= len(board.markers) - 1
    assert set(found.ids.tolist()) <= {marker.id for marker in board.markers}
    pose = find_board_pose(found, board, lens)
    assert pose is not None and pose.markers == len(found) and pose.rms_px < 0.6
    off = np.linalg.inv(T) @ pose.matrix
    assert np.linalg.norm(off[:3, 3]) < 2 and np.abs(off[:3, :3] - np.eye(3)).max() < 0.01


def test_a_board_is_found_through_a_lens_that_distorts(
    take_photo: Callable[..., Any], pose_of_camera: Callable[[int], Any], lens: Camera
):
    board, T = read_board("grid:4x4:40:12"), pose_of_camera(0)
    rgb = take_photo(board, T, None, np.random.default_rng(0))
    bent = Camera(lens.K, lens.width, lens.height, (-0.25, 0.05, 0, 0))
    y, x = np.mgrid[: lens.height, : lens.width]
    ideal = bent.normalise(np.stack([x.ravel(), y.ravel()], 1)) * np.diag(lens.K)[:2]
    place = (ideal + lens.K[:2, 2]).reshape(*x.shape, 2).astype(np.float32)
    seen = cv2.remap(rgb, place[..., 0], place[..., 1], cv2.INTER_LINEAR)
    found = MarkerFinder.of_board(board).find(seen)
    right, wrong = (find_board_pose(found, board, camera) for camera in (bent, lens))
    assert right is not None and wrong is not None
    apart = [np.linalg.norm(pose.t - T[:3, 3]) for pose in (right, wrong)]
    assert apart[0] < 3 < apart[1]


def test_a_charuco_board_is_drawn_as_opencv_draws_it():
    text = "charuco:5x4:40:30:DICT_4X4_50"
    board = read_board(text)
    theirs = CalibrationBoard.parse(text).opencv().generateImage((5 * 80, 4 * 80))
    ours = board.draw(2.0)
    # Ours is a square about the middle.
    rim = (len(ours) - 320) // 2, (len(ours) - 400) // 2
    assert len(board.markers) == 10 and len(board.squares) == 10
    cut = ours[rim[0] : rim[0] + 320, rim[1] : rim[1] + 400]
    assert np.mean((cut > 0.5) != (theirs > 127)) < 0.01


def test_a_dictionary_is_named_in_any_case():
    codes, correctable = dictionary_markers("apriltag_36H11")
    assert len(codes) == 587 and codes[0].shape == (6, 6) and correctable > 0


@pytest.mark.parametrize(
    "text",
    [
        "grid:5x7:40",
        "grid:0x7:40:10",
        "grid:8x8:40:10:DICT_4X4_50",
        "grid:2x2:40:10:NO_SUCH",
        "chessboard:9x6:25",
        "charuco:5x5:40:50",
    ],
)
def test_a_layout_that_cannot_be_is_refused(text: str):
    with pytest.raises(UsageError):
        read_board(text)


def test_a_board_without_a_file(tmp_path: Path):
    with pytest.raises(SourceError, match=r"none\.json"):
        read_board(tmp_path / "none.json")


def test_codes_that_differ_in_one_cell_are_never_mended(
    take_photo: Callable[..., Any], pose_of_camera: Callable[[int], Any]
):
    code = np.zeros((4, 4), bool)
    code[0, :3] = code[2, 1] = True
    twin = code.copy()
    twin[3, 3] = True
    close = MarkerFinder([0, 1], [code, twin])
    far = MarkerFinder([0], dictionary_markers("DICT_6X6_50")[0][:1])
    picture = np.full((120, 120, 3), 255, np.uint8)
    damaged = code.copy()
    damaged[1, 0] = True  # neither of the two
    cells = np.kron(np.pad(damaged, 1), np.ones((10, 10))).astype(np.uint8) * 255
    picture[30:90, 30:90] = cells[..., None]
    assert len(close.find(picture)) == 0
    cells = np.kron(np.pad(code, 1), np.ones((10, 10))).astype(np.uint8) * 255
    picture[30:90, 30:90] = cells[..., None]
    found = close.find(picture)
    assert found.ids.tolist() == [0]
    np.testing.assert_allclose(found.middles, [[59.5, 59.5]], atol=0.6)
    assert len(far.find(picture)) == 0
