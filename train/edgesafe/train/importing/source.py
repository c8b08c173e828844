"""Where the PATH of an import leads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesafe.runtime.errors import SourceError

__all__ = ["Source", "locate"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Source:
    """A folder or a file on this machine.

    Attributes:
        path: The folder or file.
        name: What it is called in the origin of the weights: the id on the hub, or the bare name,
            which tells nothing of this machine.
    """

    path: Path
    name: str

    def find(self, *names: str) -> Path | None:
        """The first of the names that the folder holds; the file itself if it has one of them."""
        if self.path.is_file():
            return self.path if self.path.name in names else None
        return next((self.path / n for n in names if (self.path / n).is_file()), None)


def locate(path: str, wanted: Sequence[str]) -> Source:
    """Finds a folder or file, or fetches a repository of the Hugging Face hub.

    Args:
        path: What the user named. Something that exists here comes before an id of the hub.
        wanted: Patterns of the files of a repository that are needed; no others are fetched.

    Raises:
        SourceError: It does not exist, or cannot be fetched.
    """
    here = Path(path)
    if here.exists():
        return Source(here, here.resolve().name)
    if not _HUB_ID.fullmatch(path):
        raise SourceError(
            f"{path} does not exist. Name a folder, a file, or a repository of the Hugging Face "
            "hub (owner/name)."
        )
    try:
        folder = _fetch(path, list(wanted))
    except Exception as error:  # requests, urllib3, the hub's own: no common base
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise SourceError(
            f"{path} does not exist here and cannot be fetched from the Hugging Face hub "
            f"({reason[0]}). Without a network, fetch its files elsewhere and name their folder."
        ) from error
    return Source(folder, path)


def _fetch(repository: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(repository, allow_patterns=patterns))
