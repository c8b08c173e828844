"""``python -m edgesafe.export.quantisation_table``: quantisers compared on a package of yours.

Every method calibrates on the same inputs and is measured on the same others; ``+ keep`` lets the
hard operators stay in float32 as the export does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from edgesafe.cli import run
from edgesafe.export.calibration_data import read_cases, split_cases
from edgesafe.export.lower import lower, run_graph
from edgesafe.export.quantise import METHODS
from edgesafe.export.retype import Part
from edgesafe.export.retype_moderation import moderation_parts
from edgesafe.export.retype_pose import pose_parts
from edgesafe.export.sensitivity import BUDGET
from edgesafe.runtime.errors import EdgesafeError
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.runtime.package import package_kind, read_package, read_pose_package

__all__ = ["compare", "main"]

_SHOWN = (
    "cosine_mean", "cosine_min", "root_distance_shift_mean", "verdict_flips", "auc_loss",
    "keypoint_px_mean", "keypoint_px_max", "rotation_deg_mean", "centre_px_mean", "mask_mean",
    "heat_mean", "add_median", "add_mean", "pose_lost",
)  # fmt: skip


def compare(
    data: bytes,
    part: Part,
    calibration: Any,
    measured: Any,
    methods: Sequence[str],
    budgets: Sequence[float],
) -> Iterator[dict[str, Any]]:
    """Quantises one graph by every method and yields what each one changes.

    Args:
        data: The graph in float32.
        part: What it is.
        calibration: Inputs to calibrate on.
        measured: Inputs to measure on.
        methods: Names of :data:`~edgesafe.export.quantise.METHODS`.
        budgets: Shares of the multiplications that may stay in float32.
    """
    truth = run_graph(data, part.outputs, measured.batches)
    for budget in budgets:
        for method in methods:
            row: dict[str, Any] = {"file": part.file, "method": method, "keep": budget}
            start = time.process_time()
            try:
                made = lower(
                    data, "int8", calibration.batches, method=method, budget=budget, cache=False
                )
                row["cpu_s"] = round(time.process_time() - start, 1)
                found = run_graph(
                    made.onnx, part.outputs, measured.batches, precision="int8", where=part.file
                )
                row |= part.compare(found, truth, measured)
                row["bytes"] = len(made.onnx)
            except EdgesafeError as error:  # a table tells of what fails, too
                row["failed"] = str(error)
            yield row


@click.command()
@click.argument("package", type=click.Path(path_type=Path))
@click.option("--calib", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--held-out", type=click.Path(path_type=Path), multiple=True)
@click.option("--only", help="One encoder, or the file of one network.")
@click.option("--method", type=click.Choice(METHODS[1:]), multiple=True, default=METHODS[1:])
@click.option("--keep", type=FiniteRange(0, 1), multiple=True, default=(0.0, BUDGET))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per row.")
def main(
    package: Path,
    calib: tuple[Path, ...],
    held_out: tuple[Path, ...],
    only: str | None,
    method: tuple[str, ...],
    keep: tuple[float, ...],
    as_json: bool,
) -> None:
    """Compare quantisers on the graphs of PACKAGE, which must be in float32."""
    if package_kind(package) == "pose":
        pose = read_pose_package(package)
        parts, files = pose_parts(pose), pose.files
    else:
        moderation = read_package(package)
        parts, files = moderation_parts(moderation), moderation.files
    cases, others = read_cases(calib), read_cases(held_out)
    for part in parts:
        if only and part.key != only:
            continue
        given = [case for case in cases if part.takes(case)]
        chosen, measured = split_cases(given, [case for case in others if part.takes(case)])
        sets = part.cases(chosen), part.cases(measured)
        if not as_json:
            click.echo(f"{part.file}: {len(chosen)} to calibrate, {len(measured)} to measure")
        for row in compare(files[part.file], part, *sets, method, keep):
            click.echo(json.dumps(row) if as_json else _line(row))


def _line(row: dict[str, Any]) -> str:
    start = f"  {row['method']:15} keep {row['keep']:.2f}"
    if "failed" in row:
        return f"{start}  fails: {row['failed']}"
    numbers = "  ".join(f"{key} {row[key]:.5f}" for key in _SHOWN if key in row)
    return f"{start}  {numbers}  {row['bytes'] / 1e6:.1f} MB  {row['cpu_s']} s"


if __name__ == "__main__":
    run(main)
