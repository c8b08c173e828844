"""Ctrl-C waits for its moment, and a program ends past a driver that does not return."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from edgesafe.runtime.ending import HeldInterrupt, handle_interrupts


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_the_first_interrupt_waits_and_wakes() -> None:
    woken: list[bool] = []
    with (
        pytest.raises(KeyboardInterrupt),
        HeldInterrupt(lambda: woken.append(True)) as held,
    ):
        interrupt()
        assert woken == [held.pending] == [True]
        held.deliver()
        pytest.fail("it was not delivered")
    assert not held.pending
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_interrupt_acts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), HeldInterrupt():
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_what_is_still_held_acts_when_it_is_left() -> None:
    with pytest.raises(KeyboardInterrupt) as raised, HeldInterrupt():
        interrupt()
        raise ImportError("what an extension makes of it")
    assert isinstance(raised.value.__context__, ImportError)


def test_without_an_interrupt_nothing_happens() -> None:
    with HeldInterrupt() as held:
        held.deliver()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_interrupt_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handle_interrupts()
    with HeldInterrupt() as held:
        interrupt()
        assert not held.pending
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_the_callers_own_handler_is_called_later() -> None:
    seen: list[int] = []

    def own(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    signal.signal(signal.SIGINT, own)
    handle_interrupts()
    with HeldInterrupt() as held:
        interrupt()
        assert seen == []
        held.deliver()
        assert seen == [signal.SIGINT]
        interrupt()
    assert seen == [signal.SIGINT] * 2
    assert signal.getsignal(signal.SIGINT) is own


def test_another_thread_leaves_the_handler_alone() -> None:
    found: list[object] = []

    def work() -> None:
        with HeldInterrupt():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_one_that_is_left_in_another_thread_lets_the_next_interrupt_pass() -> None:
    held = HeldInterrupt()
    held.__enter__()
    thread = threading.Thread(target=held.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


HUNG = """
import atexit, os, sys, threading, time
from edgesafe.runtime.ending import DeviceThread, exit_process
DeviceThread(target=time.sleep, args=(60,), daemon=True).start()
atexit.register(print, "wound down")
print("said", end="")
exit_process(3)
"""

LEFT_AN_EXEC = """
import click
from edgesafe.cli import run
@click.command()
def command():
    exec("import signal; signal.raise_signal(signal.SIGINT)")
run(command)
"""


@pytest.mark.parametrize(
    ("code", "status", "output"),
    [(HUNG, 3, "said"), (LEFT_AN_EXEC, 130, "\nedgesafe: interrupted")],
)
def test_a_program_ends_with_its_status(code: str, status: int, output: str) -> None:
    runtime = str(Path(__file__).parents[2] / "runtime")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": runtime},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == status, done.stderr
    assert (done.stdout + done.stderr).rstrip() == output
