"""SOURCE arguments: what each form stands for, and that nothing is left out in silence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from edgesafe.runtime.sources import Source, expand, is_video


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures and other things, which is the working folder."""
    root = tmp_path / "photos"
    (root / "inner" / "deep").mkdir(parents=True)
    for name in ("b.jpg", "a.PNG", "inner/c.webp", "inner/deep/d.jpeg", "nosuffix"):
        kind = {"b.jpg": "JPEG", "inner/c.webp": "WEBP", "inner/deep/d.jpeg": "JPEG"}
        Image.new("RGB", (16, 16)).save(root / name, kind.get(name, "PNG"))
    (root / "notes.txt").write_text("not a picture")
    (root / "inner" / "old.gif").write_bytes(b"GIF89a")
    (root / "broken.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return root


def names(found: Iterator[Source]) -> list[str]:
    return [source.name for source in found]


def only(argument: str) -> Source:
    (source,) = expand([argument])
    return source


def test_a_folder_yields_each_image_file_once_sorted(folder: Path) -> None:
    assert names(expand(["photos"])) == [
        "photos/a.PNG",
        "photos/b.jpg",
        "photos/broken.jpg",
        "photos/nosuffix",
        "photos/inner/c.webp",
        "photos/inner/old.gif",
        "photos/inner/deep/d.jpeg",
    ]
    assert {source.kind for source in expand(["photos"])} == {"image"}
    assert [str(s.relative) for s in expand(["photos"])][4] == "photos/inner/c.webp"


def test_links_to_folders_are_not_followed(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    assert len(list(expand(["photos"]))) == 7


def test_a_broken_link_in_a_folder_is_named(folder: Path) -> None:
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    (gone,) = [s for s in expand(["photos"]) if s.name == "photos/gone.jpg"]
    assert gone.problem is not None
    assert gone.problem.code == "missing"


def test_a_named_file_is_one_source_whatever_it_is(folder: Path) -> None:
    assert only("photos/notes.txt").kind == "image"
    assert only("photos/inner/old.gif").kind == "image"
    assert names(expand(["photos/b.jpg", "photos/b.jpg"])) == ["photos/b.jpg"] * 2


@pytest.mark.parametrize("argument", ["nowhere.jpg", "photos/b.jpg/x", "photos/*.tif", ""])
def test_what_is_missing_is_a_problem(folder: Path, argument: str) -> None:
    source = only(argument)
    assert source.kind == "problem"
    assert source.problem is not None
    assert source.problem.code == "missing"


def test_a_folder_without_images_is_a_problem(folder: Path) -> None:
    (folder / "empty").mkdir()
    source = only("photos/empty")
    assert source.problem is not None
    assert source.problem.code == "no_images"


def test_a_closed_folder_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("inner"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = list(expand(["photos"]))
    assert [(s.name, s.problem.code) for s in found if s.problem] == [
        ("photos/inner", "unreadable")
    ]
    assert len(found) == 5


def test_globs(folder: Path) -> None:
    assert names(expand(["photos/*.jpg"])) == ["photos/b.jpg", "photos/broken.jpg"]
    assert names(expand(["photos/**/*.webp"])) == ["photos/inner/c.webp"]
    assert names(expand(["photos/inn*"])) == [
        "photos/inner/c.webp",
        "photos/inner/old.gif",
        "photos/inner/deep/d.jpeg",
    ]
    assert len(list(expand(["photos/**"]))) == 8  # files only, notes.txt too: it is named


def test_a_file_named_like_a_pattern_is_the_file(folder: Path) -> None:
    (folder / "[1].jpg").write_bytes(b"")
    assert only("photos/[1].jpg").kind == "image"


def test_cameras_and_files_named_like_one(folder: Path) -> None:
    camera = only("0")
    assert (camera.kind, camera.endless) == ("camera", True)
    Path("0").write_bytes(b"")
    assert (only("0").kind, only("0").endless) == ("image", False)


def test_streams_do_not_show_their_password() -> None:
    source = only("rtsp://guard:se:cr@et@cam.example:554/live")
    assert source.kind == "stream"
    assert source.target == "rtsp://guard:se:cr@et@cam.example:554/live"
    assert source.name == "rtsp://guard:***@cam.example:554/live"
    assert str(source.relative) == "stream-cam.example"
    assert only("http://[::1").kind == "stream"
    assert only("HTTP://cam/x").name == "HTTP://cam/x"


def test_other_addresses_are_a_problem() -> None:
    source = only("ftp://host/x.jpg")
    assert source.problem is not None
    assert source.problem.code == "unsupported_source"


def test_a_list_on_standard_input_is_read_as_it_comes(folder: Path) -> None:
    read: list[str] = []

    def lines() -> Iterator[str]:
        for line in ("photos/b.jpg\n", "\n", "-\n", "nowhere\r\n", "0"):
            read.append(line)
            yield line

    found = expand(["-"], lines())
    assert next(found).name == "photos/b.jpg"
    assert read == ["photos/b.jpg\n"]
    assert [s.kind for s in found] == ["problem", "camera"]


def test_an_empty_list_is_a_problem() -> None:
    (source,) = expand(["-"], ["\n"])
    assert source.problem is not None
    assert source.problem.code == "no_sources"


def test_kind_is_told_by_content_before_the_name(folder: Path) -> None:
    Image.new("RGB", (16, 16)).save("photo.mp4", "PNG")
    Path("clip.jpg").write_bytes(b"\x1aE\xdf\xa3" + bytes(200))
    Path("list.mp4").write_bytes(b"#EXTM3U\nhttp://host/secret\n")
    assert only("photo.mp4").kind == "image"
    assert only("clip.jpg").kind == "video"
    assert only("list.mp4").kind == "video"  # refused there: its content is no container


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\0\0\0\x20ftypisom", True),
        (b"\0\0\0\x20ftypavif", False),
        (b"\0\0\0\x20moov", True),
        (b"RIFF\0\0\0\0AVI LIST", True),
        (b"RIFF\0\0\0\0WAVE", False),
        (b"G" + bytes(187) + b"G", True),
        (b"G" + bytes(200), False),
        (b"OggS", True),
        (b"#EXTM3U", False),
        (b"ffconcat version 1.0", False),
        (b"", False),
    ],
)
def test_video_containers(head: bytes, expected: bool) -> None:
    assert is_video(head) is expected


def test_copies_stay_below_their_folder(folder: Path) -> None:
    os.chdir(folder)
    for argument in ("../photos/b.jpg", ".", "..", str(folder / "b.jpg"), "/../" + str(folder)):
        for source in expand([argument]):
            assert not source.relative.is_absolute()
            assert ".." not in source.relative.parts
