"""``edgesafe markers audit``: does a pose network read the markers?"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgesafe.calib.markers.options import board_option, frame_options, open_frames, say
from edgesafe.runtime.backends.base import BACKENDS
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.runtime.output import printable

if TYPE_CHECKING:
    from edgesafe.calib.markers.counterfactual_dataset import Sets
    from edgesafe.calib.markers.networks import Run

__all__ = ["audit"]


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="[NAME=]PKG",
    help="Pose package; may be repeated. Those of one NAME are seeds of one network.",
)
@click.option(
    "--results",
    multiple=True,
    metavar="[NAME=]DIR",
    help="Result files of BOP of any network instead, DIR/SET.csv; may be repeated as --model.",
)
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="BOP data set with the board, or sets made by `edgesafe markers counterfactual`.",
)
@board_option(required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Report, FILE.html.")
@click.option(
    "--sets",
    "sets_out",
    type=click.Path(path_type=Path),
    help="Keep the counterfactual sets in this new folder.",
)
@click.option(
    "--photos",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of photos that no training has seen, for backgrounds without a board.",
)
@click.option(
    "--kinds",
    metavar="KIND,KIND...",
    help="Only these sets; orig is always there. [default: all]",
)
@click.option(
    "--two-by-two",
    metavar="WITH,WITHOUT",
    help="Names of the networks trained with and without markers, for the paper's table.",
)
@click.option(
    "--saliency",
    multiple=True,
    metavar="[NAME=]DIR",
    help="Saliency maps of a network, DIR/SET/SCENE_IMAGE_OBJECT.npz; diagnostic only.",
)
@click.option(
    "--roi",
    type=click.Choice(["truth", "detector"]),
    default="truth",
    show_default=True,
    help="Where a package looks: at the true boxes, or where it detects the objects.",
)
@click.option("--objects", metavar="ID,ID...", help="Only these objects. [default: all known]")
@click.option("--min-visib", type=FiniteRange(0, 1), default=0.1, show_default=True)
@frame_options
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What computes.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one line of JSON.")
def audit(
    models: tuple[str, ...],
    results: tuple[str, ...],
    data: Path,
    board: str | None,
    out: Path,
    sets_out: Path | None,
    photos: tuple[Path, ...],
    kinds: str | None,
    two_by_two: str | None,
    saliency: tuple[str, ...],
    roi: Literal["truth", "detector"],
    objects: str | None,
    min_visib: float,
    split: str | None,
    limit: int | None,
    seed: int,
    backend: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure whether pose networks read the markers, and whether they work without a board.

    Counterfactual sets are made of the data, each network is run on every one, and the report says
    in a sentence what it relies on. Beside FILE.html, FILE.json has all figures.
    """
    from edgesafe.calib.markers.audit import audit_sets
    from edgesafe.calib.markers.audit_report import audit_report, write_audit
    from edgesafe.calib.markers.saliency_maps import read_maps, score_maps
    from edgesafe.runtime.files import check_writable

    page = out if out.suffix.lower() in (".html", ".htm") else out / "report.html"
    for written in (page, page.with_suffix(".json")):
        check_writable(written, "--out", make_folder=True)
    networks = _networks(models, results, roi, backend, threads)
    table = _pair(two_by_two, networks)
    wanted = _numbers(objects)
    maps = {name: read_maps(Path(path)) for name, path in map(_named, saliency)}
    with tempfile.TemporaryDirectory(prefix="edgesafe-") as scratch:
        sets = _sets(data, board, sets_out or Path(scratch) / "sets", photos, kinds, split, limit,
                     seed)  # fmt: skip
        terminal = sys.stderr.isatty()

        def show(name: str, kind: str) -> None:
            if terminal:
                click.echo(f"\r\x1b[K{printable(name, sys.stderr)}: {kind}", nl=False, err=True)

        found = audit_sets(sets, networks, objects=wanted, min_visib=min_visib, progress=show)
        if terminal:
            click.echo("\r\x1b[K", nl=False, err=True)
        scored = {name: score_maps(sets, some) for name, some in maps.items()}
        report = audit_report(found, scored)
        write_audit(page, found, scored, table)
    if as_json:
        click.echo(json.dumps(report, allow_nan=False))
        return
    for name, one in report["networks"].items():
        click.echo(printable(one["sentence"], sys.stdout))
        for kind, figures in one["sets"].items():
            value = figures["accuracy"]
            low, high = value["interval"]
            click.echo(
                printable(
                    f"  {name}  {kind:<14}{100 * value['value']:6.1f} % "
                    f"({100 * low:.1f} to {100 * high:.1f})",
                    sys.stdout,
                )
            )
    click.echo(f"report: {page}")


def _named(text: str) -> tuple[str, str]:
    """Split ``NAME=PATH``; without a name it is the last part of the path."""
    name, sign, path = text.partition("=")
    if not sign:
        return Path(text).resolve().name or text, text
    if not (name and path):
        raise UsageError(f"{text!r}: write NAME=PATH")
    return name, path


def _networks(
    models: Sequence[str],
    results: Sequence[str],
    roi: Literal["truth", "detector"],
    backend: str,
    threads: int | None,
) -> dict[str, list[Run]]:
    from edgesafe.calib.markers.networks import PackageRun, ResultsRun
    from edgesafe.runtime.pose.estimator import PoseEstimator

    if not models and not results:
        raise UsageError("name a network: --model PKG, or --results DIR with result files of BOP")
    found: dict[str, list[Run]] = {}
    for name, path in map(_named, models):
        estimator = PoseEstimator.load(path, backend=backend, threads=threads)
        found.setdefault(name, []).append(PackageRun(estimator, roi))
    for name, path in map(_named, results):
        found.setdefault(name, []).append(ResultsRun(Path(path)))
    return found


def _pair(text: str | None, networks: Mapping[str, Sequence[Run]]) -> tuple[str, str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not set(names) <= set(networks):
        raise UsageError(
            f"--two-by-two {text!r}: name two of the networks, trained with and without markers: "
            f"{', '.join(networks)}"
        )
    return names[0], names[1]


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise UsageError(f"--objects {text!r}: write numbers as in 1,5,6") from None


def _sets(
    path: Path,
    board: str | None,
    out: Path,
    photos: tuple[Path, ...],
    kinds: str | None,
    split: str | None,
    limit: int | None,
    seed: int,
) -> Sets:
    """Open the sets, or make them."""
    from edgesafe.calib.markers.boards import read_board
    from edgesafe.calib.markers.counterfactual import CounterfactualMaker
    from edgesafe.calib.markers.counterfactual_cmd import parse_kinds, say_of_photos
    from edgesafe.calib.markers.counterfactual_dataset import INDEX, make_sets, read_sets
    from edgesafe.calib.render.photos import Photos

    if (path / INDEX).is_file():
        if photos or split or limit or kinds:
            raise UsageError(
                f"{path} has its sets already: --photos, --kinds, --split and --limit are for a "
                "data set to make them of"
            )
        return read_sets(path)
    if board is None:
        raise UsageError(f"{path} has no counterfactual sets: name the --board to make them with")
    wanted = parse_kinds(kinds)
    if "orig" not in wanted:
        wanted.insert(0, "orig")
    say_of_photos(photos, wanted)
    maker = CounterfactualMaker(read_board(board), Photos(photos), seed=seed)
    data = open_frames(path, split, limit)
    sets = make_sets(data, maker, wanted, out)
    lost = len(data.frames) - len(sets.made["orig"])
    if lost:
        say(f"{lost} frames are left out: the board was not found in them")
    return sets
