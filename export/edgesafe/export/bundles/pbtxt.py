"""Protobuf's text format, as far as a Triton ``config.pbtxt`` needs it.

A message is a dictionary; a list repeats its field; an enumerator is an :class:`Enumerator`, a text
a ``str``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Enumerator", "to_pbtxt"]


class Enumerator(str):
    """A name that is written without quotation marks."""


def to_pbtxt(message: Mapping[str, Any]) -> str:
    """Return the text of a message.

    Raises:
        TypeError: A value has no form in the format.
    """
    return "\n".join(_fields(message, "")) + "\n"


def _fields(message: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in message.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                yield f"{indent}{name} {{"
                yield from _fields(item, indent + "  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, Enumerator):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(_escaped(byte) for byte in value.encode()) + '"'
    raise TypeError(f"{value!r} has no form in the text format")


def _escaped(byte: int) -> str:
    plain = 0x20 <= byte < 0x7F and byte not in b'"\\'
    return chr(byte) if plain else f"\\{byte:03o}"
