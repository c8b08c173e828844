"""An index on disk: it is added to, memory-mapped, and never seen half-written.

A folder of ``index.json`` and segments. A segment is three files that are written once and then
never changed: ``N.vectors`` (float32 rows, see :mod:`.vectors`), ``N.rows`` (a fixed-width table,
:data:`.items.ROW`) and ``N.items`` (JSON lines). ``index.json`` names the segments with size and
SHA-256 and carries a digest of itself. Adding writes a new segment, flushes it to the disk, and
then exchanges ``index.json`` in one step; a process that is killed anywhere leaves the index as it
was before or after, and files that nothing names, which the next writer removes. Readers need no
lock: what they mapped stays. One writer at a time holds ``.lock``.

An item whose id is there already, with other content, replaces the old row; the row stays in its
segment and is listed under ``replaced``.

The index belongs to the encoders that made its rows. ``index.json`` holds the digest of the package
and a digest of what decides where a point lies (:func:`.embed.space_digest`): a package that
differs in its threshold alone may still be asked, one with other encoders is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.retrieval.items import (
    DECISIONS,
    MODALITIES,
    ROW,
    Item,
    decode_item,
    encode_item,
)
from edgesafe.calib.retrieval.vectors import Floats, Rows, Space
from edgesafe.runtime.errors import DataError, PackageError, UsageError
from edgesafe.runtime.fields import Fields, parse_json
from edgesafe.runtime.files import atomic_write, canonical_json, sha256_hex

__all__ = [
    "FORMAT",
    "Index",
    "IndexWriter",
    "Origin",
    "create_index",
    "new_writer",
    "open_writer",
]

FORMAT = "edgesafe.index/1"

_NAME = "index.json"
_LOCK = ".lock"
_PARTS = ("vectors", "rows", "items")
_MAX_JSON = 64 << 20
_MEND = "make the index again with `edgesafe index`"


@dataclass(frozen=True)
class Origin:
    """The package whose encoders made the rows.

    Attributes:
        identity: ``name@release#digest``.
        digest: Of its manifest.
        space: Digest of what decides where a point lies.
        path: Where it was.
    """

    identity: str
    digest: str
    space: str
    path: str


@dataclass(frozen=True)
class _Segment:
    """Number of rows, and part to (file, size, SHA-256)."""

    n: int
    files: dict[str, tuple[str, int, str]]


@dataclass(frozen=True)
class _State:
    """What ``index.json`` says."""

    created: str
    space: Space
    origin: Origin
    segments: tuple[_Segment, ...]
    replaced: tuple[int, ...]

    def to_bytes(self) -> bytes:
        body = {
            "format": FORMAT,
            "created": self.created,
            "space": asdict(self.space),
            "package": asdict(self.origin),
            "segments": [
                {
                    "n": segment.n,
                    **{
                        part: {"file": name, "size": size, "sha256": digest}
                        for part, (name, size, digest) in segment.files.items()
                    },
                }
                for segment in self.segments
            ],
            "replaced": list(self.replaced),
        }
        return canonical_json({**body, "digest": sha256_hex(canonical_json(body))})


class Index:
    """An index opened for reading; files are mapped, not read.

    Attributes:
        path: Its folder.
        space: Where its points live.
        origin: The package that made them.
    """

    def __init__(self, path: Path, state: _State) -> None:
        """Map the segments.

        Raises:
            DataError: A file is missing, is not a plain file, or has another size.
        """
        self.path = path
        self.space = state.space
        self.origin = state.origin
        self._state = state
        self._vectors: list[Rows] = []
        self._tables: list[NDArray[Any]] = []
        self._items: list[NDArray[np.uint8]] = []
        for segment in state.segments:
            shape = (segment.n, state.space.width)
            self._vectors.append(self._map(segment, "vectors", "<f4", shape))
            self._tables.append(self._map(segment, "rows", ROW, (segment.n,)))
            size = segment.files["items"][1]
            self._items.append(self._map(segment, "items", np.uint8, (size,)))
        self._starts = np.cumsum([0, *(segment.n for segment in state.segments)])

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = False) -> Index:
        """Open an index.

        Args:
            path: Its folder.
            verify: Read all files and compare their digests, instead of their sizes alone.

        Raises:
            DataError: There is no index, or it is damaged.
        """
        folder = Path(path)
        index = cls(folder, _read_state(folder))
        if verify:
            index.verify()
        return index

    def __len__(self) -> int:
        """How many items can be found."""
        return int(self._starts[-1]) - len(self._state.replaced)

    @property
    def blocks(self) -> list[Rows]:
        """Stored rows, one mapped block per segment."""
        return self._vectors

    @property
    def rows(self) -> int:
        """Rows of all segments, the replaced ones among them."""
        return int(self._starts[-1])

    @cached_property
    def modality(self) -> NDArray[np.uint8]:
        """Place in ``MODALITIES``, per row."""
        return self._column("modality", len(MODALITIES))

    @cached_property
    def decision(self) -> NDArray[np.uint8]:
        """Place in ``DECISIONS``, per row."""
        return self._column("decision", len(DECISIONS))

    @cached_property
    def alive(self) -> NDArray[np.bool_]:
        """Which rows have not been replaced."""
        alive = np.ones(self.rows, bool)
        alive[list(self._state.replaced)] = False
        return alive

    def item(self, row: int) -> Item:
        """What is known about a row.

        Raises:
            DataError: The segment is damaged.
        """
        s = int(np.searchsorted(self._starts, row, side="right")) - 1
        entry = self._tables[s][row - self._starts[s]]
        where = f"{self.path / self._state.segments[s].files['items'][0]}: row {row}"
        start, length = int(entry["offset"]), int(entry["length"])
        # A slice beyond the end is short, which the parser finds.
        data = self._items[s][start : start + length].tobytes()
        with _as_data_error():
            return decode_item(data, where, _MEND)

    def point(self, row: int) -> NDArray[np.float64]:
        """The point of a row, (dim,)."""
        s = int(np.searchsorted(self._starts, row, side="right")) - 1
        stored = self._vectors[s][row - self._starts[s]]
        return np.asarray(stored[: self.space.dim], np.float64)

    def ids(self) -> dict[str, tuple[int, str]]:
        """Id to (row, SHA-256 of the content), of all items that can be found."""
        items = ((row, self.item(row)) for row in np.flatnonzero(self.alive).tolist())
        return {item.id: (row, item.sha256) for row, item in items}

    def verify(self) -> None:
        """Compare the digest of every file.

        Raises:
            DataError: One differs.
        """
        for segment, *parts in zip(
            self._state.segments, self._vectors, self._tables, self._items, strict=True
        ):
            for (name, _, digest), part in zip(segment.files.values(), parts, strict=True):
                flat = np.ascontiguousarray(part).view(np.uint8).reshape(-1)
                if hashlib.sha256(flat.data).hexdigest() != digest:
                    raise DataError(f"{self.path / name} does not match its SHA-256: {_MEND}")

    def _column(self, name: str, values: int) -> NDArray[np.uint8]:
        parts = [np.asarray(table[name]) for table in self._tables]
        column = np.concatenate(parts) if parts else np.empty(0, np.uint8)
        if column.size and column.max() >= values:
            raise DataError(f"{self.path}: {name} {column.max()} is not known: {_MEND}")
        return column

    def _map(
        self, segment: _Segment, part: str, dtype: Any, shape: tuple[int, ...]
    ) -> NDArray[Any]:
        name, size, _ = segment.files[part]
        file = self.path / name
        if size != int(np.prod(shape)) * np.dtype(dtype).itemsize:
            raise DataError(f"{file}: {size} bytes are not {segment.n} rows: {_MEND}")
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as stream:
                status = os.fstat(stream.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size != size:
                    raise DataError(f"{file} is not a plain file of {size} bytes: {_MEND}")
                # The plain array: a memmap's own class is kept by none of the later steps.
                return np.asarray(np.memmap(stream, dtype, "r", shape=shape))
        except OSError as error:
            raise DataError(f"{file} cannot be read ({error.strerror}): {_MEND}") from None


class IndexWriter:
    """Adds to an index; made by :func:`open_writer`, which holds the lock."""

    def __init__(self, folder: Path, state: _State) -> None:
        """Start where the index is."""
        self._folder = folder
        self._state = state
        self._rows = sum(segment.n for segment in state.segments)
        known = Index(folder, state)
        known.verify()
        self._known = known.ids()
        self._points: list[Floats] = []
        self._items: list[Item] = []

    @property
    def rows(self) -> int:
        """Items on disk, those that have been replaced counted too."""
        return self._rows

    @property
    def pending(self) -> int:
        """Items added since the last commit."""
        return len(self._items)

    @property
    def replacing(self) -> int:
        """How many of these take the place of others."""
        return sum(item.id in self._known for item in self._items)

    def has(self, item_id: str, sha256: str) -> bool:
        """Whether an item is there already, with this very content."""
        return self._known.get(item_id, (0, ""))[1] == sha256

    def add(self, item: Item, point: Floats) -> None:
        """Take an item and its point (dim,); it is on disk after the next :meth:`commit`."""
        self._items.append(item)
        self._points.append(point)

    def commit(self) -> None:
        """Write what was added; after this it survives a crash.

        Raises:
            DataError: A point is not finite or has another dimension.
            OSError: The disk is full or the folder not writable; the index is as before.
        """
        if not self._items:
            return
        replaced = list(self._state.replaced)
        known = dict(self._known)
        for row, item in enumerate(self._items, self._rows):
            if item.id in known:
                replaced.append(known[item.id][0])
            known[item.id] = (row, item.sha256)
        number = f"{len(self._state.segments):06d}-{secrets.token_hex(4)}"
        contents = _contents(self._state.space, self._points, self._items)
        files = {}
        for part in _PARTS:
            name, data = f"{number}.{part}", contents[part]
            atomic_write(self._folder / name, data)
            files[part] = (name, len(data), sha256_hex(data))
        segment = _Segment(len(self._items), files)
        state = replace(
            self._state,
            segments=(*self._state.segments, segment),
            replaced=tuple(sorted(replaced)),
        )
        atomic_write(self._folder / _NAME, state.to_bytes())
        self._state, self._known = state, known
        self._rows += len(self._items)
        self._points, self._items = [], []


def create_index(path: str | os.PathLike[str], space: Space, origin: Origin) -> None:
    """Make an empty index.

    Raises:
        UsageError: The folder holds something.
        OSError: It cannot be made.
    """
    folder = Path(path)
    if (folder / _NAME).exists():
        raise UsageError(f"{folder} is an index already: pass --add to add to it")
    # Dotted names are the lock and what a killed run left.
    if folder.exists() and (
        not folder.is_dir() or any(not name.startswith(".") for name in os.listdir(folder))
    ):
        raise UsageError(f"{folder} holds something else: name a new or empty folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    atomic_write(folder / _NAME, _State(now, space, origin, (), ()).to_bytes())


@contextmanager
def open_writer(path: str | os.PathLike[str]) -> Iterator[IndexWriter]:
    """Open an index for adding, as the only one who does.

    What was added after the last commit is dropped when the block ends by an error.

    Raises:
        DataError: There is no index, or it is damaged.
        UsageError: Another process is adding to it.
    """
    folder = Path(path)
    _read_state(folder)
    with open(folder / _LOCK, "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{folder}: another process is adding to this index") from None
        state = _read_state(folder)  # as it is now that nobody else writes
        _remove_leftovers(folder, state)
        writer = IndexWriter(folder, state)
        yield writer
        writer.commit()


@contextmanager
def new_writer(path: str | os.PathLike[str], space: Space, origin: Origin) -> Iterator[IndexWriter]:
    """Make an index and open it for adding; if nothing gets in, nothing of it is left.

    Raises:
        UsageError: The folder holds something.
        OSError: It cannot be made.
    """
    folder = Path(path)
    made = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
    create_index(folder, space, origin)
    with open_writer(folder) as writer:
        try:
            yield writer
            writer.commit()
        finally:
            if not writer.rows:
                # The lock goes last: until then nobody else begins here.
                (folder / _NAME).unlink()
                (folder / _LOCK).unlink()
                with suppress(OSError):  # somebody else has put something there
                    for one in made:
                        one.rmdir()


def _contents(space: Space, points: Sequence[Floats], items: Sequence[Item]) -> dict[str, bytes]:
    table = np.zeros(len(items), ROW)
    lines = [encode_item(item) for item in items]
    lengths = [len(line) for line in lines]
    table["offset"] = np.cumsum([0, *lengths[:-1]])
    table["length"] = lengths
    table["decision"] = [DECISIONS.index(item.verdict) for item in items]
    table["modality"] = [MODALITIES.index(item.modality) for item in items]
    vectors = space.stored(np.stack(points)).astype("<f4", copy=False)
    return {"vectors": vectors.tobytes(), "rows": table.tobytes(), "items": b"".join(lines)}


def _remove_leftovers(folder: Path, state: _State) -> None:
    """Remove what a killed writer left: segments that nothing names, and temporary files."""
    named = {name for segment in state.segments for name, _, _ in segment.files.values()}
    for entry in os.scandir(folder):
        part = entry.name.rpartition(".")[2]
        temporary = entry.name.startswith(".") and ".tmp-" in entry.name
        if entry.name not in named and (part in _PARTS or temporary):
            with suppress(OSError):
                os.unlink(entry)


def _read_state(folder: Path) -> _State:
    file = folder / _NAME
    try:
        if file.stat().st_size > _MAX_JSON:
            raise DataError(f"{file} is larger than {_MAX_JSON >> 20} MiB: {_MEND}")
        data = file.read_bytes()
    except OSError as error:
        raise DataError(
            f"{folder} is not an index ({_NAME}: {error.strerror}): name the folder that "
            "`edgesafe index --out` wrote"
        ) from None
    with _as_data_error():
        return _parse_state(parse_json(data, str(file), _MEND))


def _parse_state(top: Fields) -> _State:
    if top.text("format") != FORMAT:
        raise top.fail("format", f"is not {FORMAT!r}: update edgesafe")
    body = {key: value for key, value in top.value.items() if key != "digest"}
    if top.text("digest") != sha256_hex(canonical_json(body)):
        raise top.fail("digest", "does not match: the file is damaged or was edited")
    geometry = top.fields("space")
    model = geometry.one_of("model", "lorentz", "euclidean")
    lorentz = model == "lorentz"
    space = Space(
        model,  # type: ignore[arg-type]
        geometry.integer("dim", 1, 65536),
        geometry.number("curvature", 1e-3, 1e3) if lorentz else None,
    )
    package = top.fields("package")
    origin = Origin(*(package.text(name) for name in ("identity", "digest", "space", "path")))
    segments = []
    for number, value in enumerate(top.items("segments")):
        fields = Fields(value, f"{top.where}: segments[{number}]", top.mend)
        files = {}
        for part in _PARTS:
            entry = fields.fields(part)
            name = entry.text("file")
            if os.path.basename(name) != name or name.startswith("."):
                raise entry.fail("file", f"{name!r:.80} is not a plain name")
            files[part] = (name, entry.integer("size", 1, 2**48), entry.text("sha256"))
        segments.append(_Segment(fields.integer("n", 1, 2**40), files))
    total = sum(segment.n for segment in segments)
    replaced = tuple(top.items("replaced"))
    if not all(type(row) is int and 0 <= row < total for row in replaced):
        raise top.fail("replaced", "names rows that are not there")
    return _State(top.text("created"), space, origin, tuple(segments), replaced)


@contextmanager
def _as_data_error() -> Iterator[None]:
    """The readers of JSON raise the error of packages; this is an index."""
    try:
        yield
    except PackageError as error:
        raise DataError(str(error)) from None
