"""What a pickle asks for, read off without running any of it.

For messages alone: what is loaded, and what is refused, torch's restricted unpickler decides.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Scan", "scan_pickle"]

_MOST = 64 << 20
"""Bytes looked at: the pickle of a large model is a few MB, its numbers lie elsewhere."""
_PICKLES = 5
"""In the older form: a number, a version, the machine, the tensors and their keys; then bytes."""
_PLAIN = ("torch", "collections")
_STRINGS = ("UNICODE", "STRING")


@dataclass(frozen=True)
class Scan:
    """What was found.

    Attributes:
        kind: ``pickle``, ``broken`` (one that ends too early, or an archive of which a part is
            missing) or ``other``.
        names: What it asks for beside torch and plain containers, e.g. ``os.system``.
        protocol: Of the pickle; 0 where none was seen.
    """

    kind: str
    names: tuple[str, ...] = ()
    protocol: int = 0


def scan_pickle(path: Path) -> Scan:
    """Look through a ``.pth`` file: an archive of torch, or the pickles that came before these.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    if start.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                name = next(n for n in archive.namelist() if n.rpartition("/")[2] == "data.pkl")
                with archive.open(name) as member:
                    return _scan(member.read(_MOST))
        # What a damaged archive may raise is many things, none of which says more.
        except Exception:
            return Scan("broken")
    if not start:
        return Scan("broken")
    if start[0] != 0x80:  # every pickle since protocol 2
        return Scan("other")
    with open(path, "rb") as file:
        return _scan(file.read(_MOST))


def _scan(data: bytes) -> Scan:
    """One pickle after the other, as in the older form of torch."""
    stream = io.BytesIO(data)
    names: dict[str, None] = {}
    protocol = 0
    try:
        for _ in range(_PICKLES):
            if stream.tell() < len(data):
                protocol = max(protocol, _read_one(stream, names))
    except ValueError:
        if stream.read(1) == b"" and not names:  # it ends within a pickle
            return Scan("broken", (), protocol)
    return Scan("pickle", tuple(names), protocol)


def _read_one(stream: io.BytesIO, names: dict[str, None]) -> int:
    texts: list[str] = []
    memo: dict[int, str] = {}
    last, protocol = "", 0
    for opcode, argument, _ in pickletools.genops(stream):
        name = opcode.name
        if name == "PROTO":
            protocol = int(argument or 0)
        elif name in ("GLOBAL", "INST"):
            _note(names, *str(argument).split(" ", 1))
        elif name == "STACK_GLOBAL" and len(texts) >= 2:
            _note(names, *texts[-2:])
        elif name == "MEMOIZE":
            memo[len(memo)] = last
        elif name.endswith("PUT"):
            memo[int(argument or 0)] = last
        elif name.endswith("GET"):
            texts.append(memo.get(int(argument or 0), ""))
        elif name.endswith(_STRINGS):
            texts.append(str(argument))
        if name != "MEMOIZE" and not name.endswith("PUT"):
            last = texts[-1] if texts and name.endswith((*_STRINGS, "GET")) else ""
    return protocol


def _note(names: dict[str, None], module: str, name: str = "") -> None:
    if module.partition(".")[0] not in _PLAIN:
        names[f"{module}.{name}"[:80]] = None
