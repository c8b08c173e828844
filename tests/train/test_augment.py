from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.config import AugmentConfig
from edgesafe.train.data.augment import Geometry, augment, draw_geometry

PREPROCESS = Preprocess(24, 24, "stretch", "bilinear", (0.5,) * 3, (0.5,) * 3)
OFF = AugmentConfig(
    flip=0.0, crop_scale=1.0, crop_ratio=1.0, brightness=0.0, contrast=0.0, saturation=0.0,
    hue=0.0, jpeg=0.0, blur=0.0,
)  # fmt: skip


def picture(seed: int = 0, size: tuple[int, int] = (40, 30)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def test_everything_off_is_the_preprocessing() -> None:
    rng = np.random.default_rng(0)
    geometry = draw_geometry(rng, OFF)
    assert geometry == Geometry()
    found = augment(picture(), PREPROCESS, geometry, rng, OFF)
    np.testing.assert_array_equal(found, PREPROCESS.resize(np.asarray(picture())))


def test_same_draw_same_pixels() -> None:
    config = AugmentConfig(jpeg=1.0, blur=1.0, noise=8.0, grey=0.5)

    def once() -> np.ndarray:
        rng = np.random.default_rng([1, 2, 3])
        return augment(picture(), PREPROCESS, draw_geometry(rng, config), rng, config)

    np.testing.assert_array_equal(once(), once())
    assert once().shape == (24, 24, 3) and once().dtype == np.uint8


def test_geometry_is_relative_so_twins_of_any_size_share_it() -> None:
    geometry = Geometry(0.25, 0.0, 0.5, 1.0, flip=True)
    rng = np.random.default_rng(0)
    small, large = (
        augment(picture(size=size), PREPROCESS, geometry, rng, OFF).astype(int)
        for size in ((40, 30), (80, 60))
    )
    assert np.abs(small - large).mean() < 12
    unflipped = augment(picture(), PREPROCESS, Geometry(0.25, 0.0, 0.5, 1.0), rng, OFF)
    np.testing.assert_array_equal(unflipped[:, ::-1], small)


@pytest.mark.parametrize("seed", range(5))
def test_crops_stay_inside_and_keep_their_share(seed: int) -> None:
    config = AugmentConfig(crop_scale=0.3, crop_ratio=1.5)
    drawn = draw_geometry(np.random.default_rng(seed), config)
    assert 0 <= drawn.left and drawn.left + drawn.width <= 1 + 1e-9
    assert 0 <= drawn.top and drawn.top + drawn.height <= 1 + 1e-9
    assert drawn.width * drawn.height >= 0.3 / 1.5


@pytest.mark.parametrize(
    "change",
    [
        {"brightness": 0.5},
        {"contrast": 0.5},
        {"saturation": 0.9},
        {"hue": 0.4},
        {"grey": 1.0},
        {"jpeg": 1.0, "jpeg_quality": (5, 10)},
        {"blur": 1.0, "blur_radius": 3.0},
        {"noise": 20.0},
    ],
)
def test_each_switch_changes_the_picture(change: dict[str, float]) -> None:
    config = AugmentConfig(**{**OFF.__dict__, **change})
    plain = PREPROCESS.resize(np.asarray(picture())).astype(int)
    changes = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        found = augment(picture(), PREPROCESS, Geometry(), rng, config).astype(int)
        changes.append(np.abs(found - plain).mean())
    assert max(changes) > 1


def test_grey_has_no_colour() -> None:
    config = AugmentConfig(**{**OFF.__dict__, "grey": 1.0})
    found = augment(picture(), PREPROCESS, Geometry(), np.random.default_rng(0), config)
    assert np.ptp(found.astype(int), axis=-1).max() <= 1
