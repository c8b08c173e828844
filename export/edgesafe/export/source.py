"""What ``edgesafe export`` starts from: a checkpoint or a package."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.manifest_parts import MANIFEST
from edgesafe.train.checkpoint import INFO_FILE

__all__ = ["check_source", "known_source"]

Command = TypeVar("Command", bound=Callable[..., Any])


def check_source(path: Path) -> None:
    """Refuse what is neither, before any option is looked at.

    Raises:
        UsageError: Saying what was expected there.
    """
    if (path / MANIFEST).is_file() or (path / INFO_FILE).is_file():
        return
    if not path.exists():
        why = "it does not exist"
    elif not path.is_dir():
        why = "it is a file"
    else:
        why = "it holds neither file"
    raise UsageError(
        f"{path} is neither a checkpoint ({INFO_FILE}) nor a package ({MANIFEST}): {why}. Name the "
        "folder that `edgesafe train`, `edgesafe import` or `edgesafe export` made"
    )


def known_source(command: Command) -> Command:
    """Check ``checkpoint`` of a command first; put it outermost."""

    @functools.wraps(command)
    def checked(*, checkpoint: Path, **rest: Any) -> None:
        check_source(checkpoint)
        command(checkpoint=checkpoint, **rest)

    return checked  # type: ignore[return-value]
