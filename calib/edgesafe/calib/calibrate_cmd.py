"""``edgesafe calibrate``: a table of sub-commands, each imported when it is run."""

from __future__ import annotations

import click

from edgesafe.calib.command_table import CommandTable

__all__ = ["COMMANDS", "calibrate"]

COMMANDS = {
    "threshold": (
        "edgesafe.calib.calibrate_threshold_cmd:threshold",
        "Decision thresholds from labelled data, with a guarantee.",
    ),
    "probe": (
        "edgesafe.calib.calibrate_probe_cmd:probe",
        "What scores the embeddings of a Safe-CLIP package.",
    ),
    "silhouettes": (
        "edgesafe.calib.calibrate_silhouettes_cmd:silhouettes",
        "Outlines from all sides that a pose package refines its poses with.",
    ),
    "camera": (
        "edgesafe.calib.calibrate_camera_cmd:camera",
        "K and the distortion of a camera, from shots of a board.",
    ),
}
"""Name of a sub-command -> (module:attribute, its one-line help)."""


@click.command(cls=CommandTable, table=COMMANDS)
def calibrate() -> None:
    """Fit what belongs to a deployment: thresholds, probes, outlines, cameras."""
