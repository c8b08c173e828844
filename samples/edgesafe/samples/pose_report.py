"""The section of the report that shows poses: frames, tables, refusals, the package."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.manifest_pose import PoseManifest, PoseObject
from edgesafe.runtime.pose.draw import draw_poses
from edgesafe.samples.pose_picture import ESTIMATED, TRUE, compare_svg, key_svg
from edgesafe.samples.pose_results import DETECTOR, TRUTH, FramePoses, PoseRow, Refusal, Way, hits

__all__ = ["PoseReport", "pose_section", "pose_tiles"]

_JPEG_QUALITY = 82
_HEADS = "".join(
    f'<th scope="col">{name}</th>'
    for name in ("Object", "Box from", "Result", "Rotation", "Translation", "ADD", "Confidence",
                 "Time", "Reason")
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class PoseReport:
    """What the section shows.

    Attributes:
        manifest: Of the package.
        frames: The sample frames with their poses.
        refused: What was refused on purpose.
        credit: Where the frames come from, and their licence.
    """

    manifest: PoseManifest
    frames: Sequence[FramePoses]
    refused: Sequence[Refusal]
    credit: str

    @property
    def way(self) -> Way:
        """Who said where to look, for what is drawn: the detector where there is one."""
        return DETECTOR if self.manifest.detector else TRUTH

    @property
    def objects(self) -> Mapping[int, PoseObject]:
        """By number."""
        return {entry.id: entry for entry in self.manifest.objects}


def pose_tiles(report: PoseReport) -> list[tuple[str, str]]:
    """Return what the head of the page says: a number and what it counts."""
    right, total = hits(report.frames, report.way)
    times = sorted(
        row.pose.ms.total
        for frame in report.frames
        for row in frame.by(report.way)
        if row.pose is not None and row.pose.ok
    )
    median = f"{times[len(times) // 2]:.0f} ms" if times else "–"
    return [
        (f"{right} of {total}", "poses right: ADD below a tenth of the diameter"),
        (median, "per pose, median"),
    ]


def pose_section(report: PoseReport) -> str:
    """Return the section as HTML."""
    frames = "\n".join(_frame(report, frame) for frame in report.frames)
    return f"""<section aria-labelledby="poses">
<h2 id="poses">Poses</h2>
<p>{len(report.frames)} rendered frames with known poses. {_verdict(report)} A pose counts as right
where ADD, the mean distance of its points from where they truly are, is below a tenth of the
object's diameter. The points are the keypoints and hull points of the package; of an object that
looks the same in several poses, the nearest of these counts.</p>
<ul class="keys" aria-label="Lines in the second picture of each frame">
<li>{key_svg(TRUE)} true pose: solid</li>
<li>{key_svg(ESTIMATED)} estimated pose: dashed</li>
</ul>
<p class="small soft">Each with the outline of its convex hull and its axes. A solid outline without
a dashed one was refused or not found. The first picture of each frame is what
<code>edgesafe pose --overlay</code> draws: axes x red, y green, z blue, the box and the outline,
name and confidence; refused regions dashed, with the reason.</p>
<div class="frames">
{frames}
</div>
{_refusals(report)}
{_facts(report)}
</section>"""


def _verdict(report: PoseReport) -> str:
    right, total = hits(report.frames, TRUTH)
    given = f"{right} of {total} objects are right when the true, tight box is known"
    if report.way != DETECTOR:
        return f"{given.capitalize()}; the package has no detector."
    found, _ = hits(report.frames, DETECTOR)
    return (
        f"{found} of {total} objects are right when the package's detector looks for them; {given}."
    )


def _frame(report: PoseReport, frame: FramePoses) -> str:
    rows = frame.by(report.way)
    poses = [row.pose for row in rows if row.pose is not None]
    drawn = _jpeg(draw_poses(frame.rgb, poses, report.objects, frame.camera))
    names = ", ".join(row.name for row in rows if row.truth is not None)
    K = frame.camera.K
    where = "where the detector says" if report.way == DETECTOR else "in the true boxes"
    stages = " + ".join(f"{name} {value:.1f}" for name, value in frame.ms.items())
    table = "\n".join(_object(rows) for rows in _by_object(frame))
    return f"""<article class="card frame">
<div class="pair">
<figure><img src="{drawn}" alt="{escape(names)}, with estimated axes, boxes and outlines">
<figcaption>Estimated, {where}</figcaption></figure>
<figure><div class="over"><img src="{_jpeg(frame.rgb)}" alt="{escape(names)} on a table">
{compare_svg(rows, report.objects, frame.camera)}</div>
<figcaption>True and estimated</figcaption></figure>
</div>
<div class="body">
<div class="scroll" tabindex="0" role="region" aria-label="Poses in {escape(frame.name)}">
<table><thead><tr>{_HEADS}</tr></thead>
{table}
</table></div>
<p class="ms">{stages} = <b>{sum(frame.ms.values()):.1f} ms</b> for {len(poses)} regions</p>
<p class="credit"><code>{escape(frame.name)}</code> · K: fx {K[0, 0]:.1f}, fy {K[1, 1]:.1f},
cx {K[0, 2]:.1f}, cy {K[1, 2]:.1f} px, {frame.camera.width} × {frame.camera.height}</p>
</div>
</article>"""


def _by_object(frame: FramePoses) -> Iterator[list[PoseRow]]:
    """Put the two ways of one object together; what is not in the frame comes last."""
    for row in frame.by(TRUTH):
        if row.truth is not None:
            yield [one for one in frame.rows if one.truth is row.truth]
    yield from ([row] for row in frame.rows if row.truth is None)


def _object(rows: Sequence[PoseRow]) -> str:
    head = f'<th scope="rowgroup" rowspan="{len(rows)}">{escape(rows[0].name)}</th>'
    lines = "".join(
        f'<tr class="{"right" if row.hit else "wrong"}">{"" if at else head}{_cells(row)}</tr>'
        for at, row in enumerate(rows)
    )
    return f"<tbody>{lines}</tbody>"


def _cells(row: PoseRow) -> str:
    pose = row.pose
    numbers = ["–"] * 5
    if pose is not None:
        numbers[3:] = [f"{pose.confidence:.2f}", f"{pose.ms.total:.1f} ms"]
    if row.rotation_deg is not None and row.add_share is not None:
        numbers[:3] = [
            f"{row.rotation_deg:.1f}°",
            f"{row.translation_mm:.1f} mm",
            f"{row.add_share:.3f} d",
        ]
    cells = "".join(f'<td class="num">{text}</td>' for text in numbers)
    return f"<td>{row.way}</td><td>{_result(row)}</td>{cells}<td>{_reason(row)}</td>"


def _result(row: PoseRow) -> str:
    if row.pose is None:
        return "not detected"
    if not row.pose.ok:
        return "refused"
    if row.truth is None:
        return "<b>not there</b>"
    return "right" if row.hit else "<b>off</b>"


def _reason(row: PoseRow) -> str:
    if row.pose is None or row.pose.reason is None:
        return ""
    return f"<code>{escape(row.pose.reason)}</code> {escape(row.pose.detail or '')}"


def _refusals(report: PoseReport) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(one.title)}</th><td><code>{escape(one.reason)}</code></td>'
        f"<td>{escape(one.detail)}</td></tr>"
        if one.reason
        else f'<tr><th scope="row">{escape(one.title)}</th><td><b>a pose</b></td>'
        "<td>The package sees the object where there is none.</td></tr>"
        for one in report.refused
    )
    return f"""<h3>Refused</h3>
<p>Where no pose can be right none is given out, only a reason. Handed over on purpose:</p>
<div class="scroll" tabindex="0" role="region" aria-label="Refused on purpose">
<table class="plain"><thead><tr><th scope="col">Input</th><th scope="col">Reason</th>
<th scope="col">In words</th></tr></thead>
<tbody>
{rows}
</tbody></table></div>"""


def _facts(report: PoseReport) -> str:
    manifest = report.manifest
    objects = ", ".join(f"{one.name} ({one.diameter:.0f} mm)" for one in manifest.objects)
    licence = f"{manifest.weights.licence}. {manifest.weights.notice}"
    facts = [
        ("Package", f"<code>{escape(manifest.identity)}</code>"),
        ("Made for", escape(manifest.intended_use)),
        ("Limits", escape(" ".join(manifest.limits))),
        ("Objects", escape(objects)),
        ("Weights", escape("; ".join(manifest.weights.origin))),
        ("Licence", escape(licence)),
        ("Frames", escape(report.credit)),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    return f"""<h3>The package of the poses</h3>
<dl class="facts">{rows}</dl>"""


def _jpeg(rgb: npt.NDArray[np.uint8]) -> str:
    """Return a picture as a data URI."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
