"""The held-out test pictures: photos never trained on, with drawings never trained on.

    python -m edgesafe.samples.heldout_set --photos DIR --split test --out DIR

Writes ``records.jsonl``: ``{"image", "label", "kind", "tag", "style", "name", "scale", "photo"}``,
where kind is ``plain`` (a crop of the photo), ``lookalike`` (a harmless drawing in it) or
``hazard``, and scale is the longer side of the drawing as a share of the picture's short side.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesafe.cli import run
from edgesafe.samples import heldout
from edgesafe.samples.hazards import compose, photos

_SHORT_SIDE = 384
SCALES = (0.22, 0.5)
"""Longer side of a drawing as a share of the short side of the picture: from, to."""


def crop(photo: photos.Photo, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A plain picture: a random crop of a photo."""
    return compose.random_crop(photos.pixels(photo.path), rng, _SHORT_SIDE)


def save(picture: NDArray[np.uint8], path: Path, rng: np.random.Generator) -> None:
    """Write it as a JPEG of a random quality."""
    Image.fromarray(picture).save(path, quality=int(rng.integers(75, 96)))


def _drawn(
    ground: NDArray[np.uint8], name: str, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], str, float]:
    style = str(rng.choice(heldout.STYLES))
    sprite = heldout.draw(name, style, rng)
    shadow = name not in heldout.SHADOWLESS
    scale = float(rng.uniform(*SCALES))
    placed, _ = heldout.place(ground, sprite, rng, scale=scale, shadow=shadow)
    return placed, style, scale


def build(folders: list[Path], split: str, out: Path, per_photo: int, seed: int) -> Path:
    """Write the set: per photo as many hazards as plain crops and look-alikes together.

    Args:
        folders: photo folders, see `photos.read_photos`.
        split: whose photos.
        out: new folder.
        per_photo: hazards per photo; even.
        seed: of everything drawn at random.

    Returns:
        The listing.

    Raises:
        DataError: a folder without photos.
    """
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tags = sorted(heldout.HAZARDS)
    records: list[dict[str, str | float | None]] = []
    for photo in (p for p in photos.read_photos(folders) if p.split == split):
        kinds = ["hazard"] * per_photo + ["plain", "lookalike"] * (per_photo // 2)
        for index, kind in enumerate(kinds):
            picture, tag, style, name, scale = crop(photo, rng), None, None, None, None
            if kind == "hazard":
                tag = tags[index % len(tags)]
                name = str(rng.choice(heldout.HAZARDS[tag]))
            elif kind == "lookalike":
                name = str(rng.choice(heldout.HARMLESS))
            if name is not None:
                picture, style, scale = _drawn(picture, name, rng)
            file = f"{photo.path.stem}-{index:02d}-{kind}.jpg"
            save(picture, out / file, rng)
            records.append(
                {
                    "image": file,
                    "label": "unsafe" if kind == "hazard" else "safe",
                    "kind": kind,
                    "tag": tag,
                    "style": style,
                    "name": name,
                    "scale": scale,
                    "photo": photo.path.name,
                }
            )
    listing = out / "records.jsonl"
    listing.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return listing


@click.command()
@click.option("--photos", "folders", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, type=click.Choice(["val", "test"]))
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--per-photo", default=12, show_default=True)
@click.option("--seed", default=11, show_default=True)
def main(folders: tuple[Path, ...], split: str, out: Path, per_photo: int, seed: int) -> None:
    """Build held-out test pictures."""
    click.echo(build(list(folders), split, out, per_photo, seed))


if __name__ == "__main__":
    run(main)
