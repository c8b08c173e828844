"""``edgesafe inspect DATASET``: what a data set of poses holds and what is wrong with it."""

from __future__ import annotations

import io
import json as jsonlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from edgesafe.calib.bop.check import DatasetReport, SplitReport, check_dataset
from edgesafe.calib.bop.dataset import BopDataset
from edgesafe.calib.bop.overlays import draw_frames
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.mesh import read_ply
from edgesafe.runtime.output import printable

__all__ = ["inspect_dataset", "is_dataset"]


def is_dataset(path: Path) -> bool:
    """Tell whether a folder looks like a BOP data set: ``SPLIT/%06d/scene_camera.json``."""
    return next(path.glob("*/[0-9]*/scene_camera.json"), None) is not None


def inspect_dataset(path: Path, out: Path | None, json: bool, *, overlays: int = 12) -> None:
    """Check a data set and print the result.

    Args:
        path: Its folder.
        out: Folder for pictures with the annotations drawn over; made where missing.
        json: Print one line of JSON.
        overlays: How many pictures of each split.

    Raises:
        DataError: It is no BOP data set, or errors were found; they are printed before.
        MissingExtraError: ``out`` is given and OpenCV is not installed.
    """
    report = check_dataset(path)
    drawn = [] if out is None else list(_draw(report, out, overlays))
    if json:
        fields = {**report.to_json(), "overlays": [str(file) for file in drawn]}
        click.echo(jsonlib.dumps(fields, allow_nan=False))
        _refuse(report)
        return
    for line in _lines(report):
        click.echo(printable(line, sys.stdout))
    if drawn:
        click.echo(printable(f"{len(drawn)} pictures with annotations: {out}", sys.stdout))
    _refuse(report)


def _refuse(report: DatasetReport) -> None:
    if report.errors:
        raise DataError(
            f"{report.path} has {report.errors} errors, listed above: mend the annotations, or "
            "leave those frames out, before anything is trained or measured on it"
        )


def _draw(report: DatasetReport, out: Path, count: int) -> Iterator[Path]:
    from PIL import Image

    out.mkdir(parents=True, exist_ok=True)
    for name in report.splits:
        data = BopDataset.open(report.path, name)
        try:
            paths = data.models("eval")
            meshes = {one: read_ply(paths[one], texture=False) for one in data.objects}
            for file, page in draw_frames(data, meshes, count):
                stream = io.BytesIO()
                Image.fromarray(page).save(stream, "PNG")
                atomic_write(out / file, stream.getvalue())
                yield out / file
        except (DataError, KeyError) as error:
            click.echo(f"edgesafe: {name} cannot be drawn: {error}", err=True)


def _lines(report: DatasetReport) -> Iterator[str]:
    yield f"Data set  {report.path}"
    for name, split in report.splits.items():
        yield ""
        yield from _split(name, split, report)
    yield ""
    warnings = len(report.findings) - report.errors
    if not report.findings:
        yield "Nothing wrong was found."
        return
    yield f"{report.errors} errors, {warnings} warnings"
    for finding in report.findings:
        count = f" ({finding.count} times)" if finding.count > 1 else ""
        yield f"  {finding.level:<8}{finding.place}: {finding.text}{count}"


def _split(name: str, split: SplitReport, report: DatasetReport) -> Iterator[str]:
    size = f"{split.size[0]} x {split.size[1]} pixels" if split.size else "of unknown size"
    yield (
        f"Split {name}: {split.scenes} scenes, {split.frames} frames {size}, "
        f"{split.instances} instances"
    )
    yield "  K         fx {:.6g}  fy {:.6g}  cx {:.6g}  cy {:.6g}".format(*split.K)
    if split.distances_mm:
        yield "  distance  {:.0f} to {:.0f} mm, median {:.0f}".format(
            *(split.distances_mm[i] for i in (0, 2, 1))
        )
    if split.visible is not None:
        yield f"  visible   {100 * split.visible:.0f} % of an object, median"
    if not split.boxes:
        yield "  boxes     none that could be compared with a mesh"
        return
    yield "  OBJECT  DIAMETER MM  BOXES  IOU WITH THE PROJECTED MESH: MEDIAN, WORST"
    for obj_id, fit in sorted(split.boxes.items()):
        fields = fit.to_json()
        note = "  symmetric" if obj_id in report.symmetric else ""
        yield (
            f"  {obj_id:>6}  {report.diameters[obj_id]:>11.1f}  {fields['boxes']:>5}  "
            f"{fields['median_iou']:.2f}, {fields['worst_iou']:.2f}{note}"
        )
