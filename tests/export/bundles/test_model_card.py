from __future__ import annotations

from pathlib import Path
from typing import Any

from edgesafe.export.bundles.model_card import model_card
from edgesafe.runtime.package import read_package, write_package


def test_it_says_what_the_manifest_says(tiny_package: Path) -> None:
    manifest = read_package(tiny_package).manifest
    card = model_card(manifest)
    assert card.startswith("# tiny, release 1\n")
    for text in (
        manifest.identity,
        manifest.intended_use,
        *manifest.limits,
        *manifest.weights.origin,
    ):
        assert text in card
    assert "| image.onnx | fp32 | fp32 | 18 |" in card
    assert "| image | 0.5000 | 0.4500 to 0.5500 | 100 cases | 5.0 % (1.0 to 10.0 %) |" in card


def test_without_thresholds_it_says_so(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    fields["thresholds"] = {}
    card = model_card(write_package(tmp_path / "p", fields, files).manifest)
    assert "every verdict is undecided" in card
