"""The picture of an explanation: a disk around the root, the path, shells and cones.

Polar and true to distance from the root: a circle is a shell of equal radius, and the score of an
input can be read off the picture. At the small ``sqrt(c) r`` of these models (0.3 where c = 0.1)
that is the Poincaré disk but for its scale. The input lies straight above the root. Everything
else is at its own radius and at its true angle from the input, harmful to the right and harmless
to the left; so root, input and one concept are an exact drawing of the plane through these three,
in which the edge of the concept's cone is a true geodesic. (Two concepts among themselves are not
at their true distance; no flat drawing could do that.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgesafe.calib.explain.drawing import Drawing
from edgesafe.calib.explain.explanation import ConceptView, Explanation, Met, Standing

__all__ = ["COLOURS", "draw_disk"]

COLOURS = {"safe": "#0b6e4f", "unsafe": "#a8201a", "undecided": "#7a5200", "ink": "#16191d",
           "soft": "#59626d", "line": "#d9dee4", "path": "#2456a6"}  # fmt: skip

_WIDTH, _HEIGHT = 1180, 720
_CENTRE = (380.0, 366.0)
_EDGE = 300.0
_COLUMN = 790.0
_TEXT = 44
_CONCEPTS = 10


@dataclass(frozen=True)
class _Scale:
    """From polar coordinates around the root to pixels."""

    largest: float

    def place(self, radius: float, angle: float) -> tuple[float, float]:
        """Pixel of a root distance and an angle from the input's direction, clockwise."""
        r = min(radius / self.largest, 1.0) * _EDGE
        return _CENTRE[0] + r * math.sin(angle), _CENTRE[1] - r * math.cos(angle)

    def arc(self, radius: float, start: float, end: float) -> list[tuple[float, float]]:
        """Points of a circle around the root."""
        n = max(int(abs(end - start) / 0.02), 2)
        return [self.place(radius, start + (end - start) * i / n) for i in range(n + 1)]

    def ring(self, radius: float) -> list[tuple[float, float]]:
        """A whole circle, without its first point again."""
        return self.arc(radius, 0.0, 2 * math.pi)[:-1]


def draw_disk(explanation: Explanation) -> Drawing:
    """Draw an explanation."""
    drawing = Drawing(_WIDTH, _HEIGHT)
    e = explanation
    shown = e.concepts[:_CONCEPTS]
    radii = [e.radius, *(c.radius for c in shown), *(m.radius for m in e.path)]
    radii += [s.up_95 for s in _own(e)] + _limits(e)
    scale = _Scale(1.06 * max([*radii, 1e-6]))
    drawing.shape(scale.ring(scale.largest), fill="#f6f7f9", stroke=COLOURS["line"])
    _calibration(drawing, scale, e)  # first: what is written over it stays legible
    _shells(drawing, scale, e)
    _cones(drawing, scale, e)
    _path(drawing, scale, e)
    _concepts(drawing, scale, e, shown)
    _captions(drawing, scale, e, shown)
    _input(drawing, scale, e)
    _column(drawing, e)
    return drawing


def _shells(drawing: Drawing, scale: _Scale, e: Explanation) -> None:
    for shell in _own(e):
        colour = COLOURS[shell.name.partition("_")[0]]
        outer, inner = scale.ring(shell.up_95), scale.ring(shell.low_05)
        # Out along one circle and back along the other, so that the hole stays empty.
        band = [*outer, outer[0], inner[0], *reversed(inner)]
        drawing.shape(band, fill=colour, opacity=0.10)
        drawing.shape(scale.ring(shell.avg), stroke=colour, width=1.2, opacity=0.55)
        kind = shell.name.partition("_")[0]
        x, y = scale.place(shell.avg, math.pi + (0.5 if kind == "safe" else -0.5))
        name = f"{kind}, mean"
        drawing.words(x, y, name, size=12, colour=colour, anchor="middle", halo=True)
    limits = _limits(e)
    for limit in limits:
        drawing.shape(scale.ring(limit), stroke=COLOURS["ink"], width=1.6, dash=(6, 4))
    if limits:
        x, y = scale.place(limits[-1], math.pi)
        name = "undecided up to here" if len(limits) > 1 else "threshold"
        drawing.words(x, y + 15, name, size=12, anchor="middle", halo=True)
    drawing.words(_CENTRE[0] + 9, _CENTRE[1] + 15, "root", size=12, colour=COLOURS["soft"])
    drawing.shape(_dot(_CENTRE, 4), fill=COLOURS["ink"])


def _calibration(drawing: Drawing, scale: _Scale, e: Explanation) -> None:
    """Ticks below the root: quantiles of the cases that the threshold was chosen on."""
    if not e.calibration:
        return
    scores = e.calibration.scores
    for kind, quantiles, angle in (
        ("safe", scores.safe, math.pi + 0.2),
        ("unsafe", scores.unsafe, math.pi - 0.2),
    ):
        for radius in quantiles:
            # Those beyond the rim would pile up on it.
            if radius <= scale.largest:
                x, y = scale.place(radius, angle)
                ends = [(x - 7, y), (x + 7, y)]
                drawing.shape(ends, stroke=COLOURS[kind], width=1.4, closed=False)


def _cones(drawing: Drawing, scale: _Scale, e: Explanation) -> None:
    """The cones that hold the input: the best fitting harmful and harmless one."""
    best: dict[bool, ConceptView] = {}
    for concept in e.concepts:
        if concept.inside and concept.radius > 0:
            best.setdefault(concept.harmless, concept)
    for concept in best.values():
        side = -1 if concept.harmless else 1
        edge = list(_cone_edge(concept, e.curvature, scale.largest))
        left = [scale.place(r, side * concept.direction - a) for r, a in edge]
        right = [scale.place(r, side * concept.direction + a) for r, a in edge]
        end = edge[-1][1]
        middle = side * concept.direction
        rim = scale.arc(scale.largest, middle - end, middle + end)
        colour = COLOURS["safe" if concept.harmless else "unsafe"]
        drawing.shape([*left, *rim, *reversed(right)], fill=colour, opacity=0.06)
        drawing.shape([*reversed(left), *right[1:]], stroke=colour, closed=False, opacity=0.7)
        # Inside of the disk, where the edge ends on the concept's own side.
        x, y = scale.place(0.96 * scale.largest, middle + side * (end + 0.05))
        drawing.words(
            x, y, f"cone of {_clip(concept.name, 20)}", size=12, colour=colour,
            anchor="end" if x > _CENTRE[0] else "start", halo=True,
        )  # fmt: skip


def _cone_edge(
    concept: ConceptView, curvature: float, largest: float
) -> Iterator[tuple[float, float]]:
    """Polar points (root distance, angle from the apex) of one edge of a cone.

    The geodesic that leaves the apex under the half aperture: in space parts of the plane,
    ``cosh(t) x + sinh(t) / sqrt(c) * v`` with the unit tangent ``v`` at the apex.
    """
    s = math.sqrt(curvature)
    x = math.sinh(s * concept.radius) / s
    along, across = math.cos(concept.half_aperture), math.sin(concept.half_aperture)
    step = largest / 60
    for i in range(400):
        t = s * step * i
        first = math.cosh(t) * x + math.sinh(t) / s * along * math.cosh(s * concept.radius)
        second = math.sinh(t) / s * across
        radius = math.asinh(s * math.hypot(first, second)) / s
        yield min(radius, largest), math.atan2(second, first)
        if radius >= largest:
            return


def _path(drawing: Drawing, scale: _Scale, e: Explanation) -> None:
    limits = _limits(e)
    colours = ["safe", "undecided", "unsafe"] if len(limits) > 1 else ["safe", "unsafe"]
    start = 0.0
    for limit, kind in zip([*limits, math.inf], colours, strict=False):
        end = min(limit, e.radius)
        if end > start or kind == "safe":
            drawing.shape(
                [scale.place(start, 0), scale.place(end, 0)],
                stroke=COLOURS[kind], width=4, closed=False,
            )  # fmt: skip
        start = end


def _captions(
    drawing: Drawing, scale: _Scale, e: Explanation, shown: Sequence[ConceptView]
) -> None:
    """What the path meets: where it lies, tied to the stretch where it is the nearest."""
    taken = [scale.place(c.radius, (-1 if c.harmless else 1) * c.direction) for c in shown]
    badges = []
    for number, met in enumerate(_met(e), 1):
        side = -1 if met.harmless else 1
        x, y = scale.place(met.radius, side * met.direction)
        from_path = scale.place((met.start + met.end) / 2, 0)
        drawing.shape(
            [from_path, (x, y)], stroke=COLOURS["path"], width=1.2, dash=(2, 4), closed=False
        )
        drawing.shape(_dot((x, y), 3.5), fill=COLOURS["path"], stroke="#ffffff")
        # Its number stands beside it, clear of the others and of the concepts.
        places = [(x, y - 15), (x - side * 16, y + 8), (x + side * 17, y - 8),
                  (x - side * 17, y - 8), (x, y - 33), (x + side * 36, y - 12)]  # fmt: skip
        spot = next((p for p in places if all(_apart(p, t) for t in taken)), places[0])
        taken += [(x, y), spot]
        badges.append((number, spot))
    for number, (x, y) in badges:
        drawing.shape(_box(x, y, 9, 9), fill=COLOURS["path"], stroke="#ffffff", width=1.5)
        drawing.words(x, y + 4.5, str(number), colour="#ffffff", anchor="middle", bold=True)


def _apart(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) > 15


def _concepts(
    drawing: Drawing, scale: _Scale, e: Explanation, shown: Sequence[ConceptView]
) -> None:
    for side, harmless in ((-1, True), (1, False)):
        mine = sorted((c for c in shown if c.harmless == harmless), key=lambda c: c.direction)
        spots = [scale.place(c.radius, side * c.direction) for c in mine]
        own = [met for met in _met(e) if bool(met.harmless) == harmless]
        squares = [scale.place(met.radius, side * met.direction) for met in own]
        # Names stand in one column beside everything, each on a line of its own.
        column = max((side * (x - _CENTRE[0]) for x, _ in [*spots, *squares]), default=0.0) + 26
        taken: list[float] = []
        for concept, (x, y) in zip(mine, spots, strict=True):
            colour = COLOURS["safe" if harmless else "unsafe"]
            fill = colour if concept.inside else "#ffffff"
            line = y + 4
            while any(abs(line - other) < 16 for other in taken):
                line += 2
            taken.append(line)
            end = (_CENTRE[0] + side * column, line - 4)
            drawing.shape([(x, y), end], stroke=colour, opacity=0.5, closed=False)
            drawing.shape(_dot((x, y), 5.5), fill=fill, stroke=colour, width=2)
            drawing.words(
                end[0] + side * 4, line, _clip(concept.name, 20), colour=colour,
                anchor="start" if side > 0 else "end", bold=concept.inside, halo=True,
            )  # fmt: skip


def _input(drawing: Drawing, scale: _Scale, e: Explanation) -> None:
    x, y = scale.place(e.radius, 0)
    colour = COLOURS[e.verdict.decision]
    drawing.shape(_dot((x, y), 9), fill=colour, stroke="#ffffff", width=2.5)
    drawing.words(x + 15, y + 5, f"{e.radius:.3f}", size=15, colour=colour, bold=True, halo=True)


def _column(drawing: Drawing, e: Explanation) -> None:
    """What the signs mean, with the numbers."""
    v = e.verdict
    y = 52.0
    drawing.words(_COLUMN, y, v.decision, size=30, colour=COLOURS[v.decision], bold=True)
    y += 30
    limit = f"threshold {v.threshold:.3f}" if v.threshold is not None else "no threshold"
    if v.band:
        limit = f"undecided from {v.band[0]:.3f} to {v.band[1]:.3f}"
    drawing.words(_COLUMN, y, f"{v.modality}, radius {e.radius:.3f}, {limit}", size=15)
    y += 44
    drawing.words(_COLUMN, y, "On the way from the root, from radius", size=15, bold=True)
    for number, met in enumerate(_met(e), 1):
        y += 26
        drawing.shape(_box(_COLUMN + 9, y - 5, 9, 9), fill=COLOURS["path"])
        drawing.words(_COLUMN + 9, y, str(number), colour="#ffffff", anchor="middle", bold=True)
        drawing.words(_COLUMN + 28, y, f"{met.start:.2f}", colour=COLOURS["soft"])
        drawing.words(_COLUMN + 64, y, _clip(met.text))
    if not _met(e):
        y += 26
        drawing.words(_COLUMN, y, "nothing is nearer than the root", colour=COLOURS["soft"])
    y += 44
    drawing.words(_COLUMN, y, "In the cones of", size=15, bold=True)
    inside = [c for c in e.concepts if c.inside][:6]
    for concept in inside:
        y += 24
        colour = COLOURS["safe" if concept.harmless else "unsafe"]
        drawing.shape(_dot((_COLUMN + 9, y - 5), 5.5), fill=colour)
        angle, aperture = (math.degrees(a) for a in (concept.angle, concept.half_aperture))
        text = f"{_clip(concept.name)}: {angle:.0f}° of {aperture:.0f}°"
        drawing.words(_COLUMN + 28, y, text)
    if not inside:
        y += 24
        drawing.words(_COLUMN, y, "no concept", colour=COLOURS["soft"])
    y += 44
    drawing.words(_COLUMN, y, "Shells of the data it was made on", size=15, bold=True)
    for shell in _own(e):
        y += 24
        colour = COLOURS[shell.name.partition("_")[0]]
        drawing.shape(_box(_COLUMN + 9, y - 5, 9, 7), fill=colour, opacity=0.25)
        name = shell.name.replace("_", " ")
        text = f"{name}: {shell.low_05:.3f} to {shell.up_95:.3f}, mean {shell.avg:.3f}"
        drawing.words(_COLUMN + 28, y, text)
    if e.calibration:
        y += 26
        for i, kind in enumerate(("safe", "unsafe")):
            ends = [(_COLUMN + 2, y - 8 + 6 * i), (_COLUMN + 16, y - 8 + 6 * i)]
            drawing.shape(ends, stroke=COLOURS[kind], width=1.4, closed=False)
        text = "5 % of the calibration data of a class, from tick to tick"
        drawing.words(_COLUMN + 28, y, text)
    y = _HEIGHT - 58
    for line in (
        "Distance from the middle is the radius.",
        "Angles are from the input: harmful concepts to the right,",
        "harmless ones to the left.",
    ):
        drawing.words(_COLUMN, y, line, size=12, colour=COLOURS["soft"])
        y += 18


def _limits(e: Explanation) -> list[float]:
    """The radii at which the verdict changes: both ends of the band, or the threshold."""
    v = e.verdict
    if v.band:
        return list(v.band)
    return [] if v.threshold is None else [v.threshold]


def _own(e: Explanation) -> list[Standing]:
    """The classes of the input's own modality."""
    return [one for one in e.standing if one.name.endswith(e.verdict.modality)]


def _met(e: Explanation) -> list[Met]:
    """The path without the root, as much of it as there is room for."""
    return [met for met in e.path if met.radius > 0][:6]


def _dot(centre: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    steps = [2 * math.pi * i / 40 for i in range(40)]
    return [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in steps]


def _box(x: float, y: float, half_x: float, half_y: float) -> list[tuple[float, float]]:
    return [
        (x - half_x, y - half_y),
        (x + half_x, y - half_y),
        (x + half_x, y + half_y),
        (x - half_x, y + half_y),
    ]


def _clip(text: str, length: int = _TEXT) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
