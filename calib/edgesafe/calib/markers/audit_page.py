"""The report of an audit: one HTML file, no script, nothing fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from edgesafe.calib.markers.audit import Audit, NetworkAudit
from edgesafe.calib.markers.audit_figures import Interval
from edgesafe.calib.markers.audit_pictures import Tile
from edgesafe.calib.markers.audit_plots import COLOURS, bars
from edgesafe.calib.markers.saliency_maps import MapSet
from edgesafe.calib.markers.verdict import judge_network

__all__ = ["audit_page"]

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1080px;padding:1.5rem;
color:#1a1a1a;background:#fff}
h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:2rem 0 .4rem}
.verdict{border-left:.4rem solid #c2571a;background:#f6f4f0;padding:.7rem 1rem;margin:.8rem 0;
font-size:1.1rem}.verdict.no_reliance{border-color:#2c7a4b}
.verdict.too_inaccurate,.verdict.no_board_free_set{border-color:#777}
table{border-collapse:collapse;margin:.6rem 0;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid #888}
small,.note{color:#555}.note{max-width:46rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:.5rem;
margin:.5rem 0}
td:not(:first-child){white-space:nowrap}
.tiles figure{margin:0}.tiles img{width:100%;display:block;border:1px solid #ccc}
figcaption{font-size:.8rem;color:#444}
svg{max-width:100%;height:auto;font:12px system-ui,sans-serif}.grid{stroke:#ddd}
.whisker{stroke:#111;fill:none}.key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
.wide{overflow-x:auto}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}.verdict{background:#242424}
td,th{border-color:#444}small,.note,figcaption{color:#aaa}svg text{fill:#ddd}.grid{stroke:#444}
.whisker{stroke:#eee}}
"""

_WHAT = {
    "orig": "the frames as they are",
    "erased": "markers painted over with paper",
    "board_removed": "the whole board taken out",
    "permuted": "other codes at the same places",
    "conflict": "markers at another pose, objects untouched",
    "swapped": "markers and background of another frame",
    "erased_moved": "background of another frame, its markers erased",
    "noboard": "objects before photos, no board",
    "scattered": "objects before photos with strewn markers",
    "random_patch": "control: as much painted over, but no marker",
}


def audit_page(
    audit: Audit,
    rows: Sequence[Sequence[Tile]],
    saliency: Mapping[str, Mapping[str, MapSet]],
    maps: Sequence[Tile],
    two_by_two: tuple[str, str] | None,
    created: str,
) -> str:
    """Return the page.

    Args:
        audit: What was measured.
        rows: Frames in every set.
        saliency: By network and set; may be empty.
        maps: Pictures of saliency maps.
        two_by_two: Names of the networks trained with and without markers.
        created: When.
    """
    verdicts = "".join(
        f'<p class="verdict {verdict.code}">{escape(verdict.sentence)}</p>'
        for verdict in map(judge_network, audit.networks)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Marker audit</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Does the network read the markers?</h1>
<p class="note">{escape(audit.sets.source)}: {len(audit.frames)} frames in each of
{len(audit.kinds)} sets, objects {escape(", ".join(map(str, audit.objects)))}. Intervals are 95 %
bootstraps over frames, and over seeds where there are several. Written on {escape(created)}.</p>
{verdicts}
{_accuracy(audit)}
{_two_by_two(audit, two_by_two)}
{_gaps(audit)}
{_shifts(audit)}
{_follows(audit)}
{_saliency(saliency, maps)}
{_objects(audit)}
{_frames(rows)}
<p class="note"><small>This file is self-contained: it loads nothing and runs no
script.</small></p>
</body>
</html>
"""


def _accuracy(audit: Audit) -> str:
    head = "".join(f"<th>{escape(one.name)}</th><th>kept</th>" for one in audit.networks)
    lines = []
    for kind in audit.kinds:
        cells = "".join(_accuracy_cells(one, kind) for one in audit.networks)
        what = f"{escape(kind)}<br><small>{_WHAT.get(kind, '')}</small>"
        lines.append(f"<tr><td>{what}</td>{cells}</tr>")
    plot = bars(
        audit.kinds,
        {one.name: one.accuracy for one in audit.networks},
        "Share of right poses on every set",
    )
    key = "".join(
        f'<span class="key" style="background:{COLOURS[at % len(COLOURS)]}"></span>'
        f"{escape(one.name)} ({_seeds(one)})"
        for at, one in enumerate(audit.networks)
    )
    return (
        "<h2>Accuracy on every set</h2>"
        '<p class="note">Share of objects with ADD(-S) below a tenth of the diameter; one without '
        "a pose counts as wrong. Kept: the share of the accuracy on orig. The line that counts "
        "where there are no boards is noboard, on backgrounds that no training has seen.</p>"
        f"<p>{key}</p><div class=wide>{plot}</div>"
        f"<div class=wide><table><thead><tr><th>set</th>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _accuracy_cells(one: NetworkAudit, kind: str) -> str:
    if kind not in one.accuracy:
        return "<td>-</td><td>-</td>"
    seeds = ""
    if len(one.by_seed[kind]) > 1:
        each = ", ".join(f"{100 * value:.1f}" for value in one.by_seed[kind])
        seeds = f"<br><small>seeds {each}</small>"
    return f"<td>{_share(one.accuracy[kind])}{seeds}</td><td>{_share(one.kept[kind])}</td>"


def _two_by_two(audit: Audit, names: tuple[str, str] | None) -> str:
    if names is None:
        return ""
    chosen = [next(one for one in audit.networks if one.name == name) for name in names]
    if any(kind not in one.accuracy for one in chosen for kind in ("orig", "erased")):
        return ""
    lines = "".join(
        f"<tr><td>trained {how} markers: {escape(one.name)}</td>"
        f"<td>{_share(one.accuracy['orig'])}</td><td>{_share(one.accuracy['erased'])}</td></tr>"
        for how, one in zip(("with", "without"), chosen, strict=True)
    )
    return (
        "<h2>Trained and tested, with and without markers</h2>"
        '<p class="note">The design of Govi et al. (arXiv 2304.08230). It cannot tell whether a '
        "network works without a board: for that see noboard above.</p>"
        "<table><thead><tr><th></th><th>tested with (orig)</th><th>tested without (erased)</th>"
        f"</tr></thead><tbody>{lines}</tbody></table>"
    )


def _gaps(audit: Audit) -> str:
    lines = "".join(
        f"<tr><td>{escape(one.name)}</td><td>{_share(one.gap)}</td>"
        f"<td>{_share(one.control_gap)}</td><td>{_share(one.net_gap)}</td></tr>"
        for one in audit.networks
    )
    return (
        "<h2>Marker reliance gap</h2>"
        '<p class="note">Accuracy lost by erasing the markers, beside what is lost by painting '
        "over as many pixels elsewhere. The difference is what the markers themselves are worth "
        "to the network.</p><table><thead><tr><th>network</th><th>markers erased</th>"
        "<th>control</th><th>difference</th></tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _shifts(audit: Audit) -> str:
    lines = "".join(
        f"<tr><td>{escape(one.name)}</td><td>{escape(kind)}</td>"
        f"<td>{_number(shift.rotation_deg, 1)}</td><td>{_number(shift.translation, 3)}</td>"
        f"<td>{shift.rotation_deg.n}</td></tr>"
        for one in audit.networks
        for kind, shift in one.shift.items()
    )
    return (
        "<h2>Pose shift, without labels</h2>"
        '<p class="note">How far the pose moves from orig to another set, as medians over the '
        "objects with a pose in both. <b>A large shift, well beyond that of the control "
        "random_patch, proves reliance. A small one proves nothing</b>: a network may ignore the "
        "ink and still need the board.</p>"
        "<table><thead><tr><th>network</th><th>to</th><th>angle, degrees</th>"
        "<th>distance / diameter</th><th>n</th></tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _follows(audit: Audit) -> str:
    lines = "".join(
        f"<tr><td>{escape(one.name)}</td><td>{escape(kind)}</td><td>{_share(follow.nearer)}</td>"
        f"<td>{_share(follow.lands)}</td><td>{follow.nearer.n}</td></tr>"
        for one in audit.networks
        for kind, follow in one.follow.items()
    )
    if not lines:
        return ""
    return (
        "<h2>Do poses follow the markers?</h2>"
        '<p class="note">On pictures whose markers tell another pose than the object has, by 15 '
        "degrees or more: how often the estimate is nearer, in rotation, to what the markers tell "
        "(a network that guesses does so half of the time), and how often it lands on it, ADD(-S) "
        "below a tenth of the diameter (which guessing does not).</p>"
        "<table><thead><tr><th>network</th><th>set</th><th>nearer to the markers</th>"
        f"<th>lands on them</th><th>n</th></tr></thead><tbody>{lines}</tbody></table>"
    )


def _saliency(saliency: Mapping[str, Mapping[str, MapSet]], maps: Sequence[Tile]) -> str:
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(kind)}</td><td>{escape(method)}</td>"
        f"<td>{_share(scores.marker_mass)}</td><td>{_number(scores.marker_lift, 2)}</td>"
        f"<td>{_share(scores.object_mass)}</td><td>{_number(scores.object_lift, 2)}</td></tr>"
        for name, sets in saliency.items()
        for kind, one in sets.items()
        for method, scores in one.scores.items()
    )
    if not lines:
        return ""
    return (
        "<h2>Saliency, as a diagnostic</h2>"
        '<p class="note">Share of the saliency on markers and on the object, and its lift: that '
        "share over the share of the area, 1 is chance. It is no evidence of its own and no part "
        "of the verdict: maps of networks that fail without a board can look better than those "
        "of networks that do not. Read it beside the interventions and the control above.</p>"
        "<table><thead><tr><th>network</th><th>set</th><th>method</th><th>markers</th>"
        "<th>lift</th><th>object</th><th>lift</th></tr></thead>"
        f"<tbody>{lines}</tbody></table>{_tiles(maps)}"
    )


def _objects(audit: Audit) -> str:
    if len(audit.objects) < 2:
        return ""
    head = "".join(f"<th>{obj_id}</th>" for obj_id in audit.objects)
    lines = "".join(
        f"<tr><td>{escape(one.name)}: {escape(kind)}</td>"
        + "".join(_object_cell(found.get(obj_id)) for obj_id in audit.objects)
        + "</tr>"
        for one in audit.networks
        for kind, found in one.by_object.items()
    )
    return (
        "<h2>Accuracy by object</h2><div class=wide><table><thead><tr><th>% right of object</th>"
        f"{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _object_cell(value: float | None) -> str:
    return "<td>-</td>" if value is None else f"<td>{100 * value:.1f}</td>"


def _frames(rows: Sequence[Sequence[Tile]]) -> str:
    return (
        "<h2>Frames</h2>"
        '<p class="note">True poses are outlined green, those of the first network pink.</p>'
        + "".join(_tiles(row) for row in rows)
    )


def _tiles(tiles: Sequence[Tile]) -> str:
    figures = "".join(
        f'<figure><img src="data:image/jpeg;base64,{base64.b64encode(tile.jpeg).decode()}" '
        f'alt="{escape(tile.text)}"><figcaption>{escape(tile.text)}</figcaption></figure>'
        for tile in tiles
    )
    return f'<div class="tiles">{figures}</div>'


def _seeds(one: NetworkAudit) -> str:
    count = len(one.identities)
    return f"{count} seeds" if count > 1 else one.identities[0]


def _share(figure: Interval | None) -> str:
    if figure is None or figure.value != figure.value:
        return "-"
    return (
        f"{100 * figure.value:.1f} % <small>{100 * figure.low:.1f} to {100 * figure.high:.1f}"
        "</small>"
    )


def _number(figure: Interval, digits: int) -> str:
    if figure.value != figure.value:
        return "-"
    return (
        f"{figure.value:.{digits}f} <small>{figure.low:.{digits}f} to {figure.high:.{digits}f}"
        "</small>"
    )
