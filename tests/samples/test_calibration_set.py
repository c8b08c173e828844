"""The calibration listing: plain pictures and validation twins, with their labels."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from edgesafe.samples import calibration_set
from edgesafe.samples.hazards import photos


def test_listing(photo_folder: Path, tmp_path: Path) -> None:
    plain, data, out = tmp_path / "plain", tmp_path / "data", tmp_path / "out"
    for folder in (plain, data / "val"):
        folder.mkdir(parents=True)
    for name in ("one.jpg", "two.PNG"):
        Image.new("RGB", (9, 9)).save(plain / name)
    (plain / "notes.txt").write_text("no picture")
    record = {
        "safe_image": "val/a-safe.jpg", "unsafe_image": "val/a-unsafe.jpg", "tag": "fire",
        "photo": "source.jpg", "style": "solid", "safe_text": "a wall",
        "unsafe_text": "a wall on fire", "negative_text": "a fire drill",
    }  # fmt: skip
    for key in ("safe_image", "unsafe_image"):
        Image.new("RGB", (9, 9)).save(data / record[key])
    (data / "val.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    arguments = [
        "--plain", plain, "--photos", photo_folder, "--val", data / "val.jsonl", "--out", out,
    ]  # fmt: skip
    result = CliRunner().invoke(calibration_set.main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output

    lines = (out / "records.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    kinds = Counter((r["kind"], r["label"], "image" in r) for r in found)
    assert kinds == {
        ("plain", "safe", True): 6,  # two loose ones, four crops of the validation split's photo
        ("twin", "safe", True): 1,
        ("hazard", "unsafe", True): 1,
    }
    (held,) = (p.path.name for p in photos.read_photos([photo_folder]) if p.split == "val")
    crops = [r["image"] for r in found if r["photo"] == held]
    pixels = [np.asarray(Image.open(out / name)) for name in crops]
    assert all(min(crop.shape[:2]) == 384 for crop in pixels)
    assert len({crop.tobytes() for crop in pixels}) == len(crops) == 4
    images = {r["image"] for r in found}
    assert images == {"one.jpg", "two.PNG", *crops, "a-safe.jpg", "a-unsafe.jpg"}
    assert images == {p.name for p in out.iterdir()} - {"records.jsonl"}
    (hazard,) = (r for r in found if r["kind"] == "hazard")
    assert (hazard["tag"], hazard["style"], hazard["photo"]) == ("fire", "solid", "source.jpg")
