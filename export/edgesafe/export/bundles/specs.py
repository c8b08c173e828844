"""The graphs of a package, each with the name that the manifest's notes about it go by."""

from __future__ import annotations

from edgesafe.runtime.manifest import ImageEncoder, Manifest, TextEncoder
from edgesafe.runtime.manifest_pose import DetectorSpec, PoseManifest, PoseNetwork

__all__ = ["Spec", "graph_specs"]

Spec = ImageEncoder | TextEncoder | PoseNetwork | DetectorSpec


def graph_specs(manifest: Manifest | PoseManifest) -> dict[str, Spec]:
    """Return them by their name in ``precision_effect`` and ``calibration``."""
    if isinstance(manifest, Manifest):
        encoders = {"image": manifest.image, "text": manifest.text}
        return {name: spec for name, spec in encoders.items() if spec is not None}
    specs: list[Spec] = [*manifest.networks, *([manifest.detector] if manifest.detector else [])]
    return {spec.file: spec for spec in specs}
