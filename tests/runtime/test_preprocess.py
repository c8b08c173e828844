from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgesafe.runtime.preprocess import Preprocess

FIELDS: dict[str, Any] = {
    "height": 32,
    "width": 48,
    "mode": "stretch",
    "interpolation": "bicubic",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def _noise(height: int, width: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_plain_form_comes_back() -> None:
    preprocess = Preprocess.from_dict(FIELDS)
    assert preprocess.to_dict() == FIELDS
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess
    assert dataclasses.replace(preprocess, width=32).width == 32


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"height": 2.0},
        {"width": True},
        {"width": 10**6},
        {"mode": "squash"},
        {"interpolation": "nearest"},
        {"mean": [0.5, 0.5]},
        {"mean": [0.5, 0.5, float("nan")]},
        {"mean": "abc"},
        {"std": [0.5, 0.5, 0.0]},
        {"std": [0.5, "0.5", 0.5]},
        {"crop_fraction": 0.0},
        {"crop_fraction": 1.5},
        {"crop_fraction": "0.9"},
        {"extra": 1},
    ],
)
def test_wrong_fields_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Preprocess.from_dict({**FIELDS, **change})


def test_a_missing_field_is_refused() -> None:
    with pytest.raises(ValueError, match="std"):
        Preprocess.from_dict({k: v for k, v in FIELDS.items() if k != "std"})


def test_normalize_is_the_textbook_formula() -> None:
    preprocess = Preprocess.from_dict(FIELDS)
    pixels = _noise(5, 7)
    expected = (pixels / 255 - np.array(FIELDS["mean"])) / np.array(FIELDS["std"])
    found = preprocess.normalize(pixels)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1e-6)
    batch = preprocess.normalize(np.stack([pixels, pixels]))
    np.testing.assert_array_equal(batch, np.stack([found, found]))


@pytest.mark.parametrize("size", [(32, 48), (100, 60), (1, 300), (300, 1), (480, 640)])
@pytest.mark.parametrize("mode", ["stretch", "crop"])
def test_every_photo_gets_the_encoders_size(size: tuple[int, int], mode: str) -> None:
    preprocess = Preprocess.from_dict({**FIELDS, "mode": mode})
    assert preprocess.resize(_noise(*size)).shape == (32, 48, 3)
    tensor = preprocess(_noise(*size))
    assert tensor.shape == (3, 32, 48)
    assert tensor.dtype == np.float32


def test_stretch_keeps_all_and_crop_keeps_the_centre() -> None:
    photo = np.zeros((100, 300, 3), np.uint8)
    photo[:, :50, 0] = 255
    photo[:, 100:200, 1] = 255
    square = {**FIELDS, "height": 30, "width": 30, "interpolation": "bilinear"}
    stretched = Preprocess.from_dict(square).resize(photo)
    cropped = Preprocess.from_dict({**square, "mode": "crop"}).resize(photo)
    assert stretched[:, 0, 0].min() == 255
    assert cropped[..., 0].max() == 0
    assert cropped[:, 2:-2, 1].min() == 255


def test_crop_is_what_clip_does() -> None:
    photo = _noise(120, 200)
    preprocess = Preprocess.from_dict({**FIELDS, "height": 64, "width": 64, "mode": "crop"})
    whole = Image.fromarray(photo).resize((int(64 * 200 / 120), 64), Image.Resampling.BICUBIC)
    left = round((whole.width - 64) / 2)
    expected = np.asarray(whole.crop((left, 0, left + 64, 64)))
    np.testing.assert_array_equal(preprocess.resize(photo), expected)


def test_a_photo_of_the_right_size_is_left_alone() -> None:
    photo = _noise(32, 48)
    np.testing.assert_array_equal(Preprocess.from_dict(FIELDS).resize(photo), photo)


@pytest.mark.parametrize("mode", ["stretch", "crop"])
def test_a_crop_fraction_takes_the_centre_of_a_larger_copy(mode: str) -> None:
    fields = {**FIELDS, "height": 28, "width": 42, "mode": mode}
    cropped = Preprocess.from_dict({**fields, "crop_fraction": 0.875})
    assert Preprocess.from_dict(cropped.to_dict()) == cropped
    whole = Preprocess.from_dict({**fields, "height": 32, "width": 48})
    photo = _noise(60, 80)
    np.testing.assert_array_equal(cropped.resize(photo), whole.resize(photo)[2:30, 3:45])
