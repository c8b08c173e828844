"""What is written in the format of BOP comes back, and nothing comes of an interrupted write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.calib.bop import BopDataset, BopWriter, LabelledObject
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.mesh import Mesh, read_ply

RGB = np.zeros((40, 60, 3), np.uint8)
K = np.array([[50.0, 0, 29.5], [0, 50, 19.5], [0, 0, 1]])
TRIANGLE = Mesh(np.array([[0.0, 0, 0], [3, 0, 0], [0, 4, 0]]), np.array([[0, 1, 2]]))


def labelled(mask: Any = None, visible: Any = None, **more: Any) -> LabelledObject:
    return LabelledObject(1, np.eye(3), np.array([1.5, -2.0, 300.0]), mask, visible, **more)


def box_mask(x: int, y: int, w: int, h: int) -> Any:
    mask = np.zeros(RGB.shape[:2], bool)
    mask[y : y + h, x : x + w] = True
    return mask


def test_a_data_set_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with BopWriter(out, about="nobody") as writer:
        info = writer.add_model(1, TRIANGLE)
        visible = box_mask(10, 5, 4, 6)
        first = labelled(box_mask(10, 5, 8, 6), visible)
        assert writer.add_frame(RGB + 7, K, [first], split="test", scene_id=2) == 0
        beyond = labelled(box_mask(50, 0, 10, 4), bbox_obj=(50, -4, 20.5, 8), px_count_all=160)
        assert writer.add_frame(RGB, K, [beyond], split="test", scene_id=2) == 1
        assert not out.exists()
    assert info.diameter == 5
    data = BopDataset.open(out)
    assert (data.split, data.keys) == ("test", [(2, 0), (2, 1)])
    (seen,) = data.frames[0].instances
    np.testing.assert_array_equal(seen.t, [1.5, -2, 300])
    assert (seen.bbox_obj, seen.bbox_visib) == ((10, 5, 8, 6), (10, 5, 4, 6))
    assert seen.visib_fract == 0.5
    (part,) = data.frames[1].instances
    assert (part.bbox_obj, part.visib_fract) == ((50, -4, 20.5, 8), 0.25)
    assert (data.frames[0].read_rgb() == 7).all()
    assert seen.mask_visib_path is not None
    from PIL import Image

    np.testing.assert_array_equal(np.asarray(Image.open(seen.mask_visib_path)) == 255, visible)
    assert data.models_info[1].diameter == 5
    np.testing.assert_array_equal(read_ply(data.models()[1]).vertices, TRIANGLE.vertices)
    targets = json.loads((out / "test_targets_bop19.json").read_text())
    assert targets == [{"im_id": i, "inst_count": 1, "obj_id": 1, "scene_id": 2} for i in (0, 1)]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), BopWriter(tmp_path / "out") as writer:
        writer.add_frame(RGB, K, [labelled()])
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_without_masks_there_is_no_info(tmp_path: Path) -> None:
    with BopWriter(tmp_path / "out") as writer:
        writer.add_frame(RGB[..., 0], K, [labelled()], picture="jpg")
    frame = BopDataset.open(tmp_path / "out").frames[0]
    assert frame.rgb_path.suffix == ".jpg"
    assert frame.read_rgb().shape == RGB.shape
    assert frame.instances[0].bbox_visib is None
    assert frame.instances[0].mask_path is None


def test_an_unseen_object_has_no_box(tmp_path: Path) -> None:
    with BopWriter(tmp_path / "out") as writer:
        writer.add_frame(RGB, K, [labelled(box_mask(0, 0, 4, 4), box_mask(0, 0, 0, 0))])
        writer.add_frame(RGB, K, [])
    frames = BopDataset.open(tmp_path / "out").frames
    assert frames[0].instances[0].bbox_visib is None
    assert frames[0].instances[0].visib_fract == 0
    assert frames[1].instances == ()


def test_masks_of_all_or_none_and_of_the_size(tmp_path: Path) -> None:
    with BopWriter(tmp_path / "out") as writer:
        writer.add_frame(RGB, K, [labelled(box_mask(0, 0, 4, 4))])
        with pytest.raises(UsageError, match="all objects"):
            writer.add_frame(RGB, K, [labelled()])
        with pytest.raises(UsageError, match="another size"):
            writer.add_frame(RGB, K, [labelled(np.ones((3, 3), bool))])


def test_an_existing_folder_is_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists"), BopWriter(tmp_path):
        pass
    with pytest.raises(UsageError, match="with"):
        BopWriter(tmp_path / "x").add_frame(RGB, K, [])
