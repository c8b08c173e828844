"""Read JSON that somebody else wrote: every value is checked, every complaint says where.

A small typed view over a mapping. A manifest arrives from outside, so nothing about it is taken
for granted: not its types, not its numbers (``NaN``, ``1e999``), not that a key occurs only once.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from edgesafe.runtime.errors import PackageError

__all__ = ["Fields", "parse_json"]

_HEX64 = re.compile(r"[0-9a-f]{64}")


def parse_json(data: bytes, where: str, mend: str | None = None) -> Fields:
    """Parse strict JSON whose top is an object.

    Args:
        data: The bytes of the file.
        where: Its place for messages.
        mend: What to do about it, the end of every complaint, also of the values read later; none
            where empty. None: of a file in a package.

    Raises:
        PackageError: Not UTF-8, not JSON, a repeated key, NaN or Infinity, nested too deeply, or
            not an object.
    """
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        remedy = "fetch or export the package again" if mend is None else mend
        raise _complaint(f"{where} is not valid JSON ({error})", remedy) from None
    return Fields(value, where, mend or "")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two parsers may pick different ones of two equal keys; a checked value must be the used one.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


class Fields:
    """A JSON object whose values are read by type and range.

    Args:
        value: What should be an object.
        where: Its place for messages, e.g. ``"manifest.json: thresholds.image"``.
        mend: What to do about it, the end of every complaint; none where empty.

    Raises:
        PackageError: From every method, where the value is missing or not as asked for.
    """

    def __init__(self, value: Any, where: str, mend: str = "") -> None:
        """Hold a value that must be an object."""
        if not isinstance(value, Mapping):
            raise _complaint(f"{where} must be an object, not {_kind(value)}", mend)
        self.value: Mapping[str, Any] = value
        self.where = where
        self.mend = mend

    def __contains__(self, name: str) -> bool:
        """Tell whether a key is there and not null."""
        return self.value.get(name) is not None

    def only(self, *names: str) -> None:
        """Refuse every key that is not named."""
        unknown = sorted(set(self.value) - set(names))
        if unknown:
            remedy = "the package was made for another version of edgesafe or was edited"
            raise _complaint(f"{self.where} has unknown keys {unknown}", self.mend or remedy)

    def fail(self, name: str, problem: str) -> PackageError:
        """Return the error for a field, to be raised by the caller."""
        return _complaint(f"{self.where}: {name} {problem}", self.mend)

    def get(self, name: str) -> Any:
        """Return a value that must be there and not null."""
        value = self.value.get(name)
        if value is None:
            raise self.fail(name, "is missing")
        return value

    def fields(self, name: str) -> Fields:
        """Return a nested object."""
        return Fields(self.get(name), f"{self.where}.{name}", self.mend)

    def text(self, name: str, *, empty: bool = False) -> str:
        """Return a string; an empty one only where ``empty`` allows it."""
        value = self.get(name)
        if not isinstance(value, str) or not (value or empty):
            raise self.fail(name, f"must be a text, not {_kind(value)}")
        return value

    def one_of(self, name: str, *choices: str) -> str:
        """Return a string that is one of ``choices``."""
        value = self.text(name)
        if value not in choices:
            raise self.fail(name, f"must be one of {list(choices)}, not {value!r}")
        return value

    def hex64(self, name: str) -> str:
        """Return a SHA-256 digest."""
        value = self.text(name)
        if not _HEX64.fullmatch(value):
            raise self.fail(name, "must be 64 lower-case hexadecimal digits")
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        value = self.get(name)
        if not isinstance(value, bool):
            raise self.fail(name, f"must be true or false, not {_kind(value)}")
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        """Return a whole number in low..high."""
        value = self.get(name)
        # bool is an int to Python; 1.0 is not a whole number to us.
        if type(value) is not int or not low <= value <= high:
            raise self.fail(name, f"must be a whole number in {low}..{high}, not {value!r:.80}")
        return value

    def number(self, name: str, low: float, high: float) -> float:
        """Return a finite number in low..high."""
        return self._number(name, self.get(name), low, high)

    def numbers(self, name: str, low: float, high: float, count: int | None = None) -> list[float]:
        """Return a list of finite numbers in low..high, of ``count`` values where given."""
        values = self.items(name)
        if count is not None and len(values) != count:
            raise self.fail(name, f"must have {count} numbers, not {len(values)}")
        return [self._number(name, value, low, high) for value in values]

    def interval(self, name: str, low: float, high: float) -> tuple[float, float]:
        """Return (lower, upper), both finite in low..high and in this order."""
        lower, upper = self.numbers(name, low, high, count=2)
        if lower > upper:
            raise self.fail(name, f"must rise, not [{lower}, {upper}]")
        return lower, upper

    def items(self, name: str) -> list[Any]:
        """Return a list."""
        value = self.get(name)
        if not isinstance(value, list):
            raise self.fail(name, f"must be a list, not {_kind(value)}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of non-empty strings."""
        values = self.items(name)
        if not all(isinstance(value, str) and value for value in values):
            raise self.fail(name, "must be a list of texts")
        return tuple(values)

    def _number(self, name: str, value: Any, low: float, high: float) -> float:
        if type(value) not in (int, float):
            raise self.fail(name, f"must be a number, not {_kind(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not (math.isfinite(number) and low <= number <= high):
            raise self.fail(name, f"must be a finite number in {low:g}..{high:g}, not {number!r}")
        return number


def _complaint(problem: str, mend: str) -> PackageError:
    return PackageError(f"{problem}: {mend}" if mend else problem)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r:.60}"
