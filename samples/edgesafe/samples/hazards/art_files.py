"""Pictures out of the files that drawings come in: images, outlines, icon packs, game archives."""

from __future__ import annotations

import functools
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

VECTOR_SIDE = 384
"""Longer side in pixels at which outlines are drawn."""

Rgba = NDArray[np.uint8]


def crop(sprite: Rgba) -> Rgba:
    """Cut away fully transparent borders; an empty sprite comes back unchanged."""
    ys, xs = np.nonzero(sprite[..., 3] > 8)
    if len(ys) == 0:
        return sprite
    return sprite[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]


@contextmanager
def opened(package: Path) -> Iterator[Callable[[str], bytes]]:
    """What reads a file of a package as its registry serves it: a wheel, or a gzipped tar.

    Yields:
        path in the package -> its bytes; KeyError where there is no such file.
    """
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            yield wheel.read
        return
    with tarfile.open(package) as bundle:

        def read(path: str) -> bytes:
            member = bundle.extractfile(path)
            if member is None:
                raise KeyError(path)
            return member.read()

        yield read


def picture(data: bytes, path: str, inside: str | None, background: str | None) -> Rgba:
    """The picture in a file, cut free of its background.

    Args:
        data: the file.
        path: its name, for its suffix.
        inside: which one of several: the icon of a JSON pack, the code point of a font
            (``U+1F525``), the file in a game's archive.
        background: what is no part of the drawing: ``flood`` (what the corner's colour reaches),
            ``white``, ``black`` (a light that is added to what lies behind it), or None where the
            file says so itself.

    Returns:
        uint8 (H, W, 4).

    Raises:
        KeyError: it holds no ``inside``.
        ValueError: the file is none of its kind.
    """
    suffix = path.rsplit(".", 1)[-1].lower()
    if suffix in _ARCHIVES and inside is not None:
        data, suffix = _ARCHIVES[suffix](data, inside), inside.rsplit(".", 1)[-1].lower()
    if suffix == "wad":
        found = _doom(data, str(inside))
    elif suffix == "json":
        found = drawn(icon_svg(json.loads(data), str(inside)), VECTOR_SIDE)
    elif suffix == "svg":
        found = drawn(data.decode("utf-8", errors="replace"), VECTOR_SIDE)
    elif suffix in ("ttf", "otf"):
        found = _glyph(data, int(str(inside).removeprefix("U+"), 16))
    else:
        with Image.open(io.BytesIO(data)) as image:
            found = np.asarray(image.convert("RGBA"))
    return _BACKGROUNDS[background](found) if background else found


def icon_svg(pack: dict[str, Any], name: str) -> str:
    """An icon of a pack in the Iconify JSON format as SVG.

    Raises:
        KeyError: the pack has no such icon.
    """
    icon = pack["icons"][name]
    width = icon.get("width", pack.get("width", 16))
    height = icon.get("height", pack.get("height", 16))
    left, top = icon.get("left", pack.get("left", 0)), icon.get("top", pack.get("top", 0))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}" '
        f'color="#000">{icon["body"]}</svg>'
    )


def drawn(svg: str, size: int) -> Rgba:
    """An SVG, drawn into a square of ``size`` pixels.

    Raises:
        ValueError: it cannot be drawn.
    """
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size)
    with Image.open(io.BytesIO(bytes(png))) as image:
        return np.asarray(image.convert("RGBA"))


def _glyph(font: bytes, code: int) -> Rgba:
    face = ImageFont.truetype(io.BytesIO(font), VECTOR_SIDE)
    left, top, right, bottom = (int(edge) for edge in face.getbbox(chr(code)))
    picture = Image.new("RGBA", (right - left + 8, bottom - top + 8))
    ImageDraw.Draw(picture).text((4 - left, 4 - top), chr(code), font=face, fill=(0, 0, 0, 255))
    return np.asarray(picture)


# Backgrounds


def _without_flood(pixels: Rgba) -> Rgba:
    colour = pixels[0, 0, :3].astype(int)
    alike = np.abs(pixels[..., :3].astype(int) - colour).max(axis=-1) <= 14
    field = np.pad(alike, 1, constant_values=True).astype(np.uint8)
    cv2.floodFill(field, None, (0, 0), 2)
    inner = field[1:-1, 1:-1] != 2
    edge = Image.fromarray(inner.astype(np.uint8) * 255).filter(ImageFilter.MinFilter(3))
    return np.dstack([pixels[..., :3], np.asarray(edge.filter(ImageFilter.BoxBlur(0.6)))])


def _without_white(pixels: Rgba) -> Rgba:
    seen = (pixels[..., :3] < 255).any(axis=-1)
    return np.dstack([pixels[..., :3], seen.astype(np.uint8) * 255])


def _without_black(pixels: Rgba) -> Rgba:
    light = pixels[..., :3].astype(float)
    strength = light.max(axis=-1)
    colour = light / np.maximum(strength, 1)[..., None] * 255
    alpha = np.where(strength < 8, 0, np.minimum(1.3 * strength, 255))
    return np.dstack([colour, alpha]).astype(np.uint8)


_BACKGROUNDS = {"flood": _without_flood, "white": _without_white, "black": _without_black}


# Archives


def _zipped(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name)


def _graphics_archive(data: bytes, name: str) -> bytes:
    """A file of a FreeDink archive: a count, then an offset and a name of 13 bytes for each."""
    (count,) = struct.unpack_from("<I", data)
    entries = [struct.unpack_from("<I13s", data, 4 + 17 * i) for i in range(count)]
    ends = [offset for offset, _ in entries[1:]] + [len(data)]
    for (offset, raw), end in zip(entries, ends, strict=True):
        if raw.split(b"\0")[0].decode("latin-1") == name:
            return data[offset:end]
    raise KeyError(name)


@functools.lru_cache(maxsize=1)
def _qt_files(data: bytes) -> dict[str, tuple[int, int]]:
    """Path -> offset and flags of every file of a binary Qt resource."""
    if data[:4] != b"qres":
        raise ValueError("no Qt resource")
    version, tree, content, names = struct.unpack_from(">4i", data, 4)
    node = 22 if version >= 2 else 14
    found: dict[str, tuple[int, int]] = {}

    def walk(index: int, path: str) -> None:
        at = tree + node * index
        name, flags = struct.unpack_from(">iH", data, at)
        if index:
            (length,) = struct.unpack_from(">H", data, names + name)
            raw = data[names + name + 6 : names + name + 6 + 2 * length]
            path = f"{path}/{raw.decode('utf-16-be')}"
        if flags & 2:
            count, first = struct.unpack_from(">ii", data, at + 6)
            for child in range(first, first + count):
                walk(child, path)
        else:
            (offset,) = struct.unpack_from(">i", data, at + 10)
            found[path.lstrip("/")] = content + offset, flags

    walk(0, "")
    return found


def _qt_resource(data: bytes, name: str) -> bytes:
    offset, flags = _qt_files(data)[name]
    (length,) = struct.unpack_from(">i", data, offset)
    raw = data[offset + 4 : offset + 4 + length]
    return zlib.decompress(raw[4:]) if flags & 1 else raw


_ARCHIVES = {"pk3": _zipped, "ff": _graphics_archive, "rcc": _qt_resource}


@functools.lru_cache(maxsize=1)
def _lumps(data: bytes) -> dict[str, bytes]:
    count, directory = struct.unpack_from("<ii", data, 4)
    lumps: dict[str, bytes] = {}
    for index in range(count):
        offset, size, raw = struct.unpack_from("<ii8s", data, directory + 16 * index)
        lumps[raw.rstrip(b"\0").decode("latin-1")] = data[offset : offset + size]
    return lumps


def _doom(data: bytes, lump: str) -> Rgba:
    """A picture of a WAD file: columns of runs of palette indices."""
    lumps = _lumps(data)
    found, palette = lumps[lump], np.frombuffer(lumps["PLAYPAL"][:768], np.uint8).reshape(-1, 3)
    width, height = struct.unpack_from("<hh", found)
    pixels = np.zeros((height, width, 4), np.uint8)
    for x, start in enumerate(struct.unpack_from(f"<{width}I", found, 8)):
        at = start
        while found[at] != 255:  # the end of the column
            top, length = found[at], found[at + 1]
            run = np.frombuffer(found, np.uint8, length, at + 3)[: max(0, height - top)]
            pixels[top : top + len(run), x, :3] = palette[run]
            pixels[top : top + len(run), x, 3] = 255
            at += length + 4
    return pixels
