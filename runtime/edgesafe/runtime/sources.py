"""SOURCE, the one argument form of every command, as a stream of things to judge.

=====================  ==========================================================================
a file                 exactly one entry, whatever it holds; pictures and videos are told by content
a folder               each image file in it and below, sorted; by name *or* content, links to
                       folders not followed; other files are left out
a glob                 each match as if it had been named (``**`` goes down folders)
``0``, ``1``, ...      a camera, unless a file of that name exists
``rtsp://``, ...       a stream (``rtsp``, ``rtsps``, ``http``, ``https``)
``-``                  one SOURCE a line from standard input, read as it comes
=====================  ==========================================================================

Nothing is silently left out: a path that does not exist, a glob without a match and a folder
without an image each become an entry of kind ``problem``, which is printed as ``undecided`` and
makes the command exit with 3 in the end, after all else was judged.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from edgesafe.runtime.gate import Refused

__all__ = ["Kind", "Source", "expand"]

Kind = Literal["image", "video", "camera", "stream", "problem"]

# Also the formats that the gate refuses: their files must not vanish from a folder's report.
_IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .tif .tiff .heic .heif .avif .jp2 .j2k .jxl"
    " .mpo .svg .eps .ico .psd".split()
)
_VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .mjpeg".split()
)
_SCHEMES = ("rtsp", "rtsps", "http", "https")
_SNIFFED = 192
_MOVIE_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_VIDEO_MAGIC = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"\0\0\1\xba",  # MPEG programme stream
    b"\0\0\1\xb3",  # MPEG video
    b"0&\xb2u\x8ef\xcf\x11",  # ASF, WMV
    b"FLV\1",
    b"OggS",
)
_STILL_BRANDS = (b"he", b"mi", b"av")  # HEIF and AVIF: pictures in a movie's container


@dataclass(frozen=True)
class Source:
    """One thing to judge.

    Attributes:
        name: how it is called in the output; a stream's password is masked.
        kind: what to do with it.
        target: the path, the stream's address, or the camera's number in digits.
        relative: where a copy of it belongs below an output folder; never absolute, never up.
        problem: for ``kind == "problem"``, why there is nothing to judge.
    """

    name: str
    kind: Kind
    target: str
    relative: PurePosixPath
    problem: Refused | None = None

    @property
    def endless(self) -> bool:
        """Whether it ends only when it is told to."""
        return self.kind in ("camera", "stream")


def expand(arguments: Iterable[str], lines: Iterable[str] = ()) -> Iterator[Source]:
    """Turn SOURCE arguments into entries, lazily and in the order given.

    Args:
        arguments: as the user typed them.
        lines: standard input, for ``-``.
    """
    for argument in arguments:
        if argument == "-":
            empty = True
            for line in lines:
                name = line.rstrip("\r\n")
                if name and name != "-":
                    empty = False
                    yield from _one(name)
            if empty:  # what should have made the list may have failed
                yield _problem("-", "no_sources", "standard input names no source")
        else:
            yield from _one(argument)


def _one(argument: str) -> Iterator[Source]:
    if os.path.isdir(argument):
        yield from _folder(argument)
    elif os.path.lexists(argument):
        yield _file(argument, _below(argument))
    elif argument.isascii() and argument.isdigit():
        yield Source(argument, "camera", argument, PurePosixPath(f"camera-{argument}"))
    elif argument.lower().startswith(tuple(f"{scheme}://" for scheme in _SCHEMES)):
        name, host = _without_password(argument)
        yield Source(name, "stream", argument, PurePosixPath(f"stream-{host}"))
    elif glob.has_magic(argument):
        yield from _glob(argument)
    elif "://" in argument:
        allowed = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        yield _problem(argument, "unsupported_source", f"a stream starts with one of {allowed}")
    else:
        yield _problem(argument, "missing", "there is no such file or folder")


def _glob(pattern: str) -> Iterator[Source]:
    matches = sorted(glob.glob(pattern, recursive=True))
    if "**" in pattern:  # the files below a matching folder match by themselves
        matches = [match for match in matches if not os.path.isdir(match)]
    if not matches:
        yield _problem(pattern, "missing", "no file matches this pattern")
    for match in matches:
        if os.path.isdir(match):
            yield from _folder(match)
        else:
            yield _file(match, _below(match))


def _folder(folder: str) -> Iterator[Source]:
    base = Path(folder)
    unreadable: list[OSError] = []
    found = False
    for parent, folders, names in os.walk(base, onerror=unreadable.append):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            if _suffix(name) in _IMAGE_SUFFIXES or _sniff(path) == "image":
                found = True
                inside = Path(path).relative_to(base)
                yield _file(path, _below(folder) / PurePosixPath(*inside.parts))
    for error in unreadable:
        yield _problem(str(error.filename), "unreadable", error.strerror or "cannot be listed")
    if not found and not unreadable:
        yield _problem(folder, "no_images", "there is no image file in this folder")


def _file(path: str, relative: PurePosixPath) -> Source:
    if not os.path.exists(path):
        return _problem(path, "missing", "a link to a file that does not exist")
    kind = _sniff(path)
    if kind is None and _suffix(path) in _VIDEO_SUFFIXES:
        kind = "video"
    return Source(path, kind or "image", path, relative)


def _problem(name: str, code: str, detail: str) -> Source:
    return Source(name, "problem", name, PurePosixPath("problem"), Refused(code, detail))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _sniff(path: str) -> Literal["image", "video"] | None:
    """Tell pictures and videos by their first bytes; None for anything else."""
    try:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            head = file.read(_SNIFFED)
    except OSError:
        return None
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        return "image"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image"
    return "video" if is_video(head) else None


def is_video(head: bytes) -> bool:
    """Whether a file starts as a video container does.

    Asked before a file is given to FFmpeg, which would otherwise also take playlists that name
    other files and addresses.

    Args:
        head: the first 192 bytes or more.
    """
    if head[4:8] in _MOVIE_ATOMS:
        return head[4:8] != b"ftyp" or not head[8:12].startswith(_STILL_BRANDS)
    if head[:1] == b"G" and head[188:189] == b"G":  # MPEG transport stream
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    return head.startswith(_VIDEO_MAGIC)


def _below(path: str) -> PurePosixPath:
    """A named path as a place below some other folder: its last part only."""
    name = Path(os.path.abspath(path)).name
    return PurePosixPath(name or "root")


def _without_password(address: str) -> tuple[str, str]:
    """An address that may be printed, and a host that may be a file name."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or "unknown"
        secret = parts.password is not None
    except ValueError:
        host, secret = "unknown", "@" in address
    shown = re.sub(r"^([^:]+://[^:@/]*):.*@", r"\1:***@", address) if secret else address
    return shown, re.sub(r"[^A-Za-z0-9._-]", "_", host).lstrip(".") or "unknown"
