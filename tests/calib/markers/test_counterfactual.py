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
from edgesafe.calib.bop.frame import read_picture
from edgesafe.calib.markers.boards import read_board
from edgesafe.calib.markers.counterfactual import CONFLICTS, KINDS
from edgesafe.calib.markers.counterfactual_dataset import read_sets
from edgesafe.calib.markers.detect import MarkerFinder, find_board_pose
from edgesafe.calib.markers.markers_cmd import markers
from edgesafe.calib.markers.protect import Silhouettes
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.pose.intrinsics import Camera

BOARD = "grid:4x4:40:12:DICT_4X4_50"


def test_every_kind_has_the_same_frames_and_poses(cube_sets: Path):
    sets = read_sets(cube_sets)
    assert sets.kinds == KINDS
    first = sets.open("orig")
    for kind in KINDS:
        data = sets.open(kind)
        assert data.keys == first.keys and len(data.keys) == 5
        for one, two in zip(data.frames, first.frames, strict=True):
            np.testing.assert_array_equal(one.instances[0].t, two.instances[0].t)
            assert one.instances[0].bbox_visib == two.instances[0].bbox_visib
            assert one.rgb_path.suffix == ".png"


def test_markers_are_where_each_kind_says(cube_sets: Path, lens: Camera):
    sets, board = read_sets(cube_sets), read_board(BOARD)
    finder = MarkerFinder.of_board(board)
    for kind in KINDS:
        for frame in sets.open(kind).frames:
            made = sets.made[kind][frame.key]
            found = finder.find(frame.read_rgb())
            pose = find_board_pose(found, board, lens)
            if made.shown is None:
                assert pose is None or kind == "permuted"
                continue
            assert pose is not None, (kind, frame.key)
            off = np.linalg.inv(made.shown) @ pose.matrix
            assert np.linalg.norm(off[:3, 3]) < 6 and np.abs(off[:3, :3] - np.eye(3)).max() < 0.03
            angle = (np.trace(made.shown[:3, :3].T @ made.true[:3, :3]) - 1) / 2
            assert (np.degrees(np.arccos(np.clip(angle, -1, 1))) > 25) == (kind in CONFLICTS)
    for kind in ("erased", "board_removed", "erased_moved", "noboard"):
        for frame in sets.open(kind).frames:
            assert len(finder.find(frame.read_rgb())) == 0, kind


def test_the_object_keeps_its_pixels(cube_sets: Path):
    sets = read_sets(cube_sets)
    original = sets.open("orig")
    silhouettes = Silhouettes(original)
    for kind in KINDS:
        for frame, source in zip(sets.open(kind).frames, original.frames, strict=True):
            mask = silhouettes.of(source, 320, 240).seen
            before, after = source.read_rgb()[mask], frame.read_rgb()[mask]
            same = (before == after).all(axis=1).mean()
            # Before another background the rim is mixed.
            cut = kind in ("swapped", "erased_moved", "noboard", "scattered")
            assert same > (0.5 if cut else 0.9999), kind
            assert np.abs(before.astype(int) - after).mean() < 12


def test_the_control_paints_as_much_as_the_markers_but_none_of_them(cube_sets: Path):
    sets = read_sets(cube_sets)
    for frame, source in zip(
        sets.open("random_patch").frames, sets.open("orig").frames, strict=True
    ):
        erased, control = (
            sets.made[kind][frame.key].painted for kind in ("erased", "random_patch")
        )
        assert erased is not None and control is not None
        assert control == pytest.approx(erased, rel=0.05)
        path = sets.marker_mask("random_patch", frame.key)
        assert path is not None
        changed = (frame.read_rgb() != source.read_rgb()).any(axis=2)
        assert not (changed & (read_picture(path)[..., 0] > 0)).any()


def test_the_same_seed_gives_the_same_pictures(tmp_path: Path, cube_frames: Path, cube_sets: Path):
    from edgesafe.calib.markers.counterfactual import CounterfactualMaker
    from edgesafe.calib.markers.counterfactual_dataset import make_sets

    kinds = ["orig", "conflict", "scattered"]
    data, board = BopDataset.open(cube_frames), read_board(BOARD)
    again = make_sets(data, CounterfactualMaker(board), kinds, tmp_path / "a")  # type: ignore[arg-type]
    other = make_sets(data, CounterfactualMaker(board, seed=1), kinds, tmp_path / "b")  # type: ignore[arg-type]
    for kind in ("conflict", "scattered"):
        pictures = [
            sets.open(kind).frames[1].read_rgb() for sets in (read_sets(cube_sets), again, other)
        ]
        assert (pictures[0] == pictures[1]).all() and (pictures[0] != pictures[2]).any()


def test_the_command_makes_the_kinds_that_are_named(
    tmp_path: Path, make_frames: Callable[..., Path], place_on_board: Callable[..., Any]
):
    path = make_frames(tmp_path / "cube", [place_on_board()] * 2, info=False, picture="jpg")
    out = tmp_path / "sets"
    command = ["counterfactual", str(path), "--board", BOARD, "--out", str(out)]
    result = CliRunner().invoke(markers, [*command, "--kinds", "orig,swapped"])
    assert result.exit_code == 0 and "2 frames" in result.stdout
    sets = read_sets(out)
    assert sets.kinds == ("orig", "swapped")
    first = sets.made["swapped"][(4, 0)]
    assert first.other == (4, 3) and first.shown is not None
    # Boxes are measured where the source has none.
    box = sets.open("orig").frames[0].instances[0].bbox_visib
    assert box is not None and box[2] > 20
    with pytest.raises(UsageError, match="orig, erased"):
        CliRunner().invoke(markers, [*command, "--kinds", "orig,nonsense"], catch_exceptions=False)


def test_one_frame_has_no_other_to_swap_with(
    tmp_path: Path, make_frames: Callable[..., Path], place_on_board: Callable[..., Any]
):
    path = make_frames(tmp_path / "one", [place_on_board()])
    command = ["counterfactual", str(path), "--board", BOARD, "--out", str(tmp_path / "o")]
    with pytest.raises(DataError, match="another of the same camera"):
        CliRunner().invoke(markers, command, catch_exceptions=False)


def test_a_damaged_index_is_refused(tmp_path: Path):
    (tmp_path / "counterfactuals.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(DataError, match="make the sets again"):
        read_sets(tmp_path)


def test_a_mix_to_train_on(tmp_path: Path, cube_frames: Path):
    out = tmp_path / "mix"
    command = ["counterfactual", str(cube_frames), "--board", BOARD, "--out", str(out), "--limit",
               "2", "--mix", "conflict=1,noboard=3,orig=0", "--repeats", "4"]  # fmt: skip
    result = CliRunner().invoke(markers, command, catch_exceptions=False)
    assert result.exit_code == 0 and "8 frames" in result.stdout
    data = BopDataset.open(out)
    assert data.split == "train" and data.keys == [(0, i) for i in range(8)]
    told = json.loads((out / "markers_mix.json").read_bytes())["frames"]
    assert {one["kind"] for one in told.values()} == {"conflict", "noboard"}
    source = {frame.key: frame for frame in BopDataset.open(cube_frames).frames}
    pictures = {}
    for frame in data.frames:
        one = told[f"0/{frame.im_id}"]
        twin = source[tuple(one["source"])]
        np.testing.assert_allclose(frame.instances[0].t, twin.instances[0].t)
        path = frame.instances[0].mask_visib_path
        assert path is not None
        mask = read_picture(path)[..., 0] > 0
        assert 200 < mask.sum() < 8000
        assert np.abs(frame.read_rgb()[mask].astype(int) - twin.read_rgb()[mask]).mean() < 12
        pictures.setdefault((one["kind"], *one["source"]), []).append(frame.read_rgb())
    again = max(pictures.values(), key=len)
    assert len(again) > 1 and (again[0] != again[1]).any()


@pytest.mark.parametrize(
    "options",
    [
        ["--mix", "orig=x"],
        ["--mix", "orig=0"],
        ["--mix", "nothing=1"],
        ["--mix", "orig=1", "--kinds", "orig"],
        ["--repeats", "2"],
    ],
)
def test_a_mix_that_cannot_be(options: list[str], tmp_path: Path, cube_frames: Path):
    command = ["counterfactual", str(cube_frames), "--board", BOARD, "--out", str(tmp_path / "o")]
    with pytest.raises(UsageError):
        CliRunner().invoke(markers, [*command, *options], catch_exceptions=False)
    assert not (tmp_path / "o").exists()


def test_a_mask_file_says_what_is_seen_of_an_object(
    tmp_path: Path, make_frames: Callable[..., Path], place_on_board: Callable[..., Any]
):
    path = make_frames(tmp_path / "cube", [place_on_board()])
    data = BopDataset.open(path)
    drawn = Silhouettes(data).of(data.frames[0], 320, 240)
    half = drawn.whole[0].copy()
    half[:, :160] = False
    folder = path / "test/000004/mask_visib"
    folder.mkdir()
    Image.fromarray(half.astype(np.uint8) * 255).save(folder / "000000_000000.png")
    data = BopDataset.open(path)
    masked = Silhouettes(data).of(data.frames[0], 320, 240)
    assert 0 < half.sum() < drawn.seen.sum()
    assert (masked.seen == half).all() and (masked.any == drawn.any).all()
    Image.new("L", (4, 4)).save(folder / "000000_000000.png")
    with pytest.raises(DataError, match="another size"):
        Silhouettes(data).of(data.frames[0], 320, 240)
