"""JPEG (ITU-T T.81): segments, scans, the EOI, and pictures hidden behind the first one.

A file is taken only if it is *whole*: it reaches its EOI marker, every component of the frame was
scanned, and a progressive file sent each coefficient down to its last bit. Bytes after EOI are
counted, not judged and not handed on.

Multi-picture files (MPO, the HDR gain map of newer phones) are refused as ``animated``: what a
viewer shows of them is not the one picture that would be judged.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from edgesafe.runtime.containers.base import (
    MAX_CHUNKS,
    Container,
    Refused,
    check_size,
    read_orientation,
    read_tag,
)

MAGIC = b"\xff\xd8\xff"
MAX_SCANS = 32
"""Scans of a progressive file (encoders write about 10); each costs a pass over the picture."""

_SOI, _EOI, _SOS, _DHT = 0xD8, 0xD9, 0xDA, 0xC4
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, 0xCC}
_TABLES = (_DHT, 0xDB, 0xDD)  # Huffman, quantisation, restart interval
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_MPF_COUNT = 0xB001
# Ends entropy-coded data: any marker but a stuffed zero, a restart or a fill byte.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_NEVER = 255


@dataclass
class _Frame:
    """The frame header and which bits of which coefficients the scans have sent."""

    width: int
    height: int
    progressive: bool
    missing: dict[int, list[int]] = field(default_factory=dict)

    def whole(self) -> bool:
        return not any(any(bits) for bits in self.missing.values())


def parse(data: bytes) -> Container:
    """Walk a JPEG file; keep the tables, the frame, the scans, and the colour markers.

    Raises:
        Refused: size, several pictures, a coding nobody shows, a broken segment, or no proper end.
    """
    view = memoryview(data)
    kept: list[bytes | memoryview] = [view[:2]]
    frame: _Frame | None = None
    exif: bytes | None = None
    scans = 0
    at = 2
    for _ in range(MAX_CHUNKS):
        start = at
        while at < len(data) and data[at] == 0xFF:
            at += 1
        if at >= len(data):
            raise Refused("truncated", "the file ends before its EOI marker")
        if at == start:
            raise Refused("malformed", f"byte {at} does not start a marker")
        marker = data[at]
        at += 1
        if marker == _EOI:
            break
        if marker in _ALONE or marker in (0x00, _SOI):
            raise Refused("malformed", f"marker {marker:02X} out of place")
        if at + 2 > len(data):
            raise Refused("truncated", "the file ends inside a marker")
        end = at + int.from_bytes(view[at : at + 2], "big")
        if end < at + 2:
            raise Refused("malformed", f"a segment {marker:02X} of negative length")
        if end > len(data):
            raise Refused("truncated", f"the file ends inside segment {marker:02X}")
        body = view[at + 2 : end]
        mark = bytes(body[:6])
        segment = view[start:end]

        if marker in _FRAMES:
            if frame is not None:
                raise Refused("malformed", "two frame headers")
            frame = _read_frame(marker, body)
            kept.append(segment)
        elif marker == _SOS:
            if frame is None:
                raise Refused("malformed", "a scan before the frame header")
            scans += 1
            if scans > MAX_SCANS:
                raise Refused("malformed", f"more than {MAX_SCANS} scans")
            _read_scan(body, frame)
            found = _MARKER.search(data, end)
            if found is None:
                raise Refused("truncated", "the file ends inside its picture data")
            if found.start() == end:
                raise Refused("truncated", "a scan without picture data")
            end = found.start()
            kept.append(view[start:end])
        elif marker in _TABLES or _decides_colour(marker, mark):
            kept.append(segment)
        elif marker == 0xE1 and mark == b"Exif\0\0":
            exif = bytes(body[6:]) if exif is None else exif
        elif marker == 0xE2 and mark.startswith(b"MPF\0"):
            _check_pictures(bytes(body[4:]))
        at = end
    else:
        raise Refused("malformed", f"more than {MAX_CHUNKS} segments")
    if frame is None or not scans:
        raise Refused("truncated", "no picture data")
    if not frame.whole():
        raise Refused("truncated", "parts of the picture were never sent")
    kept.append(b"\xff\xd9")
    return Container(
        format="JPEG",
        width=frame.width,
        height=frame.height,
        stream=b"".join(kept),
        orientation=read_orientation(exif or b""),
        trailing=len(data) - at,
    )


def _decides_colour(marker: int, mark: bytes) -> bool:
    """Whether the decoder tells YCbCr from RGB, or YCCK from CMYK, by this segment."""
    return (marker, mark[:5]) in ((0xE0, b"JFIF\0"), (0xEE, b"Adobe"))


def _read_frame(marker: int, body: memoryview) -> _Frame:
    if marker not in (_BASELINE, _EXTENDED, _PROGRESSIVE):
        raise Refused("unsupported_format", f"JPEG coding {marker:02X} (lossless or arithmetic)")
    if len(body) < 6:
        raise Refused("malformed", "the frame header is too short")
    precision, height, width, components = struct.unpack_from(">BHHB", body)
    check_size(width, height)
    if precision != 8:
        raise Refused("unsupported_format", f"JPEG with {precision} bits a sample")
    if components not in (1, 3, 4) or len(body) != 6 + 3 * components:
        raise Refused("malformed", f"a frame of {components} components in {len(body)} bytes")
    frame = _Frame(width, height, marker == _PROGRESSIVE)
    for index in range(components):
        frame.missing[body[6 + 3 * index]] = [_NEVER] * (64 if frame.progressive else 1)
    if len(frame.missing) != components:
        raise Refused("malformed", "two components of one name")
    return frame


def _read_scan(body: memoryview, frame: _Frame) -> None:
    """Note what a scan sends (T.81 B.2.3; G.1.1.1 for progressive files)."""
    count = body[0] if len(body) else 0
    if not 1 <= count <= 4 or len(body) != 4 + 2 * count:
        raise Refused("malformed", "a scan header of the wrong length")
    first, last, approximation = body[-3:]
    for index in range(count):
        bits = frame.missing.get(body[1 + 2 * index])
        if bits is None:
            raise Refused("malformed", "a scan of a component that the frame does not have")
        if not frame.progressive:
            bits[0] = 0
        elif first <= last < 64:
            bits[first : last + 1] = [approximation & 15] * (last + 1 - first)
        else:
            raise Refused("malformed", f"a scan of the coefficients {first}..{last}")


def _check_pictures(mpf: bytes) -> None:
    count = read_tag(mpf, _MPF_COUNT)
    if count != 1:
        raise Refused(
            "animated",
            f"a multi-picture file ({count or 'unreadable'}: stereo pair, burst or HDR gain map); "
            "save its main picture as a plain JPEG to judge it",
        )
