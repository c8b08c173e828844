"""Make the demo policy's data set: quadruplets of photos, hazards and caption twins.

    python -m edgesafe.samples.hazards.build --photos DIR --assets DIR --out DIR

Writes ``train.jsonl`` and ``val.jsonl`` with their pictures, as `edgesafe.train` reads them, and
with ``--test`` ``test.jsonl``: a record of each photo outside the training split.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesafe.cli import run
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_write
from edgesafe.samples.hazards import captions, catalogue, compose, photos
from edgesafe.samples.hazards.sampler import Sampler, Thing

SHORT_SIDE = 320
# Weapons and drugs have the most shapes.
TAG_SHARES = {"weapon": 0.33, "fire": 0.19, "blood": 0.19, "drugs": 0.29}
# Of the safe twins. It is easier to tell a drawing from a photo than a hazard from another drawing.
STAND_INS = 0.7
# A hazard that changes less of the picture is not to be seen: it blended in, or fell off the rim.
LEAST_CHANGED = 0.004
Rng = np.random.Generator


@functools.lru_cache(maxsize=2)
def _sampler(assets: Path, split: str) -> Sampler:
    return Sampler(assets, split)


def _place(
    photo: NDArray[np.uint8], thing: Thing, at: NDArray[np.float64], rng: Rng
) -> NDArray[np.uint8]:
    sprite = compose.spin(thing.sprite, rng, upright=thing.upright)
    if rng.random() < 0.12:
        sprite = compose.occlude(sprite, rng)
    if min(sprite.shape[:2]) < 4:
        return photo
    centre = (at[0] * photo.shape[1], at[1] * photo.shape[0])
    return compose.paste(photo, sprite, centre, rng, glow=thing.glow, stain=thing.stain)


def changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """Share of the pixels whose channels differ by an eighth of their range in the mean."""
    return float((np.abs(after.astype(np.int16) - before).mean(axis=2) > 32).mean())


@dataclasses.dataclass(frozen=True)
class Quadruplet:
    """Twin pictures and twin captions, before they are written."""

    safe: NDArray[np.uint8]
    unsafe: NDArray[np.uint8]
    safe_text: str
    unsafe_text: str
    negative_text: str
    tag: str
    style: str


def make(photo: photos.Photo, sampler: Sampler, rng: Rng, *, twins: bool = False) -> Quadruplet:
    """One quadruplet from one photo; with ``twins`` its unsafe caption is always of that photo."""
    ground = compose.grade(compose.random_crop(photos.pixels(photo.path), rng, SHORT_SIDE), rng)
    tag = str(rng.choice(catalogue.TAGS, p=[TAG_SHARES[t] for t in catalogue.TAGS]))
    short = min(ground.shape[:2])

    def size() -> int:
        return int(short * np.exp(rng.uniform(np.log(0.15), np.log(0.65))))

    at = rng.uniform(0.15, 0.85, 2)
    names: list[str] = []
    if rng.random() < 0.35:  # a harmless thing in both twins
        other = sampler.harmless(rng, size())
        ground = _place(ground, other, rng.uniform(0.1, 0.9, 2), rng)
        names.append(other.name)
    safe = ground
    if rng.random() < STAND_INS:  # a harmless thing where the twin has the hazard
        stand_in = sampler.harmless(rng, size())
        safe = _place(ground, stand_in, at, rng)
        names.insert(0, stand_in.name)
    for _ in range(20):
        hazard = sampler.hazard(tag, rng, size())
        unsafe = _place(ground, hazard, at, rng)
        if changed(ground, unsafe) >= LEAST_CHANGED:
            break
    caption = captions.safe_caption(photo.captions, rng)
    return Quadruplet(
        safe,
        unsafe,
        captions.safe_text(caption, names, rng),
        captions.unsafe_text(caption, tag, hazard.name, rng, twin=twins),
        captions.negative_text(sampler.names, rng),
        tag,
        hazard.style,
    )


def _save(picture: NDArray[np.uint8], path: Path, rng: Rng) -> None:
    quality = int(rng.integers(60, 96))
    Image.fromarray(picture).save(path, quality=quality, subsampling=int(rng.choice([0, 2])))


def _shard(
    job: tuple[int, int, int],
    pool: list[photos.Photo],
    assets: Path,
    split: str,
    out: Path,
    twins: bool,
) -> list[dict[str, str]]:
    start, stop, seed = job
    cv2.setNumThreads(1)
    records = []
    for index in range(start, stop):
        rng = np.random.default_rng((seed, index))
        photo = pool[index % len(pool)]
        made = make(photo, _sampler(assets, split), rng, twins=twins)
        name = f"{split}-{index:06d}"
        folder = f"{split}/{index // 1000:03d}"
        (out / folder).mkdir(parents=True, exist_ok=True)
        _save(made.safe, out / folder / f"{name}-safe.jpg", rng)
        _save(made.unsafe, out / folder / f"{name}-unsafe.jpg", rng)
        records.append(
            {
                "id": name,
                "safe_image": f"{folder}/{name}-safe.jpg",
                "safe_text": made.safe_text,
                "unsafe_image": f"{folder}/{name}-unsafe.jpg",
                "unsafe_text": made.unsafe_text,
                "negative_text": made.negative_text,
                "tag": made.tag,
                "style": made.style,
                "photo": photo.path.name,
            }
        )
    return records


def build(
    photo_folders: list[Path],
    assets: Path,
    out: Path,
    split: str,
    count: int | None,
    seed: int,
    jobs: int,
    *,
    twins: bool = False,
) -> Path:
    """Write one split.

    Args:
        photo_folders: see `photos.read_photos`.
        assets: what `fetch` wrote.
        out: folder to write to.
        split: whose photos and drawings; ``test`` takes all photos outside ``train``, and the
            drawings of training.
        count: of records; None for one of each photo.
        seed: of everything drawn at random.
        jobs: processes.
        twins: whether every unsafe caption is of its photo.

    Returns:
        The JSON lines file, ``out/<split>.jsonl``.

    Raises:
        DataError: no photo in a folder, or none of the split in any.
    """
    splits = ("val", "test") if split == "test" else (split,)
    pool = [p for p in photos.read_photos(photo_folders) if p.split in splits]
    count = len(pool) if count is None else count
    if not pool:
        raise DataError(f"no photo of the {split} split in {', '.join(map(str, photo_folders))}.")
    order = np.random.default_rng(seed).permutation(len(pool))
    pool = [pool[i] for i in order]
    step = 50
    work = [(i, min(i + step, count), seed) for i in range(0, count, step)]
    shard = functools.partial(_shard, pool=pool, assets=assets, split=split, out=out, twins=twins)
    listing = out / f"{split}.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ProcessPoolExecutor(jobs) as executor:
        with click.progressbar(executor.map(shard, work), length=len(work), label=split) as bar:
            lines = [json.dumps(record) + "\n" for records in bar for record in records]
    atomic_write(listing, "".join(lines).encode())
    return listing


@click.command()
@click.option(
    "--photos", "photo_folders", multiple=True, required=True, type=click.Path(path_type=Path)
)
@click.option("--assets", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--train", default=12000, show_default=True)
@click.option("--val", default=600, show_default=True)
@click.option(
    "--test",
    is_flag=True,
    help="Also test.jsonl: a record of each photo outside the training split.",
)
@click.option("--twins", is_flag=True, help="Every unsafe caption is of its photo.")
@click.option("--seed", default=7, show_default=True)
@click.option("--jobs", default=2, show_default=True)
def main(
    photo_folders: tuple[Path, ...],
    assets: Path,
    out: Path,
    train: int,
    val: int,
    test: bool,
    twins: bool,
    seed: int,
    jobs: int,
) -> None:
    """Build the training and validation splits of the demo policy."""
    wanted: list[tuple[str, int | None]] = [("val", val), *([("test", None)] if test else [])]
    for split, count in (*wanted, ("train", train)):
        click.echo(build(list(photo_folders), assets, out, split, count, seed, jobs, twins=twins))


if __name__ == "__main__":
    run(main)
