"""The check finds what is wrong, and only that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgesafe.calib.bop.check import check_dataset
from edgesafe.calib.bop.check_pictures import difference_hash
from edgesafe.calib.bop.check_poses import box_iou
from edgesafe.calib.bop.inspect import inspect_dataset, is_dataset
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import read_ply, write_ply

SCENE = Path("test") / "000003"


@pytest.fixture
def folder(small_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_dataset, tmp_path / "data"))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_all(path: Path, key: str, change: Callable[[Any], Any]) -> None:
    """Change a field of every instance of a scene."""

    def every(scene: Any) -> None:
        for entries in scene.values():
            for entry in entries:
                entry[key] = change(entry[key])

    edit(path, every)


def found(path: Path) -> list[tuple[str, str]]:
    return [(finding.level, finding.code) for finding in check_dataset(path).findings]


def test_a_good_data_set(small_dataset: Path) -> None:
    report = check_dataset(small_dataset)
    assert report.findings == ()
    split = report.splits["test"]
    assert (split.scenes, split.frames, split.instances, split.size) == (1, 4, 8, (160, 120))
    assert split.visible == 1
    assert all(np.median(fit.iou) == 1 for fit in split.boxes.values())
    assert report.symmetric == (2,)
    assert report.diameters[1] == pytest.approx(40 * 3**0.5)


def test_metres(folder: Path) -> None:
    edit_all(folder / SCENE / "scene_gt.json", "cam_t_m2c", lambda t: [v / 1000 for v in t])
    codes = found(folder)
    assert ("error", "unit") in codes and ("error", "box_fit") in codes


def test_a_mesh_in_metres(folder: Path) -> None:
    path = folder / "models" / "obj_000001.ply"
    write_ply(path, read_ply(path).scaled(0.001))
    codes = found(folder)
    assert ("error", "diameter") in codes and ("error", "box_fit") in codes
    report = check_dataset(folder)
    assert "a factor of 0.001" in next(f.text for f in report.findings if f.code == "diameter")


def test_models_info_in_metres(folder: Path) -> None:
    def shrink(value: Any) -> None:
        for name in value["1"]:
            value["1"][name] /= 1000

    edit(folder / "models" / "models_info.json", shrink)
    assert ("error", "unit") in found(folder)


def test_another_mesh_frame(folder: Path) -> None:
    path = folder / "models" / "obj_000001.ply"
    mesh = read_ply(path)
    mesh.vertices[:] += [0, 0, 30]
    write_ply(path, mesh)
    assert found(folder)[:1] == [("error", "box")]
    assert ("warning", "not_centred") in found(folder)


def test_no_rotation(folder: Path) -> None:
    def spoil(scene: Any) -> None:
        scene["0"][0]["cam_R_m2c"][0] *= -1
        scene["1"][0]["cam_R_m2c"] = np.diag([1.005, 1, 1]).ravel().tolist()

    edit(folder / SCENE / "scene_gt.json", spoil)
    report = check_dataset(folder)
    texts = {finding.code: finding.text for finding in report.findings}
    assert "000003/000000 instance 0" in texts["rotation"]
    assert "000003/000001 instance 0" in texts["rough_rotation"]


def test_behind_the_camera_and_visible_more_than_whole(folder: Path) -> None:
    edit(folder / SCENE / "scene_gt.json", lambda v: v["0"][0].update(cam_t_m2c=[0, 0, -300]))
    edit(folder / SCENE / "scene_gt_info.json", lambda v: v["0"][0].update(visib_fract=1.5))
    assert {("error", "behind_camera"), ("error", "visib_fract")} <= set(found(folder))


def test_another_k(folder: Path) -> None:
    double = [400, 0, 159.5, 0, 400, 119.5, 0, 0, 1]
    edit(
        folder / SCENE / "scene_camera.json",
        lambda v: [entry.update(cam_K=double) for entry in v.values()],
    )
    codes = found(folder)
    assert ("error", "K") in codes and ("error", "box_fit") in codes
    assert ("warning", "camera") in codes


def test_a_transposed_k(folder: Path) -> None:
    transposed = [200, 0, 0, 0, 200, 0, 79.5, 59.5, 1]
    edit(folder / SCENE / "scene_camera.json", lambda v: v["0"].update(cam_K=transposed))
    assert ("error", "K") in found(folder)


def test_boxes_beyond_the_picture(folder: Path) -> None:
    edit(
        folder / SCENE / "scene_gt_info.json",
        lambda v: v["0"][0].update(bbox_visib=[150, 0, 30, 9]),
    )
    assert found(folder) == [("error", "box_outside")]


def test_files_missing_and_left_over(folder: Path) -> None:
    (folder / SCENE / "rgb" / "000001.png").unlink()
    (folder / SCENE / "mask" / "000002_000001.png").unlink()
    Image.new("RGB", (160, 120)).save(folder / SCENE / "rgb" / "000077.png")
    assert found(folder) == [
        ("error", "no_mask"),
        ("warning", "no_picture"),
        ("warning", "no_annotation"),
    ]


def test_models_missing(folder: Path) -> None:
    (folder / "models" / "obj_000001.ply").unlink()
    assert found(folder) == [("error", "no_model")]
    shutil.rmtree(folder / "models")
    assert found(folder) == [("error", "no_models")]


def test_broken_files_are_findings(folder: Path) -> None:
    (folder / SCENE / "rgb" / "000001.png").write_bytes(b"no picture")
    (folder / "models" / "obj_000001.ply").write_bytes(b"no mesh")
    (folder / "camera.json").write_text("{}")
    assert set(found(folder)) == {
        ("error", "unreadable"),
        ("error", "bad_mesh"),
        ("error", "camera"),
    }
    (folder / SCENE / "scene_gt.json").write_text("no json")
    assert found(folder) == [("error", "unreadable")]


def test_leaks_between_splits(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    path = make_dataset(tmp_path / "data", splits=("train", "test"))
    assert found(path) == []
    train, test = (path / name / "000003" / "rgb" for name in ("train", "test"))
    shutil.copy(train / "000001.png", test / "000002.png")
    assert ("error", "split_leak") in found(path)
    # Saved again as JPEG: other bytes, the same picture.
    with Image.open(train / "000001.png") as picture:
        picture.save(test / "000002.png", "JPEG", quality=90)
    assert found(path) == [("warning", "near_duplicate")]


def test_a_picture_twice_in_a_split(folder: Path) -> None:
    rgb = folder / SCENE / "rgb"
    shutil.copy(rgb / "000000.png", rgb / "000001.png")
    assert found(folder) == [("warning", "duplicate")]


def test_the_hash_stands_noise_but_not_another_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (12, 16, 3)).astype(np.uint8)
    Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    picture = np.asarray(Image.open(tmp_path / "a.png"), np.int16)
    noisy = np.clip(picture * 0.9 + rng.normal(0, 4, picture.shape) + 10, 0, 255)
    Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / "b.png")
    Image.fromarray(picture[:, ::-1].astype(np.uint8)).save(tmp_path / "c.png")
    bits = [np.unpackbits(difference_hash(tmp_path / f"{name}.png")) for name in "abc"]
    assert (bits[0] != bits[1]).sum() <= 10
    assert (bits[0] != bits[2]).sum() > 60


def test_the_overlap_of_boxes() -> None:
    a = np.array([0.0, 0, 4, 4])
    assert box_iou(a, a) == 1
    assert box_iou(a, np.array([2.0, 0, 4, 4])) == pytest.approx(1 / 3)
    assert box_iou(a, np.array([4.0, 4, 4, 4])) == 0


def test_inspection_prints_and_draws(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_dataset(small_dataset) and not is_dataset(tmp_path)
    inspect_dataset(small_dataset, tmp_path / "out", False, overlays=2)
    text = capsys.readouterr().out
    assert "Split test: 1 scenes, 4 frames 160 x 120 pixels, 8 instances" in text
    assert "Nothing wrong was found." in text
    drawn = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in drawn] == [
        "test_000003_000000.png",
        "test_000003_000002.png",
    ]
    before = np.asarray(Image.open(small_dataset / SCENE / "rgb" / "000000.png"), np.int16)
    changed = np.abs(np.asarray(Image.open(drawn[0]), np.int16) - before).max(axis=2) > 0
    # The boxes of both objects, and little besides; far from them nothing.
    assert changed.any() and not changed[110:].any()
    inspect_dataset(small_dataset, None, True)
    fields = json.loads(capsys.readouterr().out)
    assert (fields["errors"], fields["overlays"]) == (0, [])
    assert fields["splits"]["test"]["boxes"]["1"]["median_iou"] == 1


def test_inspection_tells_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder / "models")
    with pytest.raises(DataError, match="1 errors, listed above"):
        inspect_dataset(folder, folder.parent / "out", False)
    printed = capsys.readouterr()
    assert "1 errors, 0 warnings" in printed.out and "fetch the models" in printed.out
    assert "cannot be drawn" in printed.err
    with pytest.raises(DataError, match="no split"):
        inspect_dataset(folder.parent / "out", None, False)
