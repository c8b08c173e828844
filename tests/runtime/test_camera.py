"""Cameras: the newest frame wins, silence is reported, nothing is left running."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesafe.runtime.camera import Camera
from edgesafe.runtime.errors import SourceError
from edgesafe.runtime.video import Frame

Step = float | None
"""Seconds before the next frame, or None: the connection is lost."""


class Fake:
    """A camera that follows a plan, one list of steps for each time that it is opened."""

    def __init__(self, *plans: list[Step] | None) -> None:
        self.plans = list(plans)
        self.opened = self.released = self.made = 0
        self.lock = threading.Lock()

    def open(self, target: str) -> FakeCapture | None:
        plan = self.plans.pop(0) if self.plans else None
        if plan is None:
            return None
        self.opened += 1
        return FakeCapture(self, iter(plan))


class FakeCapture:
    def __init__(self, fake: Fake, steps: Iterator[Step]) -> None:
        self.fake, self.steps = fake, steps

    def read(self) -> NDArray[np.uint8] | None:
        step = next(self.steps, None)
        if step is None:
            return None
        time.sleep(step)
        frame = np.full((16, 16, 3), self.fake.made % 256, np.uint8)
        self.fake.made += 1
        return frame

    def release(self) -> None:
        self.fake.released += 1


def camera(fake: Fake, **options: float) -> Camera:
    settings: dict[str, Any] = {"stall_s": 0.15, "first_pause_s": 0.01, **options}
    return Camera("0", open_capture=fake.open, **settings)


def threads() -> int:
    return sum(thread.name.startswith("camera") for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert threads() == 0


def codes(frames: list[Frame]) -> list[str]:
    return [frame.refused.code if frame.refused else "frame" for frame in frames]


def test_a_slow_consumer_gets_the_newest_frame() -> None:
    fake = Fake([0.005] * 1000)
    source = camera(fake)
    gaps = []
    for frame in source.frames(max_frames=4):
        assert frame.rgb is not None
        assert frame.index is not None
        gaps.append(fake.made - 1 - frame.index)
        assert int(frame.rgb[0, 0, 0]) == frame.index % 256
        time.sleep(0.06)
    assert max(gaps) <= 3  # frames made since the one that was handed out
    count = source.counts
    assert count.taken == 4
    assert count.dropped >= 15
    assert count.produced == count.taken + count.dropped
    assert fake.released == 1


def test_a_fast_consumer_gets_every_frame_once() -> None:
    fake = Fake([0.01] * 12)
    frames = list(camera(fake).frames(max_frames=12))
    assert [frame.index for frame in frames] == list(range(12))


def test_every_second_frame() -> None:
    source = camera(Fake([0.01] * 100))
    frames = list(source.frames(every=2, max_frames=3))
    assert [frame.index for frame in frames if frame.index is not None and frame.index % 2] == []
    assert source.counts.produced == source.counts.taken + source.counts.dropped


def test_silence_is_never_silent() -> None:
    """A driver that hangs in read(): one line soon, then ever more rarely."""
    source = camera(Fake([0.0, 1.2, 0.0]))
    frames = list(source.frames(duration_s=1.0))
    assert codes(frames) == ["frame", "stalled", "stalled"]
    assert source.counts.stalls == 2
    assert frames[1].refused is not None
    assert "silent" in frames[1].refused.detail


def test_a_lost_connection_is_opened_again() -> None:
    fake = Fake([0.0, None], None, [0.0, 0.01])
    source = camera(fake, stall_s=5)
    frames = list(source.frames(max_frames=2, duration_s=5))
    assert codes(frames) == ["frame", "frame"]
    assert source.counts.reconnects >= 1
    assert fake.released == fake.opened


def test_a_camera_that_does_not_come_back_is_reported() -> None:
    frames = list(camera(Fake([0.0, None])).frames(duration_s=0.5))
    assert codes(frames)[:2] == ["frame", "stalled"]
    assert frames[1].refused is not None
    assert "opened again" in frames[1].refused.detail


def test_an_old_frame_is_never_handed_out() -> None:
    """The consumer was busy for longer than a frame may be old, and the camera went silent."""
    source = camera(Fake([0.0, 0.01, 0.01, 2.0]))
    seen = source.frames(duration_s=1.0)
    assert next(seen).rgb is not None
    time.sleep(0.4)
    later = next(seen)
    assert later.rgb is None
    assert later.refused is not None
    assert later.refused.code == "stalled"
    seen.close()
    assert source.counts.produced == source.counts.taken + source.counts.dropped


def test_a_camera_that_cannot_be_opened_is_an_error() -> None:
    with pytest.raises(SourceError, match="^cannot open the camera"):
        list(camera(Fake()).frames())


def test_a_fault_in_the_reader_reaches_the_consumer() -> None:
    class Bad(FakeCapture):
        def read(self) -> NDArray[np.uint8] | None:
            raise ZeroDivisionError("a bug")

    fake = Fake()
    opener: Callable[[str], FakeCapture] = lambda _: Bad(fake, iter([]))  # noqa: E731
    with pytest.raises(ZeroDivisionError):
        list(Camera("0", open_capture=opener).frames(duration_s=1))
    assert fake.released == 1


def test_closing_ends_the_reader() -> None:
    fake = Fake([0.005] * 10_000)
    frames = camera(fake).frames()
    next(frames)
    frames.close()
    assert threads() == 0
    assert fake.released == 1


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Whatever started the tests may ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def interrupt_after(seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("silent_s", [0.002, 1.5])
def test_an_interrupt_while_it_waits_ends_it_soon(silent_s: float) -> None:
    source = camera(Fake([0.0, *[silent_s] * 100_000]), stall_s=5)
    frames = source.frames()
    next(frames)
    timer = interrupt_after(0.1)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        for _ in frames:
            pass
    timer.join()
    assert time.monotonic() - started < 2.5
    assert source.counts.produced == source.counts.taken + source.counts.dropped


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_the_frame_is_judged_comes_with_the_next() -> None:
    fake = Fake([0.001] * 10_000)
    source = camera(fake)
    frames = source.frames()
    next(frames)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        next(frames)
    assert source.counts.taken == 1
    assert source.counts.produced == source.counts.taken + source.counts.dropped
    assert fake.released == 1


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_during_the_last_frame_is_not_lost() -> None:
    frames = camera(Fake([0.0] * 10)).frames(max_frames=1)
    next(frames)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        next(frames)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_it_is_opened() -> None:
    def slow(target: str) -> None:
        time.sleep(0.5)

    timer = interrupt_after(0.05)
    with pytest.raises(KeyboardInterrupt):
        list(Camera("0", open_capture=slow).frames())
    timer.join()


class _Mjpeg(BaseHTTPRequestHandler):
    """Five frames, then silence on an open connection."""

    def do_GET(self) -> None:
        cv2 = pytest.importorskip("cv2")
        _, jpeg = cv2.imencode(".jpg", np.full((64, 64, 3), 90, np.uint8))
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
        try:
            for _ in range(5):
                self.wfile.write(part + jpeg.tobytes() + b"\r\n")
                time.sleep(0.05)
            self.server.silence.wait(20)  # type: ignore[attr-defined]
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


def test_a_stream_that_goes_silent_is_seen_in_time() -> None:
    pytest.importorskip("cv2")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Mjpeg)
    server.daemon_threads = True
    server.silence = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        source = Camera(f"http://127.0.0.1:{server.server_port}/live", stall_s=1.0)
        seen = source.frames(duration_s=15)
        frame = next(seen)
        assert frame.rgb is not None
        assert abs(int(frame.rgb[30, 30, 0]) - 90) < 4
        started = time.monotonic()
        stalled = next(frame for frame in seen if frame.refused)
        assert stalled.refused is not None
        assert stalled.refused.code == "stalled"
        assert time.monotonic() - started < 5
        seen.close()
    finally:
        server.silence.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
        thread.join()
