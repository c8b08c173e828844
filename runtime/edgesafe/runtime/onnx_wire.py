"""Take protobuf messages apart and put them together again, without a schema.

For rewriting the few messages of an ONNX model that matter and copying the rest as it is. Fields
are read by :func:`edgesafe.runtime.onnx_guard.wire_fields`.
"""

from __future__ import annotations

from edgesafe.runtime.onnx_guard import wire_fields

__all__ = ["Pieces", "first", "key", "message", "pieces", "varint"]

Pieces = list[tuple[int, bytes]]
"""Fields of a message: a number with its value, or minus the number with key and value."""


def pieces(view: memoryview) -> Pieces:
    """Return the fields of a message.

    Those that are not length-delimited are kept whole, under the negative of their number.

    Raises:
        ValueError: The bytes are not a message.
        IndexError: Likewise.
    """
    found: Pieces = []
    for number, begin, at, to in wire_fields(view, 0, len(view)):
        if view[begin] & 7 == 2:
            found.append((number, bytes(view[at:to])))
        else:
            found.append((-number, bytes(view[begin:to])))
    return found


def message(parts: Pieces) -> bytes:
    """Return the bytes of a message; the opposite of :func:`pieces`."""
    return b"".join(
        key(number, len(value)) + value if number > 0 else value for number, value in parts
    )


def first(parts: Pieces, number: int) -> bytes:
    """Return the first value of a length-delimited field, empty where there is none."""
    return next((value for found, value in parts if found == number), b"")


def key(number: int, length: int) -> bytes:
    """Return what stands before a length-delimited value."""
    return varint(number << 3 | 2) + varint(length)


def varint(value: int) -> bytes:
    """Return the bytes of a non-negative number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
