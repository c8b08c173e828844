"""``edgesafe moderate``: judge pictures, videos, cameras and texts.

Exit status: 0 every source got its line; 1 the same, and ``--fail-on`` was hit; 2 wrong usage;
3 a path was missing or held nothing to judge, or the package or the backend could not be used. 3
wins over 1: a policy that saw only a part has no answer.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import click

from edgesafe.runtime.backends.base import BACKENDS
from edgesafe.runtime.camera import Camera
from edgesafe.runtime.errors import MissingExtraError, SourceError
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.runtime.gate import Decoded, Refused, decode_array, decode_image, read_image_file
from edgesafe.runtime.moderator import Moderator
from edgesafe.runtime.output import JsonLines, Progress, Table, summary
from edgesafe.runtime.redact import Redactor
from edgesafe.runtime.sources import Source, expand
from edgesafe.runtime.texts import read_texts
from edgesafe.runtime.verdict import Modality, Verdict
from edgesafe.runtime.video import Frame, read_frames

__all__ = ["moderate"]


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video, camera or stream are judged."""

    every: int = 1
    fps: float | None = None
    max_frames: int | None = None
    duration: float | None = None

    @property
    def bounded(self) -> bool:
        """Whether a camera comes to an end by itself."""
        return self.max_frames is not None or self.duration is not None


@dataclass
class _Run:
    """One run of the command: what it judges with, and what came of it."""

    moderator: Moderator
    writer: JsonLines | Table
    progress: Progress
    redactor: Redactor | None
    sampling: Sampling
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def judge(self, source: Source) -> None:
        by_kind: dict[str, Callable[[Source], None]] = {
            "image": self._image,
            "video": self._video,
            "camera": self._camera,
            "stream": self._camera,
        }
        try:
            if source.problem is not None:
                raise source.problem
            by_kind[source.kind](source)
        except Refused as refused:
            self.problem(source.name, refused)
        except SourceError as error:
            self.problem(source.name, Refused("unopened", str(error)))
        except MissingExtraError as error:
            self.problem(source.name, Refused("missing_extra", str(error)))

    def text(self, source: str, text: str) -> None:
        self._say(source, 0, self.moderator.check_text(text))

    def bad_text(self, source: str, refused: Refused) -> None:
        self._say(source, 0, self._undecided(refused, "text"))

    def problem(self, name: str, refused: Refused, modality: Modality = "image") -> None:
        """Print the line of a source of which nothing could be judged; exit with 3 in the end."""
        self._say(name, None, self._undecided(refused, modality))
        self.problems.append(f"{name}: {refused.detail}")

    def _image(self, source: Source) -> None:
        verdict = self.moderator.check(source.target)
        # Read again rather than kept: most pictures need no copy, and a changed one is blurred too.
        self._redact(source, None, verdict, lambda: decode_image(read_image_file(source.target)))
        self._say(source.name, 0, verdict)

    def _video(self, source: Source) -> None:
        chosen = self.sampling
        frames = read_frames(
            source.target, every=chosen.every, fps=chosen.fps, max_frames=chosen.max_frames
        )
        for frame in frames:
            self._frame(source, frame)

    def _camera(self, source: Source) -> None:
        # Before the first frame waits for it.
        self.moderator.prepare("image")
        camera = Camera(source.target, name=source.name)
        chosen = self.sampling
        frames = camera.frames(
            every=chosen.every, max_frames=chosen.max_frames, duration_s=chosen.duration
        )
        try:
            with closing(frames):
                for frame in frames:
                    self._frame(source, frame)
        except KeyboardInterrupt:
            if not camera.counts.produced:
                raise
            # How a camera is meant to be ended; a batch of files that is cut short is an error.
            self._note("interrupted; the camera is closed")
        count = camera.counts
        self._note(
            f"{source.name}: {count.produced} frames, {count.taken} judged, {count.dropped} "
            f"dropped, {count.stalls} stalls, {count.reconnects} reconnects"
        )

    def _frame(self, source: Source, frame: Frame) -> None:
        rgb = frame.rgb
        if rgb is None:
            verdict = self._undecided(frame.refused or Refused("no_frame", "there is no frame"))
        else:
            verdict = self.moderator.check(rgb)
            self._redact(source, frame.index, verdict, lambda: decode_array(rgb))
        self._say(source.name, frame.index, verdict)

    def _redact(
        self, source: Source, index: int | None, verdict: Verdict, decode: Callable[[], Decoded]
    ) -> None:
        if self.redactor is None or verdict.decision == "safe":
            return
        relative = source.relative if index is None else source.relative / f"{index:06d}.jpg"
        try:
            rgb = decode().views[-1]
        except Refused:
            rgb = None
        self.redactor.write(relative, rgb)

    def _undecided(self, refused: Refused, modality: Modality = "image") -> Verdict:
        package = self.moderator.manifest.identity
        return Verdict.undecided(refused.code, refused.detail, modality=modality, package=package)

    def _say(self, name: str, index: int | None, verdict: Verdict) -> None:
        self.counts[verdict.decision] += 1
        self.progress.clear()
        self.writer.write(name, index, verdict)

    def _note(self, message: str) -> None:
        self.progress.clear()
        click.echo(message, err=True)


@click.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--text", "texts", multiple=True, metavar="TEXT", help="Judge this text; repeatable.")
@click.option(
    "--text-file",
    "text_files",
    multiple=True,
    metavar="FILE",
    help='Judge the texts of a file: .jsonl with strings or {"text": ...}, else one a line.',
)
@click.option("--model", metavar="PKG", help="Model package; without it, the one of the samples.")
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What computes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@click.option(
    "--redact",
    metavar="DIR",
    help="Write blurred copies of what is not safe into this new or empty folder.",
)
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(["unsafe", "undecided"]),
    help="Exit with 1 if there is such a verdict; repeatable.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute.")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of a video, camera or stream, judge one frame of so many.",
)
@click.option(
    "--fps",
    type=FiniteRange(min=0, min_open=True),
    help="Of a video, judge about so many frames a second.",
)
@click.option(
    "--max-frames",
    type=click.IntRange(min=1),
    help="Stop a video, camera or stream after so many frames.",
)
@click.option(
    "--duration",
    type=FiniteRange(min=0, min_open=True),
    help="Stop a camera or stream after so many seconds.",
)
def moderate(
    sources: tuple[str, ...],
    texts: tuple[str, ...],
    text_files: tuple[str, ...],
    model: str | None,
    backend: str,
    as_json: bool,
    redact: str | None,
    fail_on: tuple[str, ...],
    threads: int | None,
    every: int,
    fps: float | None,
    max_frames: int | None,
    duration: float | None,
) -> None:
    """Judge pictures, videos, cameras and texts: safe, unsafe or undecided.

    SOURCE is a file, a folder, a glob, a video, 0 (a camera), rtsp://... or http://..., or - for a
    list of sources on standard input.

    Whatever cannot be judged is undecided, with a reason; it is never safe.

    Exit status: 0 every source got its line; 1 --fail-on was hit; 2 wrong usage; 3 a path is
    missing or holds nothing to judge, or the model cannot be used.
    """
    if not (sources or texts or text_files):
        raise click.UsageError(
            "nothing to judge: name a file, folder or other SOURCE, or use --text or --text-file "
            "(`edgesafe demo` judges the sample photos)"
        )
    if fps is not None and every != 1:
        raise click.UsageError("--fps and --every both choose the frames: use one of them")
    sampling = Sampling(every, fps, max_frames, duration)
    _refuse_endless(sources, bool(texts or text_files), sampling)
    redactor = Redactor(redact) if redact is not None else None
    # FFmpeg writes about every damaged frame; the verdicts say it better.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    run = _Run(
        moderator=Moderator.load(model, backend=backend, threads=threads),
        writer=JsonLines(sys.stdout, sys.stderr) if as_json else Table(sys.stdout),
        progress=Progress(sys.stderr, _total(sources, sys.stderr.isatty())),
        redactor=redactor,
        sampling=sampling,
    )
    try:
        _judge(run, sources, texts, text_files)
    finally:
        run.progress.clear()
    click.echo(summary(run.counts), err=True)
    if run.problems:
        first = run.problems[0]
        more = f" (and {len(run.problems) - 1} more)" if len(run.problems) > 1 else ""
        raise SourceError(f"not everything could be judged: {first}{more}")
    if any(run.counts[word] for word in fail_on):
        click.get_current_context().exit(1)


def _judge(
    run: _Run, sources: tuple[str, ...], texts: tuple[str, ...], text_files: tuple[str, ...]
) -> None:
    done = 0
    lines = (os.fsdecode(line) for line in sys.stdin.buffer)
    for source in expand(sources, lines):
        run.judge(source)
        done += 1
        run.progress.draw(done, run.counts)
    for number, text in enumerate(texts, 1):
        run.text(f"text:{number}", text)
    for path in text_files:
        for record in read_texts(path):
            if record.text is not None:
                run.text(record.source, record.text)
            elif record.refused is not None and record.source == path:
                run.problem(path, record.refused, "text")
            elif record.refused is not None:
                run.bad_text(record.source, record.refused)
            run.progress.draw(done, run.counts)


def _refuse_endless(sources: tuple[str, ...], and_texts: bool, sampling: Sampling) -> None:
    """Refuse to wait for ever for a camera while other sources stand in line."""
    if sampling.bounded:
        return
    for position, argument in enumerate(sources):
        first = next(expand([argument]), None)
        last = position == len(sources) - 1 and not and_texts
        if first is not None and first.endless and not last:
            raise click.UsageError(
                f"{argument} never ends, so what stands behind it would never be judged: put it "
                "last, or add --max-frames or --duration"
            )


def _total(sources: tuple[str, ...], wanted: bool) -> int | None:
    """How many sources there are, for the progress bar; None where that is not known."""
    if not wanted or "-" in sources:
        return None
    return sum(1 for _ in expand(sources))
