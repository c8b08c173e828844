"""A drawing of lines, areas and words that can be written as SVG or as pixels.

Coordinates are pixels, x to the right and y down. Colours are ``#rrggbb``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal, TypeAlias

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Drawing"]

Points: TypeAlias = Sequence[tuple[float, float]]
Anchor: TypeAlias = Literal["start", "middle", "end"]

_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif'
_FINE = 3  # pixels painted per pixel of the drawing, along an edge
_KEPT = 2  # what is left of them after smoothing


@dataclass(frozen=True)
class _Shape:
    points: tuple[tuple[float, float], ...]
    fill: str | None
    stroke: str | None
    width: float
    opacity: float
    dash: tuple[float, float] | None
    closed: bool


@dataclass(frozen=True)
class _Words:
    x: float
    y: float
    text: str
    size: float
    colour: str
    anchor: Anchor
    bold: bool
    halo: bool


@dataclass
class Drawing:
    """What was drawn so far, in order.

    Attributes:
        width: In pixels.
        height: In pixels.
        background: Colour.
    """

    width: int
    height: int
    background: str = "#ffffff"
    _items: list[_Shape | _Words] = field(default_factory=list)

    def shape(
        self,
        points: Points,
        *,
        fill: str | None = None,
        stroke: str | None = None,
        width: float = 1.0,
        opacity: float = 1.0,
        dash: tuple[float, float] | None = None,
        closed: bool = True,
    ) -> None:
        """Draw a polygon, or a line where it is not closed."""
        kept = tuple((round(x, 2), round(y, 2)) for x, y in points)
        self._items.append(_Shape(kept, fill, stroke, width, opacity, dash, closed))

    def words(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 13,
        colour: str = "#16191d",
        anchor: Anchor = "start",
        bold: bool = False,
        halo: bool = False,
    ) -> None:
        """Write on a baseline; with a halo, what lies below is kept off the letters."""
        self._items.append(_Words(x, y, text, size, colour, anchor, bold, halo))

    def svg(self, label: str) -> str:
        """The drawing as an SVG element, with what it shows for those who do not see it."""
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'role="img" aria-label="{escape(label)}" font-family=\'{_FONT}\'>',
            f'<rect width="{self.width}" height="{self.height}" fill="{self.background}"/>',
            *(_svg(item, self.background) for item in self._items),
            "</svg>",
        ]
        return "\n".join(parts)

    def image(self) -> Image.Image:
        """The drawing as RGB pixels, twice as many as its size says."""
        size = (self.width * _FINE, self.height * _FINE)
        image = Image.new("RGB", size, self.background)
        for item in self._items:
            if isinstance(item, _Shape):
                _paint(image, item)
            else:
                _write(ImageDraw.Draw(image), item, self.background)
        kept = (self.width * _KEPT, self.height * _KEPT)
        return image.resize(kept, Image.Resampling.BICUBIC, reducing_gap=None)


def _svg(item: _Shape | _Words, background: str) -> str:
    if isinstance(item, _Words):
        weight = ' font-weight="650"' if item.bold else ""
        halo = (
            f' stroke="{background}" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
            if item.halo
            else ""
        )
        return (
            f'<text x="{item.x:.1f}" y="{item.y:.1f}" font-size="{item.size:g}" '
            f'fill="{item.colour}" text-anchor="{item.anchor}"{weight}{halo}>'
            f"{escape(item.text)}</text>"
        )
    where = "L".join(f"{x:g} {y:g}" for x, y in item.points)
    attributes = f'fill="{item.fill or "none"}"'
    if item.stroke:
        attributes += (
            f' stroke="{item.stroke}" stroke-width="{item.width:g}" stroke-linecap="round" '
            'stroke-linejoin="round"'
        )
    if item.dash:
        attributes += f' stroke-dasharray="{item.dash[0]:g} {item.dash[1]:g}"'
    if item.opacity < 1:
        attributes += f' opacity="{item.opacity:g}"'
    return f'<path d="M{where}{"Z" if item.closed else ""}" {attributes}/>'


def _paint(image: Image.Image, shape: _Shape) -> None:
    points = [(x * _FINE, y * _FINE) for x, y in shape.points]
    if shape.opacity >= 1:
        _trace(ImageDraw.Draw(image), shape, points, None)
        return
    # A mask of no more than the shape.
    margin = shape.width * _FINE + 2
    left, top = (int(min(p[i] for p in points) - margin) for i in (0, 1))
    right, bottom = (int(max(p[i] for p in points) + margin) + 1 for i in (0, 1))
    mask = Image.new("L", (right - left, bottom - top), 0)
    moved = [(x - left, y - top) for x, y in points]
    _trace(ImageDraw.Draw(mask), shape, moved, round(255 * shape.opacity))
    image.paste(shape.fill or shape.stroke or "#000000", (left, top, right, bottom), mask)


def _trace(draw: ImageDraw.ImageDraw, shape: _Shape, points: Points, level: int | None) -> None:
    """Draw in the shape's colours, or with one level of a mask."""
    if shape.fill:
        draw.polygon(list(points), fill=shape.fill if level is None else level)
    if shape.stroke:
        ring = [*points, points[0]] if shape.closed else list(points)
        colour: str | int = shape.stroke if level is None else level
        width = max(round(shape.width * _FINE), 1)
        dash = shape.dash and (shape.dash[0] * _FINE, shape.dash[1] * _FINE)
        for piece in _dashes(ring, dash) if dash else [ring]:
            draw.line(piece, fill=colour, width=width, joint="curve")


def _dashes(points: Points, dash: tuple[float, float]) -> list[list[tuple[float, float]]]:
    """Cut a line into dashes and leave out the gaps."""
    pieces: list[list[tuple[float, float]]] = []
    on, left = True, dash[0]
    piece = [points[0]]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        done = 0.0
        while length - done > left:
            done += left
            share = done / length
            corner = (x0 + share * (x1 - x0), y0 + share * (y1 - y0))
            if on:
                pieces.append([*piece, corner])
            piece, on = [corner], not on
            left = dash[0] if on else dash[1]
        left -= length - done
        piece.append((x1, y1))
    return [*pieces, piece] if on and len(piece) > 1 else pieces


def _write(draw: ImageDraw.ImageDraw, words: _Words, background: str) -> None:
    font = ImageFont.load_default(words.size * _FINE)
    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[words.anchor]
    # The built-in face has one weight; a thin outline makes it bold.
    stroke, colour = (0, None)
    if words.halo:
        draw.text(
            (words.x * _FINE, words.y * _FINE),
            words.text,
            font=font,
            fill=background,
            anchor=anchor,
            stroke_width=round(2 * _FINE),
            stroke_fill=background,
        )
    if words.bold:
        stroke, colour = max(round(0.018 * words.size * _FINE), 1), words.colour
    draw.text(
        (words.x * _FINE, words.y * _FINE),
        words.text,
        font=font,
        fill=words.colour,
        anchor=anchor,
        stroke_width=stroke,
        stroke_fill=colour,
    )
