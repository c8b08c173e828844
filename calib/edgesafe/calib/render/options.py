"""What the options of ``edgesafe render`` mean."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from click.core import ParameterSource

from edgesafe.calib.render.parts import Part
from edgesafe.calib.render.scene import FixedToBoard, SceneOptions
from edgesafe.runtime.errors import MissingExtraError, UsageError
from edgesafe.runtime.pose.intrinsics import Camera

__all__ = ["LINEMOD", "distance", "fixed_to_board", "lens", "need_opencv", "numbers", "rising"]

LINEMOD = Camera(
    np.array([[572.4114, 0, 325.2611], [0, 573.57043, 242.04899], [0, 0, 1.0]]), 640, 480
)
"""The camera of the LINEMOD data sets (BOP's camera.json of them)."""

_LARGEST_SIDE = 8192
_NUMBER = r"([+-]?\d{1,4}(?:\.\d{1,9})?)"
_PLACE = re.compile(rf"(?:(\d{{1,6}}):)?{_NUMBER},{_NUMBER},{_NUMBER}")


def need_opencv() -> None:
    """Complain at once, not in the first frame.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    if importlib.util.find_spec("cv2") is None:
        raise MissingExtraError("cv2", "cpu")


def lens(camera: Path | None, size: str | None) -> Camera:
    """Return the camera to render for, scaled to another resolution where one is given.

    Raises:
        SourceError: The file cannot be read.
        UsageError: It holds no camera, or ``size`` is none.
    """
    found = LINEMOD if camera is None else Camera.from_json(camera)
    if size is None:
        return found
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", size)
    if match is None or not all(16 <= int(side) <= _LARGEST_SIDE for side in match.groups()):
        raise UsageError(f"--size {size!r}: write width and height as 640x480")
    width, height = int(match[1]), int(match[2])
    K = found.K.copy()
    # Pixel centres are whole numbers: the border of the frame, at -.5, stays where it is.
    for row, ratio in enumerate((width / found.width, height / found.height)):
        K[row] *= ratio
        K[row, 2] += (ratio - 1) / 2
    return Camera(K, width, height, found.dist, found.depth_scale)


def numbers(text: str | None, option: str) -> tuple[int, ...]:
    """Read ``1,5,6``.

    Raises:
        UsageError: It is no list of numbers.
    """
    if text is None:
        return ()
    if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", text):
        raise UsageError(f"{option} {text!r}: write numbers as 1,5,6")
    return tuple(int(word) for word in text.split(","))


def rising(pair: tuple[int, int], option: str) -> tuple[int, int]:
    """Return MIN and MAX.

    Raises:
        UsageError: They are the wrong way round.
    """
    if pair[0] > pair[1]:
        raise UsageError(f"{option} {pair[0]} {pair[1]}: give the smaller number first")
    return pair


def distance(given: tuple[float, float] | None, parts: Sequence[Part]) -> tuple[float, float]:
    """Return the nearest and the furthest depth of parts, mm.

    Raises:
        UsageError: The range is empty, or the nearest parts would touch the camera.
    """
    largest = max(part.info.diameter for part in parts)
    if given is None:
        return 2.5 * largest, 8 * largest
    near, far = given
    if near >= far:
        raise UsageError(f"--distance {near:g} {far:g}: give the nearer one first")
    if near < largest:
        raise UsageError(
            f"--distance {near:g}: the largest part is {largest:.0f} mm large and would touch the "
            f"camera; begin at {1.5 * largest:.0f} or further"
        )
    return near, far


def fixed_to_board(
    scenes: SceneOptions, places: Sequence[str], parts: Sequence[int], board: Path | None
) -> SceneOptions:
    """Return scenes in which parts never move against the board.

    Args:
        scenes: As they would be otherwise.
        places: ``X,Y,DEGREES`` for all parts or ``ID:X,Y,DEGREES`` for one.
        parts: The numbers of the parts.
        board: The file of the board.

    Raises:
        UsageError: There is no board, a place is none, a part has none or two, or the command line
            also says how many parts there are, or on what they stand.
    """
    if board is None:
        raise UsageError("--board-fixed needs the board that parts are fixed to: name its --board")
    context = click.get_current_context()
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("objects", "upright", "table", "board_share")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(
            f"--board-fixed and {given[0]} contradict one another: in every frame one upright part "
            f"stands on the board; leave {' and '.join(given)} out"
        )
    named: dict[int | None, FixedToBoard] = {}
    for text in places:
        match = _PLACE.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"--board-fixed {text!r}: write the place on the board and the turn, X,Y,DEGREES "
                "as 0,0,0, or ID:X,Y,DEGREES for one part as 5:93,160,68"
            )
        number = None if match[1] is None else int(match[1])
        if number is not None and number not in parts:
            raise UsageError(
                f"--board-fixed {text!r}: there is no part {number}, only {sorted(parts)}"
            )
        if number in named:
            raise UsageError(f"--board-fixed {text!r}: this part has a place already; leave one")
        named[number] = FixedToBoard(float(match[2]), float(match[3]), float(match[4]))
    missing = [number for number in parts if number not in named and None not in named]
    if missing:
        raise UsageError(
            f"--board-fixed names no place for part {missing[0]}: add "
            f"--board-fixed {missing[0]}:X,Y,DEGREES, or X,Y,DEGREES for all that are not named"
        )
    fixed = {number: named[number if number in named else None] for number in parts}
    return replace(scenes, objects=(1, 1), table=1.0, board=1.0, fixed=fixed)
