"""``edgesafe retrieve``: look a picture or text up in an index, redirected or as it is."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesafe.calib.retrieval.traversal import FORMS, Form
from edgesafe.calib.retrieval.vectors import ENGINES, Engine
from edgesafe.runtime.errors import DataError, SourceError, UsageError
from edgesafe.runtime.output import printable
from edgesafe.runtime.sessions import BACKENDS
from edgesafe.runtime.verdict import Modality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgesafe.calib.retrieval.answer import Answer, Policy, Quantile
    from edgesafe.calib.retrieval.embed import Embedder

__all__ = ["retrieve"]

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif")
_CAPTION = 60


@click.command()
@click.argument("query", metavar="QUERY")
@click.option(
    "--index", "index_path", required=True, type=click.Path(path_type=Path), help="Index folder."
)
@click.option(
    "--policy",
    type=click.Choice(["redirect", "original"]),
    help="Move a query that lies too far out toward the root, or answer it as it is. "
    "[default: redirect, where the package has a radius]",
)
@click.option("-k", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Results.")
@click.option("--filter-unsafe", is_flag=True, help="Leave out what is not safe.")
@click.option("--modality", type=click.Choice(["image", "text"]), help="Look among these only.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["image", "text"]),
    help="What QUERY is. [default: image where such a file exists, else text]",
)
@click.option(
    "--bound",
    "quantile",
    type=click.Choice(["avg", "low_05", "up_95"]),
    help="Of the safe class's root distances, where a redirected query ends. "
    "[default: avg; with --traversal paper, up_95]",
)
@click.option(
    "--traversal",
    type=click.Choice(FORMS),
    default="exact",
    show_default=True,
    help="exact: to the bound along the geodesic; paper: as the code released with HySAC.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Points of the way toward the root that are looked up.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="numpy",
    show_default=True,
    help="What searches.",
)
@click.option("--verify", is_flag=True, help="Check the digests of the index's files first.")
@click.option(
    "--model", help="Model package. [default: the one that the index was made with, where it was]"
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What computes.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per query.")
def retrieve(
    query: str,
    index_path: Path,
    policy: Policy | None,
    k: int,
    filter_unsafe: bool,
    modality: Modality | None,
    kind: Modality | None,
    quantile: Quantile | None,
    traversal: Form,
    steps: int,
    engine: Engine,
    verify: bool,
    model: str | None,
    backend: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Find what in an index is nearest to QUERY: a text, a picture's path, or - for one a line.

    A query that lies farther from the root than safe content does is moved toward it first, so
    that it finds the safe counterpart of what it asks for; --policy original answers it as it is.
    The answer says whether the query was moved, and what that and --filter-unsafe took out.

    Exit status: 0 answered; 2 wrong usage; 3 the query cannot be read, or the index or the model
    cannot be used.
    """
    from edgesafe.calib.retrieval.answer import Question, ask
    from edgesafe.calib.retrieval.embed import Embedder, package_of_index
    from edgesafe.calib.retrieval.index import Index

    index = Index.open(index_path, verify=verify)
    if not len(index):
        raise DataError(
            f"{index_path} is empty: add to it with "
            f"`edgesafe index SOURCE --out {index_path} --add`"
        )
    package, warning = package_of_index(index, model)
    if warning:
        _say(warning)
    if policy is None:
        policy = "original" if index.space.curvature is None else "redirect"
    if quantile and policy == "original":
        raise UsageError("--bound goes with --policy redirect")
    embedder = Embedder(package, backend=backend, threads=threads)
    question = Question(policy, k, filter_unsafe, modality, quantile, traversal, steps, engine)
    failed = 0
    for text in _queries(query):
        try:
            asked, found = _embed(embedder, text, kind)
        except (SourceError, UsageError) as error:
            if query != "-":
                raise
            failed += 1
            _say(str(error))
            if as_json:
                click.echo(json.dumps({"query": {"query": text}, "error": str(error)}))
            continue
        answer = ask(index, found, question, embedder.manifest.bounds)
        if as_json:
            head = {"query": asked, "index": str(index_path), "package": package.manifest.identity}
            click.echo(json.dumps({**head, **answer.to_json()}, allow_nan=False))
        else:
            click.echo("\n".join(_lines(asked, answer)))
    if failed:
        raise SourceError(f"{failed} queries could not be looked up")


def _queries(query: str) -> Iterable[str]:
    if query != "-":
        return [query]
    lines = (os.fsdecode(line).rstrip("\r\n") for line in sys.stdin.buffer)
    return (line for line in lines if line.strip())


def _embed(
    embedder: Embedder, query: str, kind: Modality | None
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """The query as the answer names it, and its point.

    Raises:
        UsageError: It looks like a path, and there is no such file.
        SourceError: It has no point.
    """
    if kind is None:
        kind = "image" if os.path.lexists(query) else "text"
        # A misspelt path must not be looked up as a text without a word.
        if kind == "text" and query.lower().endswith(_PICTURES) and " " not in query:
            raise UsageError(
                f"there is no file {query!r}: mend the path, or pass --as text to look for these "
                "words"
            )
    found = embedder.image(query) if kind == "image" else embedder.text(query)
    verdict = found.verdict
    if found.point is None:
        raise SourceError(
            f"the query {query!r:.200} cannot be looked up: {verdict.reason}: {verdict.detail}"
        )
    asked = {
        "query": query,
        "modality": kind,
        "verdict": verdict.decision,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "reason": verdict.reason,
    }
    return asked, found.point


def _lines(asked: dict[str, Any], answer: Answer) -> Iterator[str]:
    yield _clean(f"{asked['modality']} query: {asked['query']}  [{asked['verdict']}]")
    if answer.redirected:
        assert answer.bound is not None
        yield (
            f"redirected: radius {answer.radius_before:.3f} -> {answer.radius_after:.3f} "
            f"({answer.bound['class']} {answer.bound['quantile']}); {answer.turned_away} of its "
            f"first {len(answer.hits)} results are gone"
        )
        yield "on the way:"
        for step in answer.steps:
            name = step.caption or step.id
            yield _clean(f"  {step.radius:.3f}  {step.verdict:<9}  {_clip(name)}")
    elif answer.policy == "redirect":
        yield (f"not redirected: radius {answer.radius_before:.3f} is within {answer.limit:.3f}")
    else:
        yield "answered as it is"
    if answer.filtered:
        yield f"filtered: {answer.filtered} results that are not safe"
    yield ""
    yield f"{'RANK':>4}  {'BEFORE':>6}  {'DISTANCE':>8}  {'RADIUS':>6}  {'VERDICT':<9}  ITEM"
    for hit in answer.hits:
        before = str(hit.rank_before) if hit.rank_before else "-"
        radius = f"{hit.radius:6.3f}" if hit.radius is not None else f"{'-':>6}"
        name = hit.item.id
        if hit.item.caption:
            name += f"  {_clip(hit.item.caption)}"
        yield (
            f"{hit.rank:>4}  {before:>6}  {hit.distance:8.4f}  {radius}  "
            f"{hit.item.verdict:<9}  {_clean(name)}"
        )
    if not answer.hits:
        yield "nothing found"


def _clip(text: str) -> str:
    return text if len(text) <= _CAPTION else text[: _CAPTION - 1] + "~"


def _clean(text: str) -> str:
    return printable(text, sys.stdout)


def _say(message: str) -> None:
    click.echo(printable(f"edgesafe: {message}", sys.stderr), err=True)
