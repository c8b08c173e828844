"""When a run must stop or save: signals and the clock, agreed upon by all processes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import distributed as dist

from edgesafe.train.gather import world_size

GO_ON, SAVE, TIME_UP, INTERRUPTED = range(4)


class Watch:
    """Says after each step whether to go on.

    Attributes:
        interrupted: Whether a signal asked to stop.
    """

    def __init__(
        self,
        *,
        save_minutes: float,
        max_minutes: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the clock.

        Args:
            save_minutes: Time between two saved states; 0 for each step.
            max_minutes: Time until the run stops; 0 for no limit.
            clock: Seconds of what counts as time.
        """
        self.interrupted = False
        self._clock = clock
        self._started = self._saved = clock()
        self._save = save_minutes * 60
        self._max = max_minutes * 60

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self._started

    def saved(self) -> None:
        """A state was saved just now."""
        self._saved = self._clock()

    def verdict(self, device: torch.device) -> int:
        """`GO_ON`, `SAVE`, `TIME_UP` or `INTERRUPTED`, the same in every process."""
        now = self._clock()
        verdict = GO_ON
        if self.interrupted:
            verdict = INTERRUPTED
        elif self._max and now - self._started >= self._max:
            verdict = TIME_UP
        elif now - self._saved >= self._save:
            verdict = SAVE
        if world_size() == 1:
            return verdict
        # The most pressing one counts: a signal may have reached one process only.
        agreed = torch.tensor(verdict, device=device)
        dist.all_reduce(agreed, dist.ReduceOp.MAX)
        return int(agreed)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Inside, the first Ctrl-C or SIGTERM sets `interrupted`; a second one acts as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def ask(number: int, frame: FrameType | None) -> None:
            del number, frame
            self.interrupted = True
            restore()

        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask)
        try:
            yield
        finally:
            restore()
