"""``edgesafe evaluate retrieval``: the papers' tables on one's own quadruplets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesafe.calib.retrieval.traversal import FORMS, Form
from edgesafe.runtime.output import printable
from edgesafe.runtime.sessions import BACKENDS

if TYPE_CHECKING:
    from edgesafe.calib.bad_records import BadRecord
    from edgesafe.calib.quadruplets import Quadruplet
    from edgesafe.calib.retrieval.answer import Quantile
    from edgesafe.calib.retrieval.embed import Embedder
    from edgesafe.calib.retrieval.protocol import EmbeddedQuadruplets, Row

__all__ = ["embed_quadruplets", "retrieval", "tables"]

_NAME = 22
_CELL = 19


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Model package. [default: the one that comes with edgesafe]",
)
@click.option(
    "--bound",
    "quantile",
    type=click.Choice(["avg", "low_05", "up_95"]),
    help="Of the safe classes' root distances, where a redirected query ends. "
    "[default: avg; with --traversal paper, up_95]",
)
@click.option(
    "--traversal",
    type=click.Choice(FORMS),
    default="exact",
    show_default=True,
    help="exact: to the bound along the geodesic; paper: as the code released with HySAC.",
)
@click.option("--skip-bad", is_flag=True, help="Leave bad records out instead of refusing.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N records.")
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What computes.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one line of JSON.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the report to this file.")
def retrieval(
    data: Path,
    model: Path | None,
    quantile: Quantile | None,
    traversal: Form,
    skip_bad: bool,
    limit: int | None,
    backend: str,
    threads: int | None,
    as_json: bool,
    out: Path | None,
) -> None:
    """Recalls on quadruplets of safe and unsafe images and texts, as in the papers.

    DATA is a .jsonl, .json or .parquet file (or a folder with test.* in it) of records with
    safe_image, safe_text, unsafe_image and unsafe_text; image paths are relative to it.

    Printed are the columns of tables 1 and 2 of the HySAC paper beside its rows, which were
    measured on other data: compare their shape, not their height.
    """
    from edgesafe.calib.bad_records import BadRecordsError
    from edgesafe.calib.quadruplets import find_file, read_records
    from edgesafe.calib.retrieval.embed import Embedder
    from edgesafe.calib.retrieval.protocol import evaluate
    from edgesafe.runtime.errors import DataError, UsageError
    from edgesafe.runtime.files import atomic_write, check_writable

    if out is not None:
        check_writable(out, "--out")
    file = find_file(data, "test")
    parsed, bad = read_records(file)
    embedder = Embedder.load(model, backend=backend, threads=threads)
    embedded, kept, broken = embed_quadruplets(embedder, parsed[:limit])
    bad = [*bad, *broken]
    if bad and not skip_bad:
        raise BadRecordsError(str(file), bad)
    if embedded is None:
        raise DataError(f"{file} holds no usable record")
    c = embedder.space.curvature
    quantile = quantile or ("avg" if traversal == "exact" else "up_95")
    bounds: dict[str, float] | None = None
    if c is not None:
        known = embedder.manifest.bounds
        names = ("safe_text", "safe_image")
        if not all(name in known for name in names):
            raise UsageError(
                f"{embedder.manifest.identity} has no bounds for {' and '.join(names)}, which "
                "redirected queries need: export the package from a checkpoint that was validated"
            )
        bounds = {name: float(getattr(known[name], quantile)) for name in names}
    rows = evaluate(
        embedded,
        "cosine" if c is None else "hyperbolic",
        curvature=c,
        bounds=bounds,
        traversal=traversal,
    )
    report = {
        "data": str(file),
        "records": kept,
        "skipped": len({record.line for record in bad}),
        "package": embedder.manifest.identity,
        "method": embedder.manifest.method,
        "traversal": traversal if bounds else None,
        "quantile": quantile if bounds else None,
        "bounds": bounds,
        "rows": [row.to_json() for row in rows],
    }
    text = json.dumps(report, allow_nan=False)
    if out is not None:
        atomic_write(out, f"{text}\n".encode())
    if as_json:
        click.echo(text)
    else:
        title = f"{embedder.manifest.identity}, {kept} records of {file}"
        click.echo(printable(title, sys.stdout))
        if bounds:
            ends = ", ".join(f"{name} {value:.3f}" for name, value in bounds.items())
            click.echo(f"redirected ({traversal}) to {quantile}: {ends}")
        click.echo("\n".join(tables({"this package": rows})))


def embed_quadruplets(
    embedder: Embedder, records: Sequence[tuple[int, Quadruplet]]
) -> tuple[EmbeddedQuadruplets | None, int, list[BadRecord]]:
    """Encode records, each picture and text once.

    Returns:
        The embeddings of the good records (None where there is none), how many these are, and
        what is wrong with the others.
    """
    import numpy as np

    from edgesafe.calib.bad_records import BadRecord
    from edgesafe.calib.retrieval.protocol import CLASSES, EmbeddedQuadruplets

    wanted = [r for _, r in records]
    pictures = list(dict.fromkeys(p for r in wanted for p in (r.safe_image, r.unsafe_image)))
    texts = list(dict.fromkeys(t for r in wanted for t in (r.safe_text, r.unsafe_text)))
    found: dict[Any, Any] = {}
    with click.progressbar(
        length=len(pictures) + len(texts), label="embedding", file=sys.stderr
    ) as bar:
        for path, one in zip(pictures, embedder.images(pictures), strict=True):
            found[path] = one
            bar.update(1)
        for text in texts:
            found[text] = embedder.text(text)
            bar.update(1)
    good, bad = [], []
    for line, record in records:
        broken = [
            (name, found[getattr(record, name)].verdict)
            for name in CLASSES
            if found[getattr(record, name)].point is None
        ]
        for name, verdict in broken:
            detail = f"{getattr(record, name)}: {verdict.detail or ''}"
            bad.append(BadRecord(line, record.id, name, str(verdict.reason), detail))
        if not broken:
            good.append(record)
    if not good:
        return None, 0, bad
    columns = {name: [getattr(record, name) for record in good] for name in CLASSES}
    matrices = {
        name: np.stack([found[key].point for key in keys]) for name, keys in columns.items()
    }
    embedded = EmbeddedQuadruplets(**matrices, keys=columns, tags=[record.tag for record in good])
    return embedded, len(good), bad


def tables(models: Mapping[str, Sequence[Row]], *, published: bool = True) -> Iterator[str]:
    """The papers' two tables, R@1/10/20 in percent.

    Args:
        models: Name to the rows of :func:`.protocol.evaluate`.
        published: Whether the papers' rows stand above.
    """
    from edgesafe.calib.retrieval.published import SAFE_TARGETS, SOURCE, UNSAFE_TARGETS

    for title, paper, safe in (
        ("Safe targets (table 1)", SAFE_TARGETS, True),
        ("Unsafe targets (table 2)", UNSAFE_TARGETS, False),
    ):
        names = list(next(iter(paper.values())))
        yield ""
        yield title
        yield f"{'MODEL':<{_NAME}}" + "".join(f"{name:>{_CELL}}" for name in names)
        if published:
            for model, figures in paper.items():
                cells = ("/".join(f"{v:.1f}" for v in figures[name]) for name in names)
                yield f"{model:<{_NAME}}" + "".join(f"{cell:>{_CELL}}" for cell in cells)
            yield "-" * (_NAME + _CELL * len(names))
        for model, rows in models.items():
            redirected = {row.task.name: row for row in rows if row.redirected}
            plain = {row.task.name: row for row in rows if not row.redirected}
            if safe and redirected:
                yield _line(f"{model[: _NAME - 2]}", {**plain, **redirected}, names)
                yield _line("  not redirected", {**plain}, names)
            else:
                yield _line(model[: _NAME - 2], plain, names)
    yield ""
    yield "Safety score: % of unsafe queries into the mixed pool whose first result is safe"
    for model, rows in models.items():
        for row in rows:
            if row.task.redirect and row.safety is not None and row.safety_interval is not None:
                low, high = (100 * end for end in row.safety_interval)
                what = f"redirected, {row.moved:.0%} moved" if row.redirected else "as they are"
                yield (
                    f"{model[: _NAME - 2]:<{_NAME}}{row.task.name:<12}{100 * row.safety:6.1f} "
                    f"({low:.1f} to {high:.1f})  {what}"
                )
    if published:
        yield ""
        yield f"Published rows: {SOURCE}."


def _line(name: str, rows: Mapping[str, Row], names: Sequence[str]) -> str:
    cells = ("/".join(f"{100 * v:.1f}" for v in rows[n].recall.values()) for n in names)
    return f"{name:<{_NAME}}" + "".join(f"{cell:>{_CELL}}" for cell in cells)
