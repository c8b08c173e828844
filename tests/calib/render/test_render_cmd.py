from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgesafe.calib.bop import BopDataset
from edgesafe.calib.markers.oracle import board_to_objects, consult
from edgesafe.calib.markers.poses import look_at_all
from edgesafe.calib.pose_evaluation import eval_models
from edgesafe.calib.render.render_cmd import render
from edgesafe.runtime.errors import EdgesafeError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.mesh import read_ply, write_ply
from edgesafe.samples.twin.board import board_json, linemod_board

SMALL = ["--size", "160x120", "--frames", "3", "--objects", "2", "3", "--occluders", "0", "1"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(render, [str(argument) for argument in arguments])


def problem(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, EdgesafeError), result.output
    assert result.exception.exit_status in (2, 3)
    return str(result.exception)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_data_set_in_one_command(cube_ply: Path, cone_ply: Path, tmp_path: Path):
    out = tmp_path / "set"
    result = run(cube_ply, cone_ply, "--out", out, "--symmetry", "2:zinf", *SMALL)
    assert result.exception is None, result.output
    assert "3 frames of 2 objects" in result.output
    infos = json.loads((out / "models" / "models_info.json").read_bytes())
    assert infos["1"]["diameter"] == pytest.approx(np.linalg.norm([60, 80, 100]), rel=1e-6)
    assert infos["2"]["symmetries_continuous"][0]["axis"] == [0, 0, 1]
    np.testing.assert_allclose(infos["2"]["symmetries_continuous"][0]["offset"][:2], 0, atol=1e-6)
    copied = read_ply(out / "models" / "obj_000001.ply")
    np.testing.assert_allclose(copied.vertices, read_ply(cube_ply).vertices)
    camera = json.loads((out / "camera.json").read_bytes())
    assert (camera["width"], camera["height"]) == (160, 120)
    scene = out / "train" / "000000"
    truth = json.loads((scene / "scene_gt.json").read_bytes())
    info = json.loads((scene / "scene_gt_info.json").read_bytes())
    lens = json.loads((scene / "scene_camera.json").read_bytes())
    assert list(truth) == list(info) == list(lens) == ["0", "1", "2"]
    for key, instances in truth.items():
        with Image.open(scene / "rgb" / f"{int(key):06d}.jpg") as picture:
            assert picture.size == (160, 120)
        assert lens[key]["cam_K"][0] == pytest.approx(camera["fx"])
        assert len(instances) == len(info[key])
        for at, (instance, seen) in enumerate(zip(instances, info[key], strict=True)):
            assert instance["obj_id"] in (1, 2)
            mask = np.asarray(Image.open(scene / "mask_visib" / f"{int(key):06d}_{at:06d}.png"))
            assert (mask > 0).sum() == seen["px_count_visib"]
            assert (scene / "mask" / f"{int(key):06d}_{at:06d}.png").exists()
    assert not (tmp_path / "set.partial").exists()
    assert not (out / "records").exists()


def test_frames_do_not_depend_on_the_number_of_processes(cube_ply: Path, tmp_path: Path):
    for name, jobs in (("one", 1), ("two", 2)):
        assert run(cube_ply, "--out", tmp_path / name, *SMALL, "--jobs", jobs).exception is None
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert run(cube_ply, "--out", tmp_path / "three", *SMALL, "--seed", 1).exception is None
    first = "train/000000/rgb/000000.jpg"
    assert files(tmp_path / "three")[first] != files(tmp_path / "one")[first]


def test_an_interrupted_run_goes_on(cube_ply: Path, tmp_path: Path):
    out, partial = tmp_path / "set", tmp_path / "set.partial"
    arguments = [str(cube_ply), "--out", str(out), *SMALL[:2], "--frames", "60"]
    code = "from edgesafe.calib.render.render_cmd import render; render()"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments])
    try:
        deadline = time.monotonic() + 60
        while len(list(partial.glob("records/0*.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()
    done = {path: path.stat().st_mtime_ns for path in partial.glob("records/0*.json")}
    there = len(done)
    assert 2 <= there < 60
    assert "other settings" in problem(*arguments, "--seed", 7)
    assert "give --frames" in problem(*arguments[:-1], "1")
    pictures = {
        path.name: path.stat().st_mtime_ns
        for path in partial.glob("train/000000/rgb/*")
        if (partial / "records" / f"{path.stem}.json").exists()
    }
    arguments[-1] = str(there + 1)
    result = run(*arguments)
    assert result.exception is None, result.output
    assert f"{there} from before" in result.output
    for name, written in pictures.items():
        assert (out / "train/000000/rgb" / name).stat().st_mtime_ns == written
    truth = json.loads((out / "train/000000/scene_gt.json").read_bytes())
    assert len(truth) == there + 1
    assert "exists already" in problem(*arguments)


def test_a_models_folder_is_taken_over(cube_ply: Path, cone_ply: Path, tmp_path: Path):
    first = tmp_path / "first"
    arguments = [cube_ply, cone_ply, "--ids", "4,7", "--symmetry", "4:x2,z2", "--out", first]
    assert run(*arguments, *SMALL).exception is None
    infos = json.loads((first / "models/models_info.json").read_bytes())
    # The whole group of a brick without the identity.
    assert len(infos["4"]["symmetries_discrete"]) == 3
    for matrix in infos["4"]["symmetries_discrete"]:
        turn = np.array(matrix).reshape(4, 4)
        vertices = read_ply(cube_ply).vertices
        moved = vertices @ turn[:3, :3].T + turn[:3, 3]
        assert {tuple(row) for row in moved.round(6) + 0.0} == {
            tuple(row) for row in vertices.round(6) + 0.0
        }
    second = tmp_path / "second"
    assert run(first / "models", "--ids", "4", "--out", second, *SMALL).exception is None
    again = json.loads((second / "models/models_info.json").read_bytes())
    assert again == {"4": infos["4"]}
    truth = json.loads((second / "train/000000/scene_gt.json").read_bytes())
    assert {instance["obj_id"] for frame in truth.values() for instance in frame} == {4}


def test_a_board_and_photos(cube_ply: Path, tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(2):
        rng = np.random.default_rng(number)
        picture = rng.integers(0, 255, (90, 120, 3)).astype(np.uint8)
        Image.fromarray(picture).save(photos / f"{number}.png")
    (photos / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    board = tmp_path / "board.json"
    board.write_text(
        json.dumps(
            {
                "units": "mm",
                "pitch": 60.0,
                "side": 50.0,
                "border_bits": 1,
                "data_bits": 2,
                "markers": [{"id": 0, "bits": "1001", "center": [-100.0, -100.0]}],
            }
        )
    )
    arguments = ["--photos", photos, "--board", board, "--board-share", 1, "--table", 1]
    result = run(cube_ply, "--out", tmp_path / "set", *arguments, *SMALL)
    assert result.exception is None, result.output
    board.write_text("{}")
    other = ["--out", tmp_path / "no", "--board"]
    assert "not a marker board" in problem(cube_ply, *other, board, *SMALL)
    assert "no.json" in problem(cube_ply, *other, tmp_path / "no.json", *SMALL)
    assert not (tmp_path / "no.partial").exists()


def test_markers_give_away_the_pose_of_a_part_fixed_to_the_board(
    cube_ply: Path, cone_ply: Path, tmp_path: Path
):
    board = tmp_path / "board.json"
    atomic_write(board, json.dumps(board_json(linemod_board())).encode())
    out, fixed = tmp_path / "set", ["--board", board, "--board-fixed", "1:-20.5,150,-70"]
    plain = ["--clutter", 0, 0, "--occluders", 0, 0, "--distance", 600, 900]
    arguments = [cube_ply, cone_ply, *fixed, "--board-fixed", "5,6,7", *plain, "--out", out]
    result = run(*arguments, "--frames", 7, "--seed", 5)
    assert result.exception is None, result.output
    data = BopDataset.open(out, "train")
    assert all(len(frame.instances) == 1 for frame in data.frames)
    models = eval_models(data, [1, 2])
    seen = look_at_all(data, linemod_board())
    asked = consult(seen, models)
    assert sum(one.frames for one in asked) >= 6
    assert all(one.leak for one in asked)
    found = board_to_objects(seen, [1, 2])
    for number, place in ((1, (-20.5, 150, -50)), (2, (5, 6, -50))):
        origins = [T[:3, 3] for _, T in found[number]]
        np.testing.assert_allclose(np.median(origins, axis=0), place, atol=2.5)
    settings = json.loads((out / "render.json").read_bytes())
    assert settings["scenes"]["fixed"] == {"1": [-20.5, 150, -70], "2": [5, 6, 7]}


def test_a_part_cannot_be_fixed_to_no_board(cube_ply: Path, cone_ply: Path, tmp_path: Path):
    out = [cube_ply, cone_ply, "--out", tmp_path / "set", "--frames", 1]
    assert "name its --board" in problem(*out, "--board-fixed", "0,0,0")
    board = tmp_path / "board.json"
    atomic_write(board, json.dumps(board_json(linemod_board())).encode())
    out += ["--board", board]
    everywhere = [*out, "--board-fixed", "0,0,0"]
    assert "leave --objects and --table out" in problem(
        *everywhere, "--table", 0.5, "--objects", 1, 1
    )
    assert "leave --upright out" in problem(*everywhere, "--upright", 1)
    assert "X,Y,DEGREES" in problem(*out, "--board-fixed", "here")
    assert "no part 3, only [1, 2]" in problem(*out, "--board-fixed", "3:0,0,0")
    assert "no place for part 2" in problem(*out, "--board-fixed", "1:0,0,0")
    assert "has a place already" in problem(*everywhere, "--board-fixed", "1,1,1")
    assert not (tmp_path / "set.partial").exists()


def test_metres_are_noticed(cube_ply: Path, tmp_path: Path):
    metres = tmp_path / "metres.ply"
    write_ply(metres, read_ply(cube_ply).scaled(0.001))
    assert "--scale 1000" in problem(metres, "--out", tmp_path / "set", *SMALL)
    assert not (tmp_path / "set.partial").exists()
    arguments = ["--scale", 1000, *SMALL, "--frames", 1]
    assert run(metres, "--out", tmp_path / "set", *arguments).exception is None
    infos = json.loads((tmp_path / "set/models/models_info.json").read_bytes())
    assert infos["1"]["size_z"] == pytest.approx(100, rel=1e-5)


def test_wrong_arguments_name_the_cure(cube_ply: Path, tmp_path: Path):
    out = ["--out", tmp_path / "set", *SMALL]
    assert "3:z2" in problem(cube_ply, *out, "--symmetry", "1z2")
    assert "only [1]" in problem(cube_ply, *out, "--symmetry", "2:z2")
    assert "twice" in problem(cube_ply, *out, "--symmetry", "1:z2", "--symmetry", "1:x2")
    assert "finite number" in problem(cube_ply, *out, "--symmetry", "1:z7,x5")
    assert "2 numbers for 1" in problem(cube_ply, *out, "--ids", "1,2")
    assert "nearer one first" in problem(cube_ply, *out, "--distance", 900, 500)
    assert "touch the camera" in problem(cube_ply, *out, "--distance", 50, 500)
    assert "smaller number" in problem(cube_ply, *out, "--objects", 4, 2)
    assert "640x480" in problem(cube_ply, "--out", tmp_path / "set", "--size", "big")
    assert "photos" in problem(cube_ply, *out, "--photos", tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no photo" in problem(cube_ply, *out, "--photos", empty)
    assert "obj_000001.ply" in problem(empty, *out)
    assert "no object [3]" in problem(_models(cube_ply, tmp_path), *out, "--ids", "3")
    text = tmp_path / "text.ply"
    text.write_text("not a mesh")
    assert "PLY" in problem(text, *out)


def _models(mesh: Path, folder: Path) -> Path:
    models = folder / "models"
    models.mkdir()
    write_ply(models / "obj_000001.ply", read_ply(mesh))
    return models
