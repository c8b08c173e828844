"""``edgesafe index``: make a folder of pictures and texts searchable."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesafe.calib.retrieval.entries import Entry, NotIndexed, read_entries
from edgesafe.runtime.errors import SourceError
from edgesafe.runtime.output import printable
from edgesafe.runtime.sessions import BACKENDS

if TYPE_CHECKING:
    from edgesafe.calib.retrieval.embed import Embedded, Embedder
    from edgesafe.calib.retrieval.index import IndexWriter

__all__ = ["Indexing", "index"]

_AHEAD = 8


class Indexing:
    """One run: what it added, and what it could not.

    Args:
        embedder: Of the package that the index belongs to.
        writer: Of the index.
        commit: Items after which the index is written.
    """

    def __init__(self, embedder: Embedder, writer: IndexWriter, commit: int) -> None:
        """Start with nothing done."""
        self._embedder = embedder
        self._writer = writer
        self._commit = commit
        self.added = self.replaced = self.unchanged = 0
        self.verdicts: Counter[str] = Counter()
        self.problems: list[NotIndexed] = []

    def run(self, entries: Iterable[Entry | NotIndexed]) -> Iterator[NotIndexed]:
        """Index everything; yield what cannot be, as it is met."""
        seen = len(self.problems)
        stream = self._readable(entries)
        # A few at a time, so that pictures share an inference.
        while batch := list(islice(stream, _AHEAD)):
            pictures = [content for entry, content, _ in batch if entry.modality == "image"]
            images = self._embedder.images(pictures) if pictures else iter(())
            for entry, content, digest in batch:
                if isinstance(content, str):
                    found = self._embedder.text(content)
                else:
                    found = next(images)
                self._take(entry, digest, found)
            if self._writer.pending >= self._commit:
                self._write()
            yield from self.problems[seen:]
            seen = len(self.problems)
        yield from self.problems[seen:]
        self._write()

    def _readable(
        self, entries: Iterable[Entry | NotIndexed]
    ) -> Iterator[tuple[Entry, bytes | str, str]]:
        """Entries with their content and its digest; what is there already is left out."""
        from edgesafe.runtime.files import sha256_hex
        from edgesafe.runtime.gate import Refused, read_image_file

        for entry in entries:
            if isinstance(entry, NotIndexed):
                self.problems.append(entry)
                continue
            content: bytes | str = entry.content
            if entry.modality == "image":
                try:
                    content = read_image_file(entry.content)
                except Refused as refused:
                    problem = NotIndexed(entry.source, refused.code, refused.detail)
                    self.problems.append(problem)
                    continue
            data = content.encode() if isinstance(content, str) else content
            digest = sha256_hex(data)
            if self._writer.has(entry.id, digest):
                self.unchanged += 1
            else:
                yield entry, content, digest

    def _take(self, entry: Entry, digest: str, found: Embedded) -> None:
        from edgesafe.calib.retrieval.items import Item

        verdict = found.verdict
        if found.point is None:
            problem = NotIndexed(entry.source, str(verdict.reason), verdict.detail or "")
            self.problems.append(problem)
            return
        item = Item(
            id=entry.id,
            source=entry.source,
            modality=entry.modality,
            verdict=verdict.decision,
            score=verdict.score,
            reason=verdict.reason,
            caption=entry.content if entry.modality == "text" else entry.caption,
            sha256=digest,
            meta=entry.meta,
        )
        self._writer.add(item, found.point)
        self.verdicts[verdict.decision] += 1

    def _write(self) -> None:
        replacing, pending = self._writer.replacing, self._writer.pending
        self._writer.commit()
        self.replaced += replacing
        self.added += pending - replacing


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the index.")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Model package. [default: the one that comes with edgesafe; with --add, the index's own]",
)
@click.option("--add", is_flag=True, help="Add to an index; what is in it unchanged is skipped.")
@click.option(
    "--commit",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Write the index after so many items; a run that is killed loses at most these.",
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What computes.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one line of JSON.")
def index(
    sources: tuple[str, ...],
    out: Path,
    model: Path | None,
    add: bool,
    commit: int,
    backend: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Make pictures and texts searchable with `edgesafe retrieve`.

    SOURCE is a picture, a folder, a glob, a .jsonl file of {"image": PATH} or {"text": TEXT} (with
    "id" and "caption" if you like), a .txt file with one text a line, or - for a list of these on
    standard input.

    What cannot be decoded is reported and not indexed. Exit status: 0 done; 2 wrong usage; 3 a
    SOURCE is missing or nothing could be indexed, or the model cannot be used.
    """
    from edgesafe.calib.retrieval.embed import Embedder, package_of_index
    from edgesafe.calib.retrieval.index import Index, new_writer, open_writer

    if add:
        package, warning = package_of_index(Index.open(out), str(model) if model else None)
        embedder = Embedder(package, backend=backend, threads=threads)
        if warning:
            _say(warning)
        opened = open_writer(out)
    else:
        embedder = Embedder.load(model, backend=backend, threads=threads)
        opened = new_writer(out, embedder.space, embedder.origin)
    lines = (os.fsdecode(line) for line in sys.stdin.buffer)
    with opened as writer:
        run = Indexing(embedder, writer, commit)
        for problem in run.run(read_entries(sources, lines)):
            _say(f"{problem.source}: not indexed: {problem.reason}: {problem.detail}")
    # A first build that nothing got into has left no index.
    kept = add or run.added > 0
    total = len(Index.open(out)) if kept else 0
    report: dict[str, Any] = {
        "index": str(out),
        "package": embedder.manifest.identity,
        "items": total,
        "added": run.added,
        "replaced": run.replaced,
        "unchanged": run.unchanged,
        "verdicts": {name: run.verdicts[name] for name in ("safe", "unsafe", "undecided")},
        "not_indexed": [asdict(problem) for problem in run.problems],
    }
    if as_json:
        click.echo(json.dumps(report, allow_nan=False))
    elif kept:
        click.echo(_summary(report))
    missing = [problem for problem in run.problems if problem.missing]
    whole = "not everything" if total else "nothing of what was named"
    if missing:
        raise SourceError(f"{whole} could be indexed: {missing[0].source}: {missing[0].detail}")
    if not total:
        state = f"{out} is still empty" if kept else f"there is no index {out}"
        raise SourceError(
            f"{whole} could be indexed, {state}: name pictures, folders that hold some, or lists "
            "of texts"
        )


def _summary(report: dict[str, Any]) -> str:
    counts = ", ".join(f"{n} {name}" for name, n in report["verdicts"].items() if n)
    text = f"{report['index']}: {report['items']} items, {report['added']} added"
    if report["replaced"]:
        text += f", {report['replaced']} replaced"
    if report["unchanged"]:
        text += f", {report['unchanged']} unchanged"
    if report["not_indexed"]:
        text += f", {len(report['not_indexed'])} not indexed"
    return printable(text + (f" ({counts})" if counts else ""), sys.stdout)


def _say(message: str) -> None:
    click.echo(printable(f"edgesafe: {message}", sys.stderr), err=True)
