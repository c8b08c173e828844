"""``edgesafe verify``: does every backend of this machine compute what the package's maker did?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from edgesafe.calib.verify import BackendReport, verify_package
from edgesafe.runtime.backends.base import CONCRETE
from edgesafe.runtime.errors import BackendError, PackageError
from edgesafe.runtime.package import (
    Package,
    PosePackage,
    package_kind,
    read_package,
    read_pose_package,
)

__all__ = ["read_any_package", "report_lines", "report_record", "verify"]


@click.command()
@click.argument("package", metavar="PKG", type=click.Path(path_type=Path))
@click.option(
    "--backend",
    "backends",
    type=click.Choice(CONCRETE),
    multiple=True,
    help="Only this one; may be given several times.  [default: all that are here]",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute on the CPU.")
@click.option("--allow-hard-links", is_flag=True, help="Accept files with other names on the disk.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(
    package: Path,
    backends: tuple[str, ...],
    threads: int | None,
    allow_hard_links: bool,
    as_json: bool,
) -> None:
    """Verify the files of PKG and replay its golden pairs on every backend.

    The largest error of each output is printed beside its tolerance. Exit status 3: one is above
    it, a backend could not run the package, or one named with --backend is not available.
    """
    read = read_any_package(package, allow_hard_links)
    reports = []
    for report in verify_package(
        read,
        backends or CONCRETE,
        threads=threads,
        progress=lambda line: click.echo(line, err=True),
    ):
        reports.append(report)
        if not as_json:
            click.echo("\n".join(report_lines(report)))
    if as_json:
        manifest = read.manifest
        record = {
            "package": manifest.identity,
            "ok": all(r.ok for r in reports if r.unavailable is None),
            "backends": [report_record(report) for report in reports],
        }
        click.echo(json.dumps(record, allow_nan=False))
    _complain(read, reports, named=bool(backends))


def read_any_package(path: Path, allow_hard_links: bool = False) -> Package | PosePackage:
    """Read and verify a package of either kind.

    Raises:
        PackageError: It is missing, damaged or edited.
    """
    if package_kind(path) == "pose":
        return read_pose_package(path, allow_hard_links=allow_hard_links)
    return read_package(path, allow_hard_links=allow_hard_links)


def report_lines(report: BackendReport) -> Iterator[str]:
    """Return a report as lines of a table for a person."""
    if report.unavailable is not None:
        yield f"{report.backend:<9} not available: {report.unavailable}"
        return
    opened = sum(report.seconds.values())
    yield f"{report.backend:<9} {'ok' if report.ok else 'FAILED'}, opened in {opened:.2f} s"
    if report.failure is not None:
        yield f"  {report.failure}"
    for check in report.checks:
        limit = "" if check.tolerance is None else f" <= {check.tolerance:g}"
        unit = " rad" if check.output == "exterior_angle" else ""
        mark = "" if check.ok else "   <-- too much"
        yield (
            f"  {check.file:<16} {check.precision:<5} {check.output:<15}"
            f" {check.error:9.2e}{unit}{limit}  ({check.pairs} pairs){mark}"
        )


def report_record(report: BackendReport) -> dict[str, Any]:
    """Return a report as JSON; an error that is no number is null."""
    return {
        "backend": report.backend,
        "available": report.unavailable is None,
        "ok": report.ok,
        "reason": report.unavailable or report.failure,
        "seconds": dict(report.seconds),
        "checks": [
            {
                "file": check.file,
                "precision": check.precision,
                "output": check.output,
                "error": check.error if math.isfinite(check.error) else None,
                "tolerance": check.tolerance,
                "pairs": check.pairs,
                "ok": check.ok,
            }
            for check in report.checks
        ],
    }


def _complain(
    package: Package | PosePackage, reports: Sequence[BackendReport], named: bool
) -> None:
    ran = [report for report in reports if report.unavailable is None]
    missing = [report for report in reports if report.unavailable is not None]
    if not ran or (named and missing):
        first = missing[0]
        raise BackendError(first.unavailable or first.backend)
    bad = [report.backend for report in ran if not report.ok]
    if bad:
        raise PackageError(
            f"{package.path} does not compute on {', '.join(bad)} what it did where it was made: "
            "use another backend, or export the package again on this version"
        )
