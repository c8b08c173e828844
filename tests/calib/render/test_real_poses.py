"""The rasteriser against numbers that BOP's own renderer gave for real frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgesafe.calib.render.raster import rasterise
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.mesh import read_ply

DATA = Path(__file__).parents[3].parent / "shared/data/lmo"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the frames of LM-O are not here")


@pytest.mark.parametrize("number", [1, 9, 11])
def test_silhouettes_have_the_boxes_and_sizes_of_lmo(number: int):
    scene = DATA / "test/000002"
    truth = json.loads((scene / "scene_gt.json").read_bytes())
    info = json.loads((scene / "scene_gt_info.json").read_bytes())
    cameras = json.loads((scene / "scene_camera.json").read_bytes())
    surface = Surface.from_mesh(read_ply(DATA / f"models/obj_{number:06d}.ply"))
    # These boxes lack the last column and row, and their renderer put the centre of the first
    # pixel at (.5, .5), half a pixel from where OpenCV has it.
    shifts, sizes = [], []
    for key in list(truth)[::10]:
        K = np.array(cameras[key]["cam_K"]).reshape(3, 3)
        for instance, seen in zip(truth[key], info[key], strict=True):
            x, y, w, h = seen["bbox_obj"]
            if instance["obj_id"] != number or min(x, y) < 0 or x + w > 640 or y + h > 480:
                continue
            R = np.array(instance["cam_R_m2c"]).reshape(3, 3)
            t = np.array(instance["cam_t_m2c"])
            buffers = rasterise(surface, R, t, K, 640, 480)
            mask = buffers.mask
            columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            left, top = columns[0] + buffers.window.x, rows[0] + buffers.window.y
            box = [left, top, left + np.ptp(columns) + 1, top + np.ptp(rows) + 1]
            shifts.append(np.array(box) - [x, y, x + w + 1, y + h + 1] - 0.5)
            sizes.append(len(buffers.index) / seen["px_count_all"])
    assert len(shifts) >= 5
    assert np.abs(shifts).max() <= 1.5
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.3
    assert np.mean(sizes) == pytest.approx(1, abs=0.003)
