"""Walks the structure of an image file before any decoder sees it.

Decoders forgive: Pillow accepts a PNG without its end, shows the first frame of an animation, and
reads metadata that is a bomb of its own. So each format has a parser here that

* takes the size from the header and refuses it before anything else is read,
* refuses more than one frame,
* follows the file, chunk by chunk, to its proper end (a cut file has none),
* hands on a stream with nothing but the pixels, so that text, profiles and thumbnails are never
  parsed at all.

===========  ==================================================================================
``base``     limits, :class:`Refused`, :class:`Container`, the EXIF orientation
``png``      chunks with their CRC, IHDR .. IEND
``jpeg``     segments and scans, SOI .. EOI, multi-picture files
``webp``     RIFF chunks
===========  ==================================================================================
"""

from __future__ import annotations

from edgesafe.runtime.containers import jpeg, png, webp
from edgesafe.runtime.containers.base import Container, Refused

__all__ = ["Container", "Refused", "parse"]

# Formats that are pictures but are not judged: the detail names them, so that the user can convert.
_KNOWN = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\1\0", "ICO"),
    (b"8BPS", "PSD"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
)


def parse(data: bytes) -> Container:
    """Walk an image file by its content; the name it came under plays no part.

    Raises:
        Refused: not one whole, single-frame JPEG, PNG or WebP within the limits.
    """
    if data.startswith(png.MAGIC):
        return png.parse(data)
    if data.startswith(jpeg.MAGIC):
        return jpeg.parse(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return webp.parse(data)
    if any(magic.startswith(data) for magic in (png.MAGIC, jpeg.MAGIC)) or (
        b"RIFF".startswith(data[:4]) and b"WEBP".startswith(data[8:12]) and len(data) < 12
    ):
        raise Refused("truncated", f"the file ends after {len(data)} bytes, inside its first mark")
    raise _not_judged(data)


def _not_judged(data: bytes) -> Refused:
    for magic, name in _KNOWN:
        if data.startswith(magic):
            return _unsupported(name)
    if data[4:8] == b"ftyp":
        return _unsupported("HEIF or AVIF" if data[8:10] in (b"he", b"av", b"mi") else "ISO media")
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<?xml", b"<!doctype svg")) and b"<svg" in head:
        return _unsupported("SVG")
    return Refused("not_an_image", "the content is not a JPEG, PNG or WebP picture")


def _unsupported(name: str) -> Refused:
    return Refused("unsupported_format", f"{name}; convert it to JPEG, PNG or WebP to judge it")
