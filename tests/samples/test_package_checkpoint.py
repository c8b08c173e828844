"""A checkpoint out of the sample package computes what the package computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

from edgesafe.calib.bop import BopDataset
from edgesafe.runtime.errors import CheckpointError, DataError, UsageError
from edgesafe.runtime.package import PosePackage, read_pose_package
from edgesafe.samples import package_checkpoint
from edgesafe.samples.package_checkpoint import checkpoint_of, main
from edgesafe.train.pose.checkpoint import load_pose_checkpoint

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "samples" / "models" / "pose-lmo"
FRAMES = ROOT / "samples" / "data" / "pose"


@pytest.fixture
def package() -> PosePackage:
    return read_pose_package(PACKAGE)


def test_the_network_computes_the_same(
    package: PosePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(package_checkpoint, "_FEWEST", 1)
    out = tmp_path / "checkpoint"
    done = CliRunner().invoke(main, [str(PACKAGE), "--data", str(FRAMES), "--out", str(out)])
    assert done.exit_code == 0, done.output
    made = load_pose_checkpoint(out)
    assert [info.name for info in made.networks] == [
        Path(entry["file"]).stem for entry in package.manifest.raw["networks"]
    ]
    # Outlines are drawn at export, from the meshes.
    assert [one.to_json() for one in made.objects] == [
        {key: value for key, value in entry.items() if key != "silhouettes"}
        for entry in package.manifest.raw["objects"]
    ]
    info = made.networks[1]
    network = made.network(info.name)
    pixels = package_checkpoint._regions(BopDataset.open(FRAMES), info)
    session = onnxruntime.InferenceSession(package.files[f"{info.name}.onnx"])
    wanted = session.run(["keypoints"], {"image": pixels.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(network(pixels)["keypoints"], wanted, atol=1e-3)
        # The statistics of the batch are those that were noted: training starts where it was.
        training = network.train()(pixels)["keypoints"]
    np.testing.assert_allclose(training, wanted, atol=0.05)
    refused = CliRunner().invoke(main, [str(PACKAGE), "--data", str(FRAMES), "--out", str(out)])
    assert isinstance(refused.exception, UsageError)


def test_what_cannot_be_trained_on_is_told(package: PosePackage) -> None:
    data = BopDataset.open(FRAMES)
    with pytest.raises(DataError, match="8 are needed"):
        checkpoint_of(package, data)
    raw = dict(package.manifest.raw) | {"networks": []}
    bare = replace(package, manifest=replace(package.manifest, raw=raw))
    with pytest.raises(CheckpointError, match="no network of one object"):
        checkpoint_of(bare, data)
    changed = replace(package, files=package.files | {"roi-000001.onnx": _empty()})
    with pytest.raises(CheckpointError, match="has no weights"):
        checkpoint_of(changed, data)


def _empty() -> bytes:
    from onnx import helper

    graph = helper.make_graph([], "nothing", [], [])
    return bytes(helper.make_model(graph).SerializeToString())
