"""What the export command reads for a pose package, and what it tells about one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from edgesafe.export.pose import PoseExported, PoseExportOptions
from edgesafe.runtime.errors import EdgesafeError, UsageError
from edgesafe.runtime.fields import Fields, parse_json
from edgesafe.runtime.manifest_pose import Gates

__all__ = ["pose_summary", "pose_table", "read_pose_options"]


def read_pose_options(card: Path | None, gates: Path | None, **rest: Any) -> PoseExportOptions:
    """Joins options with what files say.

    Args:
        card: JSON with ``intended_use``, ``limits`` and ``weights``.
        gates: JSON with some gates of the manifest.
        rest: Further fields of the options.

    Raises:
        UsageError: A file cannot be read, or holds something else.
    """
    chosen = dict(rest)
    found = _read(card)
    try:
        if found is not None:
            found.only("intended_use", "limits", "weights")
            if "intended_use" in found:
                chosen["intended_use"] = found.text("intended_use")
            if "limits" in found:
                chosen["limits"] = found.texts("limits")
            if "weights" in found:
                chosen["weights"] = _weights(found.fields("weights"))
        numbers = _read(gates)
        if numbers is not None:
            numbers.only(*(f.name for f in dataclasses.fields(Gates)))
            chosen["gates"] = {key: numbers.number(key, 0.0, 1e9) for key in numbers.value}
    except EdgesafeError as error:
        raise UsageError(str(error)) from None
    return PoseExportOptions(**chosen)


def pose_summary(result: PoseExported) -> dict[str, Any]:
    """One object for ``--json``."""
    manifest = result.package.manifest
    return {
        "package": str(result.package.path),
        "identity": manifest.identity,
        "objects": [entry.id for entry in manifest.objects],
        "bytes": {name: entry.size for name, entry in manifest.files.items()},
        "parity": {name: parity.to_json() for name, parity in result.parity.items()},
        "storage_effect": dict(result.effect),
    }


def pose_table(result: PoseExported) -> str:
    """A few lines for a person."""
    manifest = result.package.manifest
    size = sum(entry.size for entry in manifest.files.values())
    lines = [
        f"{result.package.path}  {manifest.identity}  {size / 1e6:.1f} MB, "
        f"{len(manifest.objects)} objects"
    ]
    for name, parity in result.parity.items():
        line = f"  {name:14}  parity {parity.max_relative_error:.1e} over {parity.n} inputs"
        effect = result.effect.get(name)
        if effect is not None:
            line += f"; storage changes outputs by {effect:.1e} at most"
        lines.append(line)
    if manifest.detector is None:
        lines.append("  no detector: the caller must say where the objects are")
    vote = any(network.head == "vote" for network in manifest.networks)
    if vote and not any(entry.silhouettes for entry in manifest.objects):
        lines.append("  no outlines: poses are not refined; --meshes MODELS draws them")
    return "\n".join(lines)


def _weights(fields: Fields) -> dict[str, Any]:
    fields.only("licence", "origin", "notice")
    found: dict[str, Any] = {}
    for name in ("licence", "notice"):
        if name in fields:
            found[name] = fields.text(name)
    if "origin" in fields:
        found["origin"] = list(fields.texts("origin"))
    return found


def _read(path: Path | None) -> Fields | None:
    if path is None:
        return None
    try:
        return parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except EdgesafeError as error:
        raise UsageError(str(error)) from None
