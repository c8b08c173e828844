"""What ``moderate`` prints: JSON lines for programs, a table for people, progress for the patient.

Results go to standard output and are flushed line by line; all else goes to standard error.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any, TextIO

import click

from edgesafe.runtime.verdict import Verdict

__all__ = ["JsonLines", "Progress", "Table", "as_record"]

_COLOURS = {"safe": "green", "unsafe": "red", "undecided": "yellow"}
_HEADER = f"{'VERDICT':<9}  {'SCORE':>7}  {'LIMIT':>7}  {'CONCEPT':<16}  {'MS':>7}  SOURCE"


def as_record(source: str, index: int | None, verdict: Verdict) -> dict[str, Any]:
    """The fields of one line of ``moderate --json``; what could not be computed is None."""
    return {
        "source": source,
        "index": index,
        "verdict": verdict.decision,
        "score": verdict.score,
        "radius": verdict.radius,
        "threshold": verdict.threshold,
        "probability": verdict.probability,
        "concepts": [{"name": c.name, "score": c.score} for c in verdict.concepts],
        "reason": verdict.reason,
        "package": verdict.package,
        "ms": {
            "decode": round(verdict.ms.decode, 3),
            "preprocess": round(verdict.ms.preprocess, 3),
            "infer": round(verdict.ms.infer, 3),
            "post": round(verdict.ms.post, 3),
        },
    }


class JsonLines:
    """One JSON object a line, ASCII only, so that any file name survives any terminal."""

    def __init__(self, stdout: TextIO, stderr: TextIO) -> None:
        """Take the streams of the command."""
        self._stdout = stdout
        self._stderr = stderr

    def write(self, source: str, index: int | None, verdict: Verdict) -> None:
        """Print one verdict; the detail of an undecided one, for people, on standard error."""
        record = as_record(source, index, verdict)
        self._stdout.write(json.dumps(record, allow_nan=False) + "\n")
        self._stdout.flush()
        if verdict.reason:
            click.echo(
                printable(
                    f"{_place(source, index)}: {verdict.reason}: {verdict.detail or ''}",
                    self._stderr,
                ),
                file=self._stderr,
            )


class Table:
    """Aligned columns, the verdict in colour where standard output is a terminal."""

    def __init__(self, stdout: TextIO) -> None:
        """Take the stream of the command."""
        self._stdout = stdout
        self._begun = False

    def write(self, source: str, index: int | None, verdict: Verdict) -> None:
        """Print one verdict, and the header before the first."""
        if not self._begun:
            click.echo(_HEADER, file=self._stdout)
            self._begun = True
        word = click.style(f"{verdict.decision:<9}", fg=_COLOURS[verdict.decision])
        # What made it unsafe says more than what else is in the picture.
        telling = [c for c in verdict.concepts if verdict.decision != "unsafe" or not c.harmless]
        concept = telling[0].name if telling else "-"
        why = f"  ({verdict.reason}: {verdict.detail})" if verdict.reason else ""
        click.echo(
            f"{word}  {_number(verdict.score)}  {_number(verdict.threshold)}  "
            f"{_clip(printable(concept, self._stdout)):<16}  {verdict.ms.total:7.1f}  "
            + printable(_place(source, index) + why, self._stdout),
            file=self._stdout,
        )
        self._stdout.flush()


class Progress:
    """One line on standard error that is redrawn; silent unless that is a terminal."""

    def __init__(self, stderr: TextIO, total: int | None) -> None:
        """Take the stream and how many sources there are, None where nobody knows."""
        self._stderr = stderr
        self._total = total
        self._on = stderr.isatty()
        self._start = time.monotonic()
        self._drawn = 0.0

    def clear(self) -> None:
        """Take the line away, so that a result can be printed in its place."""
        if self._on:
            self._stderr.write("\r\x1b[K")
            self._stderr.flush()

    def draw(self, sources: int, counts: Counter[str]) -> None:
        """Show how far it is; at most ten times a second."""
        now = time.monotonic()
        if not self._on or now - self._drawn < 0.1:
            return
        self._drawn = now
        bar = ""
        if self._total:
            full = min(20, 20 * sources // self._total)
            bar = f"[{'#' * full}{'.' * (20 - full)}] {sources}/{self._total}  "
        rate = sum(counts.values()) / max(now - self._start, 1e-9)
        self._stderr.write(f"\r\x1b[K{bar}{summary(counts)}  {rate:.1f}/s")
        self._stderr.flush()


def summary(counts: Counter[str]) -> str:
    """How many of each verdict, in words."""
    return ", ".join(f"{counts[word]} {word}" for word in _COLOURS)


def printable(text: str, stream: TextIO) -> str:
    """Text that the stream can encode, without control characters.

    A file name must neither stop the run nor steer somebody's terminal.
    """
    encoding = stream.encoding or "utf-8"
    safe = text.encode(encoding, "backslashreplace").decode(encoding)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in safe)


def _place(source: str, index: int | None) -> str:
    return f"{source}#{index}" if index else source


def _number(value: float | None) -> str:
    return f"{'-':>7}" if value is None else f"{value:7.3f}"


def _clip(text: str) -> str:
    return text if len(text) <= 16 else text[:15] + "~"
