"""The HTML report of the demo: one file, no script, nothing fetched from anywhere.

Everything that comes from outside (captions, file names, the manifest) is escaped, and the page
forbids itself to load anything but its own data URIs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from edgesafe.runtime.manifest import Manifest, Rate, Threshold
from edgesafe.runtime.verdict import Verdict
from edgesafe.samples.axis import Scale, axis_svg, legend_svg, make_scale
from edgesafe.samples.pose_report import PoseReport, pose_section, pose_tiles

__all__ = ["Item", "Report", "agreement", "count", "render"]

_CONCEPTS = 4
_ICONS = {
    "safe": '<path d="M3 8.5 6.5 12 13 4.5"/>',
    "unsafe": '<path d="M4 4l8 8M12 4l-8 8"/>',
    "undecided": '<path d="M5.5 6a2.5 2.5 0 1 1 3.4 2.3c-.6.3-.9.7-.9 1.4v.3M8 12.6v.4"/>',
}


@dataclass(frozen=True)
class Item:
    """One judged thing.

    Attributes:
        title: The caption of a photo, a text, or what is wrong with a bad input.
        verdict: What the model said.
        name: File name, empty for a text.
        picture: A small JPEG to show; None where nothing could or should be decoded.
        label: What the sample is meant to be, ``"safe"`` or ``"unsafe"``; None where not known.
        credit: Author and licence.
        source: Address of the original.
    """

    title: str
    verdict: Verdict
    name: str = ""
    picture: bytes | None = None
    label: str | None = None
    credit: str = ""
    source: str = ""


@dataclass(frozen=True)
class Report:
    """What :func:`render` shows."""

    manifest: Manifest
    photos: Sequence[Item]
    texts: Sequence[Item]
    bad: Sequence[Item]
    machine: Mapping[str, Any]
    created: str
    poses: PoseReport | None = None


def count(items: Iterable[Item]) -> dict[str, int]:
    """Return how many items were judged safe, unsafe and undecided."""
    decisions = [item.verdict.decision for item in items]
    return {name: decisions.count(name) for name in ("safe", "unsafe", "undecided")}


def agreement(items: Iterable[Item]) -> str:
    """Say how many labelled items were judged as labelled; empty where none has a label."""
    parts = []
    labelled = [item for item in items if item.label]
    for label, verb in (("unsafe", "flagged"), ("safe", "passed")):
        of = [item for item in labelled if item.label == label]
        if of:
            found = count(of)
            part = f"{found[label]} of {len(of)} labelled {label} {verb}"
            undecided = found["undecided"]
            parts.append(f"{part} ({undecided} undecided)" if undecided else part)
    return ", ".join(parts)


def render(report: Report) -> str:
    """Return the page as HTML."""
    verdicts = [item.verdict for item in (*report.photos, *report.texts)]
    scale = make_scale(report.manifest, verdicts)
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>edgesafe demo: {_title(report)}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#photos">Skip to the photos</a>
{_header(report)}
<main>
{_about(report)}
{_legend(report, scale)}
{_section("photos", "Photos", _photo_intro(report), report.photos, _card(report, scale))}
{_section("texts", "Texts", _TEXT_INTRO, report.texts, _card(report, scale))}
{_section("bad", "Bad inputs", _BAD_INTRO, report.bad, _card(report, scale))}
{pose_section(report.poses) if report.poses else ""}
{_provenance(report)}
</main>
<footer>Written by <code>edgesafe demo</code> on {escape(report.created)}. This file is
self-contained: it loads nothing and runs no script.</footer>
</body>
</html>
"""


_TEXT_INTRO = (
    "The same model judges text, with a threshold of its own: the shells of text and images differ."
)
_BAD_INTRO = (
    "An input that cannot be judged whole is <b>undecided</b>, with a reason. Undecided is not"
    " safe."
)


def _photo_intro(report: Report) -> str:
    agreed = agreement(report.photos)
    note = f"Against the labels of the sample set: {agreed}. " if agreed else ""
    return f"{note}A verdict that differs from its label is marked on its card."


def _title(report: Report) -> str:
    photos = f"{len(report.photos)} photos judged"
    if report.poses is None:
        return photos
    rows = [row for frame in report.poses.frames for row in frame.by(report.poses.way)]
    total = sum(row.pose is not None and row.pose.ok for row in rows)
    return f"{photos}, {total} poses estimated"


def _header(report: Report) -> str:
    totals = count(report.photos)
    times = sorted(i.verdict.ms.total for i in report.photos if i.verdict.score is not None)
    median = f"{times[len(times) // 2]:.0f} ms" if times else "–"
    tiles = [
        (str(totals["safe"]), "photos safe"),
        (str(totals["unsafe"]), "photos unsafe"),
        (str(totals["undecided"]), "photos undecided"),
        (median, "per photo, median, from JPEG to verdict"),
        *(pose_tiles(report.poses) if report.poses else ()),
    ]
    cells = "".join(f'<li class="tile"><b>{a}</b> <span>{b}</span></li>' for a, b in tiles)
    machine = report.machine
    return f"""<header>
<h1>{_title(report)} on this machine</h1>
<p class="soft">Model <b>{escape(report.manifest.name)}</b>, release {report.manifest.release},
weights under {escape(report.manifest.weights.licence)}. {escape(str(machine["processor"] or ""))},
{machine["cores"]} cores.{' <a href="#poses">To the poses.</a>' if report.poses else ""}</p>
<ul class="tiles">{cells}</ul>
</header>"""


def _about(report: Report) -> str:
    limits = "".join(f"<li>{escape(limit)}</li>" for limit in report.manifest.limits)
    return f"""<section class="note" aria-labelledby="about">
<h3 id="about">What this model can and cannot do</h3>
<p>{escape(report.manifest.intended_use)}</p>
{f"<ul>{limits}</ul>" if limits else ""}
</section>"""


def _legend(report: Report, scale: Scale) -> str:
    manifest = report.manifest
    threshold = manifest.thresholds.get("image")
    rates = between = ""
    if any(one.band for one in manifest.thresholds.values()):
        between = "Between two dashed lines it is undecided."
    if threshold:
        low, high = (scale.text(end) for end in threshold.interval)
        rates = (
            f"<p>The image threshold is {scale.text(threshold.value)}, with a"
            f" {threshold.confidence:.0%} interval of {low} to {high}"
            f"{_undecided(threshold, scale)}."
            f"{_rate(' On its validation data it flags', threshold.fpr, 'of the safe photos')}"
            f"{_rate(' and misses', threshold.miss_rate, 'of the unsafe ones')}.</p>"
        )
    return f"""<section aria-labelledby="how">
<h2 id="how">How to read the axis</h2>
<p>The model places every photo and text in hyperbolic space. The distance from the root, the
<b>radius</b>, is the score: what lies beyond the dashed threshold is unsafe. {between} The grey
box is the interval of the threshold. The bars below are the classes on the training data, from the
5&nbsp;% to the 95&nbsp;% quantile, with a notch at the mean; on a card, those of its own kind are
highlighted.</p>
<div class="legend">{legend_svg(threshold, manifest.bounds, scale)}</div>
{rates}
<p>Below the axis stand the concepts that fit best, each with its score from 0 to 1. At 0.5 lies the
edge of the concept's entailment cone; a bar in the accent colour is inside it.</p>
</section>"""


def _undecided(threshold: Threshold, scale: Scale) -> str:
    band = threshold.band
    if band is None:
        return ""
    return f"; from {scale.text(band.lower)} to {scale.text(band.upper)} a photo is undecided"


def _rate(before: str, rate: Rate | None, after: str) -> str:
    if rate is None:
        return ""
    low, high = rate.interval
    return f"{before} {rate.value:.1%} ({low:.1%} to {high:.1%}, n = {rate.n}) {after}"


def _section(
    key: str, title: str, intro: str, items: Sequence[Item], card: Callable[[Item], str]
) -> str:
    if not items:
        return ""
    cards = "\n".join(card(item) for item in items)
    return f"""<section aria-labelledby="{key}">
<h2 id="{key}">{title}</h2>
<p>{intro}</p>
<ul class="cards">
{cards}
</ul>
</section>"""


def _card(report: Report, scale: Scale) -> Callable[[Item], str]:
    manifest = report.manifest

    def card(item: Item) -> str:
        verdict = item.verdict
        threshold = manifest.thresholds.get(verdict.modality)
        picture = ""
        if item.picture is not None:
            data = base64.b64encode(item.picture).decode("ascii")
            picture = f'<img src="data:image/jpeg;base64,{data}" alt="{escape(item.title)}">'
        inner = [
            f'<div class="top"><h3>{escape(item.title)}</h3>{_badge(verdict.decision)}</div>',
            *_remarks(item),
            axis_svg(verdict, threshold, manifest.bounds, scale),
            _concepts(verdict),
            _milliseconds(verdict),
            _credit(item),
        ]
        body = "\n".join(part for part in inner if part)
        return f'<li class="card">{picture}<div class="body">{body}</div></li>'

    return card


def _badge(decision: str) -> str:
    return (
        f'<span class="badge {decision}"><svg viewBox="0 0 16 16" fill="none"'
        ' stroke="currentColor" stroke-width="2.2" stroke-linecap="round" aria-hidden="true">'
        f"{_ICONS[decision]}</svg>{decision}</span>"
    )


def _remarks(item: Item) -> Iterator[str]:
    verdict = item.verdict
    if item.label and verdict.decision not in (item.label, "undecided"):
        yield f'<p class="miss small">Labelled {escape(item.label)}: the model differs.</p>'
    if verdict.reason:
        detail = f": {escape(verdict.detail)}" if verdict.detail else ""
        yield f'<p class="small"><code>{escape(verdict.reason)}</code>{detail}</p>'


def _concepts(verdict: Verdict) -> str:
    if not verdict.concepts:
        return ""
    rows = "".join(
        f'<dt>{escape(c.name)}</dt><dd class="meter" aria-hidden="true">'
        f'<i class="{"in" if c.inside else "out"}" style="width:{100 * c.score:.0f}%"></i></dd>'
        f'<dd class="num">{c.score:.2f}</dd>'
        for c in verdict.concepts[:_CONCEPTS]
    )
    return f'<dl class="concepts" aria-label="Closest concepts, score in 0 to 1">{rows}</dl>'


def _milliseconds(verdict: Verdict) -> str:
    if verdict.score is None:
        return ""
    ms = verdict.ms
    stages = [("decode", ms.decode)] if verdict.modality == "image" else []
    stages += [("prepare", ms.preprocess), ("infer", ms.infer), ("post", ms.post)]
    text = " + ".join(f"{name} {value:.1f}" for name, value in stages)
    return f'<p class="ms">{text} = <b>{ms.total:.1f} ms</b></p>'


def _credit(item: Item) -> str:
    parts = [f"<code>{escape(item.name)}</code>"] if item.name else []
    if item.credit:
        parts.append(escape(item.credit))
    # Shown as text, not as a link: the page points nowhere by itself.
    if item.source:
        parts.append(escape(item.source))
    return f'<p class="credit">{" · ".join(parts)}</p>' if parts else ""


def _provenance(report: Report) -> str:
    manifest, machine = report.manifest, report.machine
    libraries = ", ".join(f"{n} {v}" for n, v in machine["libraries"].items() if v)
    facts = [
        ("Package", f"<code>{escape(manifest.identity)}</code>"),
        ("Created", escape(manifest.created)),
        ("Method", escape(manifest.method)),
        ("Weights", escape("; ".join(manifest.weights.origin))),
        ("Licence", escape(f"{manifest.weights.licence}. {manifest.weights.notice}")),
        ("Threshold rule", escape(_rule(manifest))),
        ("Machine", escape(f"{machine['processor']}, {machine['cores']} cores")),
        ("Software", escape(f"Python {machine['python']}, {libraries}")),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    return f"""<section aria-labelledby="model">
<h2 id="model">The model and the machine</h2>
<dl class="facts">{rows}</dl>
</section>"""


def _rule(manifest: Manifest) -> str:
    rules = {t.rule for t in manifest.thresholds.values()}
    return "; ".join(sorted(rules)) or "the package carries no threshold"
