"""The map between frame and crop, and the resampling that follows it."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.runtime.pose.crop import BORDER, RoiCrop, crop_image


def _blobs(centres: list[tuple[float, float]], sigma: float, shape=(240, 320)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = sum(np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * sigma**2)) for u, v in centres)
    return np.repeat(np.rint(200 * light).astype(np.uint8)[..., None], 3, axis=2)


def test_a_box_gives_the_square_around_its_pixel_centres() -> None:
    roi = RoiCrop.from_box((10, 20, 5, 3), 1.5, 64)
    assert roi.centre == (12.0, 21.0)
    assert roi.side == 7.5


def test_maps_are_inverse_and_the_matrix_is_the_same_map() -> None:
    roi = RoiCrop((101.3, 77.9), 83.0, 128)
    points = np.random.default_rng(0).uniform(-50, 300, (20, 2))
    assert roi.to_frame(roi.to_crop(points)) == pytest.approx(points)
    homogeneous = np.c_[points, np.ones(20)]
    assert homogeneous @ roi.matrix().T == pytest.approx(roi.to_crop(points))
    assert roi.to_crop(roi.centre) == pytest.approx([63.5, 63.5])


@pytest.mark.parametrize("scale", [0.4, 0.9, 1.0, 1.3, 1.7, 2.5, 4.2])
def test_pixels_lie_where_the_map_says(scale: float) -> None:
    place = (151.3, 118.8)
    roi = RoiCrop((148.0, 121.5), 48 * scale, 48)
    crop = crop_image(_blobs([place], max(2.5 * scale, 1.0)), roi)[..., 0].astype(float)
    y, x = np.mgrid[:48, :48]
    found = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
    assert found == pytest.approx(roi.to_crop(place), abs=0.06)


@pytest.mark.parametrize("scale", [2.0, 3.0, 6.0])
def test_shrinking_averages(scale: float) -> None:
    fine = np.indices((240, 320)).sum(0) % 2 * 255
    frame = np.repeat(fine.astype(np.uint8)[..., None], 3, axis=2)
    crop = crop_image(frame, RoiCrop((160, 120), 32 * scale, 32))
    assert np.ptp(crop.astype(int)) < 64
    assert crop.mean() == pytest.approx(127.5, abs=3)


def test_whole_pixels_are_copied() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    crop = crop_image(frame, RoiCrop.from_box((20, 10, 32, 32), 1.0, 32))
    assert np.array_equal(crop, frame[10:42, 20:52])


@pytest.mark.parametrize("side", [40.0, 400.0, 1e6])
def test_outside_the_frame_is_grey(side: float) -> None:
    frame = np.full((48, 64, 3), 255, dtype=np.uint8)
    crop = crop_image(frame, RoiCrop((-20.0 - side, 10.0), side, 32))
    assert (crop == BORDER).all()
    straddling = crop_image(frame, RoiCrop((-0.5, 23.5), 40.0, 40))
    assert (straddling[:, :20] == BORDER).all()
    assert (straddling[:, 20:] == 255).all()


def test_a_region_far_larger_than_the_frame_is_still_cheap() -> None:
    frame = np.full((48, 64, 3), 255, dtype=np.uint8)
    assert crop_image(frame, RoiCrop((32.0, 24.0), 1e7, 64)).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("centre", "side", "size"),
    [((np.nan, 0.0), 1.0, 8), ((0.0, 0.0), np.inf, 8), ((0.0, 0.0), 0.0, 8), ((0.0, 0.0), 1.0, 0)],
)
def test_a_region_without_a_map_is_refused(
    centre: tuple[float, float], side: float, size: int
) -> None:
    with pytest.raises(ValueError, match="region of interest"):
        RoiCrop(centre, side, size)
