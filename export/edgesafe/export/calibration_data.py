"""Calibration data: what the user gives, as inputs of the networks of a package.

There is no default: ranges found on other pictures than a device will see are wrong ranges.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.export.ranges import Batch
from edgesafe.runtime.errors import EdgesafeError, SourceError, UsageError
from edgesafe.runtime.gate import Refused, decode_image, read_image_file

__all__ = ["CALIBRATED", "HELD_OUT", "Case", "Inputs", "read_cases", "split_cases"]

CALIBRATED, HELD_OUT = 256, 300
"""At most so many inputs of a network are calibrated on, and measured on."""

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_ARRAYS = ("pictures", "texts", "labels", "objects")
_LEAST = 4
_MEND = (
    "give --calib a folder of pictures, a .jsonl file of records with image, text and label, a "
    ".txt file with a text per line, or an .npz file with the arrays pictures (n, H, W, 3) uint8, "
    "texts, labels, objects"
)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One picture or one text.

    Attributes:
        picture: A file, or pixels uint8 (H, W, 3); None of a text.
        text: None of a picture.
        unsafe: What it is labelled; None where it is not.
        object_id: Whose crop it is, of a pose network; None where that is open.
        box: (x, y, w, h) of that object in the picture; None where the picture is the crop.
    """

    picture: Path | Pixels | None = field(default=None, repr=False)
    text: str | None = None
    unsafe: bool | None = None
    object_id: int | None = None
    box: tuple[float, float, float, float] | None = None

    def pixels(self) -> Pixels:
        """Returns the picture, decoded.

        Raises:
            SourceError: It cannot be.
        """
        if isinstance(self.picture, Path):
            try:
                return decode_image(read_image_file(self.picture)).views[0]
            except Refused as error:
                raise SourceError(f"{self.picture}: {error}; leave it out") from None
            except OSError as error:
                raise SourceError(f"{self.picture}: {error.strerror or error}") from None
        assert self.picture is not None
        return self.picture


@dataclass(frozen=True)
class Inputs:
    """Inputs of one network with a batch of one, and their labels.

    Attributes:
        batches: By name.
        unsafe: Per input; None where an input has no label.
    """

    batches: Sequence[Batch] = field(repr=False)
    unsafe: Sequence[bool | None] = field(default=(), repr=False)


def read_cases(paths: Sequence[Path]) -> list[Case]:
    """Reads what is named, pictures only by name yet.

    Raises:
        UsageError: Something is no calibration data.
        SourceError: A file cannot be read.
    """
    cases = [case for path in paths for case in _cases(path)]
    if paths and not cases:
        raise UsageError(f"{paths[0]} holds no pictures and no texts: {_MEND}")
    return cases


def split_cases(cases: Sequence[Case], held_out: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Chooses what to calibrate on and what to measure on: nothing for both.

    Args:
        cases: Of one kind.
        held_out: Of the same kind, where the user gave some; else a third of ``cases`` is taken.
    """
    order = np.random.default_rng(0).permutation(len(cases))
    shuffled = [cases[i] for i in order]
    if held_out:
        other = np.random.default_rng(1).permutation(len(held_out))
        return shuffled[:CALIBRATED], [held_out[i] for i in other[:HELD_OUT]]
    if len(cases) < _LEAST:
        raise UsageError(f"{len(cases)} inputs are too few to calibrate and measure on: {_MEND}")
    measured = min(HELD_OUT, max(1, len(cases) // 3))
    return shuffled[measured : measured + CALIBRATED], shuffled[:measured]


def _cases(path: Path) -> Iterator[Case]:
    if path.is_dir():
        lists = sorted(path.glob("*.jsonl")) + sorted(path.glob("*.txt"))
        if lists:
            for file in lists:
                yield from _cases(file)
        elif any(path.glob("*/scene_gt.json")) or any(path.glob("*/*/scene_gt.json")):
            yield from _bop(path)
        else:
            yield from _folder(path)
    elif path.suffix == ".npz":
        yield from _npz(path)
    elif path.suffix == ".jsonl":
        yield from _records(path)
    elif path.suffix == ".txt":
        for line in _lines(path):
            yield Case(text=line)
    else:
        raise UsageError(f"{path} is no calibration data: {_MEND}")


def _folder(path: Path) -> Iterator[Case]:
    known = {"safe": False, "unsafe": True}
    for file in sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES):
        if file.is_file():
            yield Case(picture=file, unsafe=known.get(file.parent.name))


def _records(path: Path) -> Iterator[Case]:
    for number, line in enumerate(_lines(path), 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise SourceError(f"{path}:{number} is no JSON object")
        label = record.get("label")
        unsafe = {"safe": False, "unsafe": True}.get(label) if isinstance(label, str) else None
        if isinstance(record.get("image"), str):
            yield Case(picture=path.parent / record["image"], unsafe=unsafe)
        if isinstance(record.get("text"), str):
            yield Case(text=record["text"], unsafe=unsafe)
        # Quadruplets, as training reads them.
        for side, value in (("safe", False), ("unsafe", True)):
            if isinstance(record.get(f"{side}_image"), str):
                yield Case(picture=path.parent / record[f"{side}_image"], unsafe=value)
            if isinstance(record.get(f"{side}_text"), str):
                yield Case(text=record[f"{side}_text"], unsafe=value)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read as UTF-8 text: {error}") from None
    return [line for line in text.splitlines() if line.strip()]


def _npz(path: Path) -> Iterator[Case]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: Mapping[str, NDArray[Any]] = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from None
    if not arrays or set(arrays) - set(_ARRAYS):
        raise UsageError(f"{path} holds {sorted(arrays)}, not some of {list(_ARRAYS)}: {_MEND}")
    labels, objects = arrays.get("labels"), arrays.get("objects")

    def unsafe(i: int) -> bool | None:
        return bool(labels[i]) if labels is not None and i < len(labels) else None

    pictures = arrays.get("pictures", np.zeros((0, 1, 1, 3), np.uint8))
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8:
        raise UsageError(f"{path}: pictures must be uint8 (n, H, W, 3), red first")
    for i, pixels in enumerate(pictures):
        number = int(objects[i]) if objects is not None and i < len(objects) else None
        yield Case(picture=pixels, unsafe=unsafe(i), object_id=number)
    for i, text in enumerate(arrays.get("texts", ())):
        yield Case(text=str(text), unsafe=unsafe(i))


def _bop(path: Path) -> Iterator[Case]:
    """Regions of a BOP data set, each about the visible box of an object."""
    from edgesafe.calib.bop import BopDataset

    try:
        dataset = BopDataset.open(path)
    except EdgesafeError as error:
        raise UsageError(f"{error}") from None
    for frame in dataset.frames:
        for instance in frame.instances:
            box = instance.bbox_visib or instance.bbox_obj
            if box is not None and box[2] > 0 and box[3] > 0:
                yield Case(picture=frame.rgb_path, object_id=instance.obj_id, box=box)
