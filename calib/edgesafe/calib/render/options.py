"""What the options of ``edgesafe render`` mean."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgesafe.calib.render.parts import Part
from edgesafe.runtime.errors import MissingExtraError, UsageError
from edgesafe.runtime.pose.intrinsics import Camera

__all__ = ["LINEMOD", "distance", "lens", "need_opencv", "numbers", "rising"]

LINEMOD = Camera(
    np.array([[572.4114, 0, 325.2611], [0, 573.57043, 242.04899], [0, 0, 1.0]]), 640, 480
)
"""The camera of the LINEMOD data sets (BOP's camera.json of them)."""

_LARGEST_SIDE = 8192


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
