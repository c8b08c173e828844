"""The held-out test pictures: balanced, of the wanted split only, listed one by one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from edgesafe.samples import heldout, heldout_set
from edgesafe.samples.hazards import photos


@pytest.fixture
def made(photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(heldout_set, "_SHORT_SIDE", 80)
    arguments = ["--photos", photo_folder, "--out", tmp_path / "set", "--per-photo", 4]
    result = CliRunner().invoke(heldout_set.main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert result.output.strip() == str(tmp_path / "set" / "records.jsonl")
    return tmp_path / "set"


def test_records(made: Path, photo_folder: Path) -> None:
    lines = (made / "records.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert Counter(r["kind"] for r in records) == {"hazard": 4, "plain": 2, "lookalike": 2}
    (test_photo,) = (p for p in photos.read_photos([photo_folder]) if p.split == "test")
    for record in records:
        fields = {"image", "label", "kind", "tag", "style", "name", "scale", "photo"}
        assert set(record) == fields
        assert record["photo"] == test_photo.path.name
        assert record["label"] == ("unsafe" if record["kind"] == "hazard" else "safe")
        with Image.open(made / record["image"]) as image:
            assert min(image.size) == 80 and image.mode == "RGB"
        if record["kind"] == "hazard":
            assert record["name"] in heldout.HAZARDS[record["tag"]]
        else:
            assert record["tag"] is None
            assert (record["name"] in heldout.HARMLESS) == (record["kind"] == "lookalike")
        assert (record["style"] in heldout.STYLES) == (record["kind"] != "plain")
        if record["kind"] == "plain":
            assert record["scale"] is None
        else:
            assert heldout_set.SCALES[0] <= record["scale"] <= heldout_set.SCALES[1]
    assert {r["tag"] for r in records if r["tag"]} == set(heldout.HAZARDS)
    assert {r["image"] for r in records} == {p.name for p in made.glob("*.jpg")}


def test_a_seed_makes_the_same_set_again(made: Path, photo_folder: Path, tmp_path: Path) -> None:
    listing = heldout_set.build([photo_folder], "test", tmp_path / "again", 4, 11)
    assert listing.read_bytes() == (made / "records.jsonl").read_bytes()
    for picture in sorted(made.glob("*.jpg")):
        assert picture.read_bytes() == (tmp_path / "again" / picture.name).read_bytes()
