"""Drawings by many more hands: game art, icons and emoji out of npm, PyPI and Debian packages.

``art.json`` names the packages with their licences, and in them the drawings that were found clear
by looking at each::

    {SOURCE: {"licence": str, "background": str, "hands": {HAND: {TAG: {NAME: [REFERENCE, ...]}}}}}

SOURCE is ``npm:NAME@VERSION``, ``pypi:NAME==VERSION`` or ``debian:NAME``, TAG is ``harmless`` or
a tag of the policy, REFERENCE is the path of a file in the package, with ``#INSIDE`` where that
holds several and ``@LEFT,TOP,RIGHT,BOTTOM`` for a place in a sheet. For ``background`` and INSIDE
see `art_files.picture`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_write
from edgesafe.samples.hazards import art_files

HARMLESS = "harmless"
_INDEX = "art.jsonl"
_LONG_SIDE = 512

Download = Callable[[str, Path], Path]
"""``(package with its version, folder) -> archive``."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One drawing of the list.

    Attributes:
        hand: whose it is; a collection in one style.
        tag: the hazard's tag, or None for a harmless thing.
        name: what it shows, words joined by hyphens.
        path: the file in the package.
        inside: which of several in that file, or None.
        box: left, top, right and bottom in a sheet, or None.
    """

    hand: str
    tag: str | None
    name: str
    path: str
    inside: str | None = None
    box: tuple[int, int, int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Fetched:
    """A drawing in a folder that `fetch` has made.

    Attributes:
        hand: whose it is.
        tag: the hazard's tag, or None.
        name: what it shows.
        picture: its PNG.
        silhouette: whether it has one colour only.
    """

    hand: str
    tag: str | None
    name: str
    picture: Path
    silhouette: bool


@dataclasses.dataclass(frozen=True)
class Source:
    """The drawings of one package.

    Attributes:
        licence: as the package states it.
        background: see `art_files.picture`.
        entries: the drawings.
    """

    licence: str
    background: str | None
    entries: tuple[Entry, ...]


def listing() -> dict[str, Source]:
    """The packages and drawings that ``art.json`` names."""
    text = resources.files(__package__).joinpath("art.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return {
        name: Source(
            source["licence"],
            source.get("background"),
            tuple(
                _entry(hand, tag, name, reference)
                for hand, tags in source["hands"].items()
                for tag, names in tags.items()
                for name, references in names.items()
                for reference in references
            ),
        )
        for name, source in found.items()
    }


def _entry(hand: str, tag: str, name: str, reference: str) -> Entry:
    rest, at, corners = reference.rpartition("@")
    box = None
    if at and corners.count(",") == 3:
        left, top, right, bottom = (int(corner) for corner in corners.split(","))
        reference, box = rest, (left, top, right, bottom)
    path, _, inside = reference.partition("#")
    return Entry(hand, None if tag == HARMLESS else tag, name, path, inside or None, box)


def read(folder: Path) -> Iterator[Fetched]:
    """What `fetch` has put into a folder; nothing where it never ran."""
    index = folder / _INDEX
    if index.is_file():
        for line in index.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            yield Fetched(**{**record, "picture": folder / record["picture"]})


def fetch(out: Path, npm: Download, pypi: Download, debian: Callable[[str], Path]) -> None:
    """Fetch all listed drawings into ``out``, as PNG without their background.

    Args:
        out: the folder.
        npm: downloads a package of npm.
        pypi: downloads a wheel.
        debian: name -> folder with what the package installs.

    Raises:
        DataError: a package does not hold a listed drawing.
    """
    if (out / _INDEX).is_file():
        return
    out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for name, source in listing().items():
        registry, _, package = name.partition(":")
        if registry == "debian":
            lines += _saved(name, source, _reader(debian(package)), out, len(lines))
            continue
        archive = (npm if registry == "npm" else pypi)(package, out)
        with art_files.opened(archive) as read:
            lines += _saved(name, source, read, out, len(lines))
        archive.unlink()
    # Last: its presence says that the folder is whole.
    atomic_write(out / _INDEX, "".join(line + "\n" for line in lines).encode())


def _saved(
    package: str, source: Source, read: Callable[[str], bytes], out: Path, first: int
) -> Iterator[str]:
    last, data = "", b""
    for number, entry in enumerate(source.entries, first):
        try:
            if entry.path != last:  # an archive is read once for all that it holds
                last, data = entry.path, read(entry.path)
            pixels = art_files.picture(data, entry.path, entry.inside, source.background)
        except Exception as error:  # a broken file makes its readers raise almost anything
            raise DataError(
                f"{package}: {entry.path} {entry.inside or ''} cannot be had ({error!r})."
            ) from error
        if entry.box is not None:
            left, top, right, bottom = entry.box
            pixels = pixels[top:bottom, left:right]
        pixels = art_files.crop(pixels)
        if not (pixels[..., 3] > 8).any():
            raise DataError(f"{package}: {entry.path} {entry.inside or ''} draws nothing.")
        target = Path(entry.hand) / f"{entry.name}-{number}.png"
        (out / target).parent.mkdir(exist_ok=True)
        image = Image.fromarray(np.ascontiguousarray(pixels))
        image.thumbnail((_LONG_SIDE, _LONG_SIDE))
        image.save(out / target)
        solid = pixels[pixels[..., 3] > 200][:, :3]
        yield json.dumps(
            {
                "hand": entry.hand,
                "tag": entry.tag,
                "name": entry.name,
                "picture": str(target),
                "silhouette": bool(len(solid) > 0 and solid.std(axis=0).max() < 10),
            }
        )


def _reader(folder: Path) -> Callable[[str], bytes]:
    return lambda path: (folder / path).read_bytes()
