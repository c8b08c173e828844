"""``edgesafe import``: a table of sub-commands, each imported when it is run.

What they read is written by others, so each of them reads tensors or graphs and never a pickle of
anything else. Only a string here names the code of the trainer: `onnx-classifier` runs without it.
"""

from __future__ import annotations

import importlib

import click

from edgesafe.runtime.errors import MissingExtraError

__all__ = ["COMMANDS", "import_"]

COMMANDS = {
    "hysac": (
        "edgesafe.train.importing.commands:hysac",
        "train",
        "The released HySAC (hysac_model.pth, hysac_bounds.json).",
    ),
    "safeclip": (
        "edgesafe.train.importing.commands:safeclip",
        "train",
        "A released Safe-CLIP (transformers folder or open_clip file).",
    ),
    "openclip": (
        "edgesafe.train.importing.commands:openclip",
        "train",
        "Weights of any open_clip architecture.",
    ),
    "meru": (
        "edgesafe.train.importing.commands:meru",
        "train",
        "A released MERU, or its CLIP baseline.",
    ),
    "onnx-classifier": (
        "edgesafe.calib.import_classifier_cmd:onnx_classifier",
        "cpu",
        "An ONNX image classifier, as a package.",
    ),
}
"""Name of a sub-command -> (module:attribute, the extra that it needs, its one-line help)."""


class _Group(click.Group):
    """A group whose commands are imported when run, so that ``--help`` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        target, extra, _ = COMMANDS[cmd_name]
        module, _, attribute = target.partition(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in ("", "edgesafe"):
                raise
            raise MissingExtraError(missing, extra) from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, _, help_) in COMMANDS.items()])


@click.command("import", cls=_Group)
def import_() -> None:
    """Turn released weights into a checkpoint, or a foreign classifier into a package."""
