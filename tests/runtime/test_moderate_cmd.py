"""``edgesafe moderate``: a line for each source, and the exit status that goes with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgesafe.cli import main
from edgesafe.runtime import moderate_cmd
from edgesafe.runtime.camera import Camera
from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.gate import Refused, decode_array, decode_image, read_image_file
from edgesafe.runtime.verdict import ConceptScore, Timings, Verdict, decide

KEYS = "source index verdict score radius threshold probability concepts reason package ms".split()
BLUE, RED = (0, 0, 200), (200, 0, 0)


class Stub:
    """Judges by redness; reads files through the real gate."""

    manifest = SimpleNamespace(identity="stub@1#0")
    loaded: tuple[Any, ...] = ()

    @classmethod
    def load(cls, package: str | None, *, backend: str, threads: int | None) -> Stub:
        cls.loaded = (package, backend, threads)
        if package == "broken":
            raise PackageError("broken: no manifest.json; export the package again")
        return cls()

    def prepare(self, modality: Any) -> str:
        return "cpu"

    def check(self, image: Any) -> Verdict:
        try:
            if isinstance(image, str):
                view = decode_image(read_image_file(image)).views[0]
            else:
                view = decode_array(image).views[0]
        except Refused as refused:
            return Verdict.undecided(
                refused.code, refused.detail, modality="image", package="stub@1#0"
            )
        return self._verdict(float(view[..., 0].mean()) / 100, "image")

    def check_text(self, text: str) -> Verdict:
        return self._verdict(2.0 if "red" in text else 0.5, "text")

    @staticmethod
    def _verdict(score: float, modality: Any) -> Verdict:
        concept = ConceptScore("red", "fire", min(1.0, score), 0.1, 0.2, True)
        decision = decide(score, 1.0)
        return Verdict(
            decision, score, score, 1.0, (concept,), None, None, modality, Timings(), "stub@1#0"
        )


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moderate_cmd, "Moderator", Stub)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two safe pictures, one that is not, one that is cut; the working folder is above them."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    Image.new("RGB", (32, 24), BLUE).save(folder / "a.jpg")
    Image.new("RGB", (32, 24), BLUE).save(folder / "c.webp")
    Image.new("RGB", (32, 24), RED).save(folder / "sub" / "red.png")
    out = BytesIO()
    Image.new("RGB", (32, 24), BLUE).save(out, "PNG")
    (folder / "b.png").write_bytes(out.getvalue()[:-12])
    return folder


def run(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(moderate_cmd.moderate, list(arguments), **options)


def lines(result: Result) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(list(line) == KEYS for line in found)
    return found


def brief(result: Result) -> list[tuple[str, str, str | None]]:
    return [(line["source"], line["verdict"], line["reason"]) for line in lines(result)]


def status(result: Result) -> int:
    """The exit status that the ``edgesafe`` command makes of it."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return int(getattr(result.exception, "exit_status", -1))
    return result.exit_code


def test_a_folder_gives_a_line_for_each_image(photos: Path) -> None:
    result = run("photos", "--json")
    assert status(result) == 0
    assert brief(result) == [
        ("photos/a.jpg", "safe", None),
        ("photos/b.png", "undecided", "truncated"),
        ("photos/c.webp", "safe", None),
        ("photos/sub/red.png", "unsafe", None),
    ]
    assert {line["index"] for line in lines(result)} == {0}
    assert "2 safe, 1 unsafe, 1 undecided" in result.stderr


def test_a_table_without_json(photos: Path) -> None:
    result = run("photos")
    assert status(result) == 0
    rows = result.stdout.splitlines()
    assert len(rows) == 5
    assert rows[0].split() == "VERDICT SCORE LIMIT CONCEPT MS SOURCE".split()
    assert [row.split()[0] for row in rows[1:]] == ["safe", "undecided", "safe", "unsafe"]
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["photos"], 0),
        (["photos", "--fail-on", "unsafe"], 1),
        (["photos", "--fail-on", "undecided"], 1),
        (["photos/a.jpg", "--fail-on", "unsafe", "--fail-on", "undecided"], 0),
        (["photos/b.png", "--fail-on", "unsafe"], 0),
        (["photos", "nowhere", "--fail-on", "unsafe"], 3),
        (["photos", "--model", "broken"], 3),
        ([], 2),
        (["photos", "--fail-on", "safe"], 2),
        (["photos", "--backend", "tpu"], 2),
        (["photos", "--every", "2", "--fps", "1"], 2),
        (["photos", "--threads", "0"], 2),
        (["0", "photos"], 2),
        (["rtsp://127.0.0.1/x", "--text", "a"], 2),
        (["photos", "--redact", "photos"], 2),
    ],
)
def test_exit_status(photos: Path, arguments: list[str], expected: int) -> None:
    assert status(run(*arguments)) == expected


def test_nothing_to_judge_says_what_to_do() -> None:
    result = run()
    assert "--text" in result.stderr
    assert "edgesafe demo" in result.stderr


def test_missing_sources_get_a_line_and_the_others_are_judged(photos: Path) -> None:
    (photos / "sub" / "empty").mkdir()
    result = run("nowhere.jpg", "photos/sub/empty", "photos/*.gif", "photos/a.jpg", "--json")
    assert brief(result) == [
        ("nowhere.jpg", "undecided", "missing"),
        ("photos/sub/empty", "undecided", "no_images"),
        ("photos/*.gif", "undecided", "missing"),
        ("photos/a.jpg", "safe", None),
    ]
    assert [line["index"] for line in lines(result)] == [None, None, None, 0]
    assert status(result) == 3
    assert "nowhere.jpg" in str(result.exception)


def test_a_named_file_gets_one_line_whatever_it_is(photos: Path) -> None:
    Path("notes.txt").write_text("no picture")
    Path("empty.jpg").touch()
    result = run("notes.txt", "empty.jpg", "photos/a.jpg", "photos/a.jpg", "--json")
    assert status(result) == 0
    assert [line[2] for line in brief(result)] == ["not_an_image", "empty", None, None]


def test_sources_from_standard_input(photos: Path) -> None:
    result = run("-", "--json", input="photos/a.jpg\n\nphotos/sub\n")
    assert [line[1] for line in brief(result)] == ["safe", "unsafe"]


def test_texts(photos: Path) -> None:
    Path("t.jsonl").write_text('{"text": "blue"}\n[]\n"red"\n')
    result = run("--text", "red", "--text", "blue", "--text-file", "t.jsonl", "--json")
    assert status(result) == 0
    assert brief(result) == [
        ("text:1", "unsafe", None),
        ("text:2", "safe", None),
        ("t.jsonl:1", "safe", None),
        ("t.jsonl:2", "undecided", "bad_record"),
        ("t.jsonl:3", "unsafe", None),
    ]


def test_a_missing_text_file(photos: Path) -> None:
    result = run("--text", "blue", "--text-file", "nowhere.txt", "--json")
    assert brief(result)[1] == ("nowhere.txt", "undecided", "missing")
    assert status(result) == 3


def test_redacted_copies_of_what_is_not_safe(photos: Path) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    result = run("photos", "photos/b.png", "--redact", "out", "--json")
    assert status(result) == 0
    written = sorted(str(p.relative_to("out")) for p in Path("out").rglob("*.*"))
    assert written == ["b.png", "photos/b.png", "photos/sub/red.png"]
    with Image.open("out/photos/b.png") as card, Image.open("out/photos/sub/red.png") as copy:
        assert card.getextrema() == ((128, 128),) * 3
        assert copy.size == (32, 24)
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == before


def test_model_backend_and_threads_are_passed_on(photos: Path) -> None:
    run("photos/a.jpg", "--model", "pkg", "--backend", "cpu", "--threads", "3")
    assert Stub.loaded == ("pkg", "cpu", 3)


def test_a_refused_package_ends_the_run_before_any_line(photos: Path) -> None:
    result = run("photos", "--model", "broken", "--json")
    assert result.stdout == ""
    assert isinstance(result.exception, PackageError)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for index in range(20):
        writer.write(np.full((48, 64, 3), (200, 0, 0) if index < 10 else (0, 0, 200), np.uint8))
    writer.release()
    return path


def test_each_frame_of_a_video_is_a_line(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(str(clip), "--every", "6", "--json", "--redact", str(out))
    assert status(result) == 0
    assert [(line["index"], line["verdict"]) for line in lines(result)] == [
        (0, "safe"),
        (6, "safe"),
        (12, "unsafe"),
        (18, "unsafe"),
    ]
    assert sorted(p.name for p in out.rglob("*.jpg")) == ["000012.jpg", "000018.jpg"]


def test_a_video_without_opencv_does_not_stop_the_others(
    clip: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    result = run(str(clip), "photos/a.jpg", "--json")
    assert [line[1:] for line in brief(result)] == [("undecided", "missing_extra"), ("safe", None)]
    assert status(result) == 3
    assert "edgesafe[cpu]" in str(result.exception)


class Frames:
    """A capture of blue frames that ends its run with what it is given."""

    def __init__(self, end: Callable[[], None] | None = None) -> None:
        self.end = end

    def read(self) -> np.ndarray:
        import time

        time.sleep(0.01)
        return np.full((16, 16, 3), BLUE, np.uint8)

    def release(self) -> None:
        pass


def use_camera(monkeypatch: pytest.MonkeyPatch, opened: Frames | None) -> None:
    def camera(target: str, *, name: str) -> Camera:
        return Camera(target, name=name, open_capture=lambda _: opened)

    monkeypatch.setattr(moderate_cmd, "Camera", camera)


def test_a_camera_ends_after_its_frames(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_camera(monkeypatch, Frames())
    result = run("0", "photos/a.jpg", "--max-frames", "3", "--json")
    assert status(result) == 0
    assert [line[:2] for line in brief(result)] == [("0", "safe")] * 3 + [("photos/a.jpg", "safe")]
    assert "3 judged" in result.stderr


def test_a_camera_that_is_not_there(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_camera(monkeypatch, None)
    result = run("0", "--json")
    assert brief(result) == [("0", "undecided", "unopened")]
    assert status(result) == 3
    assert str(result.exception).startswith("not everything could be judged: 0: cannot open")
    assert "0: unopened: cannot open the camera or stream; check" in result.stderr


def test_interrupting_a_camera_is_its_proper_end(monkeypatch: pytest.MonkeyPatch) -> None:
    use_camera(monkeypatch, Frames())
    check = Stub.check
    calls = iter([check, check])

    def interrupted(self: Stub, image: Any) -> Verdict:
        try:
            return next(calls)(self, image)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(Stub, "check", interrupted)
    result = run("0", "--json")
    assert status(result) == 0
    assert len(lines(result)) == 2
    assert "interrupted" in result.stderr


def test_the_real_command_reports_its_errors_without_a_traceback(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["moderate", "nowhere.jpg", "photos/a.jpg", "--json"])
    assert exit_.value.code == 3
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    assert "edgesafe: error: " in captured.err
    assert "Traceback" not in captured.err
