"""The pictures on which the embedded model's image threshold is chosen.

    python -m edgesafe.samples.calibration_set --plain DIR --photos DIR --val VAL.jsonl --out DIR

Plain pictures come from a folder that training never sees, and several crops each from the photos
of the validation split: the pictures of the folder are wallpapers, which raise fewer false alarms
than photos do. Hazards come from the validation quadruplets. Writes ``records.jsonl``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgesafe.cli import run
from edgesafe.samples import heldout_set
from edgesafe.samples.hazards import photos
from edgesafe.samples.listing import read_listing

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_CROPS = 4


def build(plain: Path, photo_folders: list[Path], val: Path, out: Path, seed: int) -> Path:
    """Copy or crop the pictures and write the listing.

    Args:
        plain: pictures that training never sees.
        photo_folders: see `photos.read_photos`; those of the validation split are cropped.
        val: listing of the validation quadruplets.
        out: new folder.
        seed: of the crops.

    Returns:
        ``out/records.jsonl``.

    Raises:
        DataError: a photo folder without photos, or a listing that cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    records: list[dict[str, Any]] = []

    def add(path: Path, **fields: Any) -> None:
        shutil.copyfile(path, out / path.name)
        records.append({"image": path.name, **fields})

    for path in sorted(p for p in plain.iterdir() if p.suffix.lower() in _SUFFIXES):
        add(path, label="safe", kind="plain", photo=path.name)
    for photo in (p for p in photos.read_photos(photo_folders) if p.split == "val"):
        for index in range(_CROPS):
            file = f"{photo.path.stem}-{index}.jpg"
            heldout_set.save(heldout_set.crop(photo, rng), out / file, rng)
            records.append(
                {"image": file, "label": "safe", "kind": "plain", "photo": photo.path.name}
            )
    for record in read_listing(val):
        common = {"tag": record["tag"], "photo": record["photo"]}
        add(val.parent / record["safe_image"], label="safe", kind="twin", **common)
        add(
            val.parent / record["unsafe_image"],
            label="unsafe", kind="hazard", style=record["style"], **common,
        )  # fmt: skip
    listing = out / "records.jsonl"
    listing.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return listing


@click.command()
@click.option("--plain", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--photos", "folders", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--val", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--seed", default=12, show_default=True)
def main(plain: Path, folders: tuple[Path, ...], val: Path, out: Path, seed: int) -> None:
    """Build the calibration listing."""
    click.echo(build(plain, list(folders), val, out, seed))


if __name__ == "__main__":
    run(main)
