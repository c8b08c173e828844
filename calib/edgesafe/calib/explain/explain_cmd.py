"""``edgesafe explain``: why a picture or text got its verdict."""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesafe.runtime.errors import DataError, PackageError, SourceError, UsageError
from edgesafe.runtime.output import printable
from edgesafe.runtime.sessions import BACKENDS

if TYPE_CHECKING:
    from edgesafe.calib.explain.explanation import Caption, Explanation
    from edgesafe.calib.explain.page import Shown
    from edgesafe.calib.retrieval.embed import Embedder

__all__ = ["explain"]

_SUFFIXES = (".html", ".svg", ".png", ".json")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif")


@click.command()
@click.argument("target", metavar="IMAGE|TEXT")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Model package. [default: the one that comes with edgesafe]",
)
@click.option(
    "--captions",
    type=click.Path(path_type=Path),
    help='Texts to name the way with: .jsonl with strings or {"text": ...}, else one a line. '
    "[default: the package's concepts]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write the explanation to this .html, .svg, .png or .json file.",
)
@click.option(
    "--parts/--no-parts",
    default=True,
    show_default=True,
    help="Find which words, or places of the picture, push it outward (37 inferences a picture).",
)
@click.option(
    "--as",
    "kind",
    type=click.Choice(["image", "text"]),
    help="What it is. [default: image where such a file exists, else text]",
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What computes.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute.")
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as one line of JSON.")
def explain(
    target: str,
    model: Path | None,
    captions: Path | None,
    out: Path | None,
    parts: bool,
    kind: str | None,
    backend: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Say why a picture or text is judged as it is, and draw it.

    Told are its radius among the data that the package was made and calibrated on, the captions on
    the way to it from the root, and the concepts whose entailment cones hold it, with the angles.
    """
    if out is not None and out.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--out {out}: name a file that ends in {', '.join(_SUFFIXES)}")
    from edgesafe.runtime.files import atomic_write, check_writable

    if out is not None:
        check_writable(out, "--out")
    if kind is None:
        kind = "image" if os.path.lexists(target) else "text"
        if kind == "text" and target.lower().endswith(_PICTURES) and " " not in target:
            raise UsageError(
                f"there is no file {target!r}: mend the path, or pass --as text to explain these "
                "words"
            )
    from edgesafe.calib.retrieval.embed import Embedder

    embedder = Embedder.load(model, backend=backend, threads=threads)
    if embedder.space.curvature is None:
        raise PackageError(
            f"{embedder.manifest.identity} is of the method {embedder.manifest.method!r}: its "
            "space is flat, without a root to start from and without cones; explain needs a "
            "hyperbolic package"
        )
    shown = _explain(embedder, target, kind, captions, parts)
    data = {"input": target, **shown.explanation.to_json(), **_parts_json(shown)}
    text = json.dumps(data, allow_nan=False)
    if out is not None:
        atomic_write(out, _encoded(shown, out.suffix.lower(), text))
    if as_json:
        click.echo(text)
    else:
        for line in _lines(shown):
            click.echo(printable(line, sys.stdout))
        if out is not None:
            click.echo(printable(f"written: {out}", sys.stdout))


def _explain(
    embedder: Embedder, target: str, kind: str, captions: Path | None, parts: bool
) -> Shown:
    from edgesafe.calib.explain.explanation import explain as compute
    from edgesafe.calib.explain.page import Shown
    from edgesafe.calib.explain.parts import places_of, words_of
    from edgesafe.runtime.gate import Refused, decode_image, read_image_file

    rgb = None
    if kind == "image":
        try:
            content = read_image_file(target)
            # The last view is the one on white, as the page shows it.
            rgb = decode_image(content).views[-1]
        except Refused as refused:
            raise SourceError(f"{target} cannot be read: {refused.detail}") from None
        found = embedder.image(content)
    else:
        found = embedder.text(target)
    if found.point is None:
        detail = f"{found.verdict.reason}: {found.verdict.detail}"
        raise SourceError(f"{target!r:.200} cannot be explained: {detail}")
    explanation = compute(
        found.point,
        found.verdict,
        embedder.bank,
        embedder.manifest.bounds,
        _captions(embedder, captions) if captions else (),
        embedder.manifest.thresholds.get(found.verdict.modality),
    )
    return Shown(
        name=os.path.basename(target) if kind == "image" else target,
        explanation=explanation,
        manifest=embedder.manifest,
        words=words_of(embedder, target, explanation.radius) if parts and rgb is None else (),
        places=places_of(embedder, rgb) if parts and rgb is not None else None,
        rgb=rgb,
    )


def _captions(embedder: Embedder, path: Path) -> list[Caption]:
    from edgesafe.calib.explain.explanation import Caption
    from edgesafe.runtime.texts import read_texts

    found: list[Caption] = []
    for record in read_texts(str(path)):
        if record.text is None:
            detail = record.refused.detail if record.refused else "no text"
            raise DataError(f"{record.source}: {detail}: mend the line or leave it out")
        one = embedder.text(record.text)
        if one.point is None:
            raise DataError(f"{record.source}: {one.verdict.detail}: mend the line or leave it out")
        decided = {"safe": True, "unsafe": False}
        found.append(Caption(record.text, decided.get(one.verdict.decision), one.point))
    return found


def _parts_json(shown: Shown) -> dict[str, Any]:
    if shown.words:
        return {"words": [{"text": word.text, "push": word.push} for word in shown.words]}
    if shown.places is None:
        return {}
    rows = shown.places.push.tolist()
    return {"places": [[value if math.isfinite(value) else None for value in row] for row in rows]}


def _encoded(shown: Shown, suffix: str, text: str) -> bytes:
    from edgesafe.calib.explain.disk import draw_disk
    from edgesafe.calib.explain.page import page, sentences

    if suffix == ".json":
        return f"{text}\n".encode()
    if suffix == ".html":
        return page(shown).encode()
    e = shown.explanation
    disk = draw_disk(e)
    if suffix == ".svg":
        return disk.svg(" ".join(sentences(e))).encode()
    stream = io.BytesIO()
    disk.image().save(stream, "PNG")
    return stream.getvalue()


def _lines(shown: Shown) -> Iterator[str]:
    from edgesafe.calib.explain.page import sentences

    e: Explanation = shown.explanation
    yield f"{e.verdict.decision}: {shown.name}"
    yield from sentences(e)
    yield ""
    yield "from the root"
    for met in e.path:
        yield f"  {met.start:.3f}  {met.text}"
    yield f"  {e.radius:.3f}  {shown.name}"
    yield ""
    yield f"{'CONCEPT':<20}{'TAG':<12}{'ANGLE':>7}{'CONE':>7}  "
    for c in e.concepts:
        inside = "inside" if c.inside else "-"
        angle, aperture = math.degrees(c.angle), math.degrees(c.half_aperture)
        yield f"{c.name[:19]:<20}{c.tag[:11]:<12}{angle:6.1f}°{aperture:6.1f}°  {inside}"
    if shown.words:
        yield ""
        yield "what each word adds to the radius"
        for word in shown.words:
            push = f"{word.push:+.3f}" if word.push is not None else "     -"
            yield f"  {push}  {word.text}"
    elif shown.places is not None:
        yield ""
        yield "what each square of the picture adds to the radius, in thousandths"
        for row in shown.places.push:
            yield "  " + "".join(f"{1000 * v:5.0f}" if math.isfinite(v) else "    -" for v in row)
