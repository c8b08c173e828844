"""Videos: each frame once, with its index; a bad end is said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgesafe.runtime.errors import MissingExtraError
from edgesafe.runtime.video import Frame, read_frames, to_rgb

cv2 = pytest.importorskip("cv2")

COUNT, FPS = 30, 10.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty frames that get brighter, red first."""
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48))
    assert writer.isOpened()
    for index in range(COUNT):
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 2] = 100 + 5 * index
        writer.write(frame)
    writer.release()
    return path


def codes(frames: list[Frame]) -> list[str]:
    return [frame.refused.code for frame in frames if frame.refused]


def test_every_frame_in_rgb(clip: Path) -> None:
    frames = list(read_frames(str(clip)))
    assert [frame.index for frame in frames] == list(range(COUNT))
    for frame in frames:
        assert frame.rgb is not None
        assert frame.index is not None
        assert frame.rgb.shape == (48, 64, 3)
        assert abs(int(frame.rgb[20, 20, 0]) - (100 + 5 * frame.index)) < 6
        assert frame.rgb[20, 20, 1:].max() < 12


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"every": 7}, [0, 7, 14, 21, 28]),
        ({"fps": 2.0}, [0, 5, 10, 15, 20, 25]),
        ({"fps": 100.0, "max_frames": 3}, [0, 1, 2]),
        ({"every": 10, "max_frames": 2}, [0, 10]),
    ],
)
def test_sampling(clip: Path, options: dict[str, float], expected: list[int]) -> None:
    frames = list(read_frames(str(clip), **options))  # type: ignore[arg-type]
    assert [frame.index for frame in frames] == expected
    assert not codes(frames)


@pytest.mark.parametrize("kept", [0.5, 0.8])
def test_a_cut_video_says_so(clip: Path, tmp_path: Path, kept: float) -> None:
    data = clip.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(data[: int(len(data) * kept)])
    frames = list(read_frames(str(cut)))
    assert 0 < len(frames) < COUNT
    assert codes(frames) == ["truncated"]
    assert frames[-1].rgb is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n", "not_a_video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not_a_video"),
        (b"\x1aE\xdf\xa3" + bytes(300), "unreadable_video"),
        (b"\0\0\0\x18ftypisom" + bytes(300), "unreadable_video"),
    ],
)
def test_what_is_no_video_is_one_undecided_frame(tmp_path: Path, data: bytes, code: str) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(data)
    (frame,) = read_frames(str(path))
    assert (frame.index, codes([frame])) == (None, [code])


def test_a_missing_video(tmp_path: Path) -> None:
    assert codes(list(read_frames(str(tmp_path / "x.mp4")))) == ["unreadable"]


def test_a_name_is_no_pattern(clip: Path, tmp_path: Path) -> None:
    odd = tmp_path / "clip%02d.avi"
    odd.write_bytes(clip.read_bytes())
    assert len(list(read_frames(str(odd)))) == COUNT


def test_without_opencv_the_extra_is_named(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"edgesafe\[cpu\]"):
        list(read_frames(str(clip)))


def test_grey_and_alpha_frames_become_rgb() -> None:
    assert to_rgb(cv2, np.full((8, 8), 7, np.uint8))[0, 0].tolist() == [7, 7, 7]
    assert to_rgb(cv2, np.full((8, 8, 4), (1, 2, 3, 4), np.uint8))[0, 0].tolist() == [3, 2, 1]
