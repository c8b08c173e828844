"""``edgesafe moderate`` as a program of its own, with a real package: pipes, signals, tampering."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("onnxruntime")

EDGESAFE = [sys.executable, "-W", "error", "-m", "edgesafe.cli", "moderate"]


@pytest.fixture
def environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    parts = os.pathsep.join(str(root / p) for p in ("runtime", "calib", "export", "samples"))
    return {**os.environ, "PYTHONPATH": parts, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (64, 48), (0, 0, 200)).save(folder / "blue.jpg")
    Image.new("RGB", (64, 48), (220, 0, 0)).save(folder / "red.jpg")
    Image.new("RGBA", (64, 48), (220, 0, 0, 0)).save(folder / "unseen.png")
    (folder / "cut.jpg").write_bytes((folder / "blue.jpg").read_bytes()[:-2])
    return folder


def test_photos_and_texts(tiny_package: Path, photos: Path, environment: dict[str, str]) -> None:
    command = [*EDGESAFE, str(photos), "--model", str(tiny_package), "--json", "--text", "a knife"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = {Path(line["source"]).name: (line["verdict"], line["reason"]) for line in lines}
    assert found["blue.jpg"] == ("safe", None)
    assert found["red.jpg"] == ("unsafe", None)
    assert found["cut.jpg"] == ("undecided", "truncated")
    assert found["unseen.png"][0] == "unsafe"  # white on a white page: red in this package's eyes
    assert found["text:1"] == ("unsafe", None)
    assert {line["package"] for line in lines} == {lines[0]["package"]}


def test_a_tampered_package_judges_nothing(
    tiny_package: Path, photos: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    package = tmp_path / "package"
    shutil.copytree(tiny_package, package)
    model = package / "image.onnx"
    damaged = bytearray(model.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    model.write_bytes(bytes(damaged))
    command = [*EDGESAFE, str(photos), "--model", str(package), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("edgesafe: error: ")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_ends_it_quietly(
    tiny_package: Path, photos: Path, environment: dict[str, str]
) -> None:
    command = [*EDGESAFE, *[str(photos)] * 200, "--model", str(tiny_package), "--json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert json.loads(program.stdout.readline())["verdict"] == "safe"
        program.stdout.close()
        complaint = program.stderr.read()
        assert program.wait(60) == 141
    assert "Traceback" not in complaint
    assert "BrokenPipe" not in complaint


class _Blue(BaseHTTPRequestHandler):
    """A stream of blue frames without an end."""

    jpeg = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(self.jpeg)
        try:
            while True:
                self.wfile.write(head + self.jpeg + b"\r\n")
                time.sleep(0.03)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stream(photos: Path) -> Iterator[str]:
    _Blue.jpeg = (photos / "blue.jpg").read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Blue)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://me:secret@127.0.0.1:{server.server_port}/live"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell lets what it starts in the background ignore Ctrl-C, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def started(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A program that does not outlive its test."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.mark.usefixtures("interruptible")
def test_a_stream_is_ended_by_an_interrupt(
    tiny_package: Path, stream: str, environment: dict[str, str]
) -> None:
    pytest.importorskip("cv2")
    command = [*EDGESAFE, stream, "--model", str(tiny_package), "--json"]
    with started(command, environment) as program:
        assert program.stdout is not None
        lines = [json.loads(program.stdout.readline()) for _ in range(3)]
        program.send_signal(signal.SIGINT)
        rest, complaint = program.communicate(timeout=30)
    assert [line["verdict"] for line in lines] == ["safe"] * 3
    assert lines[0]["index"] < lines[1]["index"] < lines[2]["index"]
    assert program.returncode == 0, complaint
    assert "camera is closed" in complaint
    verdicts = len(lines) + len(rest.splitlines())
    assert f"{verdicts} safe, 0 unsafe, 0 undecided" in complaint
    assert "secret" not in rest + complaint + json.dumps(lines)
    assert "Traceback" not in complaint


@pytest.mark.usefixtures("interruptible")
def test_a_stream_that_does_not_answer_is_ended_by_an_interrupt(
    tiny_package: Path, environment: dict[str, str]
) -> None:
    pytest.importorskip("cv2")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"http://127.0.0.1:{mute.getsockname()[1]}/live"
        command = [*EDGESAFE, address, "--model", str(tiny_package), "--json"]
        mute.settimeout(30)
        with started(command, environment) as program, mute.accept()[0]:
            program.send_signal(signal.SIGINT)
            output, complaint = program.communicate(timeout=30)
    assert (program.returncode, output) == (130, "")
    assert complaint.strip() == "edgesafe: interrupted"


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.25, 0.5])
def test_an_interrupt_at_the_start(
    tiny_package: Path, stream: str, environment: dict[str, str], after_s: float
) -> None:
    """Also within an import: it is not taken for a library that is not installed."""
    pytest.importorskip("cv2")
    code = "from edgesafe.cli import main; print(flush=True); main()"
    command = [sys.executable, "-c", code, "moderate", stream, "--model", str(tiny_package)]
    with started(command, environment) as program:
        assert program.stdout is not None
        program.stdout.readline()
        time.sleep(0.05 + after_s)
        program.send_signal(signal.SIGINT)
        _, complaint = program.communicate(timeout=30)
    assert program.returncode in (0, 130), complaint
    assert "interrupted" in complaint
    assert "Traceback" not in complaint
