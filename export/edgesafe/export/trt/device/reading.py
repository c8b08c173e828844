"""Reading a bundle: every file is compared with its digest before it is used.

The digests stand in ``bundle.json``, which holds a digest of itself: the SHA-256 of the canonical
JSON of all its keys but ``digest``. That finds damage, mix-ups and careless edits. It is not a
signature, and does not stop somebody who writes everything anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .contents import strangers

__all__ = ["BUNDLE", "FORMAT", "Bundle", "BundleError", "BundleUsageError", "bundle_digest"]

BUNDLE = "bundle.json"
FORMAT = "edgesafe.trt-bundle/1"

_MEND = "copy the bundle again"


class BundleError(Exception):
    """Something that the user can mend; the message says how."""


class BundleUsageError(BundleError):
    """An option, or a combination of them, that cannot work."""


def bundle_digest(description: Mapping[str, Any]) -> str:
    """Return the digest that belongs into ``digest``: of all other keys, as canonical JSON.

    Raises:
        ValueError: It holds what JSON cannot.
    """
    fields = {key: value for key, value in description.items() if key != "digest"}
    text = json.dumps(
        fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


class Bundle:
    """An opened bundle.

    Attributes:
        folder: Where it lies.
        description: ``bundle.json``.
    """

    def __init__(self, folder: Path) -> None:
        """Open the bundle in a folder.

        Raises:
            BundleError: There is none, its format is unknown, or it was edited.
        """
        self.folder = folder
        self.description = _description(folder / BUNDLE)

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
        except FileNotFoundError:
            raise BundleError(f"{self.folder / name} is missing: {_MEND}") from None
        except OSError as error:
            raise BundleError(
                f"{self.folder / name} cannot be read ({error.strerror or error}): {_MEND}"
            ) from None
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise BundleError(
                f"{self.folder / name} is not what was exported (its SHA-256 differs): {_MEND}"
            )
        return data

    def verify(self) -> int:
        """Look at the folder and read every file; return how many there are.

        Raises:
            BundleError: As :meth:`read`; or something is there that is not of the bundle.
        """
        listed = self.description["files"]
        strange = list(strangers(self.folder, {*listed, BUNDLE}))
        if strange:
            more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
            raise BundleError(
                f"{self.folder}: {strange[0]}{more}; a bundle holds its own files only. Move it "
                f"away, or {_MEND}"
            )
        for name in listed:
            self.read(name)
        return len(listed)


def _description(file: Path) -> dict[str, Any]:
    """Read ``bundle.json`` and hold it to its own digest."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"{file.parent} holds no readable {BUNDLE} ({why}): {_MEND}") from None
    if not isinstance(found, dict):
        raise BundleError(f"{file} is no description of a bundle: {_MEND}")
    if found.get("format") != FORMAT:
        raise BundleError(
            f"{file} has the format {found.get('format')!r}, not {FORMAT!r}: export the bundle "
            "again with the edgesafe that is used here"
        )
    try:
        digest = bundle_digest(found)
    except ValueError as error:
        raise BundleError(f"{file} is damaged ({error}): {_MEND}") from None
    if found.get("digest") != digest:
        raise BundleError(
            f"{file} does not match its own digest: it is damaged or was edited; {_MEND}. Options "
            "of build_engine.py change a build without an edit"
        )
    return found
