"""JSON lines: the listings of the tools that make and measure the sample data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgesafe.runtime.errors import DataError

__all__ = ["read_listing"]


def read_listing(path: Path) -> list[dict[str, Any]]:
    """Records of a JSON lines file; empty lines are left out.

    Raises:
        DataError: it cannot be read, or a line is no JSON object.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as JSON lines ({error}): name another.") from error
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number} is not JSON ({error}): correct the line.") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number} is no JSON object: correct the line.")
        records.append(record)
    return records
