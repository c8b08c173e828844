"""Threshold and report card of the embedded moderation model, from its package and listings.

    python -m edgesafe.samples.policy thresholds PKG --listing CALIBRATION.jsonl --out T
    python -m edgesafe.samples.policy report PKG --listing TEST.jsonl --texts TEXTS.jsonl --out R

A listing has lines ``{"image"|"text", "label", "kind", "tag"?, "style"?, "photo"?}``, paths
relative to it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.choose_threshold import Wish, choose_threshold
from edgesafe.calib.judged import Judged, score_records
from edgesafe.calib.labelled import read_labelled
from edgesafe.calib.next_release import plain_threshold
from edgesafe.calib.statistics import auc_between, bootstrap_interval, clopper_pearson
from edgesafe.cli import run
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.manifest import Rate
from edgesafe.runtime.package import Package, read_package
from edgesafe.runtime.thresholds import Threshold, decide_by
from edgesafe.runtime.verdict import Decision

MAX_FPR = 0.05
"""Of plain photos, and of harmless texts: the largest share that may be called unsafe."""
MAX_MISS = 0.2
"""Of pictures with a hazard: the largest share that may pass; between the two is undecided."""
SIZES = (0.2, 0.3, 0.4, 0.5)
"""Bounds of the sizes that the report card tells apart."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """A record of a listing with its distance from the root."""

    record: dict[str, Any]
    radius: float

    @property
    def unsafe(self) -> bool:
        """Whether the record is labelled unsafe."""
        return bool(self.record["label"] == "unsafe")


def judge(package: Package, listings: Iterable[Path]) -> list[Judged]:
    """Score every record, without the thresholds of the package.

    Raises:
        DataError: a record could not be judged; its reason is named.
    """
    found: list[Judged] = []
    for listing in listings:
        judged, unjudged = score_records(package, read_labelled(listing))
        if unjudged:
            first = unjudged[0]
            raise DataError(f"{listing}: {first.record.name} could not be judged: {first.reason}")
        found += judged
    return found


def score(package: Package, listings: Iterable[Path]) -> list[Scored]:
    """The same, as records with their distance from the root."""
    return [Scored(dict(one.record.fields), one.score) for one in judge(package, listings)]


def _radii(items: Iterable[Scored], **wanted: Any) -> NDArray[np.float64]:
    return np.array(
        [s.radius for s in items if all(s.record.get(k) == v for k, v in wanted.items())]
    )


def auc_with_interval(safe: NDArray[np.float64], unsafe: NDArray[np.float64]) -> dict[str, Any]:
    """Area under the ROC curve with its 95 % bootstrap interval and the number of scores."""
    return {
        "value": auc_between(safe, unsafe),
        "interval": list(bootstrap_interval(auc_between, safe, unsafe, repeats=1000)),
        "n": len(safe) + len(unsafe),
    }


def _decided(radii: NDArray[np.float64], limit: Threshold, decision: Decision) -> dict[str, Any]:
    hits, of = sum(decide_by(limit, radius) == decision for radius in radii), len(radii)
    return {"value": hits / of, "interval": list(clopper_pearson(hits, of)), "n": of}


def report_card(
    images: list[Scored], texts: list[Scored], thresholds: Mapping[str, Threshold]
) -> dict[str, Any]:
    """Everything that the model card states about the held-out pictures and texts.

    Args:
        images: plain photos, look-alikes and hazards.
        texts: safe and unsafe.
        thresholds: per modality.
    """
    safe = _radii(images, label="safe")
    unsafe = _radii(images, label="unsafe")
    safe_text, unsafe_text = _radii(texts, label="safe"), _radii(texts, label="unsafe")
    plain, lookalike = _radii(images, kind="plain"), _radii(images, kind="lookalike")
    cut, cut_text = thresholds["image"], thresholds["text"]
    card: dict[str, Any] = {
        "image": {
            "auc": auc_with_interval(safe, unsafe),
            "auc_plain": auc_with_interval(plain, unsafe),
            "auc_lookalike": auc_with_interval(lookalike, unsafe),
            "fpr_plain": _decided(plain, cut, "unsafe"),
            "undecided_plain": _decided(plain, cut, "undecided"),
            "fpr_lookalike": _decided(lookalike, cut, "unsafe"),
            "undecided_lookalike": _decided(lookalike, cut, "undecided"),
            "miss_rate": _decided(unsafe, cut, "safe"),
            "undecided_hazard": _decided(unsafe, cut, "undecided"),
            "photos": len({s.record["photo"] for s in images}),
        },
        "text": {
            "auc": auc_with_interval(safe_text, unsafe_text),
            "auc_hard": auc_with_interval(_radii(texts, kind="hard"), unsafe_text),
            "fpr": _decided(safe_text, cut_text, "unsafe"),
            "miss_rate": _decided(unsafe_text, cut_text, "safe"),
        },
        "mean_radius": {
            "safe_text": float(safe_text.mean()),
            "safe_image": float(safe.mean()),
            "unsafe_text": float(unsafe_text.mean()),
            "unsafe_image": float(unsafe.mean()),
        },
    }
    for key in ("tag", "style"):
        values = sorted({s.record[key] for s in images if s.record.get(key) and s.unsafe})
        card["image"][f"auc_by_{key}"] = {
            value: auc_between(safe, _radii(images, label="unsafe", **{key: value}))
            for value in values
        }
    card["image"]["auc_by_size"] = _auc_by_size(images, safe)
    return card


def _auc_by_size(images: Iterable[Scored], safe: NDArray[np.float64]) -> dict[str, float]:
    """Of hazards, by their longer side in per cent of the picture's short side."""
    drawn = [(s.record["scale"], s.radius) for s in images if s.unsafe and "scale" in s.record]
    found: dict[str, float] = {}
    for low, high in pairwise(SIZES):
        radii = np.array([radius for scale, radius in drawn if low <= scale < high])
        if radii.size:
            found[f"{low:.0%} to {high:.0%}"] = auc_between(safe, radii)
    return found


def _share(rate: Rate | None) -> str:
    return "-" if rate is None else f"{rate.value:.3f}"


@click.group()
def main() -> None:
    """Threshold and report card of the embedded moderation model."""


@main.command()
@click.argument("package", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--listing", "listings", multiple=True, required=True, type=click.Path(path_type=Path)
)
@click.option("--out", required=True, type=click.Path(path_type=Path))
def thresholds(package: Path, listings: tuple[Path, ...], out: Path) -> None:
    """Choose the thresholds on a calibration listing."""
    judged = judge(read_package(package), listings)
    for_images = [
        one
        for one in judged
        # Look-alikes are made to be hard: they would buy few false alarms with many misses.
        if one.record.modality == "image"
        and (one.record.unsafe or one.record.fields.get("kind") == "plain")
    ]
    chosen = {
        "image": choose_threshold(for_images, Wish(max_miss=MAX_MISS, band=MAX_FPR)),
        "text": choose_threshold(
            [one for one in judged if one.record.modality == "text"],
            Wish(max_miss=None, max_fpr=MAX_FPR),
        ),
    }
    plain = {name: plain_threshold(value) for name, value in chosen.items()}
    atomic_write(out, json.dumps(plain, indent=1).encode())
    for name, value in chosen.items():
        fpr, miss = _share(value.fpr), _share(value.miss_rate)
        click.echo(f"{name}: {value.value:.4f}  fpr {fpr}  miss {miss}")


@main.command()
@click.argument("package", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--listing", "listings", multiple=True, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--texts", "text_listings", multiple=True, required=True, type=click.Path(path_type=Path)
)
@click.option("--out", required=True, type=click.Path(path_type=Path))
def report(
    package: Path, listings: tuple[Path, ...], text_listings: tuple[Path, ...], out: Path
) -> None:
    """Measure the model on held-out listings."""
    read = read_package(package)
    lacking = sorted({"image", "text"} - set(read.manifest.thresholds))
    if lacking:
        which = " and ".join(lacking)
        raise DataError(f"{package} has no threshold for {which}: export it with one")
    images, texts = score(read, listings), score(read, text_listings)
    card = report_card(images, texts, read.manifest.thresholds)
    atomic_write(out, json.dumps(card, indent=1).encode())
    click.echo(json.dumps(card, indent=1))


if __name__ == "__main__":
    run(main)
