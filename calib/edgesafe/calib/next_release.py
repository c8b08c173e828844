"""The next release of a package: the same files, some changed, and a number one higher."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.manifest import MANIFEST
from edgesafe.runtime.package import Package, PosePackage, write_package
from edgesafe.runtime.thresholds import Threshold
from edgesafe.runtime.verdict import Modality

__all__ = ["check_out", "is_of_format", "next_fields", "plain_threshold", "write_next_release"]


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse early to write over what must not be.

    Raises:
        UsageError: ``out`` exists and is not to be, or cannot be, overwritten.
    """
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists already: choose another name or pass --overwrite")
    if out.exists() and not is_of_format(out / MANIFEST, "edgesafe.package/"):
        # A slip of the hand must not cost a folder of photos, nor a web site with its manifest.
        raise UsageError(
            f"{out} holds no {MANIFEST} of a package: only a package is overwritten; choose "
            "another name or remove it yourself"
        )


def is_of_format(file: Path, prefix: str) -> bool:
    """Tell whether a JSON file says that it is of one of our formats.

    Args:
        file: Which need not exist.
        prefix: What its ``format`` starts with.
    """
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and str(found.get("format")).startswith(prefix)


def next_fields(package: Package | PosePackage) -> dict[str, Any]:
    """Return the keys of the manifest of a package's next release, to be changed and written."""
    fields = dict(package.manifest.raw)
    del fields["created"]
    fields["release"] = package.manifest.release + 1
    return fields


def write_next_release(
    package: Package,
    out: Path,
    *,
    thresholds: Mapping[Modality, Threshold],
    fields: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> Package:
    """Write a package anew with other thresholds; the models stay as they are, bit for bit.

    Args:
        package: The present release, verified.
        out: The folder to make.
        thresholds: By modality; others stay.
        fields: Other keys of the manifest that change.
        files: Other files that change or are new.
        overwrite: Replace an existing package.

    Raises:
        PackageError: The result would not be a valid package.
        UsageError: ``out`` exists and ``overwrite`` is false.
        OSError: It could not be written.
    """
    manifest = next_fields(package) | dict(fields or {})
    manifest["thresholds"] = {
        **manifest["thresholds"],
        **{name: plain_threshold(entry) for name, entry in thresholds.items()},
    }
    return write_package(out, manifest, {**package.files, **(files or {})}, overwrite=overwrite)


def plain_threshold(threshold: Threshold) -> dict[str, Any]:
    """Return the JSON form of a threshold, without what it does not have."""
    plain: dict[str, Any] = _without_empty(asdict(threshold))
    return plain


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_empty(v) for k, v in value.items() if v is not None and v != {}}
    return list(value) if isinstance(value, tuple) else value
