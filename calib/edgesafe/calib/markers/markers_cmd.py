"""``edgesafe markers``: a table of sub-commands, each imported when it is run."""

from __future__ import annotations

import importlib

import click

__all__ = ["COMMANDS", "markers"]

COMMANDS = {
    "detect": (
        "edgesafe.calib.markers.detect_cmd:detect",
        "Find markers and the board's pose in pictures.",
    ),
    "oracle": (
        "edgesafe.calib.markers.oracle_cmd:oracle",
        "Measure how well the markers alone give the objects' poses.",
    ),
    "erase": (
        "edgesafe.calib.markers.erase_cmd:erase",
        "Take the markers, or the whole board, out of a data set.",
    ),
    "counterfactual": (
        "edgesafe.calib.markers.counterfactual_cmd:counterfactual",
        "Make data sets in which only the markers differ.",
    ),
    "audit": (
        "edgesafe.calib.markers.audit_cmd:audit",
        "Measure whether a pose network reads the markers.",
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
def markers() -> None:
    """Find marker boards, measure what they give away, and take them out."""
