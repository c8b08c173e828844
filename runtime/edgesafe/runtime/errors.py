"""Every error that edgesafe raises on purpose.

::

    EdgesafeError                 exit status 3 unless a subclass says otherwise
    ├── UsageError          (2)   the caller passed something that can never work
    ├── PackageError              a model package is missing, damaged or refused
    ├── SourceError               a path, camera or stream cannot be opened
    ├── BackendError              the wanted inference backend is not usable here
    ├── MissingExtraError         an optional dependency is not installed
    ├── DataError                 training data or a record list is bad
    ├── CheckpointError           a training checkpoint is missing or damaged
    └── ExportError               a checkpoint could not become a package

A message says what went wrong, where, and what to do about it. A bad *input* to a moderator (a
damaged photo, an empty text) is not an error: it is an ``undecided`` verdict with a reason.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BackendError",
    "CheckpointError",
    "DataError",
    "EdgesafeError",
    "ExportError",
    "MissingExtraError",
    "PackageError",
    "SourceError",
    "UsageError",
]


class EdgesafeError(Exception):
    """The root of the tree; catch it to catch everything edgesafe raises on purpose.

    Attributes:
        exit_status: What the ``edgesafe`` command exits with when this error ends it.
    """

    exit_status: ClassVar[int] = 3


class UsageError(EdgesafeError):
    """A wrong argument: the type, the name or the combination of options."""

    exit_status: ClassVar[int] = 2


class PackageError(EdgesafeError):
    """A model package is missing, damaged, tampered with, or too new for this runtime."""


class SourceError(EdgesafeError):
    """A named source (file, folder, camera, stream) does not exist or cannot be opened."""


class BackendError(EdgesafeError):
    """The inference backend that was asked for is not installed or not usable here."""


class MissingExtraError(EdgesafeError):
    """An optional dependency is missing.

    Args:
        module: The module that could not be imported, e.g. ``"onnxruntime"``.
        extra: The extra of edgesafe that brings it, e.g. ``"cpu"``.
    """

    def __init__(self, module: str, extra: str) -> None:
        """Say what to install."""
        super().__init__(f"{module} is not installed: pip install 'edgesafe[{extra}]'")
        self.module = module
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Survive the way between processes: the arguments are not the message."""
        return type(self), (self.module, self.extra)


class DataError(EdgesafeError):
    """Training data or a list of records is missing, broken or contradictory."""


class CheckpointError(EdgesafeError):
    """A training checkpoint is missing, damaged, or of an unknown format."""


class ExportError(EdgesafeError):
    """A checkpoint could not be turned into a model package."""
