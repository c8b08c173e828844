"""``python -m edgesafe.export.trt.check``: packages in every precision, built without a GPU.

What continuous integration runs (``make trt-check``): every package is made in float32, fp16 and
int8, and TensorRT-RTX parses and builds every network of it, as ``edgesafe export --verify-build``
has it do.

int8 is quantised by the method that needs nothing else installed. What the precisions change of
the answers is not judged here.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from edgesafe.cli import run
from edgesafe.export.calibration_data import Case, read_cases
from edgesafe.export.precision import PRECISIONS, Precision
from edgesafe.export.retype import RetypeOptions, retype_package
from edgesafe.export.trt.bundle import PreparedNetwork, prepare
from edgesafe.export.trt.networks import read_any_package
from edgesafe.export.trt.settings import SM_OPTIONAL, SMS, TrtOptions
from edgesafe.export.trt.verify import BuildResult, Verified, check_verified, verify_network
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.finite_range import FiniteRange

__all__ = ["check_packages", "main", "matrix"]

_ALL = (*SMS, *SM_OPTIONAL)


def check_packages(
    packages: Sequence[Path],
    calib: Sequence[Case],
    precisions: Sequence[Precision] = PRECISIONS,
    sms: Sequence[str] = _ALL,
    *,
    keep: float = 0.0,
) -> Iterator[tuple[str, Verified]]:
    """Makes, parses and builds; yields the name of a package with what was found of a network.

    Args:
        packages: In float32.
        calib: Calibration data of all of them.
        precisions: To make.
        sms: Compute capabilities.
        keep: Of int8: share of the multiplications that stay in float32.
    """
    for source in packages:
        name = source.resolve().name
        for precision in precisions:
            for item in _networks(source, precision, calib, keep):
                yield name, verify_network(item, sms, progress=_progress)


def _networks(
    source: Path, precision: Precision, calib: Sequence[Case], keep: float
) -> list[PreparedNetwork]:
    if precision == "fp32":
        return prepare(read_any_package(source), TrtOptions())
    options = RetypeOptions(
        precision, calib if precision == "int8" else (), method="mse", budget=keep, allow_loss=True
    )
    with tempfile.TemporaryDirectory(prefix="edgesafe-trt-") as folder:
        out = Path(folder) / source.resolve().name
        return prepare(retype_package(source, out, options, progress=_progress).package,
                       TrtOptions())  # fmt: skip


def matrix(found: Sequence[tuple[str, Verified]], sms: Sequence[str]) -> str:
    """Returns a table in Markdown: megabytes of every engine, or what became of it."""
    lines = [
        f"| package | network | precision | layers | {' | '.join(sms)} |",
        f"|---|---|---|---|{'---|' * len(sms)}",
    ]
    for package, result in found:
        builds = {build.sm: build for build in result.builds}
        layers = f"{result.parse.layers}" if result.parse.ok else "does NOT parse"
        cells = [_cell(builds.get(sm)) for sm in sms]
        lines.append(
            f"| {package} | {result.network} | {result.precision} | {layers} | "
            f"{' | '.join(cells)} |"
        )
    built = [build for _, result in found for build in result.builds if build.ok]
    refused = [build for _, result in found for build in result.builds if not build.ok]
    seconds = sum(r.parse.seconds + sum(b.seconds for b in r.builds) for _, r in found)
    parsed = sum(result.parse.ok for _, result in found)
    lines += [
        "",
        f"TensorRT-RTX {next((r.parse.version for _, r in found if r.parse.version), '?')}: "
        f"{parsed} of {len(found)} graphs parse, {len(built)} engines built, "
        f"{len(refused)} refused, {seconds:.0f} s",
    ]
    for sm in sms:
        why = {(b.errors or ("",))[0][:160] for b in refused if b.sm == sm}
        lines += [f"{sm} refused{', not required' * (sm in SM_OPTIONAL)}: {w}" for w in sorted(why)]
    return "\n".join(lines)


def _cell(build: BuildResult | None) -> str:
    if build is None:
        return ""
    if build.ok:
        return f"{build.size / 1e6:.1f} MB"
    return "refused" if build.sm in SM_OPTIONAL else "REFUSED"


def _progress(stage: str) -> None:
    click.echo(stage, err=True)


@click.command()
@click.argument("packages", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--calib", type=click.Path(path_type=Path), multiple=True, help="As of the export.")
@click.option("--precision", type=click.Choice(PRECISIONS), multiple=True, default=PRECISIONS)
@click.option("--sm", type=click.Choice(_ALL), multiple=True, default=_ALL)
@click.option("--keep", type=FiniteRange(0, 1), default=0.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per network.")
def main(
    packages: tuple[Path, ...],
    calib: tuple[Path, ...],
    precision: tuple[Precision, ...],
    sm: tuple[str, ...],
    keep: float,
    as_json: bool,
) -> None:
    """Parse and build the networks of PACKAGES in every precision; exit 3 where one fails."""
    if "int8" in precision and not calib:
        raise UsageError("int8 needs calibration data: give --calib")
    found = []
    for name, result in check_packages(packages, read_cases(calib), precision, sm, keep=keep):
        found.append((name, result))
        if as_json:
            click.echo(json.dumps({"package": name, **result.to_json()}))
    if not as_json:
        click.echo(matrix(found, sm))
    check_verified([result for _, result in found])


if __name__ == "__main__":
    run(main)
