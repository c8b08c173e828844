"""Write new caption twins for existing pictures: the same listing with other words.

    python -m edgesafe.samples.hazards.recaption --photos DIR --assets DIR --listing L --out F

Pictures take hours to make and captions seconds: this way the words can be worked on alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from edgesafe.cli import run
from edgesafe.runtime.files import atomic_write
from edgesafe.samples.hazards import captions, photos
from edgesafe.samples.hazards.sampler import Sampler
from edgesafe.samples.listing import read_listing


@click.command()
@click.option("--photos", "folders", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--assets", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--listing", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--seed", default=8, show_default=True)
def main(folders: tuple[Path, ...], assets: Path, listing: Path, out: Path, seed: int) -> None:
    """Write the listing with new texts; OUT must lie beside LISTING, whose pictures it names."""
    known = {p.path.name: p for p in photos.read_photos(list(folders))}
    names = Sampler(assets, "train").names
    lines = []
    for index, record in enumerate(read_listing(listing)):
        rng = np.random.default_rng((seed, index))
        caption = captions.safe_caption(known[record["photo"]].captions, rng)
        thing = [names[rng.integers(len(names))]] if rng.random() < 0.4 else []
        record["safe_text"] = captions.safe_text(caption, thing, rng)
        record["unsafe_text"] = captions.unsafe_text(caption, record["tag"], None, rng)
        record["negative_text"] = captions.negative_text(names, rng)
        lines.append(json.dumps(record))
    atomic_write(out, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    run(main)
