"""``edgesafe bench pose`` on a package whose network takes no time."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgesafe.calib.bench_pose import STAGES, pose
from edgesafe.calib.render.shapes import box
from edgesafe.calib.render.silhouettes import draw_silhouettes
from edgesafe.runtime import SourceError, write_pose_package
from edgesafe.runtime.pose.silhouettes import pack_silhouettes


@pytest.fixture(scope="module")
def fakes() -> ModuleType:
    file = Path(__file__).parents[1] / "runtime" / "pose" / "conftest.py"
    spec = importlib.util.spec_from_file_location("pose_fakes", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(*arguments: object):
    return CliRunner().invoke(pose, [str(a) for a in arguments])


@pytest.mark.parametrize("head", ["vote", "direct"])
def test_every_stage_is_timed(fakes: ModuleType, tmp_path: Path, head: str) -> None:
    network = None if head == "vote" else fakes.direct_network(np.eye(3), (64.0, 64.0), 0.3)
    detector = fakes.detector_network() if head == "vote" else None
    parts = fakes.pose_parts(network, head=head, detector=detector)
    write_pose_package(tmp_path / "p", *parts)
    result = _run("--model", tmp_path / "p", "--runs", 20, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["head"], report["size"], report["object"]) == (head, 128, 1)
    stages = report["stages"]
    assert tuple(stages) == tuple(name for name in STAGES if name != "refine")
    for cost in stages.values():
        assert 0 < cost["wall_p50"] <= cost["wall_p99"]
        assert 0 <= cost["cpu_p50"] <= cost["cpu_p99"]
    parts_mean = sum(stages[name]["cpu_mean"] for name in STAGES[:3])
    assert stages["end_to_end"]["cpu_mean"] == pytest.approx(parts_mean)
    assert (report["detector"] is None) == (detector is None)
    text = _run("--model", tmp_path / "p", "--runs", 10).stdout
    assert "end to end" in text and ("detector" in text) == (detector is not None)


def test_the_fit_to_the_outline_is_timed_where_there_is_one(
    fakes: ModuleType, tmp_path: Path
) -> None:
    fields, files = fakes.pose_parts()
    fields["objects"][0]["silhouettes"] = "silhouettes-000001.npy"
    views = draw_silhouettes(box([80, 96, 64]), np.zeros(3), 140.0, views=60, points=48)
    files["silhouettes-000001.npy"] = pack_silhouettes(views)
    write_pose_package(tmp_path / "p", fields, files)
    result = _run("--model", tmp_path / "p", "--runs", 10, "--json")
    assert result.exit_code == 0, result.output
    stages = json.loads(result.stdout)["stages"]
    assert tuple(stages) == STAGES
    assert stages["refine"]["wall_p50"] > 0
    parts_mean = sum(stages[name]["cpu_mean"] for name in STAGES[:4])
    assert stages["end_to_end"]["cpu_mean"] == pytest.approx(parts_mean)


def test_a_frame_of_ones_own(fakes: ModuleType, tmp_path: Path) -> None:
    write_pose_package(tmp_path / "p", *fakes.pose_parts())
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    common = ("--model", tmp_path / "p", "--runs", 10, "--json")
    assert _run(*common, "--frame", tmp_path / "a.png").exit_code == 0
    result = _run(*common, "--frame", tmp_path / "none.png")
    assert isinstance(result.exception, SourceError)
