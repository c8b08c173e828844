from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgesafe.calib.render.photos import Photos, lay, noise_picture
from edgesafe.runtime.errors import SourceError


def photo(folder: Path, name: str, size: tuple[int, int]) -> np.ndarray:
    """A photo each of whose pixels tells its column (red) and row (green)."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    pixels = np.stack([x, y, np.full_like(x, 7)], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return pixels


def test_pictures_have_the_wanted_size_and_are_pieces_of_the_photo(tmp_path: Path):
    photo(tmp_path, "a.png", (200, 150))
    photos = Photos([tmp_path])
    rng = np.random.default_rng(0)
    for width, height in ((64, 48), (300, 40), (90, 500)):
        for _ in range(10):
            picture = photos.picture(rng, width, height)
            assert picture.shape == (height, width, 3)
            assert np.ptp(picture[..., 2].astype(int)) <= 1
            # Neighbours in the picture are neighbours in the photo, however it was mirrored.
            steps = np.abs(np.diff(picture[..., 0].astype(int), axis=1))
            assert steps.max(initial=0) <= 8


def test_photos_of_one_pool_all_come_up(tmp_path: Path):
    for number in range(4):
        Image.new("RGB", (60, 60), (60 * number, 0, 0)).save(tmp_path / f"{number}.png")
    photos = Photos([tmp_path])
    rng = np.random.default_rng(0)
    seen = {int(photos.picture(rng, 20, 20)[10, 10, 0]) for _ in range(60)}
    assert seen == {0, 60, 120, 180}


def test_a_damaged_photo_is_left_out(tmp_path: Path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("RGB", (60, 60), (9, 9, 9)).save(tmp_path / "good.png")
    photos = Photos([tmp_path])
    assert len(photos.paths) == 2
    rng = np.random.default_rng(0)
    assert all(photos.picture(rng, 20, 20)[5, 5, 0] == 9 for _ in range(20))


def test_missing_and_empty_folders_are_errors(tmp_path: Path):
    with pytest.raises(SourceError, match="no such folder"):
        Photos([tmp_path / "nowhere"])
    with pytest.raises(SourceError, match="no photo"):
        Photos([tmp_path])


def test_noise_is_no_plain_colour_and_differs():
    rng = np.random.default_rng(0)
    first, second = noise_picture(rng, 80, 60), noise_picture(rng, 80, 60)
    assert first.shape == (60, 80, 3)
    assert first.std() > 5 and second.std() > 5
    assert np.abs(first.astype(int) - second).mean() > 5


def test_a_picture_is_laid_about_its_centre():
    onto = np.zeros((40, 60, 3), np.uint8)
    lay(np.full((10, 20, 3), 200, np.uint8), onto, np.pi / 2, (30.0, 20.0))
    rows, columns = np.nonzero(onto[..., 0] > 100)
    # Turned by a quarter, 10 columns by 20 rows about column 30 and row 20.
    assert abs(columns.mean() - 30) <= 1 and abs(rows.mean() - 20) <= 1
    assert 8 <= np.ptp(columns) <= 10 and 18 <= np.ptp(rows) <= 20
