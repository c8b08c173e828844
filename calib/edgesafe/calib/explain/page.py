"""An explanation as one HTML page: no script, nothing fetched, everything escaped."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesafe.calib.explain.disk import draw_disk
from edgesafe.calib.explain.explanation import Explanation, Met, Standing
from edgesafe.calib.explain.parts import Places, Word
from edgesafe.runtime.manifest import Manifest

__all__ = ["Shown", "page", "sentences"]

_SIDE = 420  # of a shown picture, at most


@dataclass(frozen=True)
class Shown:
    """What a page is made of.

    Attributes:
        name: Of the input: the file's name, or the text.
        explanation: Of it.
        manifest: Of the package.
        words: Of a text; empty where they were not looked at.
        places: Of a picture; None where they were not looked at.
        rgb: The picture, uint8 (H, W, 3); None for a text.
    """

    name: str
    explanation: Explanation
    manifest: Manifest
    words: Sequence[Word] = ()
    places: Places | None = None
    rgb: NDArray[np.uint8] | None = field(default=None, repr=False)


def page(shown: Shown) -> str:
    """Return the page."""
    e, v = shown.explanation, shown.explanation.verdict
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    disk = draw_disk(e)
    told = " ".join(sentences(e))
    what = "picture" if v.modality == "image" else "text"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(v.decision)}: {escape(shown.name[:80])}</title>
<style>
{style}</style>
</head>
<body>
<main>
<div class="top">
<div>
<h1>Why this {what} is <span class="{v.decision}">{v.decision}</span></h1>
<p class="soft">{escape(shown.name)}</p>
<p>{escape(told)}</p>
</div>
{_picture(shown)}
</div>
<div class="disk">{disk.svg(told)}</div>
{_parts(shown)}
{_path(e)}
{_concepts(e)}
{_nearest(e)}
{_standing(e)}
{_calibration(e)}
<footer>Package <code>{escape(v.package)}</code>, weights under
{escape(shown.manifest.weights.licence)}. The picture is true to the distance from the root and to
the angle from the input; root, input and one concept are an exact drawing of the plane through the
three. This page is self-contained: it loads nothing and runs no script.</footer>
</main>
</body>
</html>
"""


def sentences(e: Explanation) -> Iterator[str]:
    """The explanation in words."""
    v = e.verdict
    what = "picture" if v.modality == "image" else "text"
    if v.threshold is None:
        yield f"The {what} lies {e.radius:.3f} from the root; the package has no threshold."
    elif v.band:
        yield _banded(e, what, *v.band)
    else:
        side = "beyond" if e.radius > v.threshold else "within"
        yield (
            f"The {what} lies {e.radius:.3f} from the root, {side} the threshold of "
            f"{v.threshold:.3f}."
        )
    own = [one for one in e.standing if one.name.endswith(v.modality)]
    if own:
        yield f"That is {' and '.join(_place(one) for one in own)}."
    if e.calibration:
        safe, unsafe = e.calibration.safe_below, e.calibration.unsafe_below
        yield (
            f"Among the calibration data it lies farther out than {100 * safe:.0f} % of the safe "
            f"and {100 * unsafe:.0f} % of the unsafe {what}s."
        )
    met = [one for one in e.path if one.radius > 0]
    if met:
        names = ", then ".join(f"“{one.text}”" for one in met[:4])
        yield f"On the way to it from the root one meets {names}."
    harmful = [c for c in e.concepts if c.inside and not c.harmless]
    harmless = [c for c in e.concepts if c.inside and c.harmless]
    for kind, found in (("harmful", harmful), ("harmless", harmless)):
        if found:
            names = ", ".join(f"{c.name} ({math.degrees(c.angle):.0f}°)" for c in found[:3])
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            yield f"It is in the cones of the {kind} concepts {names}{more}."
    if e.concepts and not harmful and not harmless:
        yield "It is in the cone of no concept."


def _banded(e: Explanation, what: str, lower: float, upper: float) -> str:
    start = f"The {what} lies {e.radius:.3f} from the root, "
    band = f"the band from {lower:.3f} to {upper:.3f}"
    if e.verdict.decision == "undecided":
        return f"{start}in {band}, where the package does not decide."
    side = "beyond" if e.radius > upper else "nearer than"
    return f"{start}{side} {band} in which the package does not decide."


def _place(one: Standing) -> str:
    name = one.name.replace("_", " ") + "s"
    if one.place == "above":
        return f"farther out than 95 % of the {name}"
    if one.place == "below":
        return f"nearer to the root than 95 % of the {name}"
    return f"among the middle 90 % of the {name}"


def _picture(shown: Shown) -> str:
    if shown.rgb is None:
        return ""
    image = f'<img src="{_data_uri(_small(shown.rgb))}" alt="The picture">'
    if shown.explanation.verdict.decision == "safe":
        return f'<figure class="input">{image}</figure>'
    # Nobody has to look at it to read why.
    return f'<details class="input"><summary>Show the picture</summary>{image}</details>'


def _parts(shown: Shown) -> str:
    if shown.words:
        return f"""<h2>Which words push it outward</h2>
<p class="soft">Each word is left out in turn. Red: without it the text lies nearer to the root;
green: farther out. The strongest changes the radius by {_strongest(shown.words):.3f}.</p>
<p class="words">{"".join(_word(one, _strongest(shown.words)) for one in shown.words)}</p>"""
    if shown.places is None:
        return ""
    push = shown.places.push
    largest = float(np.nanmax(np.abs(push), initial=0.0))
    picture = (
        f'<img class="parts" src="{_data_uri(_heat(shown.places))}" alt="The picture, tinted">'
    )
    if shown.explanation.verdict.decision != "safe":
        picture = f"<details><summary>Show the picture</summary>{picture}</details>"
    return f"""<h2>Which places push it outward</h2>
<p class="soft">Window after window is blurred away. Red: without it the picture lies nearer to the
root; green: farther out. The strongest changes the radius by {largest:.3f}.</p>
{picture}"""


def _strongest(words: Sequence[Word]) -> float:
    return max((abs(word.push) for word in words if word.push is not None), default=0.0)


def _word(word: Word, strongest: float) -> str:
    if word.push is None or strongest <= 0:
        return f"<span>{escape(word.text)}</span> "
    share = round(55 * abs(word.push) / strongest)
    name = "unsafe" if word.push > 0 else "safe"
    return (
        f'<span style="background:color-mix(in srgb, var(--{name}) {share}%, transparent)" '
        f'title="{word.push:+.3f}">{escape(word.text)}</span> '
    )


def _heat(places: Places) -> Image.Image:
    """The picture in grey, its squares tinted."""
    small = _small(places.rgb)
    grey = np.asarray(small.convert("L"), np.float64)[..., None].repeat(3, axis=2)
    push = np.nan_to_num(places.push)
    largest = float(np.abs(push).max()) or 1.0
    field_ = Image.fromarray((push / largest).astype(np.float32), mode="F")
    share = np.asarray(field_.resize(small.size, Image.Resampling.BICUBIC))[..., None]
    red, green = np.array([200.0, 30, 20]), np.array([10.0, 130, 90])
    tint = np.where(share > 0, red, green)
    mixed = grey + 0.75 * np.minimum(np.abs(share), 1) * (tint - grey)
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))


def _small(rgb: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(rgb)
    image.thumbnail((_SIDE, _SIDE))
    return image


def _data_uri(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _path(e: Explanation) -> str:
    note = (
        "Only captions whose cone holds the input are asked; they are what entails it."
        if e.entailed
        else "No caption's cone holds the input, so that all were asked: these are near, but none "
        "of them entails it."
    )
    rows = "".join(
        f'<tr><td class="num">{met.start:.3f} to {met.end:.3f}</td><td>{_text(met)}</td>'
        f'<td class="num">{met.radius:.3f}</td><td class="num">{met.distance:.3f}</td></tr>'
        for met in e.path
    )
    return f"""<h2>From the root to the input</h2>
<p class="soft">The nearest of {e.pool} captions at each point of the way. {note}</p>
<div class="scroll"><table><thead><tr><th class="num">Radius of the way</th>
<th>Nearest caption</th><th class="num">Its radius</th><th class="num">Distance</th></tr></thead>
<tbody>{rows}</tbody></table></div>"""


def _nearest(e: Explanation) -> str:
    if not e.nearest:
        return ""
    rows = "".join(
        f'<tr class="{"in" if met.inside else "out"}"><td>{_text(met)}</td>'
        f'<td class="num">{met.distance:.3f}</td><td class="num">{met.radius:.3f}</td>'
        f"<td>{'yes' if met.inside else 'no'}</td></tr>"
        for met in e.nearest
    )
    return f"""<h2>Nearest captions</h2>
<div class="scroll"><table><thead><tr><th>Caption</th><th class="num">Distance</th>
<th class="num">Radius</th><th>Cone holds the input</th></tr></thead>
<tbody>{rows}</tbody></table></div>"""


def _concepts(e: Explanation) -> str:
    rows = "".join(
        f'<tr class="{"in" if c.inside else "out"}"><td>{escape(c.name)}</td>'
        f'<td class="{"safe" if c.harmless else "unsafe"}">{escape(c.tag)}</td>'
        f'<td class="num">{math.degrees(c.angle):.1f}°</td>'
        f'<td class="num">{math.degrees(c.half_aperture):.1f}°</td>'
        f'<td>{"inside" if c.inside else "outside"}</td><td class="num">{c.score:.2f}</td></tr>'
        for c in e.concepts
    )
    return f"""<h2>Cones of the concepts</h2>
<p class="soft">The exterior angle under which a concept sees the input, against the half aperture
of its cone. The score is 0.5 on the edge of the cone.</p>
<div class="scroll"><table><thead><tr><th>Concept</th><th>Tag</th><th class="num">Angle</th>
<th class="num">Half aperture</th><th>Input is</th><th class="num">Score</th></tr></thead>
<tbody>{rows}</tbody></table></div>"""


def _standing(e: Explanation) -> str:
    if not e.standing:
        return ""
    rows = "".join(
        f"<tr><td>{escape(one.name.replace('_', ' '))}</td>"
        f'<td class="num">{one.low_05:.3f}</td><td class="num">{one.avg:.3f}</td>'
        f'<td class="num">{one.up_95:.3f}</td><td>{one.place}</td></tr>'
        for one in e.standing
    )
    return f"""<h2>Its radius, {e.radius:.3f}, among the data the package was made on</h2>
<div class="scroll"><table><thead><tr><th>Class</th><th class="num">5 %</th>
<th class="num">Mean</th><th class="num">95 %</th><th>The input is</th></tr></thead>
<tbody>{rows}</tbody></table></div>"""


def _calibration(e: Explanation) -> str:
    if not e.calibration:
        return ""
    rows = "".join(
        f'<tr><td class="{name}">{name}</td><td class="num">{100 * share:.0f} %</td>'
        f'<td class="num">{100 - 100 * share:.0f} %</td></tr>'
        for name, share in (
            ("safe", e.calibration.safe_below),
            ("unsafe", e.calibration.unsafe_below),
        )
    )
    return f"""<h2>Its radius among the data the package was calibrated on</h2>
<p class="soft">The {e.calibration.n} cases that the threshold was chosen on.</p>
<div class="scroll"><table><thead><tr><th>Cases</th><th class="num">Nearer to the root</th>
<th class="num">Farther out</th></tr></thead>
<tbody>{rows}</tbody></table></div>"""


def _text(met: Met) -> str:
    kind = {True: "safe", False: "unsafe", None: "soft"}[met.harmless]
    return f'<span class="{kind}">{escape(met.text)}</span>'
