"""The sample photos: every file has its licence, and the listing is the one that the code makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from edgesafe.samples import heldout
from edgesafe.samples.hazards import photos
from edgesafe.samples.sample_photos import PICTURES, SOURCES, main

DATA = Path(__file__).parents[2] / "samples" / "data"
FREE = {"public domain", "CC0 1.0"}


def test_every_file_has_its_licence() -> None:
    lines = (DATA / "photos.jsonl").read_text(encoding="utf-8").splitlines()
    records = {record["image"]: record for record in map(json.loads, lines)}
    assert len(records) == len(lines) == len(PICTURES)
    assert set(records) == {f"photos/{p.name}" for p in (DATA / "photos").iterdir()}
    table = (DATA / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for image, record in records.items():
        assert record["licence"] in FREE and record["author"] and record["source"]
        row = f"| {Path(image).name} | {record['author']} | {record['licence']} |"
        assert row in table
        assert record["label"] == ("unsafe" if record["tag"] else "safe")
    assert table.count(".jpg |") == len(records)


def test_photos_and_drawings_are_held_out() -> None:
    assert {source.licence for source in SOURCES.values()} <= FREE
    assert all(photos.split_of(source.file) == "test" for source in SOURCES.values())
    drawn = {name for _, name, _, _ in PICTURES if name}
    assert drawn <= {*heldout.HARMLESS, *(n for names in heldout.HAZARDS.values() for n in names)}
    assert {style for _, name, style, _ in PICTURES if name} <= set(heldout.STYLES)


def test_the_listing_is_what_the_code_makes(tmp_path: Path) -> None:
    skimage = pytest.importorskip(
        "skimage", reason="its photos come with scikit-image, of the extra samples"
    )
    folder = Path(skimage.__file__).parent / "data"
    absent = [s.file for s in SOURCES.values() if not (folder / s.file).is_file()]
    if absent:
        pytest.skip(f"this scikit-image does not bring {absent[0]}")
    result = CliRunner().invoke(main, ["--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for name in ("photos.jsonl", "ATTRIBUTION.md"):
        assert (tmp_path / name).read_text() == (DATA / name).read_text()
    for path in (tmp_path / "photos").iterdir():
        with Image.open(path) as new, Image.open(DATA / "photos" / path.name) as kept:
            assert new.size == kept.size and max(new.size) <= 640
