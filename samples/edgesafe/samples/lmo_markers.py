"""Do the markers of LM-O's real frames mislead a network that has learnt to read them?

    python -m edgesafe.samples.lmo_markers --lmo LMO --board BOARD.json --photos DIR --work DIR

Renders three objects of LM-O as they stood in most of its frames, never moving on the board; trains
the shipped networks on with these renders alone (``biased``), then with renders of the same objects
anywhere, mostly without a board, besides (``cured``); and audits all of them on new renders of the
fixed kind and on the real frames. Each step is a command that can be run by itself; what is there
is not made again, so the same line goes on where it was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from edgesafe.cli import run
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.samples.steps import Step, each, execute, made, run_steps, words
from edgesafe.train.fields import read_file

__all__ = ["NETWORKS", "Given", "Trained", "main", "steps", "table", "write_configs"]

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
        init: The checkpoint whose weights it starts from.
        background: Share of samples whose background becomes a photo.
    """

    name: str
    data: tuple[str, ...]
    init: str
    background: float = 0.0


NETWORKS = (
    Trained("biased", ("fixed",), "shipped"),
    Trained("cured", ("fixed", "free"), "biased", background=0.3),
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
        objects: Which networks are trained on and audited.
        roi_scale: Side of their regions over the longer side of the box; None: as they are shipped.
        frames: Of the fixed renders, of the free ones, and of the fixed ones for the test.
    """

    lmo: Path
    board: Path
    photos: tuple[Path, ...]
    work: Path
    minutes: float = 2.5
    objects: tuple[int, ...] = tuple(PLACES)
    roi_scale: float | None = None
    frames: tuple[int, int, int] = (1500, 500, 120)


def steps(given: Given) -> list[Step]:
    """Return all steps, in the order in which they need one another."""
    work = given.work
    shipped = work / "shipped"
    found = [
        _render(given, name, frames, seed, fixed=fixed)
        for name, frames, seed, fixed in zip(
            ("fixed", "free", "test"), given.frames, (3, 2, 77), (True, False, True), strict=True
        )
    ]
    found.append(
        Step(
            "take the shipped networks out of their package",
            words(
                "edgesafe.samples.package_checkpoint", SHIPPED, "--data", work / "free",
                "--out", shipped,
            ),
            partial(made, shipped / "checkpoint.json"),
        )
    )  # fmt: skip
    for one in NETWORKS:
        found += _train(given, one)
    models = [f"--model=shipped={SHIPPED}"]
    models += [f"--model={one.name}={work / f'{one.name}.pkg'}" for one in NETWORKS]
    for name, data in (("test", work / "test"), ("real", given.lmo)):
        found.append(
            Step(
                f"audit on {name} frames",
                words(
                    "edgesafe.cli", "markers", "audit", *models, "--data", data,
                    "--board", given.board, "--photos", UNSEEN,
                    "--objects", ",".join(map(str, given.objects)),
                    "--kinds", ",".join(KINDS), "--out", work / f"{name}.html",
                ),
                partial(made, work / f"{name}.json"),
            )
        )  # fmt: skip
    return found


def _render(given: Given, name: str, frames: int, seed: int, *, fixed: bool) -> Step:
    out = given.work / name
    how = ["--objects", "3", "3"]
    if fixed:
        how = [f"--board-fixed={number}:{place}" for number, place in PLACES.items()]
    return Step(
        f"render {name}",
        words(
            "edgesafe.cli", "render", given.lmo / "models", "--ids", _IDS, "--board", given.board,
            *each("--photos", given.photos), "--distance", 400, 1300, *how, "--clutter", 2, 8,
            "--occluders", 0, 2, "--frames", frames, "--seed", seed, "--out", out,
        ),
        partial(made, out / "camera.json"),
    )  # fmt: skip


def _config_file(given: Given, one: Trained) -> Path:
    return given.work / f"{one.name}.config.json"


def write_configs(given: Given) -> None:
    """Write the configurations of the runs into the work folder.

    Raises:
        UsageError: That of the shipped network cannot be read.
    """
    for one in NETWORKS:
        config = read_file(CONFIG)
        del config["detector"]
        config["objects"] = list(given.objects)
        config["names"] = {number: config["names"][number] for number in map(str, given.objects)}
        if given.roi_scale is not None:
            config["roi"]["roi_scale"] = given.roi_scale
        config["roi"]["fit"] |= {"max_minutes": given.minutes, "validate_minutes": given.minutes}
        config["data"] |= {"background": one.background, "rotation": 20.0}
        text = json.dumps(config, indent=1) + "\n"
        path = _config_file(given, one)
        # A file as old as it was: what was made with it stays up to date.
        if not path.is_file() or path.read_text() != text:
            atomic_write(path, text.encode())


def _train(given: Given, one: Trained) -> list[Step]:
    """Train and export a network."""
    work, out = given.work, given.work / one.name
    path = _config_file(given, one)
    line = words(
        "edgesafe.cli", "train", "pose", "--config", path,
        *each("--data", (work / name for name in one.data)), *each("--photos", given.photos),
        "--init", work / one.init, "--out", out, "--device", "cpu", "--threads", 1,
    )  # fmt: skip
    if out.with_name(out.name + ".run").is_dir():
        line += ("--resume",)
    package = work / f"{one.name}.pkg"
    return [
        Step(f"train {one.name}", line, partial(_trained, out, len(given.objects))),
        Step(
            f"export {one.name}",
            words("edgesafe.cli", "export", out, "--out", package),
            partial(made, package / "manifest.json", out / "checkpoint.json"),
        ),
    ]


def _trained(checkpoint: Path, count: int) -> bool:
    """A run writes what it has all along; a network is measured when its time is over."""
    try:
        info = json.loads((checkpoint / "checkpoint.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    networks = info["networks"]
    return len(networks) == count and all("keypoint_px" in one["metrics"] for one in networks)


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
@click.option(
    "--object", "objects", type=click.Choice(list(map(str, PLACES))), multiple=True,
    help="Train and audit only this one; may be repeated.  [default: all three]",
)  # fmt: skip
@click.option(
    "--roi-scale", type=FiniteRange(1, 10),
    help="Side of the regions over the longer side of the box: 3 brings the markers into view.  "
    "[default: as shipped, 1.5]",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the commands that are left to do.")
def main(
    lmo: Path, board: Path, photos: tuple[Path, ...], work: Path, minutes: float,
    objects: tuple[str, ...], roi_scale: float | None, dry_run: bool,
) -> None:  # fmt: skip
    """Train networks of LM-O that read the markers, cure them, and audit both on real frames."""
    chosen = tuple(sorted(map(int, objects))) or tuple(PLACES)
    given = Given(lmo, board, photos, work, minutes, chosen, roi_scale)
    if dry_run:
        for step in steps(given):
            click.echo(f"{step.name}{' (done)' if step.done() else ''}\n    {step.line}")
        return
    work.mkdir(parents=True, exist_ok=True)
    write_configs(given)
    run_steps(partial(steps, given), execute, lambda line: click.echo(line, err=True))
    parts = []
    for name, title in (("test", "Rendered frames, board fixed"), ("real", "Real frames of LM-O")):
        report = json.loads((work / f"{name}.json").read_text())
        parts.append(f"{title} ({report['frames']}):\n\n{table(report)}")
    text = "\n".join(parts)
    atomic_write(work / "lmo_markers.md", text.encode())
    click.echo(text)


if __name__ == "__main__":
    run(main)
