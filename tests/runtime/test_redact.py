"""Redacted copies: nothing recognisable, nothing overwritten, nothing lost."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from edgesafe.runtime import picture_folder
from edgesafe.runtime.errors import EdgesafeError, UsageError
from edgesafe.runtime.redact import CARD, Redactor, blur


def stripes() -> np.ndarray:
    rgb = np.zeros((120, 200, 3), np.uint8)
    rgb[:, ::4] = 255
    rgb[::4] = (255, 0, 0)
    return rgb


def test_detail_does_not_survive() -> None:
    blurred = np.asarray(blur(stripes())).astype(int)
    assert blurred.shape == (120, 200, 3)
    # The stripes swing by 255 between neighbours; what is left is their mean.
    assert np.abs(np.diff(blurred, axis=1)).max() <= 8
    assert np.abs(np.diff(blurred, axis=0)).max() <= 8


def test_two_pictures_of_the_same_blots_give_the_same_copy() -> None:
    """What distinguishes them within a cell is gone, not hidden."""
    left, right = np.zeros((12, 12, 3), np.uint8), np.zeros((12, 12, 3), np.uint8)
    left[::2] = 200
    right[1::2] = 200
    twice = np.ones((2, 2, 1), np.uint8)
    big = [np.kron(np.tile(x, (8, 8, 1)), twice).astype(np.uint8) for x in (left, right)]
    assert np.array_equal(np.asarray(blur(big[0])), np.asarray(blur(big[1])))


@pytest.mark.parametrize("shape", [(8, 8), (8, 400), (400, 8), (9, 13)])
def test_any_shape_can_be_blurred(shape: tuple[int, int]) -> None:
    assert blur(np.zeros((*shape, 3), np.uint8)).size == shape[::-1]


def test_copies_keep_their_place_and_kind(tmp_path: Path) -> None:
    redactor = Redactor(tmp_path / "out")
    for name, kind in {
        "a/b.png": "PNG",
        "a/b.webp": "WEBP",
        "a/b.JPG": "JPEG",
        "x.gif": "JPEG",
        "none": "JPEG",
    }.items():
        path = redactor.write(PurePosixPath(name), stripes())
        expected = name if kind != "JPEG" or name.endswith("JPG") else name + ".jpg"
        assert path == tmp_path / "out" / expected
        with Image.open(path) as image:
            assert image.format == kind
            assert image.size == (200, 120)
            assert not image.getexif()


def test_what_was_not_decoded_becomes_a_card(tmp_path: Path) -> None:
    path = Redactor(tmp_path).write(PurePosixPath("x.png"), None)
    with Image.open(path) as image:
        assert image.size == CARD
        assert image.getextrema() == ((128, 128),) * 3


def test_equal_names_get_two_files(tmp_path: Path) -> None:
    redactor = Redactor(tmp_path)
    wanted = ["a.jpg", "A.jpg", "a.jpg", "a-2.jpg", "a", "a.jpg"]
    paths = {str(redactor.write(PurePosixPath(name), None)).lower() for name in wanted}
    assert len(paths) == len(wanted)


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    redactor = Redactor(tmp_path / "out")
    for name in ("../../x.jpg", "/etc/x.jpg", "a/../../../x.jpg"):
        path = redactor.write(PurePosixPath(name), None)
        assert path.resolve().is_relative_to(tmp_path / "out")


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match="empty"):
        Redactor(tmp_path)
    with pytest.raises(UsageError, match="file"):
        Redactor(tmp_path / "photo.jpg")
    assert os.listdir(tmp_path) == ["photo.jpg"]


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(picture_folder, "atomic_write", full)
    with pytest.raises(EdgesafeError, match="No space left"):
        Redactor(tmp_path / "out").write(PurePosixPath("a.jpg"), stripes())
