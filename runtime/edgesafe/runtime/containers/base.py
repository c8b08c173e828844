"""What every container parser shares: the refusal, the limits, the result."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_PIXELS = 25_000_000
"""Largest picture that is decoded, in pixels (a 24-megapixel camera fits)."""

MAX_ASPECT = 50
"""Longest side over shortest side: beyond it a resize leaves nothing to see."""

MIN_SIDE = 8
"""Shortest side in pixels: below it there is nothing that could be judged."""

MAX_CHUNKS = 16_384
"""Chunks or segments walked in one file; keeps the walk itself from being a bomb."""

_ORIENTATION = 0x0112
_SHORT, _LONG = 3, 4


class Refused(Exception):
    """Says that this input cannot be judged: the verdict is ``undecided``.

    Not an :class:`EdgesafeError`: being refused is an answer about one picture, not a failure of
    the program, so it never ends a run.

    Attributes:
        code: a stable reason code, for programs.
        detail: what was found, for people.
    """

    def __init__(self, code: str, detail: str) -> None:
        """Take the reason code and what was found."""
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        """Return both, for logs."""
        return f"{self.code}: {self.detail}"


@dataclass(frozen=True)
class Container:
    """A file whose structure was walked from the first to the last byte.

    Attributes:
        format: ``"JPEG"``, ``"PNG"`` or ``"WEBP"``.
        width: pixels, before the orientation is applied.
        height: pixels, before the orientation is applied.
        stream: the same picture without anything but its pixels: no metadata, colour profile,
            text, thumbnail or trailing bytes ever reach the decoder.
        orientation: EXIF orientation, 1..8.
        bit_depth: bits per sample in the file.
        colour_key: PNG's transparent colour as samples of ``bit_depth`` bits (1 or 3 values).
        trailing: bytes after the end of the picture (a polyglot's tail), not judged.
    """

    format: str
    width: int
    height: int
    stream: bytes
    orientation: int = 1
    bit_depth: int = 8
    colour_key: tuple[int, ...] | None = None
    trailing: int = 0


def check_size(width: int, height: int) -> None:
    """Refuse a picture by the size in its header, before a pixel is decoded."""
    if width < 1 or height < 1:
        raise Refused("malformed", f"the header says {width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise Refused("too_large", f"{width}x{height} pixels; at most {MAX_PIXELS} are decoded")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Refused("too_thin", f"{width}x{height} pixels; at most {MAX_ASPECT}:1 is judged")
    if min(width, height) < MIN_SIDE:
        raise Refused("too_small", f"{width}x{height} pixels; at least {MIN_SIDE} a side needed")


def read_tag(tiff: bytes, tag: int) -> int | None:
    """First value of an integer tag in the first directory of a TIFF block (EXIF, MPF).

    Returns:
        The value, or None where the block is damaged or does not hold the tag: viewers show such
        a picture as if the tag were absent, so this is no reason to refuse it.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for at in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        found, kind, _ = struct.unpack_from(order + "HHI", tiff, at)
        if found == tag and kind in (_SHORT, _LONG):
            value: int
            (value,) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), tiff, at + 8)
            return value
    return None


def read_orientation(tiff: bytes) -> int:
    """EXIF orientation 1..8; 1 where it is absent or senseless."""
    value = read_tag(tiff, _ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else 1
