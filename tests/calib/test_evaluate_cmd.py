"""``edgesafe evaluate pose``: what a package is asked, what is counted, what is written."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgesafe.calib.bop import BopDataset
from edgesafe.calib.evaluate_cmd import evaluate
from edgesafe.calib.pose_evaluation import TRUTH_SD
from edgesafe.calib.pose_scores import METRICS
from edgesafe.runtime.errors import EdgesafeError
from edgesafe.runtime.pose.estimator import PoseEstimator
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.result import Pose, PoseTimings

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


class Stub:
    """Knows the truth, is 1 mm beside it, and refuses object 2 in the last frame."""

    manifest = SimpleNamespace(identity="stub@1#0")
    has_detector = True

    def __init__(self, data: BopDataset, names: dict[int, str]) -> None:
        self.objects = {number: SimpleNamespace(name=name) for number, name in names.items()}
        self.frames = iter(data.frames)
        self.calls: list[Any] = []

    def estimate(
        self,
        rgb: Any,
        camera: Camera,
        roi: Any = None,
        *,
        objects: Iterable[int] | None = None,
        roi_sd: float | None = None,
        refine: bool = True,
    ) -> list[Pose]:
        assert refine
        # An annotated box is tight; a detector says itself how exact it is.
        assert roi_sd == (None if roi is None else TRUTH_SD)
        self.calls.append((rgb.shape, camera.K[0, 0], roi, objects))
        frame = next(self.frames)
        asked = [number for number, _ in roi] if roi is not None else list(objects or ())
        return [
            self._pose(frame.im_id, one)
            for one in frame.instances
            if one.obj_id in asked and one.obj_id in self.objects
        ]

    def _pose(self, im_id: int, one: Any) -> Pose:
        name, ms = self.objects[one.obj_id].name, PoseTimings(network=2.0, pnp=1.0)
        if (im_id, one.obj_id) == (3, 2):
            return Pose(2, name, reason="low_confidence", ms=ms)
        return Pose(one.obj_id, name, one.R, one.t + [0, 1, 0], confidence=0.75, ms=ms)


@pytest.fixture
def folder(small_dataset: Path) -> Path:
    return small_dataset


@pytest.fixture
def stub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    made = Stub(BopDataset.open(folder), {1: "cube", 2: "tin", 9: "absent"})
    monkeypatch.setattr(PoseEstimator, "load", lambda *_, **__: made)
    return made


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(evaluate, ["pose", *map(str, arguments)])


def report(*arguments: Any) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def failure(*arguments: Any) -> EdgesafeError:
    error = run(*arguments).exception
    assert isinstance(error, EdgesafeError)
    return error


def test_a_package(folder: Path, stub: Stub, tmp_path: Path) -> None:
    found = report(
        folder, "--model", "x", "--csv", tmp_path / "r.csv", "--out", tmp_path / "r.json"
    )
    assert (found["package"], found["roi"], found["split"]) == ("stub@1#0", "truth", "test")
    assert found["names"] == {"1": "cube", "2": "tin"}
    cube, tin = found["objects"]["1"], found["objects"]["2"]
    assert (cube["targets"], cube["found"], cube["recall"]["value"]) == (4, 4, 1)
    assert cube["median_translation_mm"] == pytest.approx(1)
    assert cube["auc"]["value"] == pytest.approx(0.99)
    assert (tin["targets"], tin["found"], tin["recall"]["value"]) == (4, 3, 0.75)
    assert tin["refused"] == {"low_confidence": 1}
    assert found["pooled"]["recall"]["value"] == 7 / 8
    assert found["ms"]["network"] == 4.0
    assert json.loads((tmp_path / "r.json").read_text()) == found
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7  # a refused pose has no row
    assert rows[0]["scene_id"] == "3" and rows[0]["score"] == "0.75"
    assert len(rows[0]["R"].split()) == 9
    # Its own file is judged alike.
    again = report(folder, "--results", tmp_path / "r.csv")["pooled"]
    for name in METRICS:
        assert again[name]["value"] == pytest.approx(found["pooled"][name]["value"])


def test_where_it_looks(folder: Path, stub: Stub) -> None:
    report(folder)
    frame = BopDataset.open(folder).frames[0]
    boxes = [(one.obj_id, one.bbox_visib) for one in frame.instances]
    assert stub.calls[0] == ((120, 160, 3), 200.0, boxes, None)


def test_the_detector(folder: Path, stub: Stub) -> None:
    assert report(folder, "--roi", "detector")["roi"] == "detector"
    assert stub.calls[0][2:] == (None, [1, 2])
    stub.has_detector = False
    assert "--roi truth" in str(failure(folder, "--roi", "detector"))


def test_a_table(folder: Path, stub: Stub) -> None:
    result = run(folder)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "4 frames, 8 targets" in lines[1]
    assert lines[4].split()[:5] == ["1", "cube", "4", "4", "0"]
    assert lines[5].split()[:5] == ["2", "tin", "4", "3", "1"]
    assert lines[7].startswith("all targets")
    assert "87.5" in lines[7]
    assert "refused: 1 low_confidence" in result.stdout


def test_objects_that_the_package_does_not_know_do_not_count(folder: Path, stub: Stub) -> None:
    del stub.objects[2]
    result = run(folder, "--json")
    assert list(json.loads(result.stdout)["objects"]) == ["1"]
    assert "does not know the objects 2" in result.stderr
    del stub.objects[1]
    assert "none in common" in str(failure(folder))


def test_only_some_objects_and_frames(folder: Path, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("0\n2\n")
    found = report(folder, "--objects", "1", "--split-file", tmp_path / "list.txt")
    assert (found["frames"], list(found["objects"])) == (2, ["1"])
    assert "in no frame" in str(failure(folder, "--objects", "1,9"))
    assert "write numbers" in str(failure(folder, "--objects", "cube"))


def test_frames_that_are_not_in_a_list(folder: Path, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("0\n2\n3\n")
    found = report(folder, "--split-file", tmp_path / "list.txt", "--not-in", "--limit", 5)
    assert found["frames"] == 1


def test_a_result_file_misses_what_it_lacks(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("3,0,1,1,1 0 0 0 1 0 0 0 1,0 0 300,-1\n")
    found = report(folder, "--results", tmp_path / "r.csv")
    assert found["objects"]["2"]["found"] == 0
    assert found["objects"]["1"]["found"] == 1
    assert "package" not in found


def test_hardly_visible_objects_do_not_count(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "data"))
    path = copy / "test" / "000003" / "scene_gt_info.json"
    infos = json.loads(path.read_text())
    infos["0"][1]["visib_fract"] = 0.09
    path.write_text(json.dumps(infos))
    (tmp_path / "r.csv").write_text("")
    counts = [
        report(copy, "--results", tmp_path / "r.csv", *more)["objects"]["2"]["targets"]
        for more in ((), ("--min-visib", 0.05))
    ]
    assert counts == [3, 4]
    nobody = ("--objects", "2", "--min-visib", 1)
    infos = {name: [{**one, "visib_fract": 0.5} for one in many] for name, many in infos.items()}
    path.write_text(json.dumps(infos))
    assert "visible share of 1" in str(failure(copy, "--results", tmp_path / "r.csv", *nobody))


def test_truth_needs_boxes(folder: Path, stub: Stub, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "data"))
    (copy / "test" / "000003" / "scene_gt_info.json").unlink()
    error = failure(copy)
    assert error.exit_status == 3
    assert "bbox_visib" in str(error) and "--roi detector" in str(error)


def test_a_missing_mesh(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "data"))
    (copy / "models" / "obj_000002.ply").unlink()
    (tmp_path / "r.csv").write_text("")
    assert "objects 2" in str(failure(copy, "--results", tmp_path / "r.csv"))


def test_contradicting_options(folder: Path, tmp_path: Path) -> None:
    for more in (("--model", "x"), ("--roi", "truth"), ("--csv", "y")):
        error = failure(folder, "--results", tmp_path / "r.csv", *more)
        assert error.exit_status == 2
    assert failure(folder, "--not-in").exit_status == 2
    assert run(folder, "--min-visib", "2").exit_code == 2
    assert "scene_camera" in str(failure(tmp_path))


def test_real_truth_is_perfect(tmp_path: Path) -> None:
    """LM-O's own annotations as results, of symmetric objects turned over."""
    if not (SHARED / "lmo").is_dir():
        pytest.skip("needs ../shared/data/lmo")
    data = BopDataset.open(SHARED / "lmo")
    lines = []
    for frame in data.thinned(3).frames:
        for one in frame.instances:
            S = data.models_info[one.obj_id].symmetry_transforms()[-1]
            R, t = one.R @ S[:3, :3], one.R @ S[:3, 3] + one.t
            numbers = [" ".join(map(str, part.ravel())) for part in (R, t)]
            lines.append(f"{frame.scene_id},{frame.im_id},{one.obj_id},1,{','.join(numbers)},-1\n")
    (tmp_path / "r.csv").write_text("".join(lines))
    found = report(SHARED / "lmo", "--results", tmp_path / "r.csv", "--limit", 3)
    assert set(found["objects"]) == {"1", "5", "6", "8", "9", "10", "11", "12"}
    for scores in found["objects"].values():
        assert scores["recall"]["value"] == scores["ar_mssd"]["value"] == 1
        assert scores["median_rotation_deg"] < 0.2
    assert found["mean"]["auc"]["value"] > 0.97
