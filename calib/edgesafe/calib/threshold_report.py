"""A calibration as one HTML file: where the classes lie, and whether probabilities are true.

The upper drawing is that of figure 2 of the HySAC paper (arXiv 2503.12127): the distribution of the
score (there the distance from the root) for safe and unsafe images and texts, here of the
calibration data and with the threshold, its interval and its band. The lower one is a reliability
diagram. Inline SVG and a style sheet, nothing from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from edgesafe.calib.concept_alarms import concept_alarms
from edgesafe.calib.judged import Judged, by_class
from edgesafe.calib.logistic import Array
from edgesafe.calib.reliability import Reliability, measure_reliability
from edgesafe.runtime.manifest import Manifest
from edgesafe.runtime.thresholds import Rate, Threshold
from edgesafe.runtime.verdict import Modality

__all__ = ["threshold_report"]

_WIDTH, _LEFT, _RIGHT = 760, 56, 740
_PANEL = 190
_BINS = 48
_AXES = {
    "hysac": "distance from the root",
    "safeclip": "logit of the probe",
    "classifier": "probability of the unsafe labels",
}
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #64707f; --line: #d6dce4;
  --paper: #ffffff; --card: #f6f8fa; --safe: #1f8f6b; --unsafe: #c8443a; --mark: #2b59c3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf2; --soft: #9aa6b5; --line: #39434f;
  --paper: #12161c; --card: #1a2028; --safe: #3fbf94; --unsafe: #f0766b; --mark: #86a8ff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 820px; margin: 32px auto; padding: 0 20px; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 32px 0 8px; }
p { margin: 4px 0; } .soft { color: var(--soft); }
svg { width: 100%; height: auto; background: var(--card); border-radius: 8px; margin: 8px 0; }
text { font: 12px system-ui, sans-serif; fill: var(--ink); } .tick { fill: var(--soft); }
.axis { stroke: var(--line); } .safe { fill: var(--safe); stroke: var(--safe); }
.unsafe { fill: var(--unsafe); stroke: var(--unsafe); } path.area { fill-opacity: .28; }
text.safe, text.unsafe { stroke: none; }
.cut { stroke: var(--mark); stroke-width: 2; } .interval { fill: var(--mark); opacity: .13; }
.band { fill: var(--soft); opacity: .18; } .ideal { stroke: var(--soft); stroke-dasharray: 4 4; }
.dot { fill: var(--mark); } .bar { stroke: var(--mark); } .own { stroke-dasharray: 3 3; }
table { border-collapse: collapse; } td, th { text-align: left; padding: 2px 18px 2px 0;
  vertical-align: top; font-weight: normal; }
th { white-space: nowrap; color: var(--soft); }
"""


@dataclass(frozen=True)
class _Scale:
    """Maps low..high to left..right."""

    low: float
    high: float
    left: float = _LEFT
    right: float = _RIGHT

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.left + min(max(share, 0.0), 1.0) * (self.right - self.left), 1)


def threshold_report(
    manifest: Manifest, judged: Sequence[Judged], thresholds: Mapping[Modality, Threshold]
) -> str:
    """Return the HTML page of a calibration.

    Args:
        manifest: Of the new release.
        judged: The records that the thresholds were chosen on.
        thresholds: What was chosen, by modality; one or both.
    """
    samples = {name: by_class(judged, name) for name in thresholds}
    every = np.concatenate([scores for pair in samples.values() for scores in pair])
    margin = 0.04 * max(float(np.ptp(every)), 1e-6)
    scale = _Scale(float(every.min()) - margin, float(every.max()) + margin)
    axis = _AXES[manifest.method]
    parts = [
        f"<h1>Calibration of {escape(manifest.name)}, release {manifest.release}</h1>",
        f'<p class="soft">{escape(manifest.identity)}</p>',
        f"<h2>Where the classes lie: {axis}</h2>",
        '<p class="soft">Shares of the cases at hand. The line is the threshold, the blue field '
        "its interval, the grey one what is undecided; broken lines belong to single concepts.</p>",
    ]
    for name, threshold in thresholds.items():
        parts.append(_distribution(name, *samples[name], threshold, scale, axis))
    for name, threshold in thresholds.items():
        parts.append(f"<h2>The threshold for {name}s</h2>")
        own = [one for one in judged if one.record.modality == name]
        parts.append(_table(threshold, concept_alarms(own, threshold)))
    parts.append("<h2>Whether the probabilities are true</h2>")
    for name in thresholds:
        parts.append(_reliability(name, measure_reliability(*samples[name])))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>Calibration of {escape(manifest.name)}</title>'
        f"<style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )


def _distribution(
    name: str, safe: Array, unsafe: Array, threshold: Threshold, scale: _Scale, axis: str
) -> str:
    edges = np.linspace(scale.low, scale.high, _BINS + 1)
    shares = {
        label: np.histogram(scores, edges)[0] / scores.size
        for label, scores in (("safe", safe), ("unsafe", unsafe))
    }
    most = max(float(share.max()) for share in shares.values())
    floor, top = _PANEL - 34, 40
    parts = []
    low, high = threshold.interval
    parts.append(_box("interval", scale(low), scale(high), top, floor))
    if threshold.band:
        band = threshold.band
        parts.append(_box("band", scale(band.lower), scale(band.upper), top, floor))
    for label, share in shares.items():
        steps = [f"M{scale(edges[0])} {floor}"]
        for i, value in enumerate(share):
            y = round(floor - (floor - top) * float(value) / most, 1)
            steps.append(f"L{scale(edges[i])} {y}L{scale(edges[i + 1])} {y}")
        steps.append(f"L{scale(edges[-1])} {floor}")
        parts.append(f'<path class="area {label}" d="{"".join(steps)}"/>')
    for concept, own in threshold.concepts.items():
        title = f"<title>{escape(concept)}: {own.value:.4f}</title>"
        parts.append(_vertical("cut own", scale(own.value), top + 12, floor, title))
    parts.append(_vertical("cut", scale(threshold.value), top, floor))
    x = scale(threshold.value)
    side = "end" if x > (_LEFT + _RIGHT) / 2 else "start"
    shift = -6 if side == "end" else 6
    parts.append(
        f'<text x="{x + shift}" y="{top - 8}" text-anchor="{side}">'
        f"safe up to {threshold.value:.4f}</text>"
    )
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{floor}" y2="{floor}"/>')
    for tick in _ticks(scale.low, scale.high):
        parts.append(
            f'<text class="tick" x="{scale(tick)}" y="{floor + 16}" text-anchor="middle">'
            f"{tick:g}</text>"
        )
    parts.append(
        f'<text class="tick" x="{_RIGHT}" y="{floor + 30}" text-anchor="end">{axis}</text>'
        f'<text x="{_LEFT}" y="18">{name}s: </text>'
        f'<text class="safe" x="{_LEFT + 58}" y="18">safe ({safe.size})</text>'
        f'<text class="unsafe" x="{_LEFT + 150}" y="18">unsafe ({unsafe.size})</text>'
    )
    label = f"Scores of safe and unsafe {name}s, threshold {threshold.value:.4f}"
    return _svg(_PANEL, label, parts)


def _table(threshold: Threshold, alarms: Mapping[str, Rate]) -> str:
    low, high = threshold.interval
    share = f"{100 * threshold.confidence:g} %"
    rows = [("safe up to", f"{threshold.value:.4f} ({share} interval {low:.4f} to {high:.4f})")]
    for title, rate in (("false alarms", threshold.fpr), ("missed", threshold.miss_rate)):
        if rate:
            rows.append((title, _percent(rate)))
    if threshold.band:
        band = threshold.band
        rows.append(("undecided", f"above {band.lower:.4f}, up to {band.upper:.4f}"))
    for concept, own in threshold.concepts.items():
        low, high = own.interval
        told = f"{own.value:.4f} ({low:.4f} to {high:.4f}, {own.n} cases)"
        if concept in alarms:
            told += f"; false alarms {_percent(alarms[concept])}"
        rows.append((concept, told))
    if threshold.temperature:
        rows.append(("probability", threshold.temperature.formula.replace("-", "−")))
    rows.append(("rule", threshold.rule))
    rows.append(("data", threshold.data_sha256[:16]))
    cells = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows)
    return f"<table>{cells}</table>"


def _percent(rate: Rate) -> str:
    low, high = (100 * end for end in rate.interval)
    return f"{100 * rate.value:.1f} % ({low:.1f} to {high:.1f} %) of {rate.n} cases"


def _reliability(name: str, found: Reliability | None) -> str:
    if found is None:
        return (
            f'<p class="soft">{name}s: too few cases, or scores that do not rise with danger; '
            "there is no probability to speak of.</p>"
        )
    x = _Scale(0, 1, _LEFT, _LEFT + 300)
    y = _Scale(0, 1, 320, 20)
    parts = [
        f'<line class="ideal" x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}"/>',
        f'<line class="axis" x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(0)}"/>',
        f'<line class="axis" x1="{x(0)}" y1="{y(0)}" x2="{x(0)}" y2="{y(1)}"/>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(
            f'<text class="tick" x="{x(tick)}" y="{y(0) + 16}" text-anchor="middle">{tick:g}</text>'
            f'<text class="tick" x="{x(0) - 8}" y="{y(tick) + 4}" text-anchor="end">{tick:g}</text>'
        )
    for one in found.bins:
        low, high = one.interval
        at = x(one.probability)
        parts.append(
            f'<line class="bar" x1="{at}" x2="{at}" y1="{y(low)}" y2="{y(high)}"/>'
            f'<circle class="dot" cx="{at}" cy="{y(one.share)}" r="4"><title>{one.n} cases: '
            f"stated {one.probability:.2f}, found {one.share:.2f}</title></circle>"
        )
    notes = [
        f"{name}s: probability stated (across), share found unsafe (up)",
        "Bars are 95 % intervals; on the broken line both agree.",
        "Each case by a fit that did not see it (5 folds).",
        f"Expected calibration error {found.error:.3f}",
        f"Brier score {found.brier:.3f}",
    ]
    for line, note in enumerate(notes):
        parts.append(f'<text x="{_LEFT + 330}" y="{40 + 22 * line}">{note}</text>')
    return _svg(348, f"Reliability of the probabilities of {name}s", parts)


def _ticks(low: float, high: float) -> list[float]:
    step = 10.0 ** np.floor(np.log10((high - low) / 4))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 8)
    first = int(np.ceil(low / step))
    return [round(i * step, 10) for i in range(first, int(np.floor(high / step)) + 1)]


def _box(kind: str, left: float, right: float, top: float, floor: float) -> str:
    width = round(max(right - left, 1.0), 1)
    return f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{floor - top}"/>'


def _vertical(kind: str, x: float, top: float, floor: float, inner: str = "") -> str:
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top}" y2="{floor}">{inner}</line>'


def _svg(height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
