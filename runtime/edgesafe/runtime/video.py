"""Frames of a video file, each with its index.

FFmpeg inside OpenCV decodes; it is imported when the first video is opened. A file is checked to be
a video container before FFmpeg sees it, and the size in its header before a frame is decoded.

FFmpeg conceals damage inside a frame, and OpenCV reports a broken end like a proper one. So the
frames are counted against the container's own count, and a video that ends early says so. MPEG
streams (.ts, .mpg) announce nothing: a cut one looks like a short one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime.containers.base import check_size
from edgesafe.runtime.ending import HeldInterrupt
from edgesafe.runtime.errors import MissingExtraError
from edgesafe.runtime.gate import Refused
from edgesafe.runtime.sources import is_video

__all__ = ["Frame", "import_cv2", "read_frames", "to_rgb"]

_TOLERANCE = 0.02
"""Part of the announced frames and time that may be absent: containers round and estimate."""


@dataclass(frozen=True)
class Frame:
    """One frame, or why there is none.

    Attributes:
        index: number of the frame from the start of its source; None where none was reached.
        rgb: ``uint8`` (height, width, 3); None where ``refused`` says why.
        refused: the reason.
    """

    index: int | None
    rgb: NDArray[np.uint8] | None = None
    refused: Refused | None = None


def import_cv2() -> ModuleType:
    """Import OpenCV.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with HeldInterrupt():
            import cv2
    except ImportError as error:
        raise MissingExtraError("cv2", "cpu") from error
    module: ModuleType = cv2
    return module


def to_rgb(cv2: ModuleType, frame: Any) -> NDArray[np.uint8]:
    """OpenCV's BGR (or grey, or BGRA) frame as RGB ``uint8``."""
    code = cv2.COLOR_BGR2RGB
    if frame.ndim == 2 or frame.shape[2] == 1:
        code = cv2.COLOR_GRAY2RGB
    elif frame.shape[2] == 4:
        code = cv2.COLOR_BGRA2RGB
    rgb: NDArray[np.uint8] = cv2.cvtColor(frame, code)
    return rgb


def read_frames(
    path: str, *, every: int = 1, fps: float | None = None, max_frames: int | None = None
) -> Iterator[Frame]:
    """Read a video file.

    Args:
        path: the file.
        every: take one frame of so many.
        fps: take about so many frames a second instead; frames are then skipped, never repeated.
        max_frames: stop after so many taken frames.

    Yields:
        Frames in order; as the last one, a frame without pixels where the file could not be read
        to its end.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(192)
    except OSError as error:
        yield Frame(None, refused=Refused("unreadable", error.strerror or str(error)))
        return
    if not head:
        yield Frame(None, refused=Refused("empty", "the file has no bytes"))
        return
    if not is_video(head):
        yield Frame(None, refused=Refused("not_a_video", "its content is no known video container"))
        return
    cv2 = import_cv2()
    try:
        # FFmpeg only: other back-ends read `name%02d` as a pattern of files.
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    except cv2.error as error:
        yield Frame(None, refused=Refused("unreadable_video", str(error)))
        return
    try:
        if not capture.isOpened():
            raise Refused("unreadable_video", "damaged, cut, or of an unknown coding")
        yield from _read(cv2, capture, every=every, fps=fps, max_frames=max_frames)
    except Refused as refused:
        yield Frame(None, refused=refused)
    finally:
        capture.release()


def _read(
    cv2: ModuleType, capture: Any, *, every: int, fps: float | None, max_frames: int | None
) -> Iterator[Frame]:
    check_size(
        int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    )
    announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    native = float(capture.get(cv2.CAP_PROP_FPS))
    if fps is not None:
        every = max(1, round(native / fps)) if 0 < native < 1000 else 1
    taken = index = 0
    seconds = 0.0
    try:
        while max_frames is None or taken < max_frames:
            if not capture.grab():
                break
            if index % every == 0:
                found, frame = capture.retrieve()
                if not found or frame is None:
                    yield Frame(index, refused=Refused("decode_error", "the frame is damaged"))
                else:
                    yield Frame(index, rgb=to_rgb(cv2, frame))
                taken += 1
            index += 1
            seconds = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        else:
            return
    except cv2.error as error:
        yield Frame(index, refused=Refused("decode_error", str(error)))
        return
    if index == 0:
        yield Frame(None, refused=Refused("no_frames", "the video holds no frame"))
    elif _ends_early(index, announced) and _ends_early(seconds * native + 1, announced):
        # Both, as a count may be an estimate from a rate that changes within the file.
        yield Frame(
            index, refused=Refused("truncated", f"it ends after {index} of {announced} frames")
        )


def _ends_early(reached: float, announced: int) -> bool:
    return announced - reached > max(1, announced * _TOLERANCE)
