"""Reading a bundle: every file is compared with its digest before it is used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = ["BUNDLE", "FORMAT", "Bundle", "BundleError"]

BUNDLE = "bundle.json"
FORMAT = "edgesafe.trt-bundle/1"


class BundleError(Exception):
    """Something that the user can mend; the message says how."""


class Bundle:
    """An opened bundle.

    Attributes:
        folder: Where it lies.
        description: ``bundle.json``.
    """

    def __init__(self, folder: Path) -> None:
        """Open the bundle in a folder.

        Raises:
            BundleError: There is none, or its format is unknown.
        """
        self.folder = folder
        try:
            self.description: dict[str, Any] = json.loads((folder / BUNDLE).read_bytes())
        except (OSError, ValueError) as error:
            raise BundleError(f"{folder} holds no readable {BUNDLE} ({error})") from None
        if self.description.get("format") != FORMAT:
            raise BundleError(
                f"{folder / BUNDLE} has the format {self.description.get('format')!r}, not "
                f"{FORMAT!r}: export the bundle again with the edgesafe that is used here"
            )

    @property
    def networks(self) -> dict[str, dict[str, Any]]:
        """Name to description of each network."""
        found: dict[str, dict[str, Any]] = self.description["networks"]
        return found

    def read(self, name: str) -> bytes:
        """Return the bytes of a file of the bundle, verified.

        Args:
            name: Its path in the bundle, with ``/``.

        Raises:
            BundleError: It is not listed, missing, or not what was exported.
        """
        entry = self.description["files"].get(name)
        if entry is None:
            raise BundleError(f"the bundle lists no file {name!r}")
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise BundleError(f"{self.folder / name} cannot be read: {error}") from None
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise BundleError(
                f"{self.folder / name} is not what was exported (its SHA-256 differs): copy the "
                "bundle again"
            )
        return data

    def verify(self) -> int:
        """Read every file; return how many there are.

        Raises:
            BundleError: As :meth:`read`.
        """
        for name in self.description["files"]:
            self.read(name)
        return len(self.description["files"])
