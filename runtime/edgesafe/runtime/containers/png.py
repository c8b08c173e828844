"""PNG (ISO/IEC 15948): chunks, their CRCs, and the IEND that Pillow does not ask for."""

from __future__ import annotations

import struct
import zlib

from edgesafe.runtime.containers.base import (
    MAX_CHUNKS,
    Container,
    Refused,
    check_size,
    read_orientation,
)

MAGIC = b"\x89PNG\r\n\x1a\n"

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_GREY, _RGB, _PALETTE = 0, 2, 3
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def parse(data: bytes) -> Container:
    """Walk a PNG file; keep IHDR, PLTE, tRNS of a palette, IDAT, IEND.

    Raises:
        Refused: size, animation, a wrong CRC or order, or no proper end.
    """
    if len(data) < 33:
        raise Refused("truncated", "the file ends inside its header")
    length, kind, width, height, depth, colour, _, _, interlace = struct.unpack_from(
        ">I4sIIBBBBB", data, 8
    )
    if (length, kind) != (13, b"IHDR"):
        raise Refused("malformed", "the first chunk is not the header")
    check_size(width, height)
    if depth not in _DEPTHS.get(colour, ()) or interlace > 1:
        raise Refused("malformed", f"no such pixel format: colour {colour}, {depth} bits")

    view = memoryview(data)
    kept: list[memoryview] = [view[:8]]
    seen: set[bytes] = set()
    previous = b""
    transparency = exif = b""
    at = 8
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            raise Refused("truncated", "the file ends before its IEND chunk")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if not _LETTERS.issuperset(kind):
            raise Refused("malformed", f"byte {at} does not start a chunk")
        if kind in _ANIMATION:
            raise Refused("animated", "an animated PNG; one frame is judged at a time")
        if end > len(data):
            raise Refused("truncated", f"the file ends inside its {kind.decode()} chunk")
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise Refused("malformed", f"the checksum of a {kind.decode()} chunk is wrong")
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            if kind in seen and previous != kind:
                raise Refused("malformed", "the picture data is not in one piece")
            if colour == _PALETTE and b"PLTE" not in seen:
                raise Refused("malformed", "a palette picture without a palette")
            kept.append(view[at:end])
        elif kind in seen and kind in (b"IHDR", b"PLTE", b"tRNS"):
            raise Refused("malformed", f"two {kind.decode()} chunks")
        elif kind == b"tRNS":
            transparency = data[at + 8 : end - 4]
            if colour == _PALETTE:
                kept.append(view[at:end])
        elif kind in (b"IHDR", b"PLTE"):
            kept.append(view[at:end])
        elif kind == b"eXIf":
            exif = exif or data[at + 8 : end - 4]
        elif not kind[0] & 0x20:
            raise Refused("malformed", f"a critical chunk {kind.decode()} that nobody knows")
        seen.add(kind)
        previous = kind
        at = end
    else:
        raise Refused("malformed", f"more than {MAX_CHUNKS} chunks")
    if b"IDAT" not in seen:
        raise Refused("truncated", "no picture data")
    kept.append(view[at:end])
    return Container(
        format="PNG",
        width=width,
        height=height,
        stream=b"".join(kept),
        orientation=read_orientation(exif),
        bit_depth=depth,
        colour_key=_colour_key(colour, transparency),
        trailing=len(data) - end,
    )


def _colour_key(colour: int, transparency: bytes) -> tuple[int, ...] | None:
    """The one transparent colour of a grey or RGB picture.

    Applied by the gate itself: Pillow compares it with samples that were already scaled to 8 bits.
    """
    samples = {_GREY: 1, _RGB: 3}.get(colour)
    if samples is None or not transparency:
        return None
    if len(transparency) != 2 * samples:
        raise Refused("malformed", "a transparent colour of the wrong length")
    return struct.unpack(f">{samples}H", transparency)
