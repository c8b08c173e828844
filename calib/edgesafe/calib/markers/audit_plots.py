"""Bars with intervals as SVG, without a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from edgesafe.calib.markers.audit_figures import Interval

__all__ = ["COLOURS", "bars"]

COLOURS = ("#2563a8", "#c2571a", "#2c7a4b", "#7a3f96", "#8a6d00", "#5a5a5a")
_BAR, _GAP, _LEFT, _WIDTH, _TOP = 13, 12, 130, 520, 24


def bars(rows: Sequence[str], series: Mapping[str, Mapping[str, Interval]], title: str) -> str:
    """Return horizontal bars of shares 0..1: for each row one bar per series, with whiskers.

    Args:
        rows: Names of the rows, from the top.
        series: By name, a figure for each row that it has.
        title: For who cannot see the picture.
    """
    parts = []
    y = _TOP
    for row in rows:
        top = y
        for at, figures in enumerate(series.values()):
            figure = figures.get(row)
            if figure is not None and figure.value == figure.value:
                parts.append(_bar(figure, y, COLOURS[at % len(COLOURS)]))
            y += _BAR
        middle = (top + y) / 2 + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end">{escape(row)}</text>')
        y += _GAP
    grid = "".join(
        f'<line x1="{_x(share)}" x2="{_x(share)}" y1="{_TOP - 6}" y2="{y - _GAP + 4}" '
        f'class="grid"/><text x="{_x(share)}" y="{_TOP - 10}" text-anchor="middle">'
        f"{round(100 * share)} %</text>"
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    width = _LEFT + _WIDTH + 70
    return (
        f'<svg viewBox="0 0 {width} {y}" width="{width}" role="img" '
        f'aria-label="{escape(title)}">{grid}{"".join(parts)}</svg>'
    )


def _bar(figure: Interval, y: float, colour: str) -> str:
    middle = y + _BAR / 2 - 1
    low, high = _x(figure.low), _x(figure.high)
    return (
        f'<rect x="{_LEFT}" y="{y}" width="{max(1.0, _x(figure.value) - _LEFT):.1f}" '
        f'height="{_BAR - 2}" fill="{colour}"/>'
        f'<path d="M{low} {middle}H{high}M{low} {middle - 3}v6M{high} {middle - 3}v6" '
        'class="whisker"/>'
        f'<text x="{_LEFT + _WIDTH + 62}" y="{y + _BAR - 3}" text-anchor="end" class="value">'
        f"{100 * figure.value:.1f} %</text>"
    )


def _x(share: float) -> float:
    return round(_LEFT + _WIDTH * min(1.0, max(0.0, share)), 1)
