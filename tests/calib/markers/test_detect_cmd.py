from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgesafe.calib.markers.markers_cmd import markers
from edgesafe.runtime.errors import DataError, SourceError, UsageError

BOARD = "grid:4x4:40:12:DICT_4X4_50"


def detect(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(markers, ["detect", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_data_set_tells_the_board_s_pose_and_draws_it(
    cube_frames: Path, tmp_path: Path, pose_of_camera: Callable[[int], Any]
):
    lines = detect(str(cube_frames), "--board", BOARD, "--out", str(tmp_path / "pages"))
    assert len(lines) == 5
    for number, line in enumerate(lines):
        assert line["source"].endswith(f"{3 * number:06d}.png") and len(line["markers"]) >= 6
        T = pose_of_camera(number)
        np.testing.assert_allclose(line["board"]["t"], T[:3, 3], atol=3)
        R = np.array(line["board"]["R"]).reshape(3, 3)
        np.testing.assert_allclose(R, T[:3, :3], atol=0.015)
    page = np.asarray(Image.open(tmp_path / "pages/test/000004/rgb/000000.png"))
    original = np.asarray(Image.open(cube_frames / "test/000004/rgb/000000.png"))
    assert page.shape == original.shape and (page != original).any(axis=2).mean() > 0.01


def test_pictures_and_folders_with_a_camera_or_none(cube_frames: Path, tmp_path: Path, lens: Any):
    folder = cube_frames / "test/000004/rgb"
    (plain,) = detect(str(folder / "000000.png"), "--board", BOARD)
    assert plain["board"] is None and len(plain["markers"]) >= 6
    camera = tmp_path / "K.json"
    camera.write_text(json.dumps(lens.to_dict()))
    lines = detect(str(folder), "--board", BOARD, "--camera", str(camera))
    assert len(lines) == 5 and all(line["board"] is not None for line in lines)


def test_any_marker_of_a_dictionary(cube_frames: Path):
    picture = str(cube_frames / "test/000004/rgb/000000.png")
    (right,) = detect(picture, "--dictionary", "4x4_50")
    (wrong,) = detect(picture, "--dictionary", "DICT_APRILTAG_36h11")
    assert {one["id"] for one in right["markers"]} <= set(range(16)) and right["markers"]
    assert wrong["markers"] == []


def test_a_line_for_people(cube_frames: Path):
    result = CliRunner().invoke(markers, ["detect", str(cube_frames), "--board", BOARD])
    assert result.exit_code == 0
    assert "board at" in result.stdout and "5 pictures, 5 with markers" in result.stderr


def test_what_the_command_refuses(cube_frames: Path, tmp_path: Path, lens: Any):
    def refused(*arguments: str) -> None:
        CliRunner().invoke(markers, ["detect", *arguments], catch_exceptions=False)

    with pytest.raises(UsageError, match="--board or --dictionary"):
        refused(str(cube_frames))
    with pytest.raises(SourceError, match="nowhere"):
        refused(str(tmp_path / "nowhere.png"), "--board", BOARD)
    camera = tmp_path / "K.json"
    camera.write_text(json.dumps(lens.to_dict() | {"width": 640}))
    picture = str(cube_frames / "test/000004/rgb/000000.png")
    with pytest.raises(DataError, match="320 x 240"):
        refused(picture, "--board", BOARD, "--camera", str(camera))
