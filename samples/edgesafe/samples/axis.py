"""The safe-unsafe axis of the report: where a radius lies, drawn as inline SVG.

A rail from small to large root distance, green up to the threshold and red beyond it, amber where
the threshold has a band; the interval of the threshold as a grey box; the radius as a marker above
the rail; below it the shells of the four classes on the training data, from their 5 % to their 95 %
quantile with a notch at the mean.
Colours come from the style sheet, so the drawing follows the light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from edgesafe.runtime.manifest import Bounds, Manifest, Threshold
from edgesafe.runtime.verdict import Verdict

__all__ = ["Scale", "axis_svg", "legend_svg", "make_scale"]

_WIDTH = 320
_LEFT, _RIGHT = 84, 312  # the names of the shells stand left of this
_RAIL_Y = 28
_CLASSES = {
    "safe_text": "safe text",
    "safe_image": "safe image",
    "unsafe_text": "unsafe text",
    "unsafe_image": "unsafe image",
}


@dataclass(frozen=True)
class Scale:
    """Maps root distances to the width of the drawing.

    Attributes:
        low: Root distance at the left end.
        high: Root distance at the right end.
        digits: Decimals that tell neighbouring values apart.
    """

    low: float
    high: float
    digits: int

    def x(self, value: float) -> float:
        """Return the horizontal position of a root distance, kept inside the drawing."""
        share = (value - self.low) / (self.high - self.low)
        return round(_LEFT + min(max(share, 0.0), 1.0) * (_RIGHT - _LEFT), 1)

    def text(self, value: float | None) -> str:
        """Return a root distance as text; a dash where there is none."""
        return "–" if value is None else f"{value:.{self.digits}f}"


def make_scale(manifest: Manifest, verdicts: Iterable[Verdict]) -> Scale:
    """Return one scale for all drawings of a report, with everything drawn inside it."""
    values = [v.radius for v in verdicts if v.radius is not None and math.isfinite(v.radius)]
    for shell in manifest.bounds.values():
        values += [shell.low_05, shell.avg, shell.up_95]
    for threshold in manifest.thresholds.values():
        values += [*threshold.interval, *_cuts(threshold)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = max(high - low, 1e-6)
    digits = min(max(2 - math.floor(math.log10(span)), 2), 6)
    return Scale(low - 0.04 * span, high + 0.04 * span, digits)


def axis_svg(
    verdict: Verdict, threshold: Threshold | None, bounds: Mapping[str, Bounds], scale: Scale
) -> str:
    """Draw one verdict; empty where it has no radius."""
    if verdict.radius is None:
        return ""
    parts = [*_rail(threshold, scale), _marker(verdict.radius, scale)]
    parts += _shells(bounds, scale, own=verdict.modality)
    label = f"Radius {scale.text(verdict.radius)}"
    if threshold:
        low, high = (scale.text(end) for end in threshold.interval)
        label += f", threshold {scale.text(threshold.value)}, between {low} and {high}"
        if threshold.band:
            label += f", undecided up to {scale.text(threshold.band.upper)}"
    return _svg(parts, label, len(bounds))


def legend_svg(threshold: Threshold | None, bounds: Mapping[str, Bounds], scale: Scale) -> str:
    """Draw the axis without a verdict, with the numbers of the threshold."""
    parts = [*_rail(threshold, scale), *_shells(bounds, scale, own="")]
    spoken = "; ".join(
        f"{_CLASSES[name]} {scale.text(shell.low_05)} to {scale.text(shell.up_95)}"
        for name, shell in bounds.items()
    )
    return _svg(parts, f"Shells of the classes on the training data: {spoken}", len(bounds))


def _cuts(threshold: Threshold) -> tuple[float, ...]:
    band = threshold.band
    return (band.lower, band.upper) if band else (threshold.value,)


def _rail(threshold: Threshold | None, scale: Scale) -> list[str]:
    if threshold is None:
        return [_line("rail", _LEFT, _RIGHT)]
    cuts = _cuts(threshold)
    ends = [scale.x(cut) for cut in cuts]
    low, high = (scale.x(end) for end in threshold.interval)
    # Kept clear of the words at both ends.
    middle = min(max(sum(ends) / len(ends), _LEFT + 70), _RIGHT - 96)
    said = " to ".join(scale.text(cut) for cut in cuts)
    # There is no room for a word beside two numbers.
    said = said if threshold.band else f"threshold {said}"
    return [
        _line("under", _LEFT, ends[0]),
        *([_line("between", *ends)] if threshold.band else []),
        _line("over", ends[-1], _RIGHT),
        f'<rect class="interval" x="{low}" y="{_RAIL_Y - 9}" width="{max(high - low, 1):.1f}"'
        ' height="18"/>',
        *(
            f'<line class="threshold" x1="{at}" x2="{at}" y1="{_RAIL_Y - 12}" y2="{_RAIL_Y + 12}"/>'
            for at in ends
        ),
        f'<text x="{_LEFT}" y="{_RAIL_Y + 21}">safe</text>',
        f'<text x="{_RIGHT}" y="{_RAIL_Y + 21}" text-anchor="end">unsafe</text>',
        f'<text x="{middle}" y="{_RAIL_Y + 21}" text-anchor="middle">{said}</text>',
    ]


def _marker(radius: float, scale: Scale) -> str:
    x = scale.x(radius)
    at = min(x, _WIDTH - 24)
    return (
        f'<path class="marker" d="M{x} {_RAIL_Y - 1} l-6 -11 h12 z"/>'
        f'<text class="strong" x="{at}" y="{_RAIL_Y - 15}" text-anchor="middle">'
        f"{scale.text(radius)}</text>"
    )


def _shells(bounds: Mapping[str, Bounds], scale: Scale, own: str) -> list[str]:
    parts = []
    for row, (name, shell) in enumerate((n, bounds[n]) for n in _CLASSES if n in bounds):
        y = _RAIL_Y + 30 + 14 * row
        low, mean, high = (scale.x(value) for value in (shell.low_05, shell.avg, shell.up_95))
        kind = "shell own" if own and name.endswith(own) else "shell"
        parts += [
            f'<rect class="{kind}" x="{low}" y="{y}" width="{max(high - low, 2):.1f}" height="8"'
            ' rx="2"/>',
            f'<line class="mean" x1="{mean}" x2="{mean}" y1="{y}" y2="{y + 8}"/>',
            f'<text x="0" y="{y + 8}">{_CLASSES[name]}</text>',
        ]
    return parts


def _line(kind: str, x1: float, x2: float) -> str:
    return f'<line class="{kind}" x1="{x1}" x2="{x2}" y1="{_RAIL_Y}" y2="{_RAIL_Y}"/>'


def _svg(parts: list[str], label: str, shells: int) -> str:
    height = _RAIL_Y + 28 + 14 * shells
    return (
        f'<svg class="axis" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
