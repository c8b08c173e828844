"""``edgesafe calibrate silhouettes``: a package gets the outlines of its meshes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.calib.render.conftest import to_mesh
from tests.runtime.pose.conftest import direct_network, pose_parts

from edgesafe.calib.render.parts import read_parts, write_parts
from edgesafe.calib.render.shapes import box
from edgesafe.cli import main
from edgesafe.runtime import PoseEstimator
from edgesafe.runtime.mesh import write_ply
from edgesafe.runtime.package import read_pose_package, write_pose_package


@pytest.fixture
def package(tmp_path: Path) -> Path:
    write_pose_package(tmp_path / "pkg", *pose_parts())
    return tmp_path / "pkg"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return _models(tmp_path, [80, 96, 64])


def _models(tmp_path: Path, size: list[float]) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    write_ply(tmp_path / "brick.ply", to_mesh(box(size), (200, 40, 30)))
    write_parts(folder, read_parts([tmp_path / "brick.ply"]))
    return folder


def _run(models: Path, package: Path, out: Path, *more: str):
    call = ["calibrate", "silhouettes", str(models), "--model", str(package), "--out", str(out)]
    return CliRunner().invoke(main, [*call, *more])


def test_the_next_release_has_outlines(models: Path, package: Path, tmp_path: Path) -> None:
    done = _run(models, package, tmp_path / "new", "--json")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    made = read_pose_package(tmp_path / "new")
    assert summary["package"] == made.manifest.identity
    assert made.manifest.release == 2
    assert made.manifest.objects[0].silhouettes == "silhouettes-000001.npy"
    assert len(made.files["silhouettes-000001.npy"]) == summary["bytes"]
    old = read_pose_package(package)
    assert {name: made.files[name] for name in old.files} == old.files
    outlines = PoseEstimator.load(tmp_path / "new", threads=1).silhouettes(1)
    assert outlines is not None and outlines.points.shape == (400, 96, 3)
    # Once more: the outlines are drawn anew, not added to.
    assert _run(models, tmp_path / "new", tmp_path / "new", "--overwrite").exit_code == 0
    assert read_pose_package(tmp_path / "new").manifest.release == 3


def test_another_mesh_is_refused(package: Path, tmp_path: Path) -> None:
    done = _run(_models(tmp_path, [80, 96, 80]), package, tmp_path / "new")
    assert done.exit_code == 3
    assert "name the meshes that it was trained with" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("spoil", "words", "status"),
    [
        (lambda folder: (folder / "obj_000001.ply").rename(folder / "obj_000002.ply"), "[1]", 2),
        (lambda folder: (folder / "obj_000001.ply").write_bytes(b"ply\n"), "obj_000001.ply", 3),
    ],
    ids=["missing", "damaged"],
)
def test_meshes_that_cannot_be_had(models, package, tmp_path, spoil, words, status) -> None:
    spoil(models)
    done = _run(models, package, tmp_path / "new")
    assert done.exit_code == status, done.output
    assert words in done.stderr
    assert not (tmp_path / "new").exists()


def test_no_folder_and_an_output_that_exists(models, package, tmp_path) -> None:
    done = _run(tmp_path / "nowhere", package, tmp_path / "new")
    assert done.exit_code == 2
    assert "nowhere is no folder with obj_000001.ply and the like: name the folder" in done.stderr
    done = _run(models, package, package)
    assert done.exit_code == 2 and "--overwrite" in done.stderr


def test_a_direct_head_needs_none(models: Path, tmp_path: Path) -> None:
    network = direct_network(np.eye(3), (64.0, 64.0), 0.3)
    write_pose_package(tmp_path / "pkg", *pose_parts(network, head="direct"))
    done = _run(models, tmp_path / "pkg", tmp_path / "new")
    assert done.exit_code == 2 and "outlines are for vote heads" in done.stderr
    assert not (tmp_path / "new").exists()


def test_old_outlines_are_left_behind(models: Path, package: Path, tmp_path: Path) -> None:
    assert _run(models, package, tmp_path / "new").exit_code == 0
    made = read_pose_package(tmp_path / "new")
    fields = dict(made.manifest.raw)
    fields["objects"] = [{**fields["objects"][0], "silhouettes": "old.npy"}]
    files = dict(made.files)
    files["old.npy"] = files.pop("silhouettes-000001.npy")
    write_pose_package(tmp_path / "old", fields, files)
    assert _run(models, tmp_path / "old", tmp_path / "newer").exit_code == 0
    assert "old.npy" not in read_pose_package(tmp_path / "newer").files
