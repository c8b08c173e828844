"""The version of edgesafe, readable without importing anything."""

from __future__ import annotations

__all__ = ["VERSION", "parse_version"]

VERSION = "0.1.0"


def parse_version(text: str) -> tuple[int, ...]:
    """Turn ``"1.2.3"`` into ``(1, 2, 3)`` so that versions can be compared.

    Raises:
        ValueError: ``text`` is not one to four dotted whole numbers.
    """
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"not a version: {text!r}")
    numbers = [int(part) for part in parts]
    return tuple(numbers + [0] * (4 - len(numbers)))
