"""Which of two engines `auto` takes, with engines whose speed is known."""

from __future__ import annotations

import json
import stat
import time
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.runtime import sessions
from edgesafe.runtime.backends import trial
from edgesafe.runtime.backends.base import Request, Tensor
from edgesafe.runtime.errors import PackageError

REQUEST = Request(b"a model", threads=1)


class Clock:
    """Moves only while an engine runs, so that a busy machine changes nothing."""

    now = 0.0


class Engine:
    outputs = ("y",)

    def __init__(self, seconds: float, answer: float = 1.0) -> None:
        self.inputs = [
            Tensor("pixels", "float", (-1, 3, 8, -1)),
            Tensor("ids", "int64", (-1, -1)),
            Tensor("object", "int64", (-1,)),
        ]
        self.seconds, self.answer, self.runs = seconds, answer, 0

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Any]) -> list[Any]:
        assert inputs["pixels"].shape == (1, 3, 8, 224)
        assert inputs["ids"].shape == (1, 16) and inputs["ids"].dtype == np.int64
        assert inputs["object"].shape == (1,)
        self.runs += 1
        Clock.now += self.seconds
        return [np.array([self.answer, 1.0])]


class Opener:
    def __init__(self, **engines: Any) -> None:
        self.engines, self.opened = engines, []

    def __call__(self, request: Request, backend: str) -> Any:
        self.opened.append((backend, request.threads))
        engine = self.engines[backend]
        if isinstance(engine, Exception):
            raise engine
        return engine(request.threads) if callable(engine) else engine


@pytest.fixture(autouse=True)
def allowed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(trial.TRIAL_SWITCH, raising=False)
    monkeypatch.setattr(trial, "openvino_is_installed", lambda: True)
    monkeypatch.setattr(trial, "core_count", lambda: 4)
    monkeypatch.setattr(trial, "time", types.SimpleNamespace(perf_counter=lambda: Clock.now))


@pytest.mark.parametrize(
    ("cpu", "openvino", "wanted"),
    [(0.004, 0.002, "openvino"), (0.002, 0.004, "cpu"), (0.004, 0.0039, "cpu")],
)
def test_the_faster_one_is_taken_and_remembered(
    cache: Path, cpu: float, openvino: float, wanted: str
) -> None:
    opener = Opener(cpu=Engine(cpu), openvino=Engine(openvino))
    backend, engine = trial.open_fastest(REQUEST, opener)
    assert backend == wanted
    assert engine is opener.engines[wanted]
    (record,) = (cache / "trials").iterdir()
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert set(json.loads(record.read_bytes())["ms"]) == {"cpu/1", "openvino/1"}
    again = Opener(cpu=Engine(0), openvino=Engine(0))
    assert trial.open_fastest(REQUEST, again)[0] == wanted
    assert again.opened == [(wanted, 1)]
    assert again.engines[wanted].runs == 0


@pytest.mark.parametrize(
    "rival", [PackageError("no"), RuntimeError("no"), Engine(0.0, 1.5), Engine(0.0, float("nan"))]
)
def test_one_that_fails_or_answers_otherwise_is_not_taken(rival: Any) -> None:
    opener = Opener(cpu=Engine(0.003), openvino=rival)
    assert trial.open_fastest(REQUEST, opener)[0] == "cpu"


def test_int8_may_round_otherwise() -> None:
    request = Request(b"a model", "int8", 1)
    opener = Opener(cpu=Engine(0.003), openvino=Engine(0.0, 1.1))
    assert trial.open_fastest(request, opener)[0] == "openvino"


def test_fewer_threads_are_taken_unless_more_are_much_faster() -> None:
    def scaling(gain: float) -> Any:
        return lambda threads: Engine(0.006 / (1 + gain * (threads - 1)))

    for gain, wanted in ((0.0, 1), (1.0, 4)):
        opener = Opener(cpu=scaling(gain), openvino=Engine(0.05))
        trial.open_fastest(Request(b"model %d" % wanted), opener)
        again = Opener(cpu=Engine(0), openvino=Engine(0))
        trial.open_fastest(Request(b"model %d" % wanted), again)
        assert again.opened == [("cpu", wanted)]


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"backend": "rm"}', b"[" * 100_000, None],
)
def test_a_damaged_record_is_measured_again(cache: Path, damage: bytes | None) -> None:
    fast, slow = Engine(0.001), Engine(0.004)
    trial.open_fastest(REQUEST, Opener(cpu=slow, openvino=fast))
    (record,) = (cache / "trials").iterdir()
    if damage is None:
        fields = json.loads(record.read_bytes())
        damage = json.dumps({**fields, "threads": 64}).encode()
    record.write_bytes(damage)
    opener = Opener(cpu=fast, openvino=slow)
    assert trial.open_fastest(REQUEST, opener)[0] == "cpu"
    assert len(opener.opened) == 2
    assert json.loads(record.read_bytes())["backend"] == "cpu"


def test_another_version_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    trial.open_fastest(REQUEST, Opener(cpu=Engine(0.004), openvino=Engine(0.001)))
    monkeypatch.setattr(trial, "_version", lambda package: "9.9")
    opener = Opener(cpu=Engine(0.001), openvino=Engine(0.004))
    assert trial.open_fastest(REQUEST, opener)[0] == "cpu"


def test_an_openvino_that_fails_later_is_passed_over() -> None:
    trial.open_fastest(REQUEST, Opener(cpu=Engine(0.004), openvino=Engine(0.001)))
    opener = Opener(cpu=Engine(0), openvino=PackageError("gone"))
    assert trial.open_fastest(REQUEST, opener)[0] == "cpu"


@pytest.mark.parametrize("why", ["switch", "missing", "cache", "size"])
def test_without_a_trial_the_cpu_is_taken(
    cache: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == "switch":
        monkeypatch.setenv(trial.TRIAL_SWITCH, "0")
    elif why == "missing":
        monkeypatch.setattr(trial, "openvino_is_installed", lambda: False)
    elif why == "cache":
        cache.write_text("no folder")
    else:
        monkeypatch.setattr(trial, "_LARGEST_MODEL", 3)
    opener = Opener(cpu=Engine(0))
    assert trial.open_fastest(REQUEST, opener)[0] == "cpu"
    assert opener.opened == [("cpu", 1)]


def test_it_stands_behind_auto(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tiny_image_model: Any
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(trial, "time", time)
    monkeypatch.setattr(trial, "_GAIN", 1e9)  # whatever comes later is taken
    session = sessions.open_session(tiny_image_model(), backend="auto", threads=1)
    assert session.backend == "openvino"
    assert len(list((cache / "trials").iterdir())) == 1
