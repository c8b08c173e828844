"""What a check of a data set has to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Finding", "examples"]

Level = Literal["error", "warning"]

_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One kind of problem in one place.

    Attributes:
        level: ``error``: training or evaluation on this data goes wrong. ``warning``: look at it.
        code: What it is, for programs.
        place: A split, ``models``, or a file.
        text: The same for people, and how to mend it.
        count: How often.
    """

    level: Level
    code: str
    place: str
    text: str
    count: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def examples(items: Sequence[object]) -> str:
    """Return the first of some items for a message."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(map(str, items[:_SHOWN])) + more
