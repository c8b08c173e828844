"""The ``edgesafe`` command: a table of sub-commands, each imported when it is run.

Exit status, for every command: 0 done; 1 policy hit (only where a command has ``--fail-on``);
2 wrong usage; 3 could not do the work; 130 interrupted; 141 the reader of the output went away.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn

import click

from edgesafe.runtime.ending import exit_process, handle_interrupts
from edgesafe.runtime.errors import EdgesafeError, MissingExtraError

__all__ = ["COMMANDS", "Entry", "LazyGroup", "main", "run"]

_NOT_DONE = 3
_INTERRUPTED = 130  # 128 + SIGINT, what a shell reports of a process ended by Ctrl-C
_BROKEN_PIPE = 141  # 128 + SIGPIPE; 1 would read as a policy hit


class Entry(NamedTuple):
    """Where a sub-command lives, which extra it needs, and its one-line help."""

    target: str
    extra: str
    help: str


COMMANDS = {
    "demo": Entry(
        "edgesafe.samples.demo:demo",
        "cpu",
        "Judge the sample photos, estimate sample poses, write a report.",
    ),
    "moderate": Entry(
        "edgesafe.runtime.moderate_cmd:moderate",
        "cpu",
        "Judge files, folders, videos, cameras and text.",
    ),
    "pose": Entry(
        "edgesafe.runtime.pose.pose_cmd:pose", "cpu", "Estimate the 6D poses of known objects."
    ),
    "explain": Entry(
        "edgesafe.calib.explain.explain_cmd:explain", "cpu", "Draw why a verdict is what it is."
    ),
    "index": Entry(
        "edgesafe.calib.retrieval.index_cmd:index", "cpu", "Make images and texts searchable."
    ),
    "retrieve": Entry(
        "edgesafe.calib.retrieval.retrieve_cmd:retrieve",
        "cpu",
        "Search an index, redirected to safe content or not.",
    ),
    "markers": Entry(
        "edgesafe.calib.markers.markers_cmd:markers",
        "cpu",
        "Find, erase and move calibration markers; does a network read them?",
    ),
    "inspect": Entry(
        "edgesafe.calib.inspect_cmd:inspect", "cpu", "Show what a package or a data set holds."
    ),
    "evaluate": Entry(
        "edgesafe.calib.evaluate_cmd:evaluate", "cpu", "Compare a model with annotated data."
    ),
    "verify": Entry(
        "edgesafe.calib.verify_cmd:verify", "cpu", "Replay golden inputs on every backend."
    ),
    "doctor": Entry(
        "edgesafe.calib.doctor_cmd:doctor", "cpu", "Tell what is installed here and what works."
    ),
    "bench": Entry("edgesafe.calib.bench:bench", "cpu", "Measure time and memory on this machine."),
    "calibrate": Entry(
        "edgesafe.calib.calibrate_cmd:calibrate", "cpu", "Thresholds, probes and cameras."
    ),
    "render": Entry(
        "edgesafe.calib.render.render_cmd:render", "cpu", "Make training images of parts."
    ),
    "import": Entry(
        "edgesafe.calib.import_cmd:import_", "cpu", "Released weights and ONNX classifiers."
    ),
    "train": Entry("edgesafe.train.cli:train", "train", "Train a model."),
    "export": Entry(
        "edgesafe.export.cli:export", "export", "Turn a checkpoint into a model package."
    ),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when run, so that ``--help`` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the table, in its order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command.

        Raises:
            MissingExtraError: A third-party module that the command needs is not installed.
        """
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise _missing(error, entry) from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> None:
        """Run the sub-command; its return value is not the exit status."""
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _leave_broken_pipe()
        except ModuleNotFoundError as error:
            entry = COMMANDS.get(ctx.invoked_subcommand or "")
            if entry is None:
                raise
            raise _missing(error, entry) from error

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the command line and exit; every ending has a message and a status."""
        # A number comes from ctx.exit(); `invoke` above returns nothing.
        _end(partial(super().main, *args, **kwargs, standalone_mode=False))


def run(command: click.Command) -> NoReturn:
    """Run the command of a module that was started by itself (``python -m``), ending as `main`."""
    _end(partial(command.main, standalone_mode=False))


def _end(work: Callable[[], Any]) -> NoReturn:
    handle_interrupts()
    try:
        status = work() or 0
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_broken_pipe()
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        status = _INTERRUPTED
    except click.UsageError as error:
        error.show()
        status = error.exit_code
    except click.ClickException as error:
        _say(f"error: {error.format_message()}")
        status = _NOT_DONE
    except EdgesafeError as error:
        _say(f"error: {error}")
        status = error.exit_status
    except OSError as error:
        # A full disk, a folder without permission: the system's message tells.
        _say(f"error: {error}")
        status = _NOT_DONE
    except Exception as error:
        _say(
            f"internal error, this is a bug in edgesafe: {type(error).__name__}: {error}\n"
            "Run again with EDGESAFE_DEBUG=1 to see where, and report it with that output."
        )
        status = _NOT_DONE
    exit_process(status)


def _missing(error: ModuleNotFoundError, entry: Entry) -> Exception:
    """Name the extra that brings the missing module; a missing part of edgesafe is a bug."""
    name = error.name or ""
    if not name or name.partition(".")[0] == "edgesafe":
        return error
    return MissingExtraError(name.partition(".")[0], entry.extra)


def _say(message: str) -> None:
    """Print to stderr, after the traceback of the current error where it is wanted."""
    if os.environ.get("EDGESAFE_DEBUG", "0") not in ("", "0"):
        traceback.print_exc()
    # A file name may hold terminal escapes; show them instead of obeying them.
    printable = (c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in message)
    click.echo("edgesafe: " + "".join(printable), err=True)


def _leave_broken_pipe() -> NoReturn:
    # Python flushes stdout once more at exit; give that flush somewhere to go.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    exit_process(_BROKEN_PIPE)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgesafe")
def main() -> None:
    """Safety-aware vision and 6D pose, trained on a server and run on the edge."""


if __name__ == "__main__":
    main()
