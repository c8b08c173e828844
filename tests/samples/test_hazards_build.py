"""From photos and drawings to quadruplets that the trainer reads, and to new words for them."""

from __future__ import annotations

import concurrent.futures
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgesafe.runtime.errors import DataError
from edgesafe.samples.hazards import build, captions, catalogue, photos, recaption
from edgesafe.samples.hazards.sampler import VAL_STYLES, Sampler, Thing
from edgesafe.train.config import DataConfig
from edgesafe.train.data.quadruplets import read_quadruplets

pytest.importorskip("resvg_py", reason="resvg_py draws SVG; it comes with the extra samples")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forking a process that holds torch is no part of what is tested here."""
    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(build, "SHORT_SIDE", 96)


@pytest.fixture
def built(photo_folder: Path, asset_folder: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    arguments = ["--photos", photo_folder, "--assets", asset_folder, "--out", out]
    counts = ["--train", 2, "--val", 1, "--jobs", 1]
    result = CliRunner().invoke(build.main, [str(a) for a in (*arguments, *counts)])
    assert result.exit_code == 0, result.output
    return out


def records(listing: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]


def test_quadruplet(photo_folder: Path, asset_folder: Path) -> None:
    photo = photos.read_photos([photo_folder])[0]
    sampler = Sampler(asset_folder, "train")
    for seed in range(6):
        made = build.make(photo, sampler, np.random.default_rng(seed))
        assert made.safe.shape == made.unsafe.shape and min(made.safe.shape[:2]) == 96
        changed = (made.safe.astype(int) != made.unsafe).any(axis=2).mean()
        assert 0.005 < changed < 0.9
        assert made.tag in catalogue.TAGS
        assert not captions.HAZARD_IN_TEXT.search(made.safe_text)
        assert made.unsafe_text != made.safe_text
        again = build.make(photo, sampler, np.random.default_rng(seed))
        assert np.array_equal(again.unsafe, made.unsafe) and again.safe_text == made.safe_text


def test_a_hazard_is_to_be_seen(
    photo_folder: Path, asset_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = photos.read_photos([photo_folder])[0]
    sampler = Sampler(asset_folder, "train")
    drawn: list[str] = []

    def hidden_twice(tag: str, rng: np.random.Generator, size: int) -> Thing:
        drawn.append(tag)
        shade = 0 if len(drawn) < 3 else 255
        sprite = np.full((size, size, 4), (200, 10, 10, shade), np.uint8)
        return Thing(sprite, "blood", tag, "flat")

    monkeypatch.setattr(sampler, "hazard", hidden_twice)
    made = build.make(photo, sampler, np.random.default_rng(3))
    assert len(drawn) == 3 and set(drawn) == {made.tag}
    assert build.changed(made.safe, made.unsafe) >= build.LEAST_CHANGED


def test_changed_is_a_share_of_the_pixels() -> None:
    before = np.full((10, 20, 3), 100, np.uint8)
    after = before.copy()
    after[:5, :4] = 0
    after[5:] += 30  # less than an eighth of the range
    assert build.changed(before, before) == 0
    assert build.changed(before, after) == pytest.approx(0.1)
    assert build.changed(after, before) == pytest.approx(0.1)


def test_the_trainer_reads_what_is_built(built: Path, photo_folder: Path) -> None:
    for split, count in (("train", 2), ("val", 1)):
        found = read_quadruplets(built / f"{split}.jsonl", DataConfig(check_images=True))
        assert len(found.records) == count and not found.bad
        for record in found.records:
            assert record.negative_text and record.negative_image is None
            with Image.open(record.safe_image) as safe, Image.open(record.unsafe_image) as unsafe:
                assert safe.size == unsafe.size and min(safe.size) == 96
            assert f"/{split}/" in record.safe_image.as_posix()
        known = {p.path.name for p in photos.read_photos([photo_folder]) if p.split == split}
        rows = records(built / f"{split}.jsonl")
        assert {row["photo"] for row in rows} <= known
        assert all(row["tag"] in catalogue.TAGS and row["style"] for row in rows)


def test_the_test_has_a_record_of_each_photo_outside_training(
    photo_folder: Path, asset_folder: Path, tmp_path: Path
) -> None:
    listing = build.build([photo_folder], asset_folder, tmp_path, "test", None, 7, 1, twins=True)
    rows = records(listing)
    assert rows
    assert sorted(row["photo"] for row in rows) == sorted(
        p.path.name for p in photos.read_photos([photo_folder]) if p.split != "train"
    )


def test_twins_speak_of_the_photo() -> None:
    rng = np.random.default_rng(0)
    said = [captions.unsafe_text("a red bus", "fire", None, rng, twin=True) for _ in range(40)]
    assert all("a red bus" in text for text in said)
    said = [captions.unsafe_text("a red bus", "fire", None, rng) for _ in range(40)]
    assert not all("a red bus" in text for text in said)


def test_a_seed_makes_the_same_set_again(
    built: Path, photo_folder: Path, asset_folder: Path, tmp_path: Path
) -> None:
    listing = build.build([photo_folder], asset_folder, tmp_path / "again", "train", 2, 7, 1)
    assert listing.read_bytes() == (built / "train.jsonl").read_bytes()
    first, second = (
        (folder / records(listing)[1]["unsafe_image"]).read_bytes()
        for folder in (built, tmp_path / "again")
    )
    assert first == second


def test_splits_share_no_style(asset_folder: Path) -> None:
    styles: dict[str, set[str]] = {}
    for split in ("train", "val"):
        sampler = Sampler(asset_folder, split)
        rng = np.random.default_rng(0)
        things = [sampler.hazard(catalogue.TAGS[i % 4], rng, 24) for i in range(60)]
        assert [t.tag for t in things] == [catalogue.TAGS[i % 4] for i in range(60)]
        harmless = [sampler.harmless(rng, 24) for _ in range(30)]
        assert all(t.tag is None for t in harmless)
        assert all(t.sprite.shape[2] == 4 and t.name for t in things + harmless)
        styles[split] = {t.style.split("+")[0] for t in things + harmless}
    assert not styles["train"] & styles["val"]
    absent = {"fxemoji", "warmux", "sl-ultimate-color"}  # of which there is no drawing here
    assert styles["val"] == VAL_STYLES - absent
    assert {"noto", "solid", "noise", "flat", "stamps"} <= styles["train"]
    # Names for captions come from the training drawings in both splits.
    assert Sampler(asset_folder, "val").names == ["cow", "house", "ladle", "tulip"]


def test_a_folder_without_drawings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run the fetch module first"):
        Sampler(tmp_path, "train")


def test_new_words_for_the_same_pictures(
    built: Path, photo_folder: Path, asset_folder: Path
) -> None:
    def run(name: str, seed: int) -> list[dict[str, Any]]:
        arguments = [
            "--photos", photo_folder, "--assets", asset_folder, "--seed", seed,
            "--listing", built / "train.jsonl", "--out", built / name,
        ]  # fmt: skip
        result = CliRunner().invoke(recaption.main, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
        return records(built / name)

    old, new = records(built / "train.jsonl"), run("words.jsonl", 8)
    texts = ("safe_text", "unsafe_text", "negative_text")
    assert [{**a, **{t: b[t] for t in texts}} for a, b in zip(old, new, strict=True)] == new
    assert [r["unsafe_text"] for r in old] != [r["unsafe_text"] for r in new]
    assert not any(captions.HAZARD_IN_TEXT.search(r["safe_text"]) for r in new)
    assert run("again.jsonl", 8) == new != run("other.jsonl", 9)
    assert len(read_quadruplets(built / "words.jsonl").records) == 2
