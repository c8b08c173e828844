"""``edgesafe markers oracle``: do the markers give the poses of a data set away?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesafe.calib.markers.options import (
    board_option,
    frame_options,
    open_frames,
    say,
    show_progress,
)
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.runtime.output import printable

if TYPE_CHECKING:
    from edgesafe.calib.markers.oracle import ObjectOracle

__all__ = ["oracle"]

_HEADER = (
    f"{'OBJECT':>6}{'FRAMES':>8}{'ADD/DIAMETER':>14}  {'LEAK':<6}{'PLACEMENTS':>10}"
    f"{'WITHIN THEM':>13}  SUSPICIOUS FRAMES"
)
_SHOWN = 6


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@board_option()
@frame_options
@click.option(
    "--alarm",
    type=FiniteRange(0, 1, min_open=True),
    default=0.05,
    show_default=True,
    help="Median ADD over the diameter under which an object counts as leaking.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per object.")
@click.option(
    "--fail-on", type=click.Choice(["leak"]), help="Exit with status 1 if an object leaks."
)
@click.pass_context
def oracle(
    ctx: click.Context,
    dataset: Path,
    board: str,
    split: str | None,
    limit: int | None,
    alarm: float,
    as_json: bool,
    fail_on: str | None,
) -> None:
    """Measure how well the markers alone give the objects' poses.

    The transform from board to object is taken from one frame and gives the pose in the others;
    every frame is the reference in turn. No pixel of an object is looked at: an ADD of a few per
    cent of the diameter means that a network can learn the poses from the markers.
    """
    from edgesafe.calib.markers.boards import read_board
    from edgesafe.calib.markers.oracle import consult
    from edgesafe.calib.markers.poses import look_at_all
    from edgesafe.calib.pose_evaluation import eval_models

    layout = read_board(board)
    data = open_frames(dataset, split, limit)
    models = eval_models(data, data.objects)
    with show_progress(len(data.frames), "boards") as progress:
        frames = look_at_all(data, layout, progress)
    lost = sum(one.pose is None for one in frames)
    if lost == len(frames):
        raise DataError(
            f"{data.path / data.split}: the board {board} was found in none of {lost} frames: "
            "name the board that lies under the objects (edgesafe markers detect shows what is "
            "found)"
        )
    if lost:
        say(f"the board was not found in {lost} of {len(frames)} frames; they do not count")
    found = consult(frames, models, alarm=alarm)
    lines = map(json.dumps, (one.to_json() for one in found)) if as_json else _table(found)
    for line in lines:
        click.echo(printable(line, sys.stdout))
    if fail_on and any(one.leak for one in found):
        ctx.exit(1)


def _table(found: Sequence[ObjectOracle]) -> Iterator[str]:
    yield _HEADER
    for one in found:
        strange = [f"{scene}/{im_id}" for scene, im_id in (s.frame for s in one.suspicious)]
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        yield (
            f"{one.obj_id:>6}{one.frames:>8}{_percent(one.median_add_over_diameter):>14}  "
            f"{'yes' if one.leak else 'no':<6}{len(one.placements):>10}"
            f"{_percent(one.median_within):>13}  {' '.join(strange[:_SHOWN]) or '-'}{more}"
        )
    moved = [one for one in found if one.leak_within_placements and not one.leak]
    if moved:
        yield ""
        yield (
            f"{len(moved)} objects were moved on the board; the markers tell their pose within "
            "each placement all the same (WITHIN THEM)."
        )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
