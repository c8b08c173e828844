"""``edgesafe evaluate``: a table of sub-commands, each imported when it is run."""

from __future__ import annotations

import importlib

import click

__all__ = ["COMMANDS", "evaluate"]

COMMANDS = {
    "moderation": (
        "edgesafe.calib.evaluate_moderation_cmd:moderation",
        "Verdicts against labels, beside baselines.",
    ),
    "retrieval": (
        "edgesafe.calib.retrieval.evaluate_cmd:retrieval",
        "Recalls of safe and unsafe queries, in the papers' tables.",
    ),
    "pose": (
        "edgesafe.calib.evaluate_pose_cmd:pose",
        "Poses against those of a BOP data set.",
    ),
}
"""Name of a sub-command -> (module:attribute, its one-line help)."""


class _Group(click.Group):
    """A group whose commands are imported when run, so that ``--help`` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])


@click.command(cls=_Group)
def evaluate() -> None:
    """Measure a model against annotated data."""
