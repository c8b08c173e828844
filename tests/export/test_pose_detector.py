"""Another detector in a pose package."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgesafe.export.pose import export_pose_package
from edgesafe.export.pose_detector import main, replace_detector
from edgesafe.runtime.errors import ExportError, UsageError
from edgesafe.runtime.package import PosePackage, read_pose_package
from edgesafe.runtime.pose.estimator import PoseEstimator
from edgesafe.train.pose.checkpoint import load_pose_checkpoint

from .test_pose import K, checkpoint


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A package without a detector, and a checkpoint with one."""
    folder = tmp_path_factory.mktemp("detector")
    bare = checkpoint(folder / "bare", detector=False)
    export_pose_package(bare, folder / "pkg")
    return folder / "pkg", checkpoint(folder / "checkpoint")


def _files(package: PosePackage) -> dict[str, bytes]:
    return {name: data for name, data in package.files.items() if name.startswith("roi")}


def test_a_detector_is_added_and_replaced(places: tuple[Path, Path], tmp_path: Path) -> None:
    before = read_pose_package(places[0])
    made = replace_detector(before, places[1], tmp_path / "pkg", box_sd=0.05)
    assert before.manifest.detector is None and made.manifest.detector is not None
    assert made.manifest.release == before.manifest.release + 1
    assert made.manifest.detector.box_sd == 0.05
    assert _files(made) == _files(before)
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    estimator = PoseEstimator.load(made, backend="cpu", threads=1)
    assert isinstance(estimator.estimate(frame, K), list)

    again = replace_detector(made, places[1], tmp_path / "again", storage="fp32")
    assert again.manifest.release == made.manifest.release + 1
    assert again.manifest.detector is not None and again.manifest.detector.box_sd is None
    assert set(again.files) == set(made.files)
    assert len(again.files["detector.onnx"]) > len(made.files["detector.onnx"])


def test_what_does_not_fit_is_refused(places: tuple[Path, Path], tmp_path: Path) -> None:
    package = read_pose_package(places[0])
    with pytest.raises(UsageError, match="exists already"):
        replace_detector(package, places[1], places[0])
    bare = checkpoint(tmp_path / "bare", detector=False)
    with pytest.raises(ExportError, match="no detector"):
        replace_detector(package, bare, tmp_path / "pkg")
    found = load_pose_checkpoint(checkpoint(tmp_path / "other"))
    infos = tuple(
        dataclasses.replace(info, objects=(1, 9)) if info.kind == "detector" else info
        for info in found.networks
    )
    renamed = tuple(
        dataclasses.replace(known, id=9) if known.id == 5 else known for known in found.objects
    )
    dataclasses.replace(
        found, networks=tuple(i for i in infos if i.kind == "detector"), objects=renamed
    ).save(tmp_path / "other")
    with pytest.raises(ExportError, match=r"objects \[9\]"):
        replace_detector(package, tmp_path / "other", tmp_path / "pkg")
    assert not (tmp_path / "pkg").exists()


def test_the_program(places: tuple[Path, Path], tmp_path: Path) -> None:
    words = [str(places[0]), str(places[1]), "--out", str(tmp_path / "pkg"), "--box-sd", "0.04"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == read_pose_package(tmp_path / "pkg").manifest.identity
    assert CliRunner().invoke(main, [*words[:-1], "7", "--overwrite"]).exit_code == 2
