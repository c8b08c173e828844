"""Pose packages: what is read back, and what is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.runtime import (
    PackageError,
    PosePackage,
    read_package,
    read_pose_package,
    write_package,
    write_pose_package,
)
from edgesafe.runtime.files import canonical_json
from edgesafe.runtime.manifest import manifest_digest
from edgesafe.runtime.manifest_pose import parse_pose_manifest
from edgesafe.runtime.package import package_kind
from edgesafe.runtime.pose.golden import golden_pair, parse_pose_golden

from .conftest import CORNERS, POINTS, pose_parts


def test_a_package_is_read_back(pose_package: PosePackage, tmp_path: Path) -> None:
    again = read_pose_package(pose_package.path)
    manifest = again.manifest
    assert manifest.identity == pose_package.manifest.identity
    (entry,) = manifest.objects
    assert entry.keypoints == pytest.approx(POINTS)
    assert entry.hull == pytest.approx(CORNERS)
    assert sorted(map(tuple, entry.corners)) == sorted(map(tuple, CORNERS))
    assert manifest.networks[0].outputs == ("keypoints", "covariance", "mask")
    assert manifest.detector is None
    assert package_kind(pose_package.path) == "pose"
    with pytest.raises(PackageError, match="package is needed, this is a"):
        read_package(pose_package.path)
    with pytest.raises(PackageError, match="package is needed, this is a"):
        write_package(tmp_path / "p", *pose_parts())
    (pose_package.path / "extra").touch()
    with pytest.raises(PackageError, match="does not list"):
        read_pose_package(pose_package.path)
    (pose_package.path / "extra").unlink()
    with pytest.raises(PackageError, match="no manifest"):
        package_kind(tmp_path)


def test_symmetries_are_read(tmp_path: Path) -> None:
    fields, files = pose_parts()
    half = np.diag([-1.0, -1.0, 1.0, 1.0])
    half[0, 3] = 3.0
    fields["objects"][0]["symmetries_discrete"] = [half.ravel().tolist()]
    fields["objects"][0]["symmetries_continuous"] = [{"axis": [0, 0, 2], "offset": [1, 2, 3]}]
    entry = write_pose_package(tmp_path / "p", fields, files).manifest.objects[0]
    assert entry.symmetries_discrete == pytest.approx(half[None])
    assert entry.symmetries_continuous[0].axis == pytest.approx([0, 0, 1])


WRONG: list[tuple[str, Any, str]] = [
    ("kind", "moderation", "a pose package is needed"),
    ("objects", [], "1 to 256"),
    ("objects.0.id", -1, "id"),
    ("objects.0.diameter", 0, "diameter"),
    ("objects.0.keypoints", [[0, 0, 0]], "four"),
    ("objects.0.keypoints", [[0, 0]], "3 numbers"),
    ("objects.0.keypoints", [["0", 0, 0]], "number"),
    ("objects.0.hull", [[0, 0, 0]] * 65, "4 to 64"),
    ("objects.0.hull", [[0, 0, 0]] * 3, "4 to 64"),
    ("objects.0.extent", {"min": [0, 0, 0]}, "size"),
    ("objects.0.symmetries_discrete", [[2.0] + [0.0] * 15], "rigid"),
    ("objects.0.symmetries_discrete", [np.diag([1.0, 1, -1, 1]).ravel().tolist()], "rigid"),
    ("objects.0.symmetries_continuous", [{"axis": [0, 0, 0], "offset": [0, 0, 0]}], "direction"),
    ("objects.0.colour", "red", "unknown keys"),
    ("networks", [], "1 to 256"),
    ("networks.0.head", "segment", "head"),
    ("networks.0.objects", [1, 1], "different ids"),
    ("networks.0.objects", [2], "exactly one network"),
    ("networks.0.objects", ["1"], "different ids"),
    ("networks.0.size", 120, "size of the input"),
    ("networks.0.stride", 7, "divide"),
    ("networks.0.roi_scale", 0, "roi_scale"),
    ("networks.0.views", 2, "views"),
    ("networks.0.file", "other.onnx", "not listed"),
    ("networks.0.file", "golden.json", "two purposes"),
    ("networks.0.preprocess", {}, "preprocess"),
    ("detector", {"file": "pose.onnx"}, "missing"),
    ("gates.near_mm", 5000.0, "below far_mm"),
    ("gates.min_confidence", 1.5, "min_confidence"),
    ("gates.max_mahalanobis", 0, "max_mahalanobis"),
    ("parity", {"detector.onnx": {"max_relative_error": 0.1, "n": 1}}, "no networks"),
    ("thresholds", {}, "unknown keys"),
]


@pytest.mark.parametrize(("path", "value", "problem"), WRONG)
def test_a_wrong_value_is_refused(
    pose_package: PosePackage, path: str, value: Any, problem: str
) -> None:
    raw = copy.deepcopy(dict(pose_package.manifest.raw))
    *parents, last = path.split(".")
    target: Any = raw
    for part in parents:
        target = target[int(part) if part.isdigit() else part]
    target[last] = value
    raw["digest"] = manifest_digest(raw)
    with pytest.raises(PackageError, match=problem):
        parse_pose_manifest(canonical_json(raw))


def test_two_objects_with_one_id_are_refused(pose_package: PosePackage) -> None:
    raw = copy.deepcopy(dict(pose_package.manifest.raw))
    raw["objects"] *= 2
    raw["digest"] = manifest_digest(raw)
    with pytest.raises(PackageError, match="one id twice"):
        parse_pose_manifest(canonical_json(raw))


def test_free_keys_are_kept(tmp_path: Path) -> None:
    fields, files = pose_parts()
    package = write_pose_package(tmp_path / "p", {**fields, "x_site": 4}, files)
    assert package.manifest.raw["x_site"] == 4


def _golden(**change: Any) -> bytes:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    outputs = {"keypoints": np.arange(18.0).reshape(9, 2)}
    top = {"tolerances": {"outputs": 0.01}, "roi": [golden_pair(pixels, outputs, 3)]}
    return json.dumps({**top, **change}).encode()


def test_golden_pairs_compare_outputs() -> None:
    golden = parse_pose_golden(_golden(), "golden.json")
    (pair,) = golden.roi
    right = np.arange(18.0).reshape(9, 2)
    assert pair.object_id == 3
    assert golden.check(pair, {"keypoints": right}) is None
    assert golden.check(pair, {"keypoints": right * 1.005}) is None
    wrong = np.where(right == 17, 17.5, right)
    assert "keypoints[17] is 17.5" in str(golden.check(pair, {"keypoints": wrong}))
    assert "nan" in str(golden.check(pair, {"keypoints": right * np.nan}))
    assert "has 2 values" in str(golden.check(pair, {"keypoints": right[:1]}))
    assert "no output 'keypoints'" in str(golden.check(pair, {}))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tolerances": {"outputs": 0.5}}, "outputs"),
        ({"roi": [{"png": "?", "object": 1, "outputs": {"a": [[0, 1.0]]}}]}, "base64"),
        ({"roi": [{"png": "", "object": 1, "outputs": {"a": [[0, 1.0]]}}]}, "png"),
        ({"roi": [{"png": "aaaa", "outputs": {"a": [[0, 1.0]]}}]}, "object"),
        ({"roi": [{"png": "aaaa", "object": 1, "outputs": {}}]}, "samples"),
        ({"roi": [{"png": "aaaa", "object": 1, "outputs": {"a": []}}]}, "samples"),
        ({"roi": [{"png": "aaaa", "object": 1, "outputs": {"a": [[0]]}}]}, "index, value"),
        ({"roi": [{"png": "aaaa", "object": 1, "outputs": {"a": [[-1, 1.0]]}}]}, "index"),
        ({"roi": [{}] * 513}, "more than"),
        ({"image": []}, "unknown keys"),
    ],
)
def test_golden_pairs_of_another_form_are_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(PackageError, match=problem):
        parse_pose_golden(_golden(**change), "golden.json")
