"""Does a pose network read its markers, and what cures it? An experiment on a synthetic twin.

    python -m edgesafe.samples.marker_cure --work DIR [--photos DIR] [--quick]

Draws an object that never moves on the board of LINEMOD; trains networks on such pictures
(``biased``), on them and the same with the ink erased (``erase-only``), and on pictures in which
everything but the object varies (``cured``); and audits all of them on frames of new views, with
the board, with it erased or moved, and without any on photos that no training has seen. What is
there already is not made again, so the same line goes on where it was interrupted.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import torch
from numpy.typing import NDArray

from edgesafe.calib.render.photos import Photos
from edgesafe.cli import run
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.samples.twin.board import board_json, linemod_board
from edgesafe.samples.twin.measuring import audit_twin
from edgesafe.samples.twin.part import TwinPart, read_part
from edgesafe.samples.twin.pictures import Painter
from edgesafe.samples.twin.samples import REGIMES, make_pool
from edgesafe.samples.twin.sets import twin_sets
from edgesafe.samples.twin.table import markdown, targets_of
from edgesafe.samples.twin.training import Settings, train_network
from edgesafe.train.checkpoint import INFO_FILE

__all__ = ["NETWORKS", "Planned", "main", "split_photos"]

Pool = dict[str, NDArray[Any]]
Pools = dict[str, Pool]

ROOT = Path(__file__).resolve().parents[3]
PHOTOS = ROOT / "samples" / "data" / "photos"
_HELD_OUT = 3  # one photo in so many is for the tests alone
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_TRAINING_SEED, _TEST_SEED = 0, 1000


@dataclass(frozen=True)
class Planned:
    """A network to train."""

    head: str
    regime: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.head}-{self.regime}-{self.seed}"

    @property
    def group(self) -> str:
        """What it is a seed of."""
        return f"{self.head} {self.regime}"


NETWORKS = (
    *(Planned("vote", regime, 0) for regime in REGIMES),
    *(Planned("direct", regime, 0) for regime in REGIMES),
    *(Planned("vote", regime, seed) for seed in (1, 2) for regime in REGIMES),
)
"""In the order in which they are trained: whole rows first, further seeds after them."""


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        minutes: Processor time of the training of a biased network.
        samples: Drawn for the biased regime.
        views: Of which they are drawn, at most.
        frames: Of each test set.
        maps: Frames with saliency maps.
    """

    minutes: float
    samples: int
    views: int
    frames: int
    maps: int


@click.command()
@click.option(
    "--work", type=click.Path(path_type=Path), default=Path("out/marker-cure"), show_default=True,
    help="Where everything is made.",
)  # fmt: skip
@click.option(
    "--photos", multiple=True, type=click.Path(path_type=Path), metavar="DIR",
    help="Photos for backgrounds without a board; a third of them is kept for the tests. "
    "[default: the few sample photos]",
)  # fmt: skip
@click.option(
    "--mesh", type=click.Path(path_type=Path), help="PLY in mm, z up. [default: a painted part]"
)
@click.option(
    "--minutes", type=FiniteRange(min=0.001), default=1.5, show_default=True,
    help="Processor time to train a biased network; erase-only takes 1.5 times, cured 12 times it.",
)  # fmt: skip
@click.option(
    "--only", metavar="NAME,NAME...",
    help="Train only networks whose names begin so, such as vote-cured or direct.",
)  # fmt: skip
@click.option("--quick", is_flag=True, help="Next to nothing of everything, in seconds.")
def main(
    work: Path, photos: tuple[Path, ...], mesh: Path | None, minutes: float, only: str | None,
    quick: bool,
) -> None:  # fmt: skip
    """Train biased, erase-only and cured networks on the synthetic twin, and audit them."""
    scale = Scale(0.002, 16, 8, 3, 2) if quick else Scale(minutes, 4000, 4000, 200, 50)
    wanted = _wanted(only)
    training, unseen = split_photos(photos or (PHOTOS,))
    part, board = read_part(mesh), linemod_board()
    work.mkdir(parents=True, exist_ok=True)
    text = json.dumps(board_json(board), indent=1) + "\n"
    atomic_write(work / "board.json", text.encode())
    painter = Painter(part, board, Photos(training), _TRAINING_SEED)
    pools: Pools = {}
    for one in wanted:
        _train(one, scale, painter, pools, work)
    sets = twin_sets(Painter(part, board, Photos(unseen), _TEST_SEED), scale.frames, work / "sets")
    networks: dict[str, list[Path]] = {}
    for one in sorted(NETWORKS, key=lambda one: (one.head == "direct", one.seed)):
        if (work / one.name / INFO_FILE).is_file():
            networks.setdefault(one.group, []).append(work / one.name)
    report = audit_twin(sets, networks, work, maps=scale.maps, tell=_say)
    _write(report, networks, scale, part, (len(training), len(unseen)), work)


def split_photos(sources: Iterable[Path]) -> tuple[list[str], list[str]]:
    """Return photos to train on and photos for the tests, by a hash of their names, so for ever.

    Raises:
        DataError: There are too few for both.
    """
    found = sorted(
        path for source in sources for path in source.rglob("*") if path.suffix.lower() in _SUFFIXES
    )
    parts: tuple[list[str], list[str]] = ([], [])
    for path in found:
        digest = int(hashlib.sha256(path.name.encode()).hexdigest(), 16)
        parts[digest % _HELD_OUT == 0].append(str(path))
    if not all(parts):
        raise DataError(
            f"{', '.join(map(str, sources))}: {len(found)} photos, too few to train on some and "
            "test on others. Name a folder with more."
        )
    return parts


def _wanted(only: str | None) -> list[Planned]:
    if only is None:
        return list(NETWORKS)
    starts = tuple(word.strip() for word in only.split(","))
    found = [one for one in NETWORKS if one.name.startswith(starts)]
    if not found:
        names = ", ".join(one.name for one in NETWORKS)
        raise UsageError(f"--only {only}: no network begins so; there are {names}")
    return found


def _train(one: Planned, scale: Scale, painter: Painter, pools: Pools, work: Path) -> None:
    """Train a network, unless it is there."""
    if (work / one.name / INFO_FILE).is_file():
        return
    mix = REGIMES[one.regime]
    pool = pools.get(one.regime)
    if pool is None:
        pool = pools[one.regime] = _pool(one.regime, scale, painter, work)
    _say(f"training {one.name}")
    threads = torch.get_num_threads()
    # At this size a second thread costs more than it brings.
    torch.set_num_threads(1)
    train_network(
        pool,
        painter.part,
        Settings(one.head, one.seed, scale.minutes * mix.length),
        work / one.name,
        about={"twin": one.regime, "samples": len(pool["pixels"]), "shares": dict(mix.shares)},
        tell=_say,
    )
    torch.set_num_threads(threads)


def _pool(regime: str, scale: Scale, painter: Painter, work: Path) -> Pool:
    """Draw the samples of a regime, which all its networks share, or read them."""
    mix = REGIMES[regime]
    count = round(scale.samples * mix.samples)
    path = work / "samples" / f"{regime}-{count}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as found:
            return dict(found)
    _say(f"drawing {count} samples of the {regime} mix")
    pool = make_pool(painter, mix, count, scale.views)
    stream = io.BytesIO()
    np.savez(stream, **cast(Any, pool))
    path.parent.mkdir(exist_ok=True)
    atomic_write(path, stream.getvalue())
    return pool


def _write(
    report: dict[str, Any],
    networks: dict[str, list[Path]],
    scale: Scale,
    part: TwinPart,
    photos: tuple[int, int],
    work: Path,
) -> None:
    trained = {
        path.name: json.loads((path / INFO_FILE).read_text())["networks"][0]["metrics"]
        for paths in networks.values()
        for path in paths
    }
    table, targets = markdown(report["networks"]), targets_of(report["networks"])
    lines = [one.line() for one in targets]
    result = {
        "part": part.known.name,
        "diameter_mm": part.known.diameter,
        "frames": report["frames"],
        "photos": dict(zip(("training", "test"), photos, strict=True)),
        "samples": {name: round(scale.samples * mix.samples) for name, mix in REGIMES.items()},
        "training": trained,
        "training_minutes": round(sum(one["minutes"] for one in trained.values()), 1),
        "targets": [vars(one) for one in targets],
        "audit": report,
    }
    atomic_write(work / "marker_cure.json", (json.dumps(result, indent=1) + "\n").encode())
    verdicts = [one["sentence"] for one in report["networks"].values()]
    text = "\n".join([table, *(f"* {line}" for line in lines), "", *(f"* {v}" for v in verdicts)])
    atomic_write(work / "marker_cure.md", (text + "\n").encode())
    for line in (table, *lines, "", *verdicts, f"report: {work / 'report.html'}"):
        click.echo(line)


def _say(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    run(main)
