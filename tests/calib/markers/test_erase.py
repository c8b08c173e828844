from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgesafe.calib.bop import BopDataset
from edgesafe.calib.markers.boards import read_board
from edgesafe.calib.markers.detect import MarkerFinder
from edgesafe.calib.markers.erase import FILLS, Eraser, Fill
from edgesafe.calib.markers.markers_cmd import markers
from edgesafe.calib.markers.protect import Silhouettes
from edgesafe.calib.markers.smooth import fill_smoothly
from edgesafe.runtime.errors import DataError

BOARD = "grid:4x4:40:12:DICT_4X4_50"


@pytest.fixture(scope="module")
def scene(cube_frames: Path) -> dict[str, Any]:
    data = BopDataset.open(cube_frames)
    frame = data.frames[0]
    rgb = frame.read_rgb()
    pixels = Silhouettes(data).of(frame, rgb.shape[1], rgb.shape[0])
    return {"data": data, "frame": frame, "rgb": rgb, "pixels": pixels}


@pytest.mark.parametrize("fill", FILLS)
def test_every_fill_takes_the_markers_and_no_pixel_of_the_object(
    fill: Fill, scene: dict[str, Any], pose_of_camera: Callable[[int], Any]
):
    board = read_board(BOARD)
    rgb, frame = scene["rgb"], scene["frame"]
    finder = MarkerFinder.of_board(board)
    ids = finder.find(rgb).ids.tolist()
    assert len(ids) >= 8
    erased = Eraser(board, fill).erase(
        rgb, frame.K, pose_of_camera(0), scene["pixels"].protected, frame.key
    )
    after = finder.find(erased.rgb).ids.tolist()
    assert erased.left == 0
    if fill == "permute":
        assert len(after) >= len(ids) - 2 and after != ids
    else:
        assert after == []
    changed = (erased.rgb != rgb).any(axis=2)
    assert changed.sum() > 0.8 * erased.markers.sum() > 0
    assert not (changed & scene["pixels"].any).any()
    assert not (changed & ~erased.changed).any()


def test_the_paper_that_comes_in_place_has_the_light_of_the_frame(
    scene: dict[str, Any], pose_of_camera: Callable[[int], Any], take_photo: Callable[..., Any]
):
    board, frame = read_board(BOARD), scene["frame"]
    erased = Eraser(board).erase(
        scene["rgb"], frame.K, pose_of_camera(0), scene["pixels"].protected
    )

    class Paper:
        half = board.half

        def draw(self, px: float) -> Any:
            return np.ones_like(board.draw(px))

    paper = take_photo(Paper(), pose_of_camera(0), None, np.random.default_rng(0))
    apart = np.abs(erased.rgb[erased.markers].astype(float) - paper[erased.markers])
    assert np.median(apart) < 5


def test_what_stands_before_a_marker_stays(
    scene: dict[str, Any], pose_of_camera: Callable[[int], Any]
):
    board, frame = read_board(BOARD), scene["frame"]
    rgb = scene["rgb"].copy()
    found = MarkerFinder.of_board(board).find(rgb)
    x, y = found.middles[0].astype(int)
    rgb[y - 7 : y + 7, x - 9 : x + 9] = (250, 40, 30)
    erased = Eraser(board).erase(rgb, frame.K, pose_of_camera(0), scene["pixels"].protected)
    inner = (slice(y - 5, y + 5), slice(x - 7, x + 7))
    assert (erased.rgb[inner] == rgb[inner]).all()
    assert erased.markers[y - 10, x] or erased.markers[y + 10, x]


def test_a_data_set_keeps_all_but_its_markers(
    tmp_path: Path, make_frames: Callable[..., Path], place_on_board: Callable[..., Any]
):
    path = make_frames(tmp_path / "cube", [place_on_board()] * 3, picture="mixed")
    scene = path / "test/000004"
    (scene / "mask").mkdir()
    Image.new("L", (4, 4)).save(scene / "mask/000000_000000.png")
    (path / "camera.json").write_text(
        '{"fx": 380, "fy": 382, "cx": 158, "cy": 121, "width": 320, "height": 240}'
    )
    # A frame without a board.
    Image.new("RGB", (320, 240), (90, 80, 70)).save(scene / "rgb/000006.png")
    out = tmp_path / "erased"
    command = ["erase", str(path), "--board", BOARD, "--out", str(out), "--json"]
    result = CliRunner().invoke(markers, command)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [line["board_found"] for line in lines] == [True, True, False]
    assert [line["markers_left"] for line in lines] == [0, 0, 0]
    assert "4/6" in result.stderr
    for name in ("scene_gt.json", "scene_camera.json", "scene_gt_info.json"):
        copied = json.loads((out / "test/000004" / name).read_bytes())
        assert copied == json.loads((scene / name).read_bytes())
    for name in ("models/obj_000001.ply", "camera.json", "test/000004/mask/000000_000000.png"):
        assert (out / name).read_bytes() == (path / name).read_bytes()
    assert sorted(p.name for p in (out / "test/000004/rgb").iterdir()) == [
        "000000.png", "000003.png", "000006.png",
    ]  # fmt: skip
    before = np.asarray(Image.open(scene / "rgb/000003.jpg"))
    with Image.open(out / "test/000004/rgb/000003.png") as picture:
        assert picture.format == "PNG"
        after = np.asarray(picture)
    changed = (before != after).any(axis=2)
    assert 0.03 < changed.mean() < 0.5
    report = json.loads((out / "markers_erased.json").read_bytes())
    assert report["frames"] == lines and report["fill"] == "white"


def test_a_data_set_without_the_board_is_left_alone(tmp_path: Path, cube_frames: Path):
    out = tmp_path / "out"
    command = ["erase", str(cube_frames), "--board", "grid:2x2:50:14:7X7_50", "--out", str(out)]
    with pytest.raises(DataError, match="found in none"):
        CliRunner().invoke(markers, command, catch_exceptions=False)
    assert not out.exists()


def test_a_lens_that_distorts_is_refused(
    tmp_path: Path, make_frames: Callable[..., Path], place_on_board: Callable[..., Any]
):
    path = make_frames(tmp_path / "cube", [place_on_board()])
    camera = {"fx": 380, "fy": 382, "cx": 158, "cy": 121, "width": 320, "height": 240}
    (path / "camera.json").write_text(json.dumps(camera | {"dist": [0.1, 0, 0, 0]}))
    command = ["erase", str(path), "--board", BOARD, "--out", str(tmp_path / "out")]
    with pytest.raises(DataError, match="undistort"):
        CliRunner().invoke(markers, command, catch_exceptions=False)


def test_a_hole_is_filled_without_an_edge():
    x = np.linspace(0, 200, 64, dtype=np.float32)
    picture = np.broadcast_to(x[None, :, None], (48, 64, 3)).astype(np.float32)
    known = np.ones((48, 64), bool)
    known[16:32, 20:44] = False
    holed = picture.copy()
    holed[~known] = 0
    filled = fill_smoothly(holed, known)
    assert (filled[known] == picture[known]).all()
    assert np.abs(filled - picture)[~known].mean() < 20
    assert np.abs(filled[16:32, 20] - picture[16:32, 19]).max() < 20
