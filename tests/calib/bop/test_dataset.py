"""Reading data sets: whole, of odd forms, and broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgesafe.calib.bop import BopDataset, read_split, split_names
from edgesafe.runtime.errors import DataError, UsageError

SCENE = Path("test") / "000003"


@pytest.fixture
def folder(small_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_dataset, tmp_path / "data"))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps(change(value) or value))


def test_frames_and_models(small_dataset: Path) -> None:
    data = BopDataset.open(small_dataset)
    assert (data.split, data.objects, data.missing) == ("test", [1, 2], ())
    assert len(data.frames) == 4
    assert [frame.im_id for frame in data.frames[1:3]] == [1, 2]
    frame = data.frames[-1]
    assert frame.key == (3, 3)
    assert frame.picture_size() == (160, 120)
    cube = frame.instances[0]
    assert cube.obj_id == 1 and cube.t[2] == 330
    assert cube.mask_path is not None and cube.mask_path.is_file()
    assert sorted(data.models("eval")) == [1, 2]
    assert data.models("full") == data.models("eval")
    assert data.models_info[2].symmetric and not data.models_info[1].symmetric
    camera = data.camera_of(frame, 160, 120)
    np.testing.assert_array_equal(camera.K, frame.K)
    with pytest.raises(IndexError):
        data.frames[4]


def test_a_split_may_be_named_by_its_folder(
    small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = BopDataset.open(small_dataset / "test")
    assert (data.path, data.split) == (small_dataset, "test")
    monkeypatch.chdir(small_dataset / "test")
    assert BopDataset.open(".").models_info


def test_several_splits(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    path = make_dataset(tmp_path / "data", frames=1, splits=("train", "test"))
    assert split_names(path) == ["test", "train"]
    with pytest.raises(DataError, match="test, train"):
        BopDataset.open(path)
    assert BopDataset.open(path, prefer="test").split == "test"
    assert BopDataset.open(path, "train", prefer="test").split == "train"
    with pytest.raises(DataError, match="no split 'val'"):
        BopDataset.open(path, "val")


def test_no_data_set(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="scene_camera"):
            BopDataset.open(path)


def test_jpeg_grey_and_sixteen_bits(folder: Path) -> None:
    rgb = folder / SCENE / "rgb"
    grey = np.arange(120 * 160).reshape(120, 160)
    (rgb / "000000.png").unlink()
    Image.fromarray((grey % 256).astype(np.uint8)).save(rgb / "000000.png")
    (rgb / "000001.png").unlink()
    Image.new("RGB", (160, 120), (200, 0, 0)).save(rgb / "000001.jpg", quality=95)
    (rgb / "000002.png").unlink()
    Image.fromarray(grey.astype(np.uint16)).save(rgb / "000002.tif")
    rgb.rename(folder / SCENE / "gray")
    frames = BopDataset.open(folder).frames
    np.testing.assert_array_equal(frames[0].read_rgb()[..., 2], grey % 256)
    assert abs(int(frames[1].read_rgb()[0, 0, 0]) - 200) < 4
    np.testing.assert_array_equal(frames[2].read_rgb()[..., 0], grey // 256)


def test_pictures_that_are_not_there_have_no_frame(folder: Path) -> None:
    (folder / SCENE / "rgb" / "000002.png").unlink()
    data = BopDataset.open(folder)
    assert data.missing == ((3, 2),)
    assert data.keys == [(3, 0), (3, 1), (3, 3)]
    shutil.rmtree(folder / SCENE / "rgb")
    with pytest.raises(DataError, match="no pictures"):
        BopDataset.open(folder)


def test_a_broken_picture(folder: Path) -> None:
    path = folder / SCENE / "rgb" / "000000.png"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"000000\.png cannot be read as a picture"):
        BopDataset.open(folder).frames[0].read_rgb()


def test_without_truth_and_info(folder: Path) -> None:
    (folder / SCENE / "scene_gt_info.json").unlink()
    instance = BopDataset.open(folder).frames[0].instances[0]
    assert (instance.bbox_obj, instance.bbox_visib, instance.visib_fract) == (None, None, None)
    (folder / SCENE / "scene_gt.json").unlink()
    data = BopDataset.open(folder)
    assert data.frames[0].instances == () and data.objects == []


def test_without_masks_models_or_camera(folder: Path) -> None:
    shutil.rmtree(folder / SCENE / "mask_visib")
    shutil.rmtree(folder / "models")
    (folder / "camera.json").unlink()
    data = BopDataset.open(folder)
    assert data.frames[0].instances[0].mask_visib_path is None
    assert data.camera is None
    with pytest.raises(DataError, match=r"models_info\.json"):
        _ = data.models_info
    with pytest.raises(DataError, match="no meshes"):
        data.models()


def test_the_lens_comes_from_camera_json(folder: Path) -> None:
    edit(folder / "camera.json", lambda value: {**value, "dist": [0.1, 0, 0, 0]})
    data = BopDataset.open(folder)
    assert data.camera_of(data.frames[0], 160, 120).dist == (0.1, 0, 0, 0)
    edit(folder / "camera.json", lambda value: {**value, "fx": -1})
    with pytest.raises(DataError, match=r"camera\.json"):
        BopDataset.open(folder).camera_of(data.frames[0], 160, 120)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("scene_camera", lambda v: v["1"].pop("cam_K") and None, "cam_K"),
        ("scene_camera", lambda v: v["1"].update(cam_K=[1] * 8), "cam_K"),
        ("scene_camera", lambda v: v["1"].update(cam_K=[0] * 9), "focal length"),
        ("scene_camera", lambda v: v.update(x={}), "number of an image"),
        ("scene_camera", lambda v: v.pop("1") and None, "lacks"),
        ("scene_gt", lambda v: v["1"][0].update(cam_t_m2c=[1, 2]), "cam_t_m2c"),
        ("scene_gt", lambda v: v["1"][0].update(cam_R_m2c="abc"), "cam_R_m2c"),
        ("scene_gt", lambda v: v["1"][0].update(cam_t_m2c=[1, 2, 1e999]), "not valid JSON"),
        ("scene_gt", lambda v: v["1"][0].update(obj_id=1.5), "whole number"),
        ("scene_gt", lambda v: v["1"].append(7), "scene_gt"),
        ("scene_gt", lambda v: v.pop("1") and None, "do not belong together"),
        ("scene_gt_info", lambda v: v["1"].pop() and None, "do not belong together"),
        ("scene_gt_info", lambda v: v["1"][0].update(bbox_visib=[1, 2, 3]), "bbox_visib"),
        ("scene_gt_info", lambda v: v["1"][0].update(visib_fract=None), "visib_fract"),
        ("scene_gt", lambda v: [v], "JSON object"),
    ],
)
def test_broken_annotations(
    folder: Path, name: str, change: Callable[[Any], Any], message: str
) -> None:
    edit(folder / SCENE / f"{name}.json", change)
    with pytest.raises(DataError, match=message) as caught:
        BopDataset.open(folder)
    assert "000003" in str(caught.value)


def test_subsets(small_dataset: Path) -> None:
    data = BopDataset.open(small_dataset)
    assert data.subset([1, (3, 3)]).keys == [(3, 1), (3, 3)]
    assert data.subset([1, 3], complement=True).keys == [(3, 0), (3, 2)]
    assert data.thinned(2).keys == [(3, 0), (3, 2)]
    assert data.thinned(9) is data
    with pytest.raises(DataError, match="lacks 2 of the 3"):
        data.subset([1, 99, (4, 1)])
    with pytest.raises(DataError, match="no frame"):
        data.subset([0, 1, 2, 3], complement=True)
    with pytest.raises(UsageError, match="at least 1"):
        data.thinned(0)


def test_split_lists(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text(
        "3\n000004\n\n# more\n2/17  # scene 2\n/x/lm/test/000002/rgb/000018.png\n"
        "LINEMOD\\cat\\JPEGImages\\000019.jpg\n"
    )
    assert read_split(path) == [3, 4, (2, 17), (2, 18), 19]
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "cat.txt").write_text("5\n6\n")
    (folder / "000013.txt").write_text("7\n2/8\n")
    assert read_split(folder) == [(13, 7), (2, 8), (6, 5), (6, 6)]
    for text, message in (("", "no frame"), ("a.jpg", "neither"), ("1.5e3", "neither")):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_split(path)
    (folder / "dog.txt").write_text("1")
    with pytest.raises(DataError, match="name of a scene"):
        read_split(folder)
    with pytest.raises(DataError, match="cannot be read"):
        read_split(tmp_path / "none.txt")
