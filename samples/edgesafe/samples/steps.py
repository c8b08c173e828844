"""Long jobs made of commands: what is there is not made again, so they go on where they were."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

__all__ = ["Step", "each", "execute", "made", "run_steps", "words"]


@dataclass(frozen=True)
class Step:
    """One command and how to tell that it was done.

    Attributes:
        name: For a person.
        words: What follows ``python -m``.
        done: Whether the whole output is there and not older than what it was made from.
    """

    name: str
    words: tuple[str, ...]
    done: Callable[[], bool]

    @property
    def line(self) -> str:
        """The command as one would type it."""
        return shlex.join(("python", "-m", *self.words))


def words(*some: object) -> tuple[str, ...]:
    """Return what a command line is made of."""
    return tuple(map(str, some))


def each(option: str, values: Iterable[object]) -> tuple[str, ...]:
    """Return an option that is given once for each value."""
    return tuple(word for value in values for word in (option, str(value)))


def made(output: Path, *sources: Path) -> bool:
    """Whether a file written in one piece is there and no older than what it was made from."""
    if not output.is_file():
        return False
    at = output.stat().st_mtime_ns
    return all(at >= s.stat().st_mtime_ns for s in sources if s.is_file())


def run_steps(
    steps: Callable[[], Sequence[Step]],
    execute: Callable[[Step], int],
    say: Callable[[str], None],
) -> None:
    """Do what is not done yet.

    Args:
        steps: Makes the steps, in the order in which they need one another; called anew before
            each, for whether a run has a state to resume shows only when it is its turn.
        execute: Runs one step and returns its exit status.
        say: Called with a line before each step.

    Raises:
        ClickException: A step failed, or ended without its output.
    """
    count = len(steps())
    for number in range(count):
        step = steps()[number]
        place = f"[{number + 1}/{count}] {step.name}"
        if step.done():
            say(f"{place}: done before")
            continue
        say(f"{place}\n    {step.line}")
        status = execute(step)
        if status or not step.done():
            why = f"ended with {status}" if status else "left no complete output"
            raise click.ClickException(
                f"{step.name} {why}; mend the cause and run the same command again, which goes on "
                "from here"
            )


def execute(step: Step) -> int:
    """Run a step in a process of its own and return its exit status."""
    with subprocess.Popen([sys.executable, "-m", *step.words]) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # the step was interrupted too; a training run saves its place first
