"""WebP (RFC 9649): RIFF chunks, one still picture."""

from __future__ import annotations

import struct

from edgesafe.runtime.containers.base import (
    MAX_CHUNKS,
    Container,
    Refused,
    check_size,
    read_orientation,
)

_ANIMATION_FLAG, _ALPHA_FLAG = 0x02, 0x10
_PICTURE = (b"VP8 ", b"VP8L")


def parse(data: bytes) -> Container:
    """Walk a WebP file; keep the canvas header without its metadata flags, alpha, and the picture.

    Raises:
        Refused: size, animation, a broken chunk, or a RIFF length beyond the end of the file.
    """
    if len(data) < 20:
        raise Refused("truncated", "the file ends inside its header")
    (size,) = struct.unpack_from("<I", data, 4)
    whole = 8 + size
    view = memoryview(data)
    canvas: tuple[int, int] | None = None
    picture: tuple[int, int] | None = None
    kept: list[bytes | memoryview] = []
    exif = b""
    at = 12
    chunks = 0
    while at < whole:
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise Refused("malformed", f"more than {MAX_CHUNKS} chunks")
        if at + 8 > len(data):
            raise Refused("truncated", "the file ends before the length in its RIFF header")
        kind, length = struct.unpack_from("<4sI", data, at)
        body = view[at + 8 : at + 8 + length]
        end = at + 8 + length + (length & 1)
        if kind == b"VP8X":
            if at != 12 or length != 10 or len(body) < 10:
                raise Refused("malformed", "a canvas header out of place")
            wide, high = int.from_bytes(body[4:7], "little"), int.from_bytes(body[7:10], "little")
            canvas = (1 + wide, 1 + high)
            check_size(*canvas)
            if body[0] & _ANIMATION_FLAG:
                raise Refused("animated", "an animated WebP; one frame is judged at a time")
            kept += [view[at : at + 8], bytes([body[0] & _ALPHA_FLAG]), body[1:]]
        elif kind in (b"ANIM", b"ANMF"):
            raise Refused("animated", "an animated WebP; one frame is judged at a time")
        elif kind in _PICTURE:
            if picture is not None:
                raise Refused("malformed", "two pictures")
            picture = _lossy_size(body) if kind == b"VP8 " else _lossless_size(body)
            check_size(*picture)
        if end > len(data) or end > whole:
            raise Refused("truncated", f"the file ends inside its {kind!r} chunk")
        if kind in _PICTURE or (kind == b"ALPH" and picture is None):
            kept.append(view[at:end])
        elif kind == b"EXIF":
            exif = exif or bytes(body)
        at = end
    if picture is None:
        raise Refused("truncated", "no picture data")
    if canvas is not None and canvas != picture:
        raise Refused("malformed", f"a picture of {picture} on a canvas of {canvas} pixels")
    stream = b"".join(kept)
    return Container(
        format="WEBP",
        width=picture[0],
        height=picture[1],
        stream=struct.pack("<4sI4s", b"RIFF", 4 + len(stream), b"WEBP") + stream,
        orientation=read_orientation(exif.removeprefix(b"Exif\0\0")),
        trailing=len(data) - whole,
    )


def _lossy_size(body: memoryview) -> tuple[int, int]:
    """Size in a VP8 key frame (RFC 6386, section 9.1)."""
    if len(body) < 10:
        raise Refused("truncated", "the file ends inside its picture header")
    if body[0] & 1 or bytes(body[3:6]) != b"\x9d\x01\x2a":
        raise Refused("malformed", "the picture is not a key frame")
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def _lossless_size(body: memoryview) -> tuple[int, int]:
    """Size in a VP8L header (RFC 9649, section 3.4)."""
    if len(body) < 5:
        raise Refused("truncated", "the file ends inside its picture header")
    if body[0] != 0x2F:
        raise Refused("malformed", "the picture has no lossless signature")
    bits = int.from_bytes(body[1:5], "little")
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
