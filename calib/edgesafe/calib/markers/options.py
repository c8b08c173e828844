"""Options that the commands about markers share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgesafe.runtime.errors import UsageError

if TYPE_CHECKING:
    from edgesafe.calib.bop import BopDataset

__all__ = ["board_option", "frame_options", "open_frames", "say", "show_progress"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def board_option(required: bool = True) -> Callable[[_Command], _Command]:
    """``--board``: a file, or the name of a layout."""
    return click.option(
        "--board",
        required=required,
        metavar="BOARD",
        help="The board: its JSON, grid:5x7:40:10:DICT_4X4_50 (markers along both sides, side and "
        "gap in mm) or charuco:8x6:30:22:DICT_4X4_50 (squares, side of a square and of a marker).",
    )


def frame_options(command: _Command) -> _Command:
    """``--split`` and ``--limit``: which frames of a data set."""
    command = click.option(
        "--limit", type=click.IntRange(min=1), metavar="N", help="Only N frames, spread evenly."
    )(command)
    return click.option("--split", help="Split of the data set. [default: test, or the only one]")(
        command
    )


def open_frames(path: Path, split: str | None, limit: int | None) -> BopDataset:
    """Open a split of a BOP data set, and say what it lacks.

    Raises:
        UsageError: The path is no folder.
        DataError: The folder is no data set.
    """
    from edgesafe.calib.bop import BopDataset

    if not path.is_dir():
        raise UsageError(f"{path} is no folder: name a BOP data set")
    data = BopDataset.open(path, split, prefer="test")
    if data.missing:
        say(f"{len(data.missing)} annotated pictures are not there; they do not count")
    return data if limit is None else data.thinned(limit)


def say(message: str) -> None:
    """Tell people something, on standard error."""
    click.echo(f"edgesafe: {message}", err=True)


@contextmanager
def show_progress(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """Yield what is to be called with the number of things done; silent but on a terminal."""
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=total, label=label, file=sys.stderr, hidden=hidden) as bar:
        yield lambda done: bar.update(done - bar.pos)
