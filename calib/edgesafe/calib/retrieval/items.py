"""What an index knows about each of its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.fields import Fields, parse_json
from edgesafe.runtime.files import canonical_json
from edgesafe.runtime.verdict import Decision, Modality

__all__ = ["DECISIONS", "MODALITIES", "ROW", "Item", "decode_item", "encode_item"]

DECISIONS: tuple[Decision, ...] = ("safe", "unsafe", "undecided")
MODALITIES: tuple[Modality, ...] = ("image", "text")

ROW = np.dtype(
    [("offset", "<u8"), ("length", "<u4"), ("decision", "u1"), ("modality", "u1"), ("_", "<u2")]
)
"""Of the fixed-width table of a segment: where its item stands, and what is filtered by."""

_MAX_META = 4096


@dataclass(frozen=True)
class Item:
    """One thing in an index.

    Attributes:
        id: Tells it apart; the path of a picture, file and line of a text, or the user's own.
        source: Where it came from.
        modality: ``"image"`` or ``"text"``.
        verdict: Of the package that indexed it.
        score: What was compared with the threshold; None where there is none.
        reason: Why it is undecided.
        caption: The text itself, or what the user says about the picture; may be empty.
        sha256: Of the picture's file or the text's UTF-8.
        meta: Whatever else the user's record held.
    """

    id: str
    source: str
    modality: Modality
    verdict: Decision
    score: float | None
    reason: str | None
    caption: str
    sha256: str
    meta: Mapping[str, Any] = field(default_factory=dict)


def encode_item(item: Item) -> bytes:
    """One line of JSON, with its end."""
    return canonical_json(dict(vars(item))) + b"\n"


def decode_item(data: bytes, where: str, mend: str | None = None) -> Item:
    """Read what :func:`encode_item` wrote.

    Args:
        data: The line.
        where: Its place for messages.
        mend: What to do about a bad one; see :func:`edgesafe.runtime.fields.parse_json`.

    Raises:
        PackageError: It is something else.
    """
    line = parse_json(data, where, mend)
    decision, modality = line.one_of("verdict", *DECISIONS), line.one_of("modality", *MODALITIES)
    return Item(
        id=line.text("id"),
        source=line.text("source"),
        modality=modality,  # type: ignore[arg-type]
        verdict=decision,  # type: ignore[arg-type]
        score=line.number("score", -1e9, 1e9) if "score" in line else None,
        reason=line.text("reason") if "reason" in line else None,
        caption=line.text("caption", empty=True),
        sha256=line.text("sha256"),
        meta=line.fields("meta").value,
    )


def read_meta(record: Fields, *known: str) -> dict[str, Any]:
    """The other keys of a user's record.

    Raises:
        PackageError: They take more than 4 KiB.
    """
    meta = {key: value for key, value in record.value.items() if key not in known}
    if len(json.dumps(meta)) > _MAX_META:
        raise PackageError(f"{record.where}: more than {_MAX_META} bytes beside {list(known)}")
    return meta
