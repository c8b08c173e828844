"""``edgesafe pose``: a line for every source, pictures, result files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgesafe.runtime import EdgesafeError, PosePackage, SourceError, UsageError
from edgesafe.runtime.mesh import Mesh, write_ply
from edgesafe.runtime.pose.bop_csv import HEADER, image_of_path, result_line, write_results
from edgesafe.runtime.pose.output import Overlays
from edgesafe.runtime.pose.pose_cmd import pose
from edgesafe.runtime.pose.roi_option import parse_meshes, parse_rois

from .conftest import CAMERA, CORNERS, box_of, draw_frame, pose_of
from .test_draw import CUBE_FACES

KEYS = [
    *("source", "index", "object", "R", "t", "confidence", "reprojection_px", "covariance"),
    *("reason", "refined", "package", "ms"),
]


@pytest.fixture
def shots(tmp_path: Path):
    """A scene of BOP with two pictures, K.json, and the poses."""
    folder = tmp_path / "000002" / "rgb"
    folder.mkdir(parents=True)
    poses = [
        pose_of((0.5, -0.4, 0.2), (30.0, -20.0, 620.0)),
        pose_of((2.0, 0.7, -0.5), (-140.0, 90.0, 800.0)),
    ]
    for number, (R, t) in enumerate(poses):
        Image.fromarray(draw_frame(R, t)).save(folder / f"{number + 7:06d}.png")
    camera = tmp_path / "K.json"
    camera.write_text(json.dumps(CAMERA.to_dict()))
    return folder, camera, poses


def _run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(pose, [str(a) for a in arguments], input=stdin)


def _lines(result: Result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def _roi(R: np.ndarray, t: np.ndarray) -> str:
    return ",".join(f"{v:.1f}" for v in box_of(R, t))


def test_a_tight_box_moves_the_pose_and_needs_a_box(shots, pose_package: PosePackage) -> None:
    folder, camera, ((R, t), _) = shots
    common = (folder / "000007.png", "--camera", camera, "--model", pose_package.path, "--json")
    # Five pixels larger than the object on all sides: only --roi-sd makes that count.
    x, y, w, h = box_of(R, t)
    roi = f"{x:.1f},{y:.1f},{w:.1f},{h:.1f}"
    (loose,) = _lines(_run(*common, "--roi", roi))
    (tight,) = _lines(_run(*common, "--roi", roi, "--roi-sd", "0.001"))
    assert tight["t"][2] < 0.99 * loose["t"][2]

    alone = _run(*common, "--roi-sd", "0.01")
    assert alone.exit_code == 2 and "--roi-sd goes with --roi" in alone.stderr
    assert _run(*common, "--roi", roi, "--roi-sd", "3").exit_code == 2


def test_a_picture_becomes_a_line(shots, pose_package: PosePackage) -> None:
    folder, camera, ((R, t), _) = shots
    file = folder / "000007.png"
    common = ("--camera", camera, "--model", pose_package.path)
    result = _run(file, *common, "--roi", _roi(R, t), "--json", "--threads", 1)
    assert result.exit_code == 0, result.output
    (line,) = _lines(result)
    assert list(line) == KEYS
    assert (line["source"], line["index"], line["object"]) == (str(file), 0, 1)
    assert np.array(line["t"]) == pytest.approx(t, rel=0.02, abs=2)
    assert np.reshape(line["R"], (3, 3)) == pytest.approx(R, abs=0.03)
    assert len(line["covariance"]) == 21
    assert line["reason"] is None and line["package"] == pose_package.manifest.identity
    assert set(line["ms"]) == {"decode", "detect", "crop", "network", "pnp", "refine"}
    assert line["ms"]["decode"] > 0
    table = _run(file, *common, "--roi", f"1:{_roi(R, t)}")
    assert "OBJECT" in table.stdout and "block1" in table.stdout and " 619." in table.stdout
    assert "1 pose, " in table.stderr


def test_every_source_gets_a_line(shots, detector_package: PosePackage, tmp_path: Path) -> None:
    folder, camera, _ = shots
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n123")
    Image.new("RGBA", (640, 480), (1, 2, 3, 4)).save(folder / "clear.png")
    Image.new("RGB", (320, 240)).save(folder / "small.png")
    Image.new("RGB", (640, 480)).save(folder / "vacant.png")
    common = ("--camera", camera, "--model", detector_package.path, "--json")
    result = _run(folder, tmp_path / "none.png", *common)
    lines = _lines(result)
    assert [line["reason"] for line in lines[:2]] == [None, None]
    assert [(Path(line["source"]).name, line["reason"]) for line in lines[2:]] == [
        ("broken.png", "truncated"),
        ("clear.png", "transparent"),
        ("small.png", "wrong_resolution"),
        ("vacant.png", "not_detected"),
        ("none.png", "missing"),
    ]
    for line in lines[2:]:
        assert list(line) == KEYS
        assert line["object"] is line["R"] is line["t"] is line["confidence"] is None
    assert isinstance(result.exception, SourceError) and "320 x 240" in str(result.exception)
    table = _run(folder / "vacant.png", *common[:-1])
    assert table.exit_code == 0 and "not_detected" in table.stdout
    limited = _run(folder, *common, "--limit", 1)
    assert limited.exit_code == 0 and len(_lines(limited)) == 1
    listed = _run("-", *common, stdin=f"{folder / '000007.png'}\n")
    assert len(_lines(listed)) == 1


def test_boxes_from_a_file_overlays_and_results(
    shots, pose_package: PosePackage, tmp_path: Path
) -> None:
    folder, camera, poses = shots
    boxes = {f"{i + 7:06d}.png": {"1": list(box_of(*p))} for i, p in enumerate(poses)}
    Image.new("RGB", (640, 480)).save(folder / "000009.png")
    rois, mesh = tmp_path / "rois.json", tmp_path / "cube.ply"
    rois.write_text(json.dumps(boxes))
    write_ply(mesh, Mesh(CORNERS, CUBE_FACES))
    out, csv = tmp_path / "out", tmp_path / "result.csv"
    common = ("--camera", camera, "--model", pose_package.path, "--roi", rois)
    result = _run(folder, *common, "--overlay", out, "--csv", csv, "--mesh", mesh, "--json")
    assert result.exit_code == 0, result.output
    assert [line["reason"] for line in _lines(result)] == [None, None, "no_roi"]
    pictures = sorted(path for path in out.rglob("*.jpg"))
    assert [path.name for path in pictures] == ["000007.jpg", "000008.jpg", "000009.jpg"]
    with Image.open(pictures[0]) as picture:
        assert picture.size == (640, 480)
    head, *rows = csv.read_text().splitlines()
    assert head == HEADER == "scene_id,im_id,obj_id,score,R,t,time"
    for row, (R, t), number in zip(rows, poses, (7, 8), strict=True):
        scene, image, obj, score, rotation, shift, seconds = row.split(",")
        assert (scene, image, obj) == ("2", str(number), "1")
        assert 0 < float(score) <= 1 and 0 < float(seconds) < 10
        assert np.array(rotation.split(), float) == pytest.approx(R.ravel(), abs=0.05)
        assert np.array(shift.split(), float) == pytest.approx(t, rel=0.02, abs=3)
    again = _run(folder, *common, "--overlay", out)
    assert isinstance(again.exception, UsageError) and "empty" in str(again.exception)


@pytest.mark.parametrize("track", [False, True])
def test_a_video_is_followed(shots, detector_package: PosePackage, tmp_path: Path, track) -> None:
    import cv2

    _, camera, _ = shots
    video = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (640, 480))
    path = [pose_of((0.5, -0.4, 0.2), (-40.0 + 15 * i, 0.0, 620.0)) for i in range(5)]
    for R, t in path:
        writer.write(np.ascontiguousarray(draw_frame(R, t)[..., ::-1]))
    writer.release()
    common = ("--camera", camera, "--model", detector_package.path, "--json")
    result = _run(video, *common, *(["--track"] if track else []), "--overlay", tmp_path / "o")
    assert result.exit_code == 0, result.output
    lines = _lines(result)
    assert [line["index"] for line in lines] == [0, 1, 2, 3, 4]
    for line, (_, t) in zip(lines, path, strict=True):
        assert line["reason"] is None
        assert np.array(line["t"]) == pytest.approx(t, rel=0.05, abs=4)
        assert (line["ms"]["detect"] > 0) == (not track or line["index"] == 0)
    assert len(list((tmp_path / "o").rglob("*.jpg"))) == 5
    assert len(_lines(_run(video, *common, "--every", 2, "--limit", 2))) == 2


def test_wrong_usage(shots, pose_package: PosePackage, tmp_path: Path) -> None:
    folder, camera, _ = shots
    common = ("--camera", camera, "--model", pose_package.path)
    result = _run(folder, *common)
    assert result.exit_code == 2 and "no detector" in result.output and "--roi" in result.output
    result = _run(folder, *common, "--roi", "1,2,30,40", "--object", 9)
    assert result.exit_code == 2 and "--object 9" in result.output
    assert _run(folder, "--model", pose_package.path).exit_code == 2
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({**CAMERA.to_dict(), "fx": -1}))
    result = _run(folder, "--camera", bad, "--model", pose_package.path, "--roi", "1,2,30,40")
    assert isinstance(result.exception, UsageError) and "positive" in str(result.exception)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["1:1,2,3"], "X,Y,W,H"),
        (["1:1,2,a,4"], "X,Y,W,H"),
        (["1:1,2,0,4"], "positive"),
        (["1:1,2,nan,4"], "positive"),
        (["9:1,2,3,4"], "knows 1, 5"),
        (["1,2,3,4"], "of which object"),
        (["none.json"], "No such file"),
    ],
)
def test_regions_that_are_none(texts: list[str], problem: str) -> None:
    with pytest.raises(EdgesafeError, match=problem):
        parse_rois(texts, [1, 5])


def test_regions_of_files(tmp_path: Path) -> None:
    file = tmp_path / "rois.json"
    file.write_text(json.dumps({"1": [[1, 2, 3, 4], [5, 6, 7, 8]], "a.png": {"5": [1, 1, 2, 2]}}))
    table = parse_rois([str(file), "5:9,9,9,9"], [1, 5])
    assert table.find("x/a.png") == [(5, (1, 1, 2, 2))]
    assert table.find("x/b.png") == [(1, (1, 2, 3, 4)), (1, (5, 6, 7, 8)), (5, (9, 9, 9, 9))]
    assert parse_rois([], [1]) is None
    for text in ("[]", "{", '{"1": 5}', '{"1": {"a": 1}}'):
        file.write_text(text)
        with pytest.raises(UsageError):
            parse_rois([str(file)], [1, 5])


def test_meshes_by_number_and_by_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no obj_"):
        parse_meshes([str(tmp_path)], [1, 5])
    (tmp_path / "obj_000005.ply").touch()
    assert parse_meshes([str(tmp_path)], [1, 5]) == {5: tmp_path / "obj_000005.ply"}
    assert parse_meshes(["1:a.ply", "5:b.ply"], [1, 5]) == {1: Path("a.ply"), 5: Path("b.ply")}
    assert parse_meshes(["c.ply"], [3]) == {3: Path("c.ply")}
    with pytest.raises(UsageError, match="of which object"):
        parse_meshes(["c.ply"], [1, 5])


def test_results_of_bop(tmp_path: Path) -> None:
    line = result_line(2, 17, 5, 0.5, np.eye(3), [1.5, -2, 900], 0.25)
    assert line == "2,17,5,0.5,1 0 0 0 1 0 0 0 1,1.5 -2 900,0.25"
    assert image_of_path("test/000002/rgb/000017.png") == (2, 17)
    assert image_of_path("a/b/000017.png") is image_of_path("17.png") is None
    with pytest.raises(EdgesafeError, match="could not be written"):
        write_results(tmp_path / "none" / "r.csv", [line])


def test_overlays_never_share_a_name(tmp_path: Path) -> None:
    from pathlib import PurePosixPath

    overlays = Overlays(tmp_path / "o")
    page = np.zeros((8, 8, 3), dtype=np.uint8)
    names = ["a.png", "A.jpg", "../a.webp", "sub/a.png"]
    paths = [overlays.write(PurePosixPath(name), page) for name in names]
    assert len({str(path).lower() for path in paths}) == 4
    assert all(path.is_relative_to(tmp_path / "o") and path.is_file() for path in paths)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        Overlays(tmp_path / "file")
