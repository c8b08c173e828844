from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.runtime import sessions
from edgesafe.runtime.backends.openvino_backend import OpenVinoEngine
from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.package import default_model_path, read_package

pytest.importorskip("openvino")

OUTPUTS = ("root_distance", "embedding")
PIXELS = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize("storage", ["fp32", "fp16", "int8"])
def test_it_answers_what_onnxruntime_answers(tiny_image_model: Any, storage: str) -> None:
    model = tiny_image_model(storage=storage)
    found, expected = (
        sessions.open_session(model, backend=name, threads=1).run(OUTPUTS, {"pixels": PIXELS})
        for name in ("openvino", "cpu")
    )
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_it_computes_in_float32_and_quantises_nothing(tiny_image_model: Any) -> None:
    session = sessions.open_session(tiny_image_model(), backend="openvino", threads=1)
    engine = session._engine
    assert isinstance(engine, OpenVinoEngine)
    compiled = engine._compiled
    assert str(compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
    assert int(compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")) == 0
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_answers_are_not_overwritten_by_later_ones(tiny_image_model: Any) -> None:
    """Also from several threads at once."""
    session = sessions.open_session(tiny_image_model(), backend="openvino", threads=1)
    wanted = [session.run(OUTPUTS, {"pixels": PIXELS * k})[0].copy() for k in range(4)]
    found: dict[int, Any] = {}

    def work(k: int) -> None:
        for _ in range(20):
            found[k] = session.run(OUTPUTS, {"pixels": PIXELS * k})[0]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        np.testing.assert_array_equal(found[k], wanted[k])


def test_a_refused_model_says_so() -> None:
    with pytest.raises(PackageError, match="OpenVINO refuses bad.onnx.*use the backend 'cpu'"):
        sessions.open_session(b"", backend="openvino", where="bad.onnx")


@pytest.mark.slow
def test_the_shipped_package_passes_its_golden_pairs() -> None:
    """It calls functions of the domain ai.edgesafe, which OpenVINO does not know."""
    from edgesafe.runtime import Moderator

    folder = default_model_path()
    assert b"ai.edgesafe" in Path(folder, "image.onnx").read_bytes()
    moderator = Moderator(read_package(folder), backend="openvino", threads=1)
    assert moderator.prepare("image") == "openvino"
    assert moderator.prepare("text") == "openvino"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_the_stack_for_signals_outlives_the_last_model(tiny_image_model: Any) -> None:
    """Its plugin unmaps it from whichever thread lets go: Ctrl-C then ended the process."""
    program = f"""
import ctypes, gc, signal, threading
from edgesafe.runtime import sessions
held = [sessions.open_session({tiny_image_model()!r}, backend="openvino", threads=1)]
other = threading.Thread(target=lambda: (held.clear(), gc.collect()))
other.start()
other.join()

class Stack(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

stack = Stack()
assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
spans = [line.split()[0].split("-") for line in open("/proc/self/maps")]
if stack.at is not None:
    assert any(int(a, 16) <= stack.at < int(b, 16) for a, b in spans), "it is unmapped"
# Python takes no interrupt where the tests were started with it ignored, as in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
