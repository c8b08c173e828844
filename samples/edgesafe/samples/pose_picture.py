"""True against estimated poses over a frame, as inline SVG.

A true pose is a solid light line, an estimated one a dashed orange line, both cased in black so
that they are seen on any ground. The line style alone tells them apart, without colour; where they
agree, the solid line shows between the dashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.manifest_pose import PoseObject
from edgesafe.runtime.pose.draw import outline
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.result import Pose
from edgesafe.samples.pose_results import PoseRow

__all__ = ["compare_svg", "key_svg"]

Array = npt.NDArray[np.float64]

TRUE, ESTIMATED = "true", "estimated"


def compare_svg(rows: Sequence[PoseRow], objects: Mapping[int, PoseObject], camera: Camera) -> str:
    """Draw the outline of the hull and the axes of true and estimated poses.

    Args:
        rows: Of one frame, looked at in one way.
        objects: Of the package, by number.
        camera: Of the frame.
    """
    parts: list[str] = []
    for row in rows:
        truth = row.truth
        if truth is not None:
            known = Pose(truth.obj_id, row.name, R=truth.R, t_mm=truth.t)
            parts += _drawn(known, objects[truth.obj_id], camera, TRUE)
    for row in rows:
        if row.pose is not None and row.pose.ok:
            parts += _drawn(row.pose, objects[row.pose.object_id], camera, ESTIMATED)
    right = sum(row.hit for row in rows)
    label = f"True and estimated poses; {right} of the estimated ones are right"
    return (
        # From pixel centres, which are whole numbers, to the edges of the picture.
        f'<svg class="poses" viewBox="-0.5 -0.5 {camera.width} {camera.height}" role="img"'
        f' aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def key_svg(kind: str) -> str:
    """Draw a piece of line for the legend: ``true`` or ``estimated``."""
    return (
        '<svg class="poses key" viewBox="0 0 48 14" aria-hidden="true">'
        f"{_line('M3 7H45', kind)}</svg>"
    )


def _drawn(pose: Pose, entry: PoseObject, camera: Camera, kind: str) -> Iterable[str]:
    assert pose.R is not None and pose.t_mm is not None
    for contour in outline(pose, entry, camera):
        yield _line(_path(contour) + "Z", kind)
    ends = np.vstack([np.zeros(3), np.eye(3) * entry.diameter / 3]) @ pose.R.T + pose.t_mm
    if (ends[:, 2] > 1e-3).all():
        middle, *tips = camera.project(ends)
        yield _line("".join(_path(np.stack([middle, tip])) for tip in tips), kind)


def _path(points: Array) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in np.clip(points, -1e4, 1e4))


def _line(path: str, kind: str) -> str:
    return f'<path class="case {kind}" d="{path}"/><path class="ink {kind}" d="{path}"/>'
