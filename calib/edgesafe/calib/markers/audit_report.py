"""What an audit leaves: figures as JSON, and beside them the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from edgesafe.calib.markers.audit import Audit
from edgesafe.calib.markers.audit_page import audit_page
from edgesafe.calib.markers.audit_pictures import frame_tiles, map_tiles
from edgesafe.calib.markers.saliency_maps import MapSet
from edgesafe.calib.markers.verdict import judge_network
from edgesafe.runtime.files import atomic_write

__all__ = ["audit_report", "write_audit"]

_FRAMES_SHOWN = 3
_MAPS_SHOWN = 6


def audit_report(found: Audit, saliency: Mapping[str, Mapping[str, MapSet]]) -> dict[str, Any]:
    """Return all figures as plain JSON values.

    Args:
        found: What was measured.
        saliency: Maps by network and set; may be empty.
    """
    networks = {}
    for one in found.networks:
        verdict = judge_network(one)
        networks[one.name] = {
            "verdict": verdict.code,
            "sentence": verdict.sentence,
            **one.to_json(),
            "saliency": {
                kind: {method: scores.to_json() for method, scores in maps.scores.items()}
                for kind, maps in saliency.get(one.name, {}).items()
            },
        }
    return {
        "format": "edgesafe.marker-audit/1",
        "source": found.sets.source,
        "frames": len(found.frames),
        "objects": list(found.objects),
        "networks": networks,
    }


def write_audit(
    page: Path,
    found: Audit,
    saliency: Mapping[str, Mapping[str, MapSet]],
    two_by_two: tuple[str, str] | None = None,
) -> None:
    """Write the page and, beside it, the figures as JSON.

    Args:
        page: ``.html`` file.
        found: What was measured.
        saliency: Maps by network and set; may be empty.
        two_by_two: Names of the networks trained with and without markers.

    Raises:
        DataError: A picture cannot be read.
    """
    places = np.linspace(0, len(found.frames) - 1, min(_FRAMES_SHOWN, len(found.frames)))
    rows = frame_tiles(found, [found.frames[round(at)] for at in places])
    maps = [
        tile
        for sets in saliency.values()
        for kind, one in sets.items()
        for tile in map_tiles(found, kind, one.maps[:_MAPS_SHOWN])
    ]
    created = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    text = audit_page(found, rows, saliency, maps, two_by_two, created)
    page.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(page, text.encode())
    data = json.dumps(audit_report(found, saliency), indent=1, allow_nan=False) + "\n"
    atomic_write(page.with_suffix(".json"), data.encode())
