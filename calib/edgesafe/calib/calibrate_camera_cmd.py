"""``edgesafe calibrate camera``: K and the distortion from shots of a board."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgesafe.calib.calibration_board import CalibrationBoard
    from edgesafe.calib.camera_calibration import Calibration, Shot

__all__ = ["camera", "read_shots"]


@click.command()
@click.argument("shots", nargs=-1, required=True)
@click.option(
    "--board",
    required=True,
    metavar="BOARD",
    help="charuco:8x6:30:22[:DICT] (squares, mm of a square and a marker) or chessboard:9x6:25 "
    "(inner corners, mm).",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="JSON to write.")
@click.option(
    "--min-views", type=click.IntRange(min=3), default=8, show_default=True, help="Fewest shots."
)
@click.option("--wide", is_flag=True, help="Also fit k3, for wide-angle lenses.")
def camera(shots: tuple[str, ...], board: str, out: Path, min_views: int, wide: bool) -> None:
    """Compute K and the distortion of a camera from SHOTS of a board (files, folders, globs).

    Ten to twenty shots, the board tilted to all sides and seen in all parts of the frame, with the
    resolution, zoom and focus that the camera will have.
    """
    from edgesafe.calib.calibration_board import CalibrationBoard
    from edgesafe.calib.camera_calibration import calibrate as compute
    from edgesafe.runtime.errors import MissingExtraError
    from edgesafe.runtime.files import check_writable

    check_writable(out, "--out")
    if importlib.util.find_spec("cv2") is None:
        raise MissingExtraError("cv2", "cpu")
    found = compute(
        read_shots(shots, CalibrationBoard.parse(board)), min_views=min_views, wide=wide
    )
    found.write(out)
    for line in _report(found):
        click.echo(line)
    for weakness in found.warnings:
        click.echo(f"warning: {weakness}", err=True)
    click.echo(f"written: {out}")


def read_shots(arguments: Sequence[str], board: CalibrationBoard) -> list[Shot]:
    """Read pictures and look for the board in them.

    Raises:
        SourceError: A name means nothing, or a file is no picture.
    """
    from dataclasses import replace

    import cv2
    import numpy as np

    from edgesafe.calib.camera_calibration import Shot
    from edgesafe.runtime.errors import SourceError
    from edgesafe.runtime.gate import Refused, decode_image, read_image_file
    from edgesafe.runtime.sources import expand

    pictures = []
    for source in expand(arguments):
        if source.problem is not None or source.kind != "image":
            why = source.problem.detail if source.problem else f"is a {source.kind}, no picture"
            raise SourceError(f"{source.name}: {why}")
        try:
            rgb = decode_image(read_image_file(source.target)).views[0]
        except Refused as refused:
            raise SourceError(f"{source.name}: {refused.detail}: leave it out") from None
        grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        pictures.append((source.name, grey))

    def look(board: CalibrationBoard) -> list[Shot]:
        return [
            Shot(name, (grey.shape[1], grey.shape[0]), board.find(grey)) for name, grey in pictures
        ]

    shots = look(board)
    if board.kind == "charuco" and all(shot.corners is None for shot in shots):
        # Boards printed by OpenCV before 4.6 may begin with the other colour.
        shots = look(replace(board, legacy=True))
    return shots


def _report(found: Calibration) -> list[str]:
    K, dist = found.camera.K, found.camera.dist
    lines = [f"{error:6.3f} px  {name}" for name, error in found.errors.items()]
    lines += [f"dropped    {name}: {why}" for name, why in found.dropped.items()]
    lines += [
        "",
        f"{len(found.errors)} shots, {found.camera.width} x {found.camera.height} px, "
        f"rms {found.rms:.3f} px",
        f"fx {K[0, 0]:.2f} +- {found.focal_deviation[0]:.2f}  "
        f"fy {K[1, 1]:.2f} +- {found.focal_deviation[1]:.2f}  "
        f"cx {K[0, 2]:.2f}  cy {K[1, 2]:.2f}",
        "k1 k2 p1 p2 k3  " + "  ".join(f"{value:.5f}" for value in dist),
    ]
    return lines
