"""How a program ends: by Ctrl-C, and past a driver that does not return.

Python raises ``KeyboardInterrupt`` between any two steps of the main thread: also where a lock was
just taken and ``with`` does not hold it yet, or inside the import of an extension, which makes an
``ImportError`` of it, as if it were not installed. There Ctrl-C waits for the next good moment.

A thread inside a driver or FFmpeg cannot be stopped, and Python aborts the process when such a
thread comes back while the interpreter is being wound down. So it is not wound down.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NoReturn

__all__ = ["DeviceThread", "HeldInterrupt", "exit_process", "handle_interrupts"]


class DeviceThread(threading.Thread):
    """A thread that may hang in a driver; :func:`exit_process` does not wait for it."""


class HeldInterrupt:
    """Inside its context the first Ctrl-C is kept until :meth:`deliver`; a second acts at once.

    Does nothing outside the main thread, and where Ctrl-C is not handled in Python: a program that
    was started with Ctrl-C ignored goes on ignoring it.

    Args:
        wake: Called when Ctrl-C comes, in the main thread between any two of its steps; makes it
            come to :meth:`deliver` soon.

    Raises:
        KeyboardInterrupt: When the context is left, if Ctrl-C came and still is kept.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        """Nothing is held before the context is entered."""
        self.pending = False
        self._wake = wake
        self._before: Any = None
        self._over = False

    def __enter__(self) -> HeldInterrupt:
        """Take the place of the handler of Ctrl-C."""
        before = signal.getsignal(signal.SIGINT)
        if callable(before) and threading.current_thread() is threading.main_thread():
            self._before = before
            signal.signal(signal.SIGINT, self._hold)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the handler back; what is still held acts now."""
        self._over = True
        self._restore()
        self.deliver()

    def deliver(self) -> None:
        """Let a kept Ctrl-C act, by the handler that was there before.

        Raises:
            KeyboardInterrupt: There was one, and the handler is Python's own.
        """
        if self.pending:
            self.pending = False
            self._before(signal.SIGINT, None)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self.pending = True
        self._restore()
        if self._over:
            self.deliver()
        else:
            self._wake()

    def _restore(self) -> None:
        # A generator that is thrown away may be closed in another thread, where no handler can be
        # set: then ours stays, and lets the next Ctrl-C pass.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) == self._hold
        ):
            signal.signal(signal.SIGINT, self._before)


class _Interrupt(KeyboardInterrupt):
    """Ctrl-C. Once Python's own has left an exec(), Python ends by the signal, not by a status."""


def handle_interrupts() -> None:
    """Let Ctrl-C raise a ``KeyboardInterrupt`` that leaves the choice of the exit status to us.

    Changes nothing where Ctrl-C is ignored, as it is for what a script runs in the background.
    """
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        signal.signal(signal.SIGINT, _raise)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise _Interrupt


def exit_process(status: int) -> NoReturn:
    """End the program, at once where a :class:`DeviceThread` is still in its driver.

    Args:
        status: Of the process.

    Raises:
        SystemExit: Always, unless there is such a thread.
    """
    if any(isinstance(thread, DeviceThread) for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                pass  # there is none, or it is closed: nobody is there to be told
        os._exit(status)
    sys.exit(status)
