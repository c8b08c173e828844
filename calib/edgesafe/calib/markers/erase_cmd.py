"""``edgesafe markers erase``: a data set without its markers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
import numpy as np

from edgesafe.calib.markers.options import (
    board_option,
    frame_options,
    open_frames,
    say,
    show_progress,
)
from edgesafe.runtime.errors import UsageError

if TYPE_CHECKING:
    from edgesafe.calib.markers.erase import Fill

__all__ = ["erase"]

_NAMED = 5


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@board_option()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option(
    "--fill",
    type=click.Choice(["white", "block", "inpaint", "texture", "permute", "board"]),
    default="white",
    show_default=True,
    help="What comes in place of the markers: paper in the light of the frame, grey, their "
    "surroundings, a texture, or other codes; board takes the whole board away.",
)
@click.option(
    "--photos",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --fill texture: folder of photos; may be repeated. [default: noise]",
)
@frame_options
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per frame.")
def erase(
    dataset: Path,
    board: str,
    out: Path,
    fill: str,
    photos: tuple[Path, ...],
    split: str | None,
    limit: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Take the markers out of a BOP data set.

    Only visible ink is painted over: what stands before the board stays, and no pixel of an
    annotated object's mesh changes. Pictures become PNG under the same relative paths, all else is
    copied.
    """
    from edgesafe.calib.markers.boards import read_board
    from edgesafe.calib.markers.erase import Eraser
    from edgesafe.calib.markers.erase_dataset import erase_dataset
    from edgesafe.calib.render.photos import Photos

    if photos and fill != "texture":
        raise UsageError("--photos goes with --fill texture")
    layout = read_board(board)
    data = open_frames(dataset, split, limit)
    eraser = Eraser(
        layout, cast("Fill", fill), photos=Photos(photos) if photos else None, seed=seed
    )
    with show_progress(len(data.frames), "frames") as progress:
        done = erase_dataset(data, eraser, out, progress=progress)
    lost = [f"{one.frame[0]}/{one.frame[1]}" for one in done if not one.posed]
    if lost:
        more = ", ..." if len(lost) > _NAMED else ""
        say(
            f"the board was not found in {len(lost)} frames, which are unchanged: "
            f"{', '.join(lost[:_NAMED])}{more}"
        )
    left = sum(one.left for one in done)
    if left:
        say(f"{left} markers are still found in {sum(one.left > 0 for one in done)} frames")
    if as_json:
        for one in done:
            click.echo(json.dumps(one.to_json()))
        return
    before = np.median([one.before for one in done if one.posed])
    click.echo(
        f"{out}: {len(done) - len(lost)} of {len(done)} frames, {before:.0f} markers found in a "
        f"frame before (median), {left} left in all, "
        f"{np.median([one.seconds for one in done]):.2f} s a frame"
    )
