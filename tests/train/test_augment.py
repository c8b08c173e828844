from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.config import AugmentConfig
from edgesafe.train.data.augment import (
    Geometry,
    augment,
    changed_box,
    draw_focus,
    draw_geometry,
)

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


def twins(
    box: tuple[int, int, int, int], size: tuple[int, int] = (120, 90)
) -> tuple[Image.Image, Image.Image]:
    safe = picture(size=size)
    unsafe = safe.copy()
    unsafe.paste((255, 0, 255), box)
    return safe, unsafe


def test_changed_box_is_where_twins_differ() -> None:
    found = changed_box(*twins((30, 20, 66, 65)), 0.04)
    assert found is not None
    np.testing.assert_allclose(found, (0.25, 20 / 90, 0.55, 65 / 90), atol=1 / 48)
    assert changed_box(picture(), picture(), 0.04) is None


def test_compression_is_no_change() -> None:
    safe, unsafe = twins((30, 20, 66, 65), (480, 360))
    pixels = io.BytesIO()
    safe.save(pixels, "JPEG", quality=75)
    with Image.open(pixels) as compressed:
        assert changed_box(safe, compressed, 0.04) is None


@pytest.mark.parametrize("box", [(0.1, 0.2, 0.3, 0.35), (0.9, 0.0, 1.0, 0.1), (0.4, 0.4, 0.6, 0.7)])
@pytest.mark.parametrize("seed", range(5))
def test_a_region_about_a_small_change_holds_it(
    box: tuple[float, float, float, float], seed: int
) -> None:
    config = AugmentConfig(focus_side=(0.5, 0.75))
    drawn = draw_focus(np.random.default_rng(seed), config, box)
    assert 0 <= drawn.left <= box[0] + 1e-9 and 0 <= drawn.top <= box[1] + 1e-9
    assert drawn.left + drawn.width >= box[2] - 1e-9 and drawn.left + drawn.width <= 1 + 1e-9
    assert drawn.top + drawn.height >= box[3] - 1e-9 and drawn.top + drawn.height <= 1 + 1e-9
    assert 0.5 / 1.1 <= drawn.width <= 0.75 * 1.1


def test_a_region_about_a_large_change_lies_in_it() -> None:
    config = AugmentConfig(focus_side=(0.3, 0.4), crop_ratio=1.0)
    drawn = draw_focus(np.random.default_rng(0), config, (0.1, 0.2, 0.9, 0.95))
    assert drawn.left >= 0.1 and drawn.left + drawn.width <= 0.9
    assert drawn.top >= 0.2 and drawn.top + drawn.height <= 0.95
    assert drawn.width == drawn.height
