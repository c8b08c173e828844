"""docs/package-format.md names every key of a package and its true limits."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from edgesafe.export.parity import LIMIT
from edgesafe.runtime import (
    concepts,
    golden,
    manifest,
    manifest_parts,
    manifest_pose,
    package,
    probe,
    thresholds,
)
from edgesafe.runtime.pose import golden as pose_golden
from edgesafe.runtime.preprocess import Preprocess

PAGE = (Path(__file__).parents[2] / "docs" / "package-format.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """The text under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGE, re.M | re.S)
    assert found, heading
    return found.group(1)


def keys(heading: str) -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", section(heading), re.M))


def fields(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def test_every_key_of_the_manifest_is_described_and_no_other() -> None:
    known = fields(manifest.Manifest) - {"image", "text", "raw"} | {"format", "kind", "encoders"}
    assert keys("manifest.json") == known


@pytest.mark.parametrize(
    ("heading", "known"),
    [
        ("geometry", fields(manifest_parts.Geometry) | {"model"}),
        ("encoders", fields(manifest_parts.ImageEncoder) | fields(manifest_parts.TextEncoder)),
        ("thresholds", fields(manifest_parts.Threshold)),
        ("golden.json", fields(golden.Tolerances)),
        ("Pose: manifest.json", fields(manifest_pose.PoseManifest) - fields(manifest.Common)),
        ("Pose: objects", fields(manifest_pose.PoseObject) - {"minimum", "size"} | {"extent"}),
        ("Pose: networks", fields(manifest_pose.PoseNetwork)),
        ("Pose: detector", fields(manifest_pose.DetectorSpec)),
        ("Pose: gates", fields(manifest_pose.Gates)),
    ],
)
def test_every_key_of_a_part_is_described_and_no_other(heading: str, known: set[str]) -> None:
    assert keys(heading) == known


@pytest.mark.parametrize(
    "cls",
    [
        manifest_parts.Bounds,
        manifest_parts.FileEntry,
        manifest_parts.Parity,
        manifest_parts.Rate,
        manifest_parts.Weights,
        manifest_parts.Label,
        thresholds.Band,
        thresholds.ConceptThreshold,
        thresholds.Scores,
        thresholds.Temperature,
        probe.Probe,
        manifest_pose.ContinuousSymmetry,
        Preprocess,
    ],
)
def test_the_keys_of_small_parts_are_named(cls: type) -> None:
    assert {name for name in fields(cls) if f"`{name}`" not in PAGE} == set()


def test_the_limits_are_those_of_the_source() -> None:
    assert f"format` | text | `{manifest.FORMAT}`" in PAGE
    assert manifest_parts._MAX_LABELS == 1000 and "1 to 1000, at least one" in PAGE
    assert thresholds.QUANTILES == 21 and "21 numbers" in section("thresholds")
    assert thresholds.FAR == 1000 and "number, to 1000" in PAGE
    assert manifest_parts.MAX_FILES == 1024 and "at most 1,024 files" in PAGE
    assert manifest_parts.MAX_FILE_BYTES == 2**31 - 1 and "below 2 GiB" in PAGE
    assert package._MAX_MANIFEST_BYTES == 1 << 20 and "at most 1 MiB" in PAGE
    assert manifest._MAX_JSON_BYTES == 64 << 20 and "at most 64 MiB" in PAGE
    assert concepts._MAX_CONCEPTS == 10_000 and "At most 10,000" in PAGE
    assert golden._MAX_PAIRS == 64 and "At most 64 pairs" in PAGE
    assert golden._MIN_SAMPLES == 32 and "at least 32 sampled places" in PAGE
    assert LIMIT == 1e-4 and "above 1e-4" in PAGE
    for name, most in golden._LOOSEST.items():
        assert re.search(rf"^\| `{name}` \| .* \| {most} \|$", PAGE, re.M)
    assert all(f"`{name}`" in section("manifest.json") for name in manifest_parts.CLASSES)


def test_the_limits_of_pose_packages_are_those_of_the_source() -> None:
    assert manifest_pose._MAX_OBJECTS == 256 and "1 to 256" in section("Pose: manifest.json")
    assert manifest_pose.MAX_HULL == 64 and "4 to 64 points" in section("Pose: objects")
    text = section("Pose: golden.json")
    assert pose_golden._LOOSEST == 0.05 and "at most\n0.05" in text
    assert pose_golden._MAX_PAIRS == 512 and "At most 512 pairs" in text
    common = section("Packages of the kind pose")
    own = fields(manifest_pose.PoseManifest) - fields(manifest.Common)
    for name in fields(manifest_pose.PoseManifest) - own - {"raw"}:
        assert f"`{name}`" in common, name


def test_the_outputs_of_pose_networks_are_named() -> None:
    text = section("Pose: networks")
    for head in ("vote", "direct"):
        network = manifest_pose.PoseNetwork.__new__(manifest_pose.PoseNetwork)
        object.__setattr__(network, "head", head)
        assert all(f"`{name}`" in text for name in network.outputs)
