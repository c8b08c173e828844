"""``edgesafe inspect`` of a pose package."""

from __future__ import annotations

import json

from click.testing import CliRunner

from edgesafe.runtime import PackageError, PosePackage
from edgesafe.runtime.inspect_cmd import inspect


def test_a_pose_package_is_shown_for_a_person(detector_package: PosePackage) -> None:
    result = CliRunner().invoke(inspect, [str(detector_package.path)])
    assert result.exit_code == 0, result.output
    for part in (
        "kind            pose",
        "1 block1  diameter 140.4 mm, 80 x 96 x 64 mm, 9 keypoints, no symmetries",
        "Network for 1",
        "128 x 128 pixels, 1.5 x box",
        "Detector for 1",
        "160 x 128 pixels, letterboxed",
        "max_mahalanobis      3",
        "regions  1",
        "CC0-1.0",
        "reads coloured discs only",
        "not a signature",
    ):
        assert part in result.stdout
    result = CliRunner().invoke(inspect, [str(detector_package.path), "--json"])
    assert json.loads(result.stdout) == dict(detector_package.manifest.raw)


def test_an_edited_pose_package_is_refused(package_at) -> None:
    package = package_at()
    model = package.path / "pose.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    result = CliRunner().invoke(inspect, [str(package.path)])
    assert isinstance(result.exception, PackageError) and "SHA-256" in str(result.exception)
