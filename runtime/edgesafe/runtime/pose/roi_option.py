"""``--roi`` and ``--mesh`` of ``edgesafe pose``: text of the command line to boxes and files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from edgesafe.runtime.errors import SourceError, UsageError

__all__ = ["RoiTable", "parse_meshes", "parse_rois"]

_MAX_FILE_BYTES = 64 << 20
_FORM = "X,Y,W,H or ID:X,Y,W,H in pixels, or a JSON file"

Boxes = list[tuple[int, tuple[float, float, float, float]]]


@dataclass(frozen=True)
class RoiTable:
    """Boxes for every picture, and boxes for pictures of certain names."""

    always: Boxes
    by_name: Mapping[str, Boxes]

    def find(self, source: str) -> Boxes | None:
        """Return the boxes of a picture: of its path, of its file name, or those for all.

        None where there are none for it.
        """
        for name in (source, PurePath(source).name):
            if name in self.by_name:
                return self.by_name[name]
        return self.always or None


def parse_rois(texts: Iterable[str], objects: Iterable[int]) -> RoiTable | None:
    """Read the values of ``--roi``; None where there are none.

    A JSON file holds ``{"ID": [x, y, w, h]}`` or, per picture,
    ``{"PATH or file name": {"ID": [x, y, w, h]}}``; several boxes of one object are a list of
    lists.

    Args:
        texts: As typed.
        objects: Numbers of the objects of the package.

    Raises:
        UsageError: A value has none of the forms, or names no object of the package.
        SourceError: A file cannot be read.
    """
    known = tuple(objects)
    always: Boxes = []
    by_name: dict[str, Boxes] = {}
    for text in texts:
        if "," in text:
            number, _, box = text.rpartition(":")
            always.append((_number(number, known, text), _box(box.split(","), text)))
        else:
            _file(text, known, always, by_name)
    return RoiTable(always, by_name) if always or by_name else None


def parse_meshes(texts: Iterable[str], objects: Iterable[int]) -> dict[int, Path]:
    """Read the values of ``--mesh``: FILE, ID:FILE, or a folder of ``obj_000001.ply`` and so on.

    Raises:
        UsageError: A value names no object of the package.
        SourceError: A folder holds no mesh of an object of the package.
    """
    known = tuple(objects)
    found: dict[int, Path] = {}
    for text in texts:
        if Path(text).is_dir():
            there = {n: Path(text) / f"obj_{n:06d}.ply" for n in known}
            there = {n: path for n, path in there.items() if path.is_file()}
            if not there:
                raise SourceError(f"{text} holds no obj_NNNNNN.ply of an object of the package")
            found.update(there)
            continue
        number, colon, path = text.partition(":")
        if not (colon and number.isascii() and number.isdigit()):
            number, path = "", text
        found[_number(number, known, text)] = Path(path)
    return found


def _file(text: str, known: tuple[int, ...], always: Boxes, by_name: dict[str, Boxes]) -> None:
    try:
        with open(text, "rb") as file:
            data = json.loads(file.read(_MAX_FILE_BYTES))
    except OSError as error:
        raise SourceError(f"--roi {text}: {error.strerror or error}; it takes {_FORM}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--roi {text} is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise UsageError(f'--roi {text} must hold an object such as {{"1": [x, y, w, h]}}')
    for key, value in data.items():
        if isinstance(value, dict):
            boxes = by_name.setdefault(key, [])
            for number, box in value.items():
                boxes += _boxes(_number(number, known, text), box, text)
        else:
            always += _boxes(_number(key, known, text), value, text)


def _boxes(number: int, value: Any, where: str) -> Boxes:
    nested = isinstance(value, list) and value and isinstance(value[0], list)
    return [(number, _box(box, where)) for box in (value if nested else [value])]


def _box(values: Any, where: str) -> tuple[float, float, float, float]:
    try:
        x, y, w, h = (float(value) for value in values)
    except (TypeError, ValueError):
        raise UsageError(f"--roi {where}: a region is {_FORM}") from None
    if not (all(map(math.isfinite, (x, y, w, h))) and w > 0 and h > 0):
        raise UsageError(f"--roi {where}: a region needs a positive width and height")
    return x, y, w, h


def _number(text: str, known: tuple[int, ...], where: str) -> int:
    if not text and len(known) == 1:
        return known[0]
    if text.isascii() and text.isdigit() and int(text) in known:
        return int(text)
    raise UsageError(
        f"{where}: say of which object, as ID:...; the package knows {', '.join(map(str, known))}"
    )
