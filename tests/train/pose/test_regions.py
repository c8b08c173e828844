"""Regions of interest: their pixels are the runtime's, their labels are where they should be."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgesafe.runtime.pose.crop import BORDER, RoiCrop, crop_image
from edgesafe.runtime.pose.direct import decode_direct
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.train.pose.cache import Pieces, region_pieces
from edgesafe.train.pose.config import ColourConfig, DataConfig, PoseConfig, RoiConfig
from edgesafe.train.pose.dataset import PoseData, read_pose_data
from edgesafe.train.pose.objects import KnownObject
from edgesafe.train.pose.regions import RegionSamples, Symmetries, View, reach_of, warp

from .conftest import HEIGHT, WIDTH

PLAIN = ColourConfig(strength=0.0)
STILL = DataConfig(background=0.0, occlude=0.0, erase=0.0)
SIZE = 64


@pytest.fixture(scope="module")
def data(cubes: Path) -> PoseData:
    return read_pose_data([cubes], PoseConfig())


def samples(
    data: PoseData, folder: Path, roi: RoiConfig | None = None, settings: DataConfig = STILL
) -> RegionSamples:
    roi = roi or RoiConfig()
    reach, finest = reach_of(roi, settings)
    pieces = region_pieces(data, folder, reach=reach, nominal=SIZE * finest, tell=lambda _: None)
    return RegionSamples(pieces, data.objects, roi, SIZE, settings, PLAIN, None, 0)


@pytest.mark.parametrize("side", [40.0, 64.0, 90.0])
def test_warp_is_the_runtimes_crop(side: float) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    roi = RoiCrop((70.3, 52.8), side, SIZE)
    found = warp(frame, View(roi).matrix(), (SIZE, SIZE), BORDER)
    apart = found.astype(int) - crop_image(frame, roi)
    # The two give OpenCV inverse maps, whose rounding may differ by a 32nd of a pixel.
    assert (apart != 0).mean() < 0.01


def test_shrinking_warp_averages_like_the_runtimes_crop() -> None:
    grid = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    frame = cv2.resize(grid, (WIDTH * 4, HEIGHT * 4), interpolation=cv2.INTER_CUBIC)
    roi = RoiCrop((300.0, 250.0), 200.0, SIZE)
    found = warp(frame, View(roi).matrix(), (SIZE, SIZE), BORDER)
    assert np.abs(found.astype(int) - crop_image(frame, roi)).max() <= 6


def test_turned_view_turns_about_the_middle() -> None:
    roi = RoiCrop((70.0, 50.0), 64.0, SIZE)
    plain, turned = View(roi).matrix(), View(roi, math.pi / 2).matrix()
    middle = (SIZE - 1) / 2
    np.testing.assert_allclose(plain @ [70, 50, 1], [middle, middle])
    np.testing.assert_allclose(turned @ [70, 50, 1], [middle, middle])
    # What lay to the right lies below.
    np.testing.assert_allclose(turned @ [80, 50, 1], [middle, middle + 10])


def test_pieces_hold_what_regions_need(data: PoseData, tmp_path: Path) -> None:
    made = samples(data, tmp_path)
    frames = {f.rgb: cv2.imread(str(f.rgb)) for f in data.frames}
    pairs = [(f, i) for f in data.frames for i in f.instances]
    assert len(made) == len(pairs)
    for number, (frame, instance) in enumerate(pairs):
        sample, roi = made.plain(number)
        assert roi == RoiCrop.from_box(instance.box, 1.5, SIZE)
        truth = crop_image(frames[frame.rgb][..., ::-1].copy(), roi)
        # The JPEG of the piece is all that differs; edges of the cubes ring a little.
        assert np.abs(sample["pixels"].astype(int) - truth).mean() < 3
        mask = cv2.imread(str(instance.mask), cv2.IMREAD_GRAYSCALE)
        cells = cv2.resize(
            warp(mask, View(roi).matrix(), (SIZE, SIZE), 0), (8, 8), interpolation=cv2.INTER_AREA
        )
        np.testing.assert_allclose(sample["mask"][0], cells / 255, atol=0.02)


def test_keypoints_are_projected_points(data: PoseData, tmp_path: Path) -> None:
    made = samples(data, tmp_path)
    for number in range(6):
        sample, roi = made.plain(number)
        known, K, R, t = made.truth(number)
        points = (known.keypoints @ R.T + t) @ K.T
        expected = roi.to_crop(points[:, :2] / points[:, 2:])
        np.testing.assert_allclose(sample["keypoints"], expected[None], atol=1e-3)


@pytest.mark.parametrize("rotation", [0.0, 180.0])
def test_labels_follow_the_augmented_picture(
    data: PoseData, tmp_path: Path, rotation: float
) -> None:
    """The mask of a drawn view, undone by the map that the keypoints went through, is the mask."""
    settings = dataclasses.replace(STILL, rotation=rotation)
    made = samples(data, tmp_path, settings=settings)
    instances = [i for f in data.frames for i in f.instances]
    for number in range(8):
        sample, roi = made.plain(number)
        drawn = made.sample(0, number)
        a, b = (s["keypoints"][0].astype(np.float64) for s in (sample, drawn))
        fit, _ = cv2.estimateAffinePartial2D(a, b, method=cv2.LMEDS)
        scale = math.hypot(fit[0, 0], fit[1, 0])
        assert 1 / 1.25 - 1e-3 <= scale <= 1 / 0.75 + 1e-3
        if rotation == 0:
            assert abs(fit[1, 0]) < 1e-3
        mask = cv2.imread(str(instances[number].mask), cv2.IMREAD_GRAYSCALE)
        whole = np.vstack([fit, [0, 0, 1]]) @ np.vstack([roi.matrix(), [0, 0, 1]])
        expected = warp(mask, whole[:2], (SIZE, SIZE), 0)
        cells = cv2.resize(expected, (8, 8), interpolation=cv2.INTER_AREA) / 255
        assert np.abs(drawn["mask"][0] - cells).max() < 0.1


def test_samples_depend_on_their_number_alone(data: PoseData, tmp_path: Path) -> None:
    config = DataConfig()
    first, second = (samples(data, tmp_path, settings=config) for _ in range(2))
    second.sample(3, 1)
    a, b = first.sample(2, 5), second.sample(2, 5)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
    assert (first.sample(2, 4)["pixels"] != a["pixels"]).any()
    assert (first.sample(3, 5)["pixels"] != a["pixels"]).any()


def test_direct_labels_decode_to_the_pose(data: PoseData, tmp_path: Path) -> None:
    made = samples(data, tmp_path, RoiConfig(head="direct"))
    for number in range(6):
        sample, roi = made.plain(number)
        _, K, R, t = made.truth(number)
        one: dict[str, Any] = {k: sample[k][0].astype(np.float64) for k in ("rotation", "centre")}
        found, place = decode_direct(
            one["rotation"],
            one["centre"],
            float(sample["log_scale"][0]),
            roi,
            Camera(K, WIDTH, HEIGHT),
        )
        np.testing.assert_allclose(found, R, atol=1e-4)
        np.testing.assert_allclose(place, t, rtol=1e-4, atol=0.05)


def known(discrete: Any = (), continuous: Any = ()) -> KnownObject:
    return KnownObject(
        id=1,
        name="x",
        diameter=10.0,
        minimum=np.zeros(3),
        size=np.ones(3),
        keypoints=np.zeros((9, 3)),
        hull=np.zeros((4, 3)),
        symmetries_discrete=np.asarray(discrete, dtype=np.float64).reshape(-1, 4, 4),
        symmetries_continuous=continuous,
    )


def test_symmetries_are_padded_with_their_own() -> None:
    half = np.diag([-1.0, -1, 1, 1])
    axis = {"axis": [0.0, 0, 1], "offset": [0.0, 0, 0]}
    objects = (known(), known([half]), known(continuous=(axis,)))
    found = Symmetries(objects, 0.4).transforms
    assert found.shape == (3, 8, 4, 4)
    np.testing.assert_array_equal(found[0], np.eye(4)[None].repeat(8, axis=0))
    np.testing.assert_array_equal(found[1, ::2], np.eye(4)[None].repeat(4, axis=0))
    np.testing.assert_array_equal(found[1, 1::2], half[None].repeat(4, axis=0))
    assert len({round(float(m[0, 0] + 2 * m[0, 1]), 6) for m in found[2]}) == 8


def test_cache_is_made_once_and_is_the_data_sets_own(
    data: PoseData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def pieces(which: PoseData) -> Pieces:
        return region_pieces(which, tmp_path, reach=2.4, nominal=30.0, tell=counted.append)

    first = pieces(data)
    assert sum(counted) == len(data.frames)
    again = pieces(data)
    assert sum(counted) == len(data.frames)
    np.testing.assert_array_equal(first.read(3).bgr, again.read(3).bgr)
    half, _ = data.split(0.5)
    assert len(pieces(half)) == half.instances < len(first)
    assert len(list(tmp_path.iterdir())) == 2
