"""Make samples/data/photos: free photos of scikit-image, plain and with drawn things in them.

    python -m edgesafe.samples.sample_photos --out samples/data

Neither these photos nor these drawings are among the training data of the embedded model.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click
import numpy as np
from PIL import Image

from edgesafe.cli import run
from edgesafe.runtime.files import atomic_write
from edgesafe.samples import heldout

_LONG_SIDE = 640


@dataclasses.dataclass(frozen=True)
class Source:
    """A photo of scikit-image.

    Attributes:
        file: in ``skimage/data``.
        caption: what it shows.
        author: who made it.
        licence: its licence, as scikit-image states it.
    """

    file: str
    caption: str
    author: str
    licence: str


SOURCES = {
    "astronaut": Source("astronaut.png", "an astronaut in an orange suit", "NASA", "public domain"),
    "brick": Source("brick.png", "a brick wall", "CC0 Textures", "CC0 1.0"),
    "camera": Source("camera.png", "a man with a camera", "Lav Varshney", "CC0 1.0"),
    "cat": Source("chelsea.png", "a tabby cat", "Stefan van der Walt", "CC0 1.0"),
    "coffee": Source("coffee.png", "a cup of coffee", "Rachel Michetti", "CC0 1.0"),
    "grass": Source("grass.png", "grass seen from above", "CC0 Textures", "CC0 1.0"),
    "gravel": Source("gravel.png", "grey gravel", "CC0 Textures", "CC0 1.0"),
    "rocket": Source("rocket.jpg", "a rocket on the launch pad", "SpaceX", "CC0 1.0"),
    "stars": Source("hubble_deep_field.jpg", "galaxies in deep space", "NASA", "public domain"),
}
# (photo, drawn thing or None, style, share of the short side)
PICTURES: tuple[tuple[str, str | None, str, float], ...] = (
    ("astronaut", None, "", 0),
    ("cat", None, "", 0),
    ("coffee", None, "", 0),
    ("rocket", None, "", 0),
    ("camera", None, "", 0),
    ("grass", None, "", 0),
    ("cat", "ball", "comic", 0.34),
    ("brick", "umbrella", "flat", 0.5),
    ("gravel", "scissors", "mesh", 0.4),
    ("grass", "strawberry", "photo", 0.34),
    ("cat", "handgun", "comic", 0.5),
    ("coffee", "syringe", "comic", 0.5),
    ("gravel", "kitchen_knife", "photo", 0.55),
    ("brick", "blood_splatter", "photo", 0.5),
    ("rocket", "campfire", "photo", 0.45),
    ("grass", "capsules", "photo", 0.45),
    ("camera", "bomb", "flat", 0.42),
    ("brick", "flame", "paint", 0.45),
    ("stars", "axe", "mesh", 0.5),
    ("brick", "tablets", "pencil", 0.4),
)


def _tag(name: str) -> str | None:
    return next((tag for tag, names in heldout.HAZARDS.items() if name in names), None)


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--seed", default=5, show_default=True)
def main(out: Path, seed: int) -> None:
    """Write the sample photos, their listing and their attribution."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    photos = out / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    lines, credits = [], []
    for index, (key, thing, style, scale) in enumerate(PICTURES):
        source = SOURCES[key]
        rng = np.random.default_rng((seed, index))
        with Image.open(folder / source.file) as image:
            image.thumbnail((_LONG_SIDE, _LONG_SIDE))
            picture = np.asarray(image.convert("RGB"))
        name, caption, tag, origin = key, source.caption, None, "scikit-image"
        if thing is not None:
            sprite = heldout.draw(thing, style, rng)
            shadow = thing not in heldout.SHADOWLESS
            picture, _ = heldout.place(picture, sprite, rng, scale=scale, shadow=shadow)
            words, tag = thing.replace("_", " "), _tag(thing)
            name, caption = f"{key}-{thing.replace('_', '-')}", f"{caption} with a drawn {words}"
            origin = "scikit-image; drawing: edgesafe, Apache-2.0"
        file = f"{name}.jpg"
        Image.fromarray(picture).save(photos / file, quality=88, optimize=True)
        record = {
            "image": f"photos/{file}",
            "caption": caption,
            "label": "safe" if tag is None else "unsafe",
            "tag": tag,
            "licence": source.licence,
            "author": source.author,
            "source": origin,
        }
        lines.append(json.dumps(record))
        credits.append(f"| {file} | {source.author} | {source.licence} | {origin} |")
    atomic_write(out / "photos.jsonl", ("\n".join(lines) + "\n").encode())
    text = (
        "# Sample photos\n\n"
        "Photos from the data folder of scikit-image, under the licences that it states, "
        "some with\na thing drawn into them by `edgesafe.samples.heldout`. Made by\n"
        "`python -m edgesafe.samples.sample_photos --out samples/data`.\n\n"
        "| file | author of the photo | licence of the photo | source |\n|---|---|---|---|\n"
    )
    atomic_write(out / "ATTRIBUTION.md", (text + "\n".join(credits) + "\n").encode())
    click.echo(f"{len(lines)} pictures in {photos}")


if __name__ == "__main__":
    run(main)
