"""``edgesafe bench``: what one verdict costs on this machine.

``edgesafe bench pose`` is in :mod:`edgesafe.calib.bench_pose`; ``edgesafe bench export`` needs
PyTorch, so it is in the part above and imported when it is run.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgesafe.calib.bench_pose import pose
from edgesafe.runtime.backends.base import BACKENDS
from edgesafe.runtime.errors import MissingExtraError, UsageError

__all__ = ["bench"]

_TEXTS = (
    "a cup of coffee on a wooden table",
    "two people walking a dog through the park on a sunny afternoon",
    "a kitchen knife lying next to a red stain on the floor",
    "the train arrives at platform four",
)


_ABOVE = {
    "export": (
        "edgesafe.export.bench_export:export",
        "Compare PyTorch, ONNX Runtime and OpenVINO on an image tower.",
    )
}
"""Sub-commands that live in a part above this one: name -> (module:attribute, help)."""


class _BenchGroup(click.Group):
    """Imports the sub-commands of :data:`_ABOVE` when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, sorted."""
        return sorted({*super().list_commands(ctx), *_ABOVE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command.

        Raises:
            MissingExtraError: What it needs is not installed.
        """
        if cmd_name not in _ABOVE:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = _ABOVE[cmd_name][0].partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            name = (error.name or "").partition(".")[0]
            if name in ("", "edgesafe"):
                raise
            raise MissingExtraError(name, "export") from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing those above."""
        rows = [(name, text) for name, (_, text) in _ABOVE.items()]
        rows += [(name, c.get_short_help_str()) for name, c in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))


@click.group(cls=_BenchGroup, invoke_without_command=True)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Model package. [default: the one that comes with edgesafe]",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder of photos. [default: the sample photos]",
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What computes.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute.")
@click.option("--runs", type=click.IntRange(min=1), default=200, show_default=True)
@click.option(
    "--soak",
    "soak_images",
    type=click.IntRange(min=10),
    metavar="N",
    help="Also judge N images in one process and report its memory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def bench(
    ctx: click.Context,
    model: Path | None,
    images: Path | None,
    backend: str,
    threads: int | None,
    runs: int,
    soak_images: int | None,
    as_json: bool,
) -> None:
    """Measure milliseconds per stage, CPU time, cold start and memory.

    Without a COMMAND, of moderation. Images are judged one at a time, end to end from the bytes of
    their files. Cold start is the median of five fresh processes, from starting Python to the first
    printed verdict.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_misplaced(ctx, ctx.invoked_subcommand)
        return
    from edgesafe.calib import measure
    from edgesafe.calib.machine import machine_facts, peak_rss_mib
    from edgesafe.runtime import Moderator, default_model_path

    package = model or default_model_path()
    folder = images or measure.sample_photos()
    paths = measure.photo_paths(folder)
    machine = machine_facts()
    moderator = Moderator.load(package, backend=backend, threads=threads)
    photos = [path.read_bytes() for path in paths]
    result: dict[str, Any] = {
        "package": moderator.manifest.identity,
        "backend": moderator.prepare("image"),
        "machine": machine,
        "photos": len(photos),
        "image": asdict(measure.latency(moderator.check, photos, runs)),
        "text": asdict(measure.latency(moderator.check_text, _TEXTS, runs))
        if moderator.manifest.text
        else None,
        "peak_mib": peak_rss_mib(),
        "cold_start_s": measure.cold_start(package, paths[0]),
        "soak": asdict(measure.soak(package, folder, soak_images)) if soak_images else None,
    }
    if as_json:
        click.echo(json.dumps(result))
    else:
        click.echo("\n".join(_lines(result)))


bench.add_command(pose)


def _refuse_misplaced(ctx: click.Context, command: str) -> None:
    """Complain about options that stand before the sub-command and would be forgotten."""
    for name in ctx.params:
        if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise UsageError(f"write the options of bench {command} after the word {command}")


def _lines(result: dict[str, Any]) -> Iterator[str]:
    machine = result["machine"]
    yield f"package   {result['package']}, backend {result['backend']}"
    yield f"machine   {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    yield f"          {machine['system']}, Python {machine['python']}, load {machine['load_1min']}"
    libraries = (f"{name} {version or '-'}" for name, version in machine["libraries"].items())
    yield "          " + ", ".join(libraries)
    for kind in ("image", "text"):
        part = result[kind]
        if part is None:
            continue
        over = f"{result['photos']} photos" if kind == "image" else f"{len(_TEXTS)} texts"
        yield ""
        yield f"{kind}, batch 1, {part['runs']} runs over {over}"
        yield f"  {'ms':<12}{'p50':>9}{'p99':>9}{'mean':>9}"
        for stage, row in (*part["stages"].items(), ("CPU", part["cpu"])):
            mean = f"{row['mean']:9.2f}" if "mean" in row else ""
            yield f"  {stage:<12}{row['p50']:9.2f}{row['p99']:9.2f}{mean}"
        decisions = ", ".join(f"{count} {name}" for name, count in part["decisions"].items())
        yield f"  {part['threads'] or '?'} threads; {decisions}"
    yield ""
    yield f"cold start to the first verdict   {result['cold_start_s']:.2f} s"
    yield f"peak memory of this process       {result['peak_mib']:.0f} MiB"
    soak = result["soak"]
    if soak:
        yield (
            f"memory over {soak['images']:,} images        peak {soak['peak_mib']:.0f} MiB,"
            f" {soak['start_mib']:.0f} -> {soak['end_mib']:.0f} MiB,"
            f" {soak['growth_mib_per_10000']:+.2f} MiB per 10,000"
            f" ({soak['images_per_second']:.1f} images/s)"
        )
