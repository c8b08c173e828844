"""The report of bad records: every one of them, for a person and for a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from edgesafe.runtime.errors import DataError

__all__ = ["BadRecord", "BadRecordsError", "json_lines", "table"]

SHOWN = 20


@dataclass(frozen=True)
class BadRecord:
    """One reason why a record cannot be used; a record may have several.

    Attributes:
        line: Line of the file (JSON lines), or row of the table, counted from 1.
        id: The record's id, None where it has none.
        field: The field at fault, None where the line itself is.
        problem: ``bad_json``, ``not_a_record``, ``missing_key``, ``wrong_type``,
            ``empty_caption``, ``duplicate_id``, ``missing_file`` or ``broken_file``.
        detail: For a person.
    """

    line: int
    id: str | None
    field: str | None
    problem: str
    detail: str


class BadRecordsError(DataError):
    """Some records cannot be used.

    Attributes:
        bad: Every problem found.
    """

    def __init__(self, source: str, bad: Sequence[BadRecord]) -> None:
        """Makes the message: a table of the first problems and what to do."""
        self.source = source
        self.bad = tuple(bad)
        records = len({b.line for b in bad})
        super().__init__(
            f"{source}: {records} bad record{'s' if records != 1 else ''}.\n{table(bad)}\n"
            "Mend them, or pass --skip-bad to go on with the rest."
        )

    def __reduce__(self) -> tuple[type[BadRecordsError], tuple[str, tuple[BadRecord, ...]]]:
        """Pickles the arguments instead of the message."""
        return type(self), (self.source, self.bad)


def table(bad: Sequence[BadRecord], limit: int = SHOWN) -> str:
    """A plain table of the first problems, the number of the others below it."""
    rows = [("line", "id", "field", "problem", "detail")]
    rows += [(str(b.line), b.id or "-", b.field or "-", b.problem, b.detail) for b in bad[:limit]]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  " + "  ".join([*(row[i].ljust(widths[i]) for i in range(4)), row[4]]).rstrip()
        for row in rows
    ]
    if len(bad) > limit:
        lines.append(f"  … and {len(bad) - limit} more")
    return "\n".join(lines)


def json_lines(bad: Sequence[BadRecord]) -> str:
    """One JSON object per problem, one per line."""
    return "".join(json.dumps(asdict(b), ensure_ascii=False) + "\n" for b in bad)
