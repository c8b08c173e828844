"""Data with labels: what a threshold is chosen on and a moderator is measured by.

Two forms:

* a folder with the sub-folders ``safe`` and ``unsafe``, images in them and below; the first folder
  below is the tag (``unsafe/weapon/cam3/0001.jpg`` has the tag ``weapon``);
* JSON lines ``{"image" | "text": ..., "label": "safe" | "unsafe", "tag"?: ...}``, paths relative to
  the file. Other keys are kept and not interpreted.

A record that is broken is an error, all of them in one message. A *file* that cannot be judged is
none here: that is found out, counted and named when it is judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgesafe.calib.bad_records import BadRecord, table
from edgesafe.runtime.errors import DataError, SourceError
from edgesafe.runtime.sources import expand
from edgesafe.runtime.verdict import Modality

__all__ = ["Labelled", "read_labelled"]

_KINDS = ("image", "text")
_LABELS = {"safe": False, "unsafe": True}


@dataclass(frozen=True)
class Labelled:
    """One record.

    Attributes:
        name: What to call it: the path as written, or the text's place in its file.
        modality: ``"image"`` or ``"text"``.
        content: A path, or the text.
        unsafe: Its label.
        tag: Free text; None where it has none.
        fields: Everything that the record says.
    """

    name: str
    modality: Modality
    content: Path | str
    unsafe: bool
    tag: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)


def read_labelled(path: Path) -> list[Labelled]:
    """Read a folder or a JSON lines file.

    Raises:
        SourceError: There is nothing, or it cannot be read.
        DataError: Records are broken, one thing is labelled both ways, or there are none.
    """
    if path.is_dir():
        found = _folder(path)
    else:
        found = _lines(path)
    if not found:
        raise DataError(f"{path} holds no record: give it images or texts of both labels")
    return found


def _folder(path: Path) -> list[Labelled]:
    missing = [name for name in _LABELS if not (path / name).is_dir()]
    if missing:
        raise DataError(
            f"{path} has no folder {' and no folder '.join(missing)}: put harmless images into "
            f"{path / 'safe'} and the others into {path / 'unsafe'}, or name a JSON lines file"
        )
    found = []
    for label, unsafe in _LABELS.items():
        for source in expand([str(path / label)]):
            if source.problem is not None:
                raise DataError(f"{source.name}: {source.problem.detail}")
            inside = Path(source.target).relative_to(path / label)
            tag = inside.parts[0] if len(inside.parts) > 1 else None
            name = str(Path(label) / inside)
            found.append(Labelled(name, "image", Path(source.target), unsafe, tag))
    return found


def _lines(path: Path) -> list[Labelled]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror or error}; name a folder with safe/ and "
            "unsafe/, or a JSON lines file"
        ) from None
    found: list[Labelled] = []
    bad: list[BadRecord] = []
    labels: dict[tuple[str, str], bool] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = _record(line, number, path)
            key = (record.modality, str(record.content))
            if labels.setdefault(key, record.unsafe) != record.unsafe:
                raise _Broken("label", "contradiction", "is labelled otherwise further up")
            found.append(record)
        except _Broken as broken:
            bad.append(BadRecord(number, None, *broken.args))
    if bad:
        raise DataError(
            f"{path}: {len(bad)} broken record{'s' if len(bad) != 1 else ''}; mend or remove "
            f"them:\n{table(bad)}"
        )
    return found


class _Broken(Exception):
    """Field, problem, detail."""


def _record(line: bytes, number: int, path: Path) -> Labelled:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _Broken(None, "bad_json", str(error)) from None
    if not isinstance(fields, dict):
        raise _Broken(None, "not_a_record", "must be an object")
    kinds = [kind for kind in _KINDS if fields.get(kind) is not None]
    if len(kinds) != 1:
        raise _Broken(None, "missing_key", "must have an image or a text, and not both")
    kind = kinds[0]
    value, label, tag = fields[kind], fields.get("label"), fields.get("tag")
    if not isinstance(value, str) or not value.strip():
        raise _Broken(kind, "wrong_type", "must be a text that is not empty")
    if not isinstance(label, str) or label not in _LABELS:
        raise _Broken("label", "wrong_type", f"must be safe or unsafe, not {label!r:.40}")
    if tag is not None and not isinstance(tag, str):
        raise _Broken("tag", "wrong_type", f"must be a text, not {tag!r:.40}")
    if kind == "text":
        name = f"{path.name}:{number}"
        return Labelled(name, "text", value, _LABELS[label], tag or None, fields)
    return Labelled(value, "image", path.parent / value, _LABELS[label], tag or None, fields)
