"""Do the markers of LM-O's real frames mislead a network that has learnt to read them?

    python -m edgesafe.samples.lmo_markers --lmo LMO --board BOARD.json --photos DIR --work DIR

Renders three objects of LM-O as they stood in most of its frames, never moving on the board; trains
the shipped network's architecture on these renders alone (``biased``), and goes on with renders of
the same objects anywhere, mostly without a board (``cured``); both as the shipped network looks and
with regions twice as wide, which hold more of the markers; and audits all of them, with the shipped
one, on new renders of the fixed kind and on the real frames. Each step is a command that can be run
by itself; what is there is not made again, so the same line goes on where it was interrupted.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edgesafe.cli import run
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.train.fields import read_file

__all__ = ["NETWORKS", "Step", "Trained", "main", "steps", "table"]

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "samples" / "configs" / "pose-lmo.toml"
SHIPPED = ROOT / "samples" / "models" / "pose-lmo"
UNSEEN = ROOT / "samples" / "data" / "photos"

PLACES = {1: "-4,149,-166", 5: "93,160,68", 11: "-3,-157,81"}
"""Where ape, can and glue stood on the board in 28, 60 and 38 of the 120 frames: X, Y, DEGREES."""
KINDS = (
    "orig",
    "erased",
    "random_patch",
    "board_removed",
    "conflict",
    "swapped",
    "noboard",
    "scattered",
)
_IDS = ",".join(map(str, PLACES))


@dataclass(frozen=True)
class Trained:
    """A network to train.

    Attributes:
        name: Of its checkpoint and package.
        data: The renders that it learns from.
        roi_scale: Side of its region over the longer side of the box.
        background: Share of samples whose background becomes a photo.
        init: The network whose weights it starts from.
    """

    name: str
    data: tuple[str, ...]
    roi_scale: float
    background: float = 0.0
    init: str | None = None


NETWORKS = (
    Trained("biased", ("fixed",), 1.5),
    Trained("cured", ("fixed", "free"), 1.5, 0.3, "biased"),
    Trained("biased-wide", ("fixed",), 3.0),
    Trained("cured-wide", ("fixed", "free"), 3.0, 0.3, "biased-wide"),
)


@dataclass(frozen=True)
class Given:
    """What the command was given.

    Attributes:
        lmo: BOP folder of LM-O.
        board: JSON of LINEMOD's board.
        photos: Folders of photos to train on.
        work: Where everything is made.
        minutes: Processor time of the training of each network, for each object.
        frames: Of the fixed renders, of the free ones, and of the fixed ones for the test.
    """

    lmo: Path
    board: Path
    photos: tuple[Path, ...]
    work: Path
    minutes: float = 4.0
    frames: tuple[int, int, int] = (1020, 500, 120)


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        words: What follows ``python -m edgesafe.cli``.
        made: A file that is there when it is done.
    """

    words: tuple[str, ...]
    made: Path


def steps(given: Given) -> list[Step]:
    """Return all steps, in the order in which they need one another; configurations are written.

    Raises:
        UsageError: The configuration of the shipped network cannot be read.
    """
    work = given.work
    found = [
        _render(given, name, frames, seed, fixed=fixed)
        for name, frames, seed, fixed in zip(
            ("fixed", "free", "test"), given.frames, (3, 2, 77), (True, False, True), strict=True
        )
    ]
    for one in NETWORKS:
        found += _train(given, one)
    models = [f"--model=shipped={SHIPPED}"]
    models += [f"--model={one.name}={work / f'{one.name}.pkg'}" for one in NETWORKS]
    for name, data in (("test", work / "test"), ("real", given.lmo)):
        words = _words(
            "markers", "audit", *models, "--data", data, "--board", given.board,
            "--photos", UNSEEN, "--objects", _IDS, "--kinds", ",".join(KINDS),
            "--out", work / f"{name}.html",
        )  # fmt: skip
        found.append(Step(words, work / f"{name}.json"))
    return found


def _render(given: Given, name: str, frames: int, seed: int, *, fixed: bool) -> Step:
    out = given.work / name
    how = ["--objects", "3", "3"]
    if fixed:
        how = [f"--board-fixed={number}:{place}" for number, place in PLACES.items()]
    photos = [word for folder in given.photos for word in ("--photos", folder)]
    words = _words(
        "render", given.lmo / "models", "--ids", _IDS, "--board", given.board, *photos,
        "--distance", 400, 1300, *how, "--clutter", 2, 8, "--occluders", 0, 2,
        "--frames", frames, "--seed", seed, "--out", out,
    )  # fmt: skip
    return Step(words, out / "camera.json")


def _train(given: Given, one: Trained) -> list[Step]:
    """Train and export a network."""
    work, out = given.work, given.work / one.name
    config = read_file(CONFIG)
    del config["detector"]
    config["names"] = {number: config["names"][number] for number in map(str, PLACES)}
    config["roi"]["roi_scale"] = one.roi_scale
    config["roi"]["fit"] |= {"max_minutes": given.minutes, "validate_minutes": given.minutes}
    config["data"]["background"] = one.background
    text = json.dumps(config, indent=1) + "\n"
    path = work / f"{one.name}.config.json"
    if not path.is_file() or path.read_text() != text:
        atomic_write(path, text.encode())
    words = _words(
        "train", "pose", "--config", path, *(w for n in one.data for w in ("--data", work / n)),
        "--out", out, "--cache", work / "cache", "--device", "cpu", "--threads", 1,
    )  # fmt: skip
    for folder in given.photos:
        words += _words("--photos", folder)
    if one.init is not None:
        words += _words("--init", work / one.init)
    if out.with_name(out.name + ".run").is_dir():
        words += ("--resume",)
    package = work / f"{one.name}.pkg"
    made = package / "manifest.json"
    return [Step(words, made), Step(_words("export", out, "--out", package), made)]


def _words(*words: object) -> tuple[str, ...]:
    return tuple(map(str, words))


def table(report: Mapping[str, Any]) -> str:
    """Return an audit's figures as a table in Markdown, in %, with their intervals."""
    kinds = [kind for kind in KINDS if kind != "random_patch"]
    lines = [
        f"| network | {' | '.join(f'`{kind}`' for kind in kinds)} | erasing costs "
        "| kept without a board | land where moved markers tell | verdict |",
        f"|{'---|' * (len(kinds) + 5)}",
    ]
    for name, one in report["networks"].items():
        cells = [_value(one["sets"][kind]["accuracy"], 100) for kind in kinds]
        cells += [
            _value(one["net_gap"], 100),
            _value(one["sets"]["noboard"]["kept"], 1),
            _value(one["marker_follow"]["conflict"]["lands"], 100),
            f"`{one['verdict']}`",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _value(figure: Mapping[str, Any], factor: float) -> str:
    value, interval = figure["value"], figure["interval"]
    if value is None:
        return "–"
    digits = 1 if factor == 100 else 2
    low, high = ("?" if end is None else f"{factor * end:.{digits}f}" for end in interval)
    return f"{factor * value:.{digits}f} ({low} to {high})"


@click.command()
@click.option(
    "--lmo", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="LM-O as of BOP: models, test.",
)  # fmt: skip
@click.option(
    "--board", required=True, type=click.Path(exists=True, path_type=Path),
    help="JSON of LINEMOD's board.",
)  # fmt: skip
@click.option(
    "--photos", multiple=True, required=True, metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Photos to train on; may be repeated. The audits use the sample photos.",
)  # fmt: skip
@click.option(
    "--work", type=click.Path(path_type=Path), default=Path("out/lmo-markers"), show_default=True,
    help="Where everything is made.",
)  # fmt: skip
@click.option(
    "--minutes", type=FiniteRange(min=0.001), default=Given.minutes, show_default=True,
    help="Processor time to train each network, for each of the three objects.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the commands that are left to do.")
def main(
    lmo: Path, board: Path, photos: tuple[Path, ...], work: Path, minutes: float, dry_run: bool
) -> None:
    """Train networks of LM-O that read the markers, cure them, and audit both on real frames."""
    work.mkdir(parents=True, exist_ok=True)
    given = Given(lmo, board, photos, work, minutes)
    do(given, _print if dry_run else _execute)
    if dry_run:
        return
    parts = []
    for name, title in (("test", "Rendered frames, board fixed"), ("real", "Real frames of LM-O")):
        report = json.loads((work / f"{name}.json").read_text())
        parts.append(f"{title}: {report['frames']}, {_IDS}\n\n{table(report)}")
    text = "\n".join(parts)
    atomic_write(work / "lmo_markers.md", text.encode())
    click.echo(text)


def do(given: Given, execute: Callable[[Sequence[str]], int]) -> None:
    """Do what is not done yet.

    Args:
        given: With what.
        execute: Called with what follows ``python -m edgesafe.cli``; returns the exit status.

    Raises:
        DataError: A command failed.
    """
    for number in range(len(steps(given))):
        # Made anew each time: whether a training has to be resumed shows only when it is its turn.
        step = steps(given)[number]
        if not step.made.is_file() and execute(step.words):
            raise DataError(
                f"edgesafe {shlex.join(step.words[:2])} failed, its message stands above: mend "
                "the cause and give the same command again, which goes on from here"
            )


def _execute(words: Sequence[str]) -> int:
    click.echo(f"edgesafe {shlex.join(words)}", err=True)
    return subprocess.run([sys.executable, "-m", "edgesafe.cli", *words], check=False).returncode


def _print(words: Sequence[str]) -> int:
    click.echo(f"edgesafe {shlex.join(words)}")
    return 0


if __name__ == "__main__":
    run(main)
