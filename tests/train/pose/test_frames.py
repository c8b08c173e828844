"""Samples of the detector: the targets say where the boxes are, as the runtime reads them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgesafe.runtime.manifest_pose import DetectorSpec
from edgesafe.runtime.pose.detector import Letterbox, find_boxes
from edgesafe.train.pose.cache import frame_pieces
from edgesafe.train.pose.config import ColourConfig, DataConfig, DetectorConfig, PoseConfig
from edgesafe.train.pose.dataset import PoseData, read_pose_data
from edgesafe.train.pose.frames import FrameSamples, heat_targets
from edgesafe.train.pose.network import input_preprocess

from .conftest import HEIGHT, WIDTH

W, H = 128, 112
SPEC = DetectorSpec(
    file="",
    width=W,
    height=H,
    stride=8,
    objects=(0, 1),
    max_per_object=3,
    min_score=0.99,
    opset=18,
    precision="fp32",
    storage="fp32",
    preprocess=input_preprocess(H, W),
)


@pytest.fixture(scope="module")
def data(cubes: Path) -> PoseData:
    return read_pose_data([cubes], PoseConfig())


def samples(data: PoseData, folder: Path, **changes: object) -> FrameSamples:
    config = dataclasses.replace(DetectorConfig(width_px=W, height_px=H), **changes)
    pieces = frame_pieces(data, folder, width=W, height=H, tell=lambda _: None)
    still = DataConfig(background=0.0)
    return FrameSamples(pieces, data.objects, config, still, ColourConfig(strength=0), None, 0)


def test_targets_are_read_back_as_boxes() -> None:
    boxes = np.array([[10.0, 20.0, 50.0, 44.5], [60.2, 30.1, 100.9, 90.0], [5.0, 60.0, 30.0, 99.0]])
    targets = heat_targets(boxes, np.array([0, 1, 0]), 2, W, H)
    found = find_boxes(targets["heat"], targets["box"], SPEC, Letterbox(W, H, W, H))
    assert sorted(d.object_id for d in found) == [0, 0, 1]
    for box in boxes:
        # Edges count half a pixel outside of pixel centres.
        expected = (box[0] + 0.5, box[1] + 0.5, box[2] - box[0], box[3] - box[1])
        assert any(np.allclose(d.box, expected, atol=1e-3) for d in found)


def test_plain_frames_have_the_boxes_of_the_data(data: PoseData, tmp_path: Path) -> None:
    made = samples(data, tmp_path)
    frame = Letterbox(WIDTH, HEIGHT, W, H)
    right = 0
    for number, one in enumerate(data.frames):
        sample, boxes, ids = made.plain(number)
        assert sample["pixels"].shape == (H, W, 3)
        assert len(boxes) == len(ids) == len(one.instances)
        found = find_boxes(sample["heat"], sample["box"], SPEC, frame)
        for instance in one.instances:
            index = [o.id for o in data.objects].index(instance.object_id)
            mine = [d for d in found if d.object_id == index]
            right += np.allclose(mine[0].box, instance.box, atol=0.1)
    # Two that share a middle share a box.
    assert data.instances - 2 <= right


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_boxes_follow_the_drawn_frame(data: PoseData, tmp_path: Path, flip: float) -> None:
    made = samples(data, tmp_path, flip=flip, zoom=(0.9, 1.3))
    colours = 0
    for number in range(len(data.frames)):
        drawn = made.sample(0, number)
        rows, columns = np.nonzero(drawn["heat"].max(axis=0) == 1)
        plain, _, _ = made.plain(number)
        there = np.nonzero(plain["heat"].max(axis=0) == 1)
        # The middle of a box has its colour wherever the frame was moved to.
        for row, column in zip(rows, columns, strict=True):
            here = drawn["pixels"][row * 8 + 2 : row * 8 + 6, column * 8 + 2 : column * 8 + 6]
            apart = [
                np.abs(
                    here.mean(axis=(0, 1))
                    - plain["pixels"][r * 8 + 2 : r * 8 + 6, c * 8 + 2 : c * 8 + 6].mean(
                        axis=(0, 1)
                    )
                ).max()
                for r, c in zip(*there, strict=True)
            ]
            colours += min(apart) < 40
    assert colours > 0.7 * 2 * len(data.frames)


def test_samples_depend_on_their_number_alone(data: PoseData, tmp_path: Path) -> None:
    first, second = (samples(data, tmp_path) for _ in range(2))
    second.sample(0, 0)
    a, b = first.sample(1, 2), second.sample(1, 2)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
