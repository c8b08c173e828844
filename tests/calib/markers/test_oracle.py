from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgesafe.calib.markers.markers_cmd import COMMANDS, markers
from edgesafe.runtime.errors import DataError, UsageError

BOARD = "grid:4x4:40:12:DICT_4X4_50"


def ask(path: Path, *more: str) -> dict[str, Any]:
    result = CliRunner().invoke(
        markers, ["oracle", str(path), "--board", BOARD, "--json", *more], catch_exceptions=False
    )
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("{")]
    found = json.loads(line)
    assert result.exit_code == (1 if more and found["leak"] else 0)
    assert isinstance(found, dict)
    return found


def test_an_object_that_never_moves_leaks(cube_frames: Path):
    found = ask(cube_frames, "--fail-on", "leak")
    assert found["obj_id"] == 1 and found["frames_used"] == 5 and found["leak"] is True
    assert found["median_add_over_diameter"] < 0.03
    assert found["placements"] == [5] and found["suspicious_frames"] == []


def test_pictures_of_two_kinds_without_gt_info_and_eval_models(
    tmp_path: Path, make_frames: Callable[..., Path], place_on_board: Callable[..., Any]
):
    place = place_on_board(5, 8)
    path = make_frames(
        tmp_path / "mixed", [place] * 2, picture="mixed", info=False, folder="models_eval"
    )
    found = ask(path)
    assert found["frames_used"] == 2 and found["leak"] is True


def test_an_object_that_is_somewhere_else_in_every_frame_does_not_leak(
    tmp_path: Path, make_frames: Callable[..., Path], place_on_board: Callable[..., Any]
):
    places = [place_on_board(25 * np.cos(i), 25 * np.sin(i), 1.9 * i) for i in range(4)]
    found = ask(make_frames(tmp_path / "moving", places))
    assert found["leak"] is False and found["median_add_over_diameter"] > 0.2
    assert found["placements"] == [] and found["leak_within_placements"] is False


def test_a_frame_with_a_wrong_annotation_is_suspicious_and_does_not_hide_the_leak(
    tmp_path: Path, make_frames: Callable[..., Path], place_on_board: Callable[..., Any]
):
    path = make_frames(tmp_path / "wrong", [place_on_board()] * 4, wrong={2: np.array([9.0, 0, 0])})
    found = ask(path)
    assert found["leak"] is True
    (strange,) = found["suspicious_frames"]
    assert (strange["scene_id"], strange["im_id"]) == (4, 6)
    assert strange["add_over_diameter"] == pytest.approx(9 / 62.2, abs=0.05)


def test_one_frame_tells_nothing(
    tmp_path: Path, make_frames: Callable[..., Path], place_on_board: Callable[..., Any]
):
    found = ask(make_frames(tmp_path / "one", [place_on_board()]))
    assert found["median_add_over_diameter"] is None and found["leak"] is False


def test_another_board_is_an_error_that_says_so(cube_frames: Path):
    command = ["oracle", str(cube_frames), "--board", "grid:3x3:50:14:DICT_APRILTAG_36h11"]
    with pytest.raises(DataError, match="found in none of 5 frames"):
        CliRunner().invoke(markers, command, catch_exceptions=False)
    with pytest.raises(UsageError, match="no folder"):
        command = ["oracle", str(cube_frames / "nowhere"), "--board", BOARD]
        CliRunner().invoke(markers, command, catch_exceptions=False)


def test_the_table_for_people_names_the_object(cube_frames: Path):
    result = CliRunner().invoke(markers, ["oracle", str(cube_frames), "--board", BOARD])
    assert result.exit_code == 0 and "yes" in result.stdout and "LEAK" in result.stdout


def test_every_command_of_the_table_has_a_help():
    listed = CliRunner().invoke(markers, ["--help"]).stdout
    for name in COMMANDS:
        assert name in listed
        assert CliRunner().invoke(markers, [name, "--help"]).exit_code == 0
