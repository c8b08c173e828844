"""Photos never change their split, and the test photos never reach training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from edgesafe.runtime.errors import DataError
from edgesafe.samples.hazards import captions, photos


def test_splits_are_those_of_the_published_model() -> None:
    # SHA-256 of the name, so every release of Python and every order of the files agrees.
    expected = {"0.png": "train", "13.png": "train", "14.png": "val", "15.png": "test"}
    assert {name: photos.split_of(name) for name in expected} == expected


def test_shares() -> None:
    counts = Counter(photos.split_of(f"photo-{i}.jpg") for i in range(4000))
    assert counts["test"] / 4000 == pytest.approx(0.16, abs=0.02)
    assert counts["val"] / 4000 == pytest.approx(0.12, abs=0.02)


def test_known_photos() -> None:
    assert {"astronaut.png", "coffee.png", "hubble_deep_field.jpg"} <= photos.TEST_NAMES
    assert all(photos.split_of(name) == "test" for name in photos.TEST_NAMES)
    others = set(photos.CAPTIONS) - photos.TEST_NAMES
    assert len(others) > 60 and {photos.split_of(name) for name in others} == {"train"}
    assert not any(captions.HAZARD_IN_TEXT.search(c) for c in photos.CAPTIONS.values())


def test_listing(photo_folder: Path) -> None:
    found = photos.read_photos([photo_folder])
    assert [p.split for p in found] == ["train", "train", "val", "test"]
    assert found[0].captions == ("A wall with pattern 0", "Two men near a fire")
    assert {p.source for p in found} == {"source"} and all(p.path.is_file() for p in found)
    assert found == photos.read_photos([photo_folder])


def test_loose_photos_of_known_packages(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("coffee.png", "deep/roof.png", "nobody-knows.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    found = photos.read_photos([tmp_path])
    assert [(p.path.name, p.split) for p in found] == [
        ("coffee.png", "test"),
        ("roof.png", "train"),
    ]
    assert found[1].captions == ("the roof of a house against the sky",)


def test_nothing_to_read(tmp_path: Path, photo_folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no photo: give a folder with photos\.jsonl"):
        photos.read_photos([photo_folder, tmp_path / "empty"])
    (photo_folder / "images" / Path(photos.read_photos([photo_folder])[1].path).name).unlink()
    with pytest.raises(DataError, match="which is not there"):
        photos.read_photos([photo_folder])
