from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from edgesafe.export.bundles.model_card import model_card
from edgesafe.runtime.package import read_package, read_pose_package, write_package

POSE = Path(__file__).parents[3] / "samples/models/pose-lmo"


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


def quantised(tiny_parts: Any) -> Any:
    """Parts of a package whose manifest says that its image graph was quantised."""
    fields, files = tiny_parts()
    fields["encoders"]["image"]["precision"] = "int8"
    digests = {"data_sha256": "a" * 64, "onnx_sha256": "b" * 64}
    fields["calibration"] = {"image": {"method": "nncf", **digests, "n": 171, "keep": 0.1}}
    fields["precision_effect"] = {
        "image": {"cosine_mean": 0.99712345678, "verdict_flips": 0.002, "n": 85, "odd|name": 1.0}
    }
    return fields, files


def test_it_says_what_the_precision_costs(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = quantised(tiny_parts)
    card = model_card(write_package(tmp_path / "p", fields, files).manifest)
    assert "\n## Precision\n" in card
    assert "| image | int8 | nncf | 171 | 10 % |" in card
    for row in ("cosine_mean | 0.997123", "verdict_flips | 0.002", "n | 85", "odd\\|name | 1"):
        assert f"\n| image | {row} |\n" in card
    assert "| text |" not in card.partition("## Precision")[2].partition("\n## ")[0]


def test_a_share_that_is_not_told(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = quantised(tiny_parts)
    del fields["calibration"]["image"]["keep"], fields["precision_effect"]
    card = model_card(write_package(tmp_path / "p", fields, files).manifest)
    assert "| image | int8 | nncf | 171 | not told |" in card
    assert "What that changes" not in card


def test_a_package_in_float32_has_nothing_to_say_of_precision(tiny_package: Path) -> None:
    assert "## Precision" not in model_card(read_package(tiny_package).manifest)


def test_a_pose_package_names_its_files() -> None:
    manifest = read_pose_package(POSE).manifest
    file = manifest.networks[0].file
    network = dataclasses.replace(manifest.networks[0], precision="fp16")
    typed = dataclasses.replace(
        manifest,
        networks=(network, *manifest.networks[1:]),
        precision_effect={file: {"keypoint_px_mean": 0.0125}},
    )
    card = model_card(typed)
    assert f"| {file} | fp16 | – | – | – |" in card
    assert f"| {file} | keypoint_px_mean | 0.0125 |" in card
