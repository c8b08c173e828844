"""Newest frames of a camera or a stream, and a line for every time it went silent.

A reader thread empties the capture as fast as frames come and keeps only the newest in a slot of
one; a frame nobody took in time is dropped and counted, so a slow model never judges the past::

    capture --read--> thread --put--> Slot (1 frame) --take--> frames()

The thread owns the capture: it opens it with time limits, and when a read fails it opens it again
after a pause that doubles from 0.5 s to 30 s, with jitter. The consumer only watches the clock: no
frame for ``stall_s`` gives a ``stalled`` frame without pixels, repeated ever more rarely while the
silence lasts, and a frame older than ``stall_s`` is never handed out.

``produced = taken + dropped`` holds when it ends (:class:`Counts`). A driver that hangs inside one
read cannot be killed from here; its silence is still reported. Ctrl-C is raised where the consumer
asks for the next frame, never inside the hand-over (:mod:`edgesafe.runtime.ending`).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime.ending import DeviceThread, HeldInterrupt
from edgesafe.runtime.errors import SourceError
from edgesafe.runtime.gate import Refused
from edgesafe.runtime.video import Frame, import_cv2, to_rgb

__all__ = ["Camera", "Capture", "Counts", "open_capture"]

OPEN_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 2.0
STALL_S = 3.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


class Capture(Protocol):
    """What is asked of a capture; :class:`cv2.VideoCapture` behind :func:`open_capture` has it."""

    def read(self) -> NDArray[np.uint8] | None:
        """Wait for the next frame, RGB; None when there will be none."""

    def release(self) -> None:
        """Give the device back."""


@dataclass
class Counts:
    """What became of the frames.

    Attributes:
        produced: read from the device.
        taken: handed to the consumer.
        dropped: replaced by a newer one, too old, or left when it ended.
        stalls: times that no frame came for ``stall_s``.
        reconnects: times that the device was opened again.
    """

    produced: int = 0
    taken: int = 0
    dropped: int = 0
    stalls: int = 0
    reconnects: int = 0


@dataclass
class _Slot:
    """The newest frame, and whether the device is there."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    frame: NDArray[np.uint8] | None = None
    index: int = -1
    born: float = 0.0
    first_open: bool | None = None
    why: str = ""


def open_capture(target: str) -> Capture | None:
    """Open a camera by its number or a stream by its address; None where that fails.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = import_cv2()
    limits = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(OPEN_TIMEOUT_S * 1000)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(READ_TIMEOUT_S * 1000)),
    ]
    try:
        if target.isdigit():
            capture = cv2.VideoCapture(int(target))
        else:
            capture = cv2.VideoCapture(target, cv2.CAP_FFMPEG, limits)
    except cv2.error:
        return None
    if not capture.isOpened():
        capture.release()
        return None
    return _OpenCVCapture(cv2, capture)


class _OpenCVCapture:
    def __init__(self, cv2: Any, capture: Any) -> None:
        self._cv2 = cv2
        self._capture = capture

    def read(self) -> NDArray[np.uint8] | None:
        try:
            found, frame = self._capture.read()
        except self._cv2.error:
            return None
        return to_rgb(self._cv2, frame) if found and frame is not None else None

    def release(self) -> None:
        self._capture.release()


class Camera:
    """A camera or stream as an iterator of its newest frames.

    Args:
        target: a camera's number in digits, or a stream's address.
        name: what its thread is called after; without a password.
        open_capture: opens it; replaced in tests.
        stall_s: seconds without a frame that count as a stall.
        first_pause_s: seconds before the first attempt to open it again; doubled for each next.

    Example:
        >>> for frame in Camera("0").frames(duration_s=60):  # doctest: +SKIP
        ...     judge(frame)
    """

    def __init__(
        self,
        target: str,
        *,
        name: str | None = None,
        open_capture: Callable[[str], Capture | None] = open_capture,
        stall_s: float = STALL_S,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """Take the arguments; nothing is opened before :meth:`frames` is iterated."""
        self.counts = Counts()
        self._target = target
        self._name = name or target
        self._open = open_capture
        self._stall_s = stall_s
        self._first_pause_s = first_pause_s
        self._slot = _Slot()
        self._stop = threading.Event()

    def frames(
        self, *, every: int = 1, max_frames: int | None = None, duration_s: float | None = None
    ) -> Generator[Frame, None, None]:
        """Yield the newest frames until told to stop; close the generator to stop earlier.

        Args:
            every: take only frames whose number is a multiple of this.
            max_frames: stop after so many frames with pixels.
            duration_s: stop after so many seconds.

        Yields:
            Frames; a frame with ``refused`` (code ``stalled``) for each stall.

        Raises:
            SourceError: it could not be opened the first time.
            MissingExtraError: OpenCV is not installed.
            KeyboardInterrupt: Ctrl-C, also one that came while the consumer had the last frame; a
                second one does not wait for the consumer.
        """
        failure: list[BaseException] = []
        # A daemon: a driver that hangs in read() must not keep the program from ending.
        reader = DeviceThread(
            target=self._read_until_stopped,
            args=(every, failure),
            name=f"camera {self._name}",
            daemon=True,
        )
        end = None if duration_s is None else time.monotonic() + duration_s
        with HeldInterrupt(self._wake) as interrupt:
            reader.start()
            try:
                self._wait_for_first_open(failure, interrupt)
                yield from self._take(end, max_frames, failure, interrupt)
            finally:
                self._stop.set()
                self._wake()
                reader.join(READ_TIMEOUT_S + 1)
                with self._slot.changed:
                    self._discard()

    def _wake(self) -> None:
        # Its lock may be taken again by the thread that has it: this also runs in a signal handler.
        with self._slot.changed:
            self._slot.changed.notify_all()

    def _wait_for_first_open(self, failure: list[BaseException], interrupt: HeldInterrupt) -> None:
        slot = self._slot
        with slot.changed:
            slot.changed.wait_for(
                lambda: slot.first_open is not None or bool(failure) or interrupt.pending,
                OPEN_TIMEOUT_S * 2,
            )
        interrupt.deliver()
        if failure:
            raise failure[0]
        if not slot.first_open:
            # Without its name: whoever reads several says which.
            raise SourceError(
                "cannot open the camera or stream; check that it is connected, that nothing else "
                "holds it, and that its number or address is right"
            )

    def _take(
        self,
        end: float | None,
        max_frames: int | None,
        failure: list[BaseException],
        interrupt: HeldInterrupt,
    ) -> Generator[Frame, None, None]:
        slot = self._slot
        taken, silence = 0, self._stall_s
        heard = time.monotonic()
        while max_frames is None or taken < max_frames:
            wait = heard + silence - time.monotonic()
            if end is not None:
                wait = min(wait, end - time.monotonic())
            with slot.changed:
                slot.changed.wait_for(
                    lambda: slot.frame is not None or bool(failure) or interrupt.pending,
                    max(0, wait),
                )
                interrupt.deliver()
                frame = None
                if slot.frame is not None and time.monotonic() - slot.born <= self._stall_s:
                    frame = Frame(slot.index, rgb=slot.frame)
                    slot.frame = None
                    self.counts.taken += 1
                else:
                    self._discard()
                index, why = slot.index, slot.why
            if failure:
                raise failure[0]
            if end is not None and time.monotonic() >= end and frame is None:
                return
            if frame is not None:
                taken += 1
                yield frame
                heard, silence = time.monotonic(), self._stall_s
            elif time.monotonic() >= heard + silence:
                self.counts.stalls += 1
                yield Frame(
                    index if index >= 0 else None,
                    refused=Refused("stalled", f"no frame for {silence:.1f} s; {why}"),
                )
                heard, silence = time.monotonic(), min(2 * silence, LONGEST_PAUSE_S)
            if end is not None and time.monotonic() >= end:
                return

    def _discard(self) -> None:
        if self._slot.frame is not None:
            self._slot.frame = None
            self.counts.dropped += 1

    def _read_until_stopped(self, every: int, failure: list[BaseException]) -> None:
        try:
            self._connect_and_read(every)
        except BaseException as error:  # handed to the consumer, who raises it
            failure.append(error)
            with self._slot.changed:
                self._slot.changed.notify_all()

    def _connect_and_read(self, every: int) -> None:
        slot = self._slot
        pause = self._first_pause_s
        while not self._stop.is_set():
            capture = self._open(self._target)
            with slot.changed:
                if slot.first_open is None:
                    slot.first_open = capture is not None
                    slot.changed.notify_all()
                    if capture is None:
                        return
                elif capture is not None:
                    self.counts.reconnects += 1
                slot.why = "it is open but silent" if capture else "it cannot be opened again"
            if capture is not None:
                try:
                    if self._drain(capture, every):
                        pause = self._first_pause_s
                finally:
                    capture.release()
                with slot.changed:
                    slot.why = "the connection was lost"
            # Jitter, so that many cameras behind one switch do not come back at the same moment.
            self._stop.wait(pause * random.uniform(0.75, 1.25))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _drain(self, capture: Capture, every: int) -> bool:
        """Put frames in the slot until there are none; whether there was any."""
        slot = self._slot
        any_frame = False
        while not self._stop.is_set():
            rgb = capture.read()
            if rgb is None:
                break
            any_frame = True
            with slot.changed:
                self._discard()
                self.counts.produced += 1
                slot.index += 1
                if slot.index % every:
                    self.counts.dropped += 1
                    continue
                slot.frame, slot.born = rgb, time.monotonic()
                slot.changed.notify_all()
        return any_frame
