"""Burnt out, black and noisy frames are left out of a list."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgesafe.calib.bop.split import read_split
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.samples.lit_frames import lit_frames

SIDE = 128


def write(folder: Path, objects: dict[int, np.ndarray], *, masks: bool = True) -> Path:
    """A data set of one object, whose pixels in each frame are given."""
    scene = folder / "train" / "000003"
    for name in ("rgb", "mask_visib"):
        (scene / name).mkdir(parents=True)
    gt, camera = {}, {}
    shown = np.zeros((SIDE, SIDE), dtype=np.uint8)
    shown[32:96, 32:96] = 255
    for number, pixels in objects.items():
        picture = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)  # the rest may be burnt out
        picture[32:96, 32:96] = pixels
        cv2.imwrite(str(scene / "rgb" / f"{number:06d}.png"), picture)
        if masks:
            cv2.imwrite(str(scene / "mask_visib" / f"{number:06d}_000000.png"), shown)
        pose = {"obj_id": 1, "cam_R_m2c": np.eye(3).ravel().tolist(), "cam_t_m2c": [0, 0, 500]}
        gt[str(number)] = [pose]
        K = [300, 0, 63.5, 0, 300, 63.5, 0, 0, 1]
        camera[str(number)] = {"cam_K": K, "depth_scale": 1.0}
    (scene / "scene_gt.json").write_text(json.dumps(gt))
    (scene / "scene_camera.json").write_text(json.dumps(camera))
    return folder


def test_only_ordinary_frames_are_listed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    even = np.full((64, 64, 3), 90, dtype=np.uint8)
    data = write(
        tmp_path / "data",
        {
            4: even,
            7: np.full_like(even, 255),
            9: np.full_like(even, 12),
            11: random.integers(0, 200, even.shape, dtype=np.uint8),
            15: even + 20,
        },
    )
    out = tmp_path / "list.txt"
    result = CliRunner().invoke(lit_frames, [str(data), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0 and "2 of 5 frames" in result.output
    assert read_split(out) == [(3, 4), (3, 15)]
    with pytest.raises(UsageError, match="exists"):
        CliRunner().invoke(lit_frames, [str(data), "--out", str(out)], catch_exceptions=False)


def test_a_data_set_without_masks_or_light_is_an_error(tmp_path: Path) -> None:
    even = np.full((64, 64, 3), 90, dtype=np.uint8)
    bare = write(tmp_path / "bare", {1: even}, masks=False)
    dark = write(tmp_path / "dark", {1: even // 30})
    for data, problem in ((bare, "no masks"), (dark, "nothing to train on")):
        with pytest.raises(DataError, match=problem):
            CliRunner().invoke(
                lit_frames, [str(data), "--out", str(tmp_path / "x")], catch_exceptions=False
            )
    assert not (tmp_path / "x").exists()
