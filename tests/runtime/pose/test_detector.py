"""Letterbox, peaks and boxes."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.runtime.manifest_pose import DetectorSpec
from edgesafe.runtime.pose.crop import BORDER
from edgesafe.runtime.pose.detector import Letterbox, find_boxes
from edgesafe.runtime.preprocess import Preprocess

SPEC = DetectorSpec(
    file="detector.onnx",
    width=160,
    height=128,
    stride=8,
    objects=(4, 9),
    max_per_object=2,
    min_score=0.3,
    opset=17,
    precision="fp32",
    storage="fp32",
    preprocess=Preprocess(128, 160, "stretch", "bilinear", (0, 0, 0), (1, 1, 1)),
)
FRAME = Letterbox(640, 480, 160, 128)


def _maps() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((2, 16, 20), np.float32), np.full((4, 16, 20), 10, np.float32)


@pytest.mark.parametrize(
    ("size", "inner"),
    [
        ((640, 480), (0, 4, 160, 120)),
        ((480, 640), (32, 0, 96, 128)),
        ((80, 64), (0, 0, 160, 128)),
        ((5000, 10), (0, 63, 160, 1)),
    ],
)
def test_a_letterbox_fits_in_the_middle(size: tuple[int, int], inner) -> None:
    box = Letterbox(*size, 160, 128)
    assert box.inner == inner
    frame = np.full((size[1], size[0], 3), 255, dtype=np.uint8)
    image = box.image(frame)
    assert image.shape == (128, 160, 3)
    left, top, width, height = inner
    assert (image[top : top + height, left : left + width] == 255).all()
    assert (image == BORDER).sum() == 3 * (160 * 128 - width * height)


def test_points_and_pixels_go_the_same_way() -> None:
    import cv2

    frame = np.zeros((480, 640, 3), dtype=np.uint8)
    cv2.circle(frame, (401, 222), 12, (255, 255, 255), -1)
    image = FRAME.image(frame)[4:124, :, 0].astype(float)
    y, x = np.mgrid[4:124, :160]
    middle = np.array([(image * x).sum(), (image * y).sum()]) / image.sum()
    assert middle == pytest.approx(FRAME.to_input((401, 222)), abs=0.02)
    points = np.random.default_rng(0).uniform(-20, 700, (10, 2))
    assert FRAME.to_frame(FRAME.to_input(points)) == pytest.approx(points)


def test_a_peak_becomes_a_box_in_the_frame() -> None:
    heat, box = _maps()
    heat[1, 7, 11] = 0.9
    heat[1, 7, 12] = 0.8  # beside it: no peak
    box[:, 7, 11] = (6, 5, 8, 7)
    (found,) = find_boxes(heat, box, SPEC, FRAME)
    assert (found.object_id, found.score) == (9, pytest.approx(0.9))
    # Pixel centre 8 * 11 + 3.5 and 8 * 7 + 3.5 of the input; 4 frame pixels each; 4 rows of grey.
    x, y = (91.5 - 6 + 0.5) * 4, (59.5 - 4 - 5 + 0.5) * 4
    assert found.box == pytest.approx((x, y, 14 * 4, 12 * 4))


def test_what_is_no_detection() -> None:
    heat, box = _maps()
    heat[0, 3, 3], heat[0, 8, 8] = 0.29, np.nan
    heat[0, 12, 12] = 0.9
    box[:, 12, 12] = (np.nan, 3, 3, 3)
    heat[1, 3, 16] = 0.9
    box[:, 3, 16] = -50  # inside out
    assert find_boxes(heat, box, SPEC, FRAME) == []


def test_boxes_end_at_the_frame_and_are_few() -> None:
    heat, box = _maps()
    heat[0, 1, 1], heat[0, 1, 4] = 0.9, 0.8  # over each other by more than half
    box[:, 1, :6] = 60
    heat[0, 12, 3], heat[0, 12, 9], heat[0, 12, 15] = 0.5, 0.7, 0.6
    first, second = find_boxes(heat, box, SPEC, FRAME)
    assert first.box[:2] == (0, 0)
    assert (first.score, second.score) == (pytest.approx(0.9), pytest.approx(0.7))
    flat = np.full_like(heat, 0.5)
    assert len(find_boxes(flat, box, SPEC, FRAME)) == 4
