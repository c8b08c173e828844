"""The papers' comparison on the embedded towers and data: what does each method retrieve?

    python -m edgesafe.samples.experiments --work DIR [--data DIR] [--quick]

Trains, all with the same towers, data, steps and learning rate: CLIP on safe and unsafe pairs (the
start of the others), Safe-CLIP, HySAC, and HySAC without the term that says "a safe image entails
the unsafe text". Then runs the retrieval protocol of the papers on records whose photos none of
them has seen, and prints the columns of tables 1 and 2. What is there already is not made again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image, ImageDraw

from edgesafe.calib.retrieval.evaluate_cmd import tables
from edgesafe.calib.retrieval.protocol import CLASSES, EmbeddedQuadruplets, Row, evaluate
from edgesafe.cli import run
from edgesafe.runtime import lorentz
from edgesafe.runtime.errors import DataError, EdgesafeError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.samples.listing import read_listing
from edgesafe.train import engine
from edgesafe.train.checkpoint import load_checkpoint
from edgesafe.train.config import DataConfig, read_config
from edgesafe.train.data.quadruplets import read_quadruplets
from edgesafe.train.evaluate import EncodeSettings, encode_split
from edgesafe.train.fields import read_file

__all__ = ["METHODS", "main", "shape_of"]

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT / "samples" / "configs" / "experiments.toml"
BASELINE = "CLIP (trained here)"
LIFT = {"curvature": 0.1, "visual_scale": 0.5, "textual_scale": 0.5, "lr_scale": 3.0}
# The paper's weights are 1. With 1, a hundred steps leave no shells: texts and images part, but
# safe and unsafe do not.
CONES = {"entail_safe": 10.0, "entail_unsafe": 10.0, "entail_safety": 10.0}
METHODS: dict[str, dict[str, Any]] = {
    BASELINE: {"method": "clip"},
    "Safe-CLIP": {"method": "safeclip"},
    "HySAC": {"method": "hysac", "lift": LIFT, "loss": CONES},
    "HySAC w/o S-Ent": {"method": "hysac", "lift": LIFT, "loss": {**CONES, "entail_safety": 0.0}},
}
"""Name in the tables -> what its configuration has beside the shared one."""
TRAIN, TEST = 3000, 500
TEST_SHARE = 5  # one photo in so many is held out, of data without a test set
DONE = "experiment.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is made.

    Attributes:
        work: For everything that is made.
        data: Folder with ``train.jsonl`` and ``test.jsonl``.
        minutes: Of each of the four trainings.
        quick: Whether towers and data are tiny: to see that it runs, not what comes out.
        steps: Of each of the four trainings; None for those of the configuration.
    """

    work: Path
    data: Path
    minutes: float
    quick: bool
    steps: int | None = None


@click.command()
@click.option(
    "--work", type=click.Path(path_type=Path), default=Path("out/experiments"), show_default=True
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Quadruplets: train.jsonl, and test.jsonl where there is one.  [default: made from "
    "drawings and photos that npm and apt-get fetch]",
)
@click.option(
    "--minutes", type=FiniteRange(min=0.01), default=14.0, show_default=True,
    help="Limit of each of the four trainings.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(min=1), help="Of each training.  [default: experiments.toml]"
)
@click.option("--quick", is_flag=True, help="Tiny towers and data, in seconds.")
def main(work: Path, data: Path | None, minutes: float, steps: int | None, quick: bool) -> None:
    """Train the four methods and print what each retrieves."""
    work.mkdir(parents=True, exist_ok=True)
    plan = Plan(work, work / "data", minutes, quick, steps)
    _prepare(plan, data)
    report: dict[str, Any] = {"quick": quick, "minutes": minutes, "models": {}}
    rows: dict[str, Sequence[Row]] = {}
    for name in METHODS:
        checkpoint = _trained(plan, name)
        measured = measure(checkpoint, plan.data / "test.jsonl")
        rows[name] = measured.rows
        report["models"][name] = {
            "rows": [row.to_json() for row in measured.rows],
            "bounds": measured.bounds,
            "radii": measured.radii,
            **json.loads((checkpoint / DONE).read_text(encoding="utf-8")),
        }
    report["shape"] = shape_of(rows)
    atomic_write(work / "experiments.json", (json.dumps(report, indent=1) + "\n").encode())
    for line in tables(rows, published=not quick):
        click.echo(line)
    click.echo("")
    for line in [*_shells(report["models"]), "", *report["shape"]]:
        click.echo(line)


def _shells(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Where the four classes lie, and what every training took."""
    lines = []
    for name, entry in models.items():
        if entry["radii"] is not None:
            means = "  ".join(f"{key} {value:.3f}" for key, value in entry["radii"].items())
            lines.append(f"{name}, mean distance from the root: {means}")
        lines.append(
            f"{name}: {entry['steps']} steps ({entry['ended']}), {entry['cpu_minutes']} CPU minutes"
        )
    return lines


def shape_of(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """What the papers found, as sentences that say whether it came out here too.

    Args:
        rows: Name in the tables to the rows of the protocol.
    """

    def best(name: str, task: str, redirected: bool) -> Row:
        found = [r for r in rows[name] if r.task.name == task]
        return ([r for r in found if r.redirected == redirected] or found)[0]

    sentences = []
    others = [name for name in rows if name != "HySAC"]
    for task, redirected, claim in (
        ("T*->IuI*", True, "unsafe texts find their own safe image"),
        ("I*->TuT*", True, "unsafe images find their own safe text"),
        ("T*->I*uI", False, "unsafe texts find their own unsafe image when asked for it"),
        ("I*->T*uT", False, "unsafe images find their own unsafe text when asked for it"),
    ):
        own = best("HySAC", task, redirected)
        rest = {name: best(name, task, redirected) for name in others}
        leader = max(rest, key=lambda name: rest[name].recall[1])
        other = rest[leader]
        if own.recall[1] <= other.recall[1]:
            verdict = "NOT as in the paper"
        elif own.intervals[1][0] > other.intervals[1][1]:
            verdict = "as in the paper"
        else:
            verdict = "higher, but the 95 % intervals overlap"
        sentences.append(
            f"{claim}: HySAC {100 * own.recall[1]:.1f}, best other "
            f"{100 * other.recall[1]:.1f} ({leader}): {verdict}"
        )
    return sentences


# --- data ---------------------------------------------------------------------------------------


def _prepare(plan: Plan, given: Path | None) -> None:
    if (plan.data / "test.jsonl").is_file() and (plan.data / "train.jsonl").is_file():
        return
    plan.data.mkdir(parents=True, exist_ok=True)
    if plan.quick:
        _draw(plan.data)
        return
    source = given or _build(plan.work)
    listing = source / "train.jsonl" if source.is_dir() else source
    lines = read_listing(listing)
    ready = source / "test.jsonl"
    if source.is_dir() and ready.is_file():
        train, test = lines, read_listing(ready)
    else:
        test = [r for r in lines if _held_out(r)]
        train = [r for r in lines if not _held_out(r)]
    if not train or not test:
        raise DataError(
            f"{listing}: {len(train)} records to train on and {len(test)} to test on. Name more "
            "data, of more photos."
        )
    rng = np.random.default_rng(0)
    train, test = (
        [part[i] for i in sorted(rng.permutation(len(part))[:most])]
        for part, most in ((train, TRAIN), (test, TEST))
    )
    # The test first: where both are there, nothing is done again.
    folder = (ready if source.is_dir() and ready.is_file() else listing).parent
    _write(plan.data / "test.jsonl", test, folder)
    _write(plan.data / "train.jsonl", train, listing.parent)


def _held_out(record: Mapping[str, Any]) -> bool:
    """Whether the photo that a record was made of is for the test; by its name, so for ever."""
    photo = str(record.get("photo") or record["safe_image"])
    return int(hashlib.sha256(photo.encode()).hexdigest(), 16) % TEST_SHARE == 0


def _write(path: Path, records: Sequence[Mapping[str, Any]], folder: Path) -> None:
    rows = []
    for record in records:
        images = {k: str((folder / v).resolve()) for k, v in record.items() if k.endswith("_image")}
        rows.append(json.dumps({**record, **images}, ensure_ascii=False) + "\n")
    atomic_write(path, "".join(rows).encode())


def _build(work: Path) -> Path:
    """The demo policy's quadruplets, from fetched drawings and photos alone."""
    lacking = [name for name in ("npm", "apt-get", "dpkg-deb") if shutil.which(name) is None]
    if lacking:
        raise DataError(
            f"{', '.join(lacking)} not found, which fetch the drawings and photos. Install them, "
            "or name a folder with train.jsonl with --data."
        )
    assets, data = work / "assets", work / "quadruplets"
    names = ("mvtb", "opencv", "wallpapers", "themes", "skimage")
    photos = [assets / "photos" / name for name in names]
    if not (data / "train.jsonl").is_file():
        _module("edgesafe.samples.hazards.fetch", "--out", assets)
        named = [word for photo in photos for word in ("--photos", photo)]
        _module(
            "edgesafe.samples.hazards.build", *named, "--assets", assets, "--out", data,
            "--train", TRAIN, "--val", 0, "--test", "--twins",
        )  # fmt: skip
    return data


def _module(name: str, *words: object) -> None:
    done = subprocess.run([sys.executable, "-m", name, *map(str, words)], check=False)
    if done.returncode:
        raise DataError(f"{name} ended with status {done.returncode}; its message stands above.")


def _draw(folder: Path) -> None:
    """Quadruplets of coloured squares, and of the same with a red disc."""
    rng = np.random.default_rng(0)
    for name, count in (("train", 24), ("test", 12)):
        rows = []
        for i in range(count):
            colours = rng.integers(0, 200, (4, 4, 3), dtype=np.uint8)
            safe = Image.fromarray(colours).resize((40, 40), Image.Resampling.BICUBIC)
            unsafe = safe.copy()
            ImageDraw.Draw(unsafe).ellipse((8, 8, 28, 28), fill=(255, 20, 0))
            safe.save(folder / f"{name}{i}.png")
            unsafe.save(folder / f"{name}{i}-unsafe.png")
            rows.append(
                {
                    "id": f"{name}{i}",
                    "safe_image": f"{name}{i}.png",
                    "unsafe_image": f"{name}{i}-unsafe.png",
                    "safe_text": f"a photo of thing {i}",
                    "unsafe_text": f"thing {i} is on fire",
                }
            )
        _write(folder / f"{name}.jsonl", rows, folder)


# --- training and measuring ---------------------------------------------------------------------


def _trained(plan: Plan, name: str) -> Path:
    out = plan.work / name.replace(" ", "-").replace("/", "").replace("(", "").replace(")", "")
    if (out / DONE).is_file():
        return out
    # The other methods tune a CLIP, as those of the papers do.
    init = None if name == BASELINE else _trained(plan, BASELINE)
    shared = _tiny() if plan.quick else read_file(SHARED)
    limit: dict[str, Any] = {"max_minutes": plan.minutes}
    if plan.steps is not None:
        limit |= {"epochs": 1, "steps_per_epoch": plan.steps}
    table = {**shared, "seed": 42, "train": {**shared["train"], **limit}, **METHODS[name]}
    click.echo(f"training {name}, {plan.minutes:g} minutes at most", err=True)
    resume = (engine.run_folder(out) / "state").is_dir()
    wall, cpu = time.monotonic(), _cpu_seconds()
    result = engine.train(
        read_config(table), plan.data / "train.jsonl", out, resume=resume, init=init
    )
    if result.ended == "interrupted":
        raise EdgesafeError(f"stopped while training {name}. The same command goes on.")
    done = {
        "steps": result.steps,
        "ended": result.ended,
        "minutes": round((time.monotonic() - wall) / 60, 1),
        "cpu_minutes": round((_cpu_seconds() - cpu) / 60, 1),
    }
    atomic_write(out / DONE, (json.dumps(done) + "\n").encode())
    return out


def _cpu_seconds() -> float:
    """Of this process and of the workers that it has seen end."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _tiny() -> dict[str, Any]:
    towers = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16,
                       "patch_size": 8},
        "text_cfg": {"width": 32, "heads": 2, "layers": 1},
        "quick_gelu": True,
    }  # fmt: skip
    return {
        "architecture": {"name": "open_clip:tiny", "config": towers},
        "train": {"image": "full", "text": "full", "epochs": 2, "batch_size": 12, "patience": 0},
        "data": {"workers": 0},
    }


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a model retrieves.

    Attributes:
        rows: Of the protocol.
        bounds: Where redirected queries end; None for a model without a root.
        radii: Class to its mean distance from the root on the test records; None likewise.
    """

    rows: tuple[Row, ...]
    bounds: dict[str, float] | None = None
    radii: dict[str, float] | None = None


def measure(checkpoint: Path, listing: Path) -> Measured:
    """Runs the protocol on the records of a listing."""
    model, info = load_checkpoint(checkpoint)
    records = read_quadruplets(listing, DataConfig(check_images=False)).records
    embedded = encode_split(model, records, EncodeSettings(torch.device("cpu")))
    quadruplets = EmbeddedQuadruplets(
        **{name: getattr(embedded, name).double().numpy() for name in CLASSES},
        keys={name: [str(getattr(r, name)) for r in records] for name in CLASSES},
    )
    if model.curvature is None:
        return Measured(evaluate(quadruplets, "cosine"))
    bounds = {name: float(info.bounds[name]["avg"]) for name in ("safe_text", "safe_image")}
    c = float(model.curvature.detach())
    radii = {
        name: float(lorentz.root_distance(getattr(quadruplets, name), c).mean()) for name in CLASSES
    }
    return Measured(evaluate(quadruplets, "hyperbolic", curvature=c, bounds=bounds), bounds, radii)


if __name__ == "__main__":
    run(main)
