"""The poses of ``edgesafe demo`` on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgesafe.calib.measure import sample_photos
from edgesafe.runtime.errors import SourceError
from edgesafe.runtime.output import printable
from edgesafe.samples.pose_report import PoseReport
from edgesafe.samples.pose_results import (
    DETECTOR,
    TRUTH,
    FramePoses,
    PoseRow,
    estimate_frames,
    hits,
    refuse_on_purpose,
)

__all__ = ["demo_poses", "summarise_poses"]

PACKAGE = "pose-lmo"
FRAMES = "pose"
_HEADER = (
    f"{'OBJECT':<16}  {'ROTATION':>8}  {'MOVED mm':>8}  {'ADD/d':>6}  {'CONF':>5}  {'MS':>6}  FRAME"
)
_CREDIT = (
    "Renders of meshes of BOP's LM-O (Brachmann et al., ECCV 2014; Hinterstoisser et al., ACCV"
    " 2012), CC BY-SA 4.0"
)


def demo_poses(model: Path | None, data: Path | None) -> PoseReport | None:
    """Estimate the poses in the sample frames and print them.

    Args:
        model: Package; None takes the one that comes with edgesafe.
        data: BOP data set; None takes the sample frames.

    Returns:
        What there is to report; None, and a line that says so, where no package comes along.

    Raises:
        EdgesafeError: The package or the frames cannot be used.
    """
    from edgesafe.runtime import PoseEstimator, default_model_path

    if model is None:
        try:
            model = default_model_path(PACKAGE)
        except SourceError:
            click.echo("poses: left out, no pose package comes with this installation")
            click.echo()
            return None
    folder = data or sample_photos().parent / FRAMES
    estimator = PoseEstimator.load(model, backend="cpu")
    way = DETECTOR if estimator.has_detector else TRUTH
    click.echo(f"poses, in {'the boxes of the detector' if way == DETECTOR else 'true boxes'}:")
    click.echo(_HEADER)
    frames = []
    for frame in estimate_frames(estimator, folder):
        frames.append(frame)
        for row in frame.by(way):
            click.echo(_line(row, frame))
    click.echo()
    credit = _CREDIT if data is None else str(data)
    return PoseReport(estimator.manifest, frames, refuse_on_purpose(estimator, frames[0]), credit)


def summarise_poses(report: PoseReport) -> None:
    """Print how many poses are right."""
    parts = []
    for way, where in ((DETECTOR, "where the detector looks"), (TRUTH, "in true boxes")):
        if way == report.way or way == TRUTH:
            right, total = hits(report.frames, way)
            parts.append(f"{right} of {total} right {where}")
    rows = [row for frame in report.frames for row in frame.by(report.way)]
    refused = sum(row.pose is not None and not row.pose.ok for row in rows)
    click.echo(f"poses: {', '.join(parts)} (ADD below a tenth of the diameter); {refused} refused")
    for limit in report.manifest.limits:
        click.echo(f"limit of poses: {printable(limit, sys.stdout)}")


def _line(row: PoseRow, frame: FramePoses) -> str:
    pose = row.pose
    angle, moved, share = (
        "-" if value is None else f"{value:.{digits}f}"
        for value, digits in (
            (row.rotation_deg, 1),
            (row.translation_mm, 1),
            (row.add_share, 3),
        )
    )
    confidence = (
        f"{pose.confidence:5.2f}  {pose.ms.total:6.1f}"
        if pose is not None
        else f"{'-':>5}  {'-':>6}"
    )
    note = ""
    if pose is None:
        note = "  (not detected)"
    elif pose.reason is not None:
        note = f"  ({pose.reason}: {pose.detail})"
    elif row.truth is None:
        note = "  (not in the frame)"
    colour = "green" if row.hit else "yellow"
    name = click.style(f"{printable(row.name, sys.stdout)[:16]:<16}", fg=colour)
    line = f"{name}  {angle:>8}  {moved:>8}  {share:>6}  {confidence}  {frame.name}{note}"
    return line
