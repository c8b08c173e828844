"""What ``edgesafe pose`` prints and writes: JSON lines, a table, overlay pictures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from edgesafe.runtime.gate import Refused
from edgesafe.runtime.output import printable
from edgesafe.runtime.picture_folder import PictureFolder
from edgesafe.runtime.pose.result import Pose, PoseTimings

__all__ = ["Overlays", "PoseLines", "PoseTable", "as_record", "nothing_record"]

_HEADER = (
    f"{'OBJECT':<16}  {'X':>8}  {'Y':>8}  {'Z mm':>8}  {'CONF':>5}  {'REPR px':>7}  {'MS':>7}  "
    "SOURCE"
)


def as_record(source: str, index: int | None, pose: Pose) -> dict[str, Any]:
    """The fields of one line of ``pose --json``; what could not be computed is None."""
    covariance = pose.covariance
    return {
        "source": source,
        "index": index,
        "object": pose.object_id,
        "R": None if pose.R is None else [float(value) for value in pose.R.ravel()],
        "t": None if pose.t_mm is None else [float(value) for value in pose.t_mm],
        "confidence": pose.confidence,
        "reprojection_px": pose.reprojection_px,
        "covariance": None
        if covariance is None
        else [float(value) for value in covariance[np.triu_indices(6)]],
        "reason": pose.reason,
        "refined": pose.refined,
        "package": pose.package,
        "ms": _ms(pose.ms),
    }


def nothing_record(
    source: str, index: int | None, refused: Refused, package: str, ms: PoseTimings
) -> dict[str, Any]:
    """The line of a picture of which no object can be told."""
    empty = dict.fromkeys(("object", "R", "t", "confidence", "reprojection_px", "covariance"))
    rest = {"reason": refused.code, "refined": False, "package": package, "ms": _ms(ms)}
    return {"source": source, "index": index, **empty, **rest}


class PoseLines:
    """One JSON object a line, ASCII only; details of refusals on standard error."""

    def __init__(self, stdout: TextIO, stderr: TextIO, package: str) -> None:
        """Take the streams of the command, and the identity of the package."""
        self._stdout, self._stderr, self._package = stdout, stderr, package

    def pose(self, source: str, index: int | None, pose: Pose) -> None:
        """Print one pose."""
        self._print(as_record(source, index, pose))
        if pose.reason:
            self._explain(source, index, f"{pose.name}: {pose.reason}: {pose.detail or ''}")

    def nothing(self, source: str, index: int | None, refused: Refused, ms: PoseTimings) -> None:
        """Print the line of a picture without any pose."""
        self._print(nothing_record(source, index, refused, self._package, ms))
        self._explain(source, index, f"{refused.code}: {refused.detail}")

    def _print(self, record: dict[str, Any]) -> None:
        self._stdout.write(json.dumps(record, allow_nan=False) + "\n")
        self._stdout.flush()

    def _explain(self, source: str, index: int | None, text: str) -> None:
        click.echo(printable(f"{_place(source, index)}: {text}", self._stderr), file=self._stderr)


class PoseTable:
    """Aligned columns; refused in yellow where standard output is a terminal."""

    def __init__(self, stdout: TextIO) -> None:
        """Take the stream of the command."""
        self._stdout = stdout
        self._begun = False

    def pose(self, source: str, index: int | None, pose: Pose) -> None:
        """Print one pose, and the header before the first."""
        place = (None,) * 3 if pose.t_mm is None else tuple(map(float, pose.t_mm))
        cells = "  ".join(_number(value, 8, 1) for value in place)
        why = f"  ({pose.reason}: {pose.detail})" if pose.reason else ""
        self._print(
            pose.name,
            f"{cells}  {pose.confidence:5.2f}  {_number(pose.reprojection_px, 7, 2)}  "
            f"{pose.ms.total:7.1f}",
            _place(source, index) + why,
            pose.ok,
        )

    def nothing(self, source: str, index: int | None, refused: Refused, ms: PoseTimings) -> None:
        """Print the line of a picture without any pose."""
        cells = "  ".join(_number(None, width, 0) for width in (8, 8, 8, 5, 7))
        why = f"{_place(source, index)}  ({refused.code}: {refused.detail})"
        self._print("-", f"{cells}  {ms.total:7.1f}", why, False)

    def _print(self, name: str, numbers: str, place: str, good: bool) -> None:
        if not self._begun:
            click.echo(_HEADER, file=self._stdout)
            self._begun = True
        short = printable(name if len(name) <= 16 else name[:15] + "~", self._stdout)
        word = click.style(f"{short:<16}", fg="green" if good else "yellow")
        click.echo(f"{word}  {numbers}  {printable(place, self._stdout)}", file=self._stdout)
        self._stdout.flush()


class Overlays:
    """Writes pictures below one folder that is new or empty, each to a name of its own.

    Raises:
        UsageError: The folder holds something, or is a file.
    """

    def __init__(self, folder: str | Path) -> None:
        """Check the folder; it is made when the first picture is written."""
        self._pictures = PictureFolder(folder, "--overlay", "overlay")

    def write(self, relative: PurePosixPath, rgb: npt.NDArray[np.uint8]) -> Path:
        """Write a JPEG and return its path.

        Raises:
            EdgesafeError: It could not be written.
        """
        wanted = relative.with_name(f"{relative.stem}.jpg")
        return self._pictures.write(wanted, Image.fromarray(rgb), quality=92)


def _ms(ms: PoseTimings) -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(ms).items()}


def _place(source: str, index: int | None) -> str:
    return f"{source}#{index}" if index else source


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"
