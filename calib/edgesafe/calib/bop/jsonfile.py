"""JSON files of data sets, read with errors that name the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgesafe.runtime.errors import DataError, PackageError

__all__ = ["data_errors", "read_json"]

_MAX_BYTES = 1 << 30


def read_json(path: Path) -> dict[str, Any]:
    """Read a file whose top is an object.

    Raises:
        DataError: It cannot be read, is no JSON, or holds NaN or Infinity.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path} is larger than {_MAX_BYTES >> 30} GiB: split the scene")
        value = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}): fetch or write it again") from None
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold a JSON object, not {type(value).__name__}")
    return value


@contextmanager
def data_errors() -> Iterator[None]:
    """Turn what :class:`edgesafe.runtime.fields.Fields` complains about into a ``DataError``."""
    try:
        yield
    except PackageError as error:
        raise DataError(str(error)) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
