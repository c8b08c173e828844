"""The gate: what it lets through comes out as the right pixels, upright and in RGB."""

from __future__ import annotations

import struct
import threading
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from edgesafe.runtime.gate import (
    MAX_BYTES,
    Refused,
    decode_array,
    decode_image,
    decode_pil,
    read_image_file,
)

RGB8 = NDArray[np.uint8]


def picture(height: int = 40, width: int = 64) -> RGB8:
    """Smooth colours with one corner marked, so that every turn of it is told apart."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([255 * x // width, 255 * y // height, 255 * (x + y) // (height + width)], -1)
    rgb[:10, :14] = (250, 20, 30)
    return rgb.astype(np.uint8)


def encode(image: Image.Image | RGB8, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()


def png(ihdr: tuple[int, int, int, int], rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG from its header fields (width, height, depth, colour) and unfiltered rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", *ihdr, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def code_of(data: bytes) -> str:
    with pytest.raises(Refused) as caught:
        decode_image(data)
    assert caught.value.detail
    return caught.value.code


LOSSLESS = [("PNG", {}), ("WEBP", {"lossless": True})]
LOSSY = [("JPEG", {"quality": 95}), ("JPEG", {"progressive": True}), ("WEBP", {"quality": 95})]


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_lossless_pictures_come_back_exactly(kind: str, options: dict[str, Any]) -> None:
    decoded = decode_image(encode(picture(), kind, **options))
    assert decoded.format == kind
    assert decoded.size == (64, 40)
    assert decoded.trailing == 0
    (view,) = decoded.views
    assert view.dtype == np.uint8
    np.testing.assert_array_equal(view, picture())


@pytest.mark.parametrize(("kind", "options"), LOSSY)
def test_lossy_pictures_come_back_as_pillow_reads_them(kind: str, options: dict[str, Any]) -> None:
    data = encode(picture(), kind, **options)
    (view,) = decode_image(data).views
    np.testing.assert_array_equal(view, np.asarray(Image.open(BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied_as_pillow_applies_it(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    expected = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    decoded = decode_image(data)
    np.testing.assert_array_equal(decoded.views[0], np.asarray(expected))
    assert decoded.size == expected.size


def test_a_senseless_orientation_is_none() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    np.testing.assert_array_equal(
        decode_image(encode(picture(), "PNG", exif=exif)).views[0], picture()
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_transparent_picture_is_seen_on_black_and_on_white(kind: str, mode: str) -> None:
    rgba = np.dstack([picture(), np.full((40, 64), 0, np.uint8)])
    rgba[:, 32:, 3] = 255
    image = Image.fromarray(rgba).convert(mode)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    black, white = decode_image(encode(image, kind, **options)).views
    opaque = np.asarray(image.convert("RGB"))[:, 32:]
    assert (black[:, :32] == 0).all()
    assert (white[:, :32] == 255).all()
    np.testing.assert_array_equal(black[:, 32:], opaque)
    np.testing.assert_array_equal(white[:, 32:], opaque)


def test_half_transparency_is_mixed_with_the_ground() -> None:
    rgba = np.full((8, 8, 4), (200, 100, 0, 128), np.uint8)
    black, white = decode_image(encode(Image.fromarray(rgba), "PNG")).views
    assert black[0, 0].tolist() == [100, 50, 0]
    assert white[0, 0].tolist() == [227, 177, 127]


def test_an_opaque_alpha_channel_is_one_view() -> None:
    rgba = np.dstack([picture(), np.full((40, 64), 255, np.uint8)])
    (view,) = decode_image(encode(Image.fromarray(rgba), "PNG")).views
    np.testing.assert_array_equal(view, picture())


def test_a_palette_with_transparency_is_seen_twice() -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (8, 0, 16, 16))
    black, white = decode_image(encode(image, "PNG", transparency=b"\x00\xff")).views
    assert (black[0, 0].tolist(), white[0, 0].tolist()) == ([0, 0, 0], [255, 255, 255])
    assert black[0, 15].tolist() == white[0, 15].tolist() == [0, 0, 255]
    one = decode_image(encode(image, "PNG", transparency=1)).views
    assert one[1][0, 15].tolist() == [255, 255, 255]


def test_a_palette_without_transparency_is_plain() -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    (view,) = decode_image(encode(image, "PNG")).views
    assert (view == (0, 0, 255)).all()


@pytest.mark.parametrize(
    ("depth", "key", "pixel"), [(1, 1, 255), (2, 2, 170), (4, 5, 85), (8, 77, 77), (16, 0x1234, 18)]
)
def test_a_grey_colour_key_is_transparent_at_every_depth(depth: int, key: int, pixel: int) -> None:
    # Upper half of the rows the key, lower half zero.
    bits = "".join(f"{key:0{depth}b}" for _ in range(8)), "0" * depth * 8
    row = [b"\0" + int(b, 2).to_bytes(depth, "big") for b in bits]
    data = png((8, 8, depth, 0), row[0] * 4 + row[1] * 4, (b"tRNS", struct.pack(">H", key)))
    black, white = decode_image(data).views
    assert (black[0, 0].tolist(), white[0, 0].tolist()) == ([0] * 3, [255] * 3)
    assert black[7, 7].tolist() == white[7, 7].tolist() == [0] * 3
    (opaque,) = decode_image(png((8, 8, depth, 0), row[0] * 8)).views
    assert opaque[0, 0].tolist() == [pixel] * 3


@pytest.mark.parametrize("depth", [8, 16])
def test_an_rgb_colour_key_is_transparent(depth: int) -> None:
    code = ">BBB" if depth == 8 else ">HHH"
    key = (1, 2, 3) if depth == 8 else (0x0101, 0x0202, 0x0303)
    other = (9, 2, 3) if depth == 8 else (0x0901, 0x0202, 0x0303)
    rows = b"".join(b"\0" + struct.pack(code, *(key if y < 4 else other)) * 8 for y in range(8))
    black, white = decode_image(
        png((8, 8, depth, 2), rows, (b"tRNS", struct.pack(">HHH", *key)))
    ).views
    assert (black[0, 0].tolist(), white[0, 0].tolist()) == ([0] * 3, [255] * 3)
    assert black[7, 0].tolist() == white[7, 0].tolist() == [9, 2, 3]


def test_sixteen_bits_keep_their_high_byte() -> None:
    grey = np.linspace(0, 65535, 64 * 40).astype(np.uint16).reshape(40, 64)
    (view,) = decode_image(encode(Image.fromarray(grey), "PNG")).views
    np.testing.assert_array_equal(view, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, 2))
    rows = b"".join(b"\0" + struct.pack(">HHH", 0xFF80, 0x0180, 0x7F00) * 8 for _ in range(8))
    (view,) = decode_image(png((8, 8, 16, 2), rows)).views
    assert view[3, 3].tolist() == [0xFF, 0x01, 0x7F]


def test_cmyk_is_taken_inverted_as_adobe_writes_it() -> None:
    colours = Image.new("RGB", (32, 32), (200, 40, 90))
    (view,) = decode_image(encode(colours.convert("CMYK"), "JPEG", quality=95)).views
    assert np.abs(view.astype(int) - (200, 40, 90)).max() <= 4


@pytest.mark.parametrize("mode", ["1", "L"])
def test_black_and_white_and_grey(mode: str) -> None:
    image = Image.fromarray(picture()).convert(mode)
    (view,) = decode_image(encode(image, "PNG")).views
    np.testing.assert_array_equal(view, np.asarray(image.convert("RGB")))


def test_colour_profiles_and_texts_change_nothing() -> None:
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 1000, zip=True)
    data = encode(picture(), "PNG", pnginfo=info, icc_profile=b"no profile at all")
    np.testing.assert_array_equal(decode_image(data).views[0], picture())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_tail_is_counted_and_not_judged(kind: str) -> None:
    data = encode(picture(), kind)
    decoded = decode_image(data + b"PK\x03\x04 a zip archive")
    assert decoded.trailing == 18
    np.testing.assert_array_equal(decoded.views[0], decode_image(data).views[0])


def test_a_real_mid_grey_picture_is_whole() -> None:
    grey = Image.new("RGB", (64, 64), (128, 128, 128))
    assert (decode_image(encode(grey, "JPEG")).views[0] == 128).all()


def test_limits_are_sides_pixels_and_aspect() -> None:
    assert decode_image(encode(picture(8, 8), "PNG")).size == (8, 8)
    assert decode_image(encode(picture(8, 400), "PNG")).size == (400, 8)
    assert code_of(encode(picture(7, 64), "PNG")) == "too_small"
    assert code_of(encode(picture(8, 401), "PNG")) == "too_thin"
    assert code_of(encode(Image.new("1", (5001, 5000)), "PNG")) == "too_large"


def test_too_many_bytes_are_not_looked_at() -> None:
    assert code_of(encode(picture(), "PNG") + bytes(MAX_BYTES)) == "too_many_bytes"


def test_a_forgiving_decoder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert code_of(encode(picture(), "PNG")) == "forgiving_decoder"


def test_an_unforeseen_exception_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Image, "open", fail)
    assert code_of(encode(picture(), "PNG")) == "decoder_fault"


def test_no_memory_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", fail)
    assert code_of(encode(picture(), "PNG")) == "out_of_memory"


def test_threads_do_not_disturb_each_other() -> None:
    good, bad = encode(picture(), "PNG"), encode(picture(), "PNG")[:-5]
    wrong: list[object] = []

    def work() -> None:
        for _ in range(40):
            if not np.array_equal(decode_image(good).views[0], picture()):
                wrong.append("pixels")
            try:
                wrong.append(decode_image(bad))
            except Refused as refused:
                if refused.code != "truncated":
                    wrong.append(refused)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_arrays_are_taken_as_they_are() -> None:
    assert decode_array(picture()).views[0] is not None
    for array in (picture().astype(np.float32), picture()[..., 0], np.zeros((8, 8, 4), np.uint8)):
        with pytest.raises(Refused, match="not_an_image"):
            decode_array(array)
    with pytest.raises(Refused, match="too_thin"):
        decode_array(np.zeros((8, 1000, 3), np.uint8))


def test_pillow_pictures_are_turned_and_flattened() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(BytesIO(encode(picture(), "PNG", exif=exif)))
    assert decode_pil(image).size == (40, 64)
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    assert [int(view.max()) for view in decode_pil(clear).views] == [0, 255]
    with pytest.raises(Refused, match="unsupported_format"):
        decode_pil(Image.new("F", (16, 16)))
    frames = [Image.new("L", (16, 16), value) for value in (0, 255)]
    moving = Image.open(BytesIO(encode(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    with pytest.raises(Refused, match="animated"):
        decode_pil(moving)
    cut = Image.open(BytesIO(encode(picture(200, 200), "JPEG")[:2000]))
    with pytest.raises(Refused, match="truncated"):
        decode_pil(cut)


def test_files_are_read_or_refused(tmp_path: Path) -> None:
    import os

    good = tmp_path / "a.png"
    good.write_bytes(b"12345")
    assert read_image_file(good) == b"12345"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", MAX_BYTES + 1)
    for name, code in {
        "nowhere": "missing",
        "a.png/inside": "missing",
        ".": "not_a_file",
        "pipe": "not_a_file",
        "big": "too_many_bytes",
        "nul\0": "unreadable",
        "n" * 300: "unreadable",
    }.items():
        with pytest.raises(Refused) as caught:
            read_image_file(f"{tmp_path}/{name}")
        assert caught.value.code == code, name
