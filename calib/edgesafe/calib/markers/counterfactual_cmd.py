"""``edgesafe markers counterfactual``: data sets in which only the markers differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from edgesafe.calib.markers.options import (
    board_option,
    frame_options,
    open_frames,
    say,
    show_progress,
)
from edgesafe.runtime.errors import UsageError

if TYPE_CHECKING:
    from edgesafe.calib.markers.counterfactual import Kind

__all__ = ["counterfactual", "parse_kinds", "say_of_photos"]


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@board_option()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option(
    "--kinds",
    metavar="KIND,KIND...",
    help="orig, erased, board_removed, permuted, conflict, swapped, erased_moved, noboard, "
    "scattered, random_patch. [default: all]",
)
@click.option(
    "--photos",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of photos that no training has seen, for backgrounds without a board; may be "
    "repeated. [default: noise]",
)
@click.option(
    "--mix",
    metavar="KIND=SHARE,...",
    help="Make training images instead: one split train, each frame as one of these kinds.",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="With --mix: how often each frame is used.",
)
@click.option("--masks", is_flag=True, help="Also write the objects' masks; --mix always does.")
@frame_options
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def counterfactual(
    dataset: Path,
    board: str,
    out: Path,
    kinds: str | None,
    photos: tuple[Path, ...],
    mix: str | None,
    repeats: int,
    masks: bool,
    split: str | None,
    limit: int | None,
    seed: int,
) -> None:
    """Make counterfactual sets of a BOP data set: one BOP data set with a split for each kind.

    Evaluate a network on one of them with `edgesafe evaluate pose OUT --split KIND`.
    """
    from edgesafe.calib.markers.boards import read_board
    from edgesafe.calib.markers.counterfactual import CounterfactualMaker
    from edgesafe.calib.markers.counterfactual_dataset import make_sets
    from edgesafe.calib.render.photos import Photos

    if kinds and mix:
        raise UsageError("--kinds makes sets to test on, --mix images to train on: give one")
    if repeats > 1 and not mix:
        raise UsageError("--repeats goes with --mix")
    shares = None if mix is None else _shares(mix)
    wanted = parse_kinds(kinds) if shares is None else list(shares)
    layout = read_board(board)
    data = open_frames(dataset, split, limit)
    maker = CounterfactualMaker(layout, Photos(photos), seed=seed)
    say_of_photos(photos, wanted)
    with show_progress(len(data.frames) * repeats, "frames") as progress:
        if shares is not None:
            from edgesafe.calib.markers.mix import make_mix

            counts = make_mix(data, maker, shares, out, repeats=repeats, progress=progress)
            parts = ", ".join(f"{counts[kind]} {kind}" for kind in wanted)
            click.echo(f"{out}: {sum(counts.values())} frames: {parts}")
            return
        made = make_sets(data, maker, wanted, out, masks=masks, progress=progress)
    count = len(next(iter(made.made.values())))
    click.echo(f"{out}: {count} frames in each of {', '.join(made.kinds)}")
    if count < len(data.frames):
        say(f"{len(data.frames) - count} frames are left out: the board was not found in them")


def parse_kinds(text: str | None) -> list[Kind]:
    """Read ``--kinds``; None is all of them.

    Raises:
        UsageError: There is no such kind.
    """
    from edgesafe.calib.markers.counterfactual import KINDS

    if text is None:
        return list(KINDS)
    wanted = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in KINDS]
    if unknown or not wanted:
        raise UsageError(f"--kinds {text!r}: there are {', '.join(KINDS)}")
    return cast("list[Kind]", list(dict.fromkeys(wanted)))


def _shares(text: str) -> dict[Kind, float]:
    """Read ``--mix``."""
    found: dict[Kind, float] = {}
    for word in text.split(","):
        name, _, number = word.partition("=")
        (kind,) = parse_kinds(name)
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not 0 <= share < math.inf:
            raise UsageError(f"--mix {text!r}: write KIND=SHARE,... as in orig=0.2,noboard=0.8")
        found[kind] = share
    return found


def say_of_photos(photos: tuple[Path, ...], kinds: list[Kind]) -> None:
    """Tell that noise is no photo, where backgrounds are needed."""
    if not photos and {"noboard", "scattered"} & set(kinds):
        say(
            "without --photos the backgrounds without a board are noise: name a folder of photos "
            "that no training has seen for figures that mean something"
        )
