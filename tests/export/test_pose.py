"""From a checkpoint of pose training to a package that the runtime opens and trusts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgesafe.calib.render.shapes import box
from edgesafe.export import pose as exporter
from edgesafe.export.cli import export
from edgesafe.export.pose import export_pose_package
from edgesafe.export.pose_graph import Exportable, export_pose_graph, fold
from edgesafe.export.target import next_release
from edgesafe.runtime.errors import DataError, ExportError, UsageError
from edgesafe.runtime.mesh import Mesh, write_ply
from edgesafe.runtime.package import read_pose_package
from edgesafe.runtime.pose.estimator import PoseEstimator
from edgesafe.train.pose.checkpoint import NetworkInfo, PoseCheckpoint
from edgesafe.train.pose.detector import Detector
from edgesafe.train.pose.network import RoiNetwork, architecture_of, input_preprocess
from edgesafe.train.pose.objects import KnownObject

SIZE = 64
K = np.array([[170.0, 0, 80], [0, 170, 60], [0, 0, 1]])
BOX = 30.0 * np.array([[x, y, z] for x in (-1, 1) for y in (-1.3, 1.3) for z in (-0.7, 0.7)])


def known(number: int) -> KnownObject:
    return KnownObject(
        id=number,
        name=f"box{number}",
        diameter=110.0,
        minimum=BOX.min(axis=0),
        size=np.ptp(BOX, axis=0),
        keypoints=np.vstack([[0.0, 0, 0], BOX]),
        hull=BOX,
        symmetries_discrete=np.diag([-1.0, -1, 1, 1])[None],
        symmetries_continuous=({"axis": [0.0, 0, 1], "offset": [0.0, 0, 0]},),
    )


def trained(network: nn.Module) -> nn.Module:
    """Gives batch normalisations statistics, as training does."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
    return network.eval()


def checkpoint(
    folder: Path,
    *,
    head: str = "vote",
    ids: tuple[int, ...] = (1, 5),
    detector: bool = True,
) -> Path:
    """Writes a checkpoint of an untrained network and an untrained detector."""
    architecture = architecture_of(
        profile="tiny", trunk="plain", head=head, size=SIZE, keypoints=9, objects=len(ids)
    )
    infos = [
        NetworkInfo(
            name="roi",
            kind="roi",
            objects=ids,
            architecture=architecture,
            preprocess=input_preprocess(SIZE, SIZE).to_dict(),
            options={"roi_scale": 1.5},
        ),
        NetworkInfo(
            name="detector",
            kind="detector",
            objects=ids,
            architecture={"trunk": "plain", "width": 8, "hidden": 16, "objects": len(ids)},
            preprocess=input_preprocess(80, 96).to_dict(),
            options={"max_per_object": 2, "min_score": 0.3},
        ),
    ]
    found = PoseCheckpoint(
        networks=(),
        state={},
        objects=tuple(known(number) for number in ids),
        data={"fingerprint": "0", "frames": 1, "instances": 2, "depth_mm": [400.0, 900.0]},
        weights={"licence": "CC BY 4.0", "origin": ["a test"], "notice": ""},
    )
    for info in infos if detector else infos[:1]:
        found = found.with_network(info, trained(info.build()))
    found.save(folder)
    return folder


@pytest.mark.parametrize(("head", "objects"), [("vote", 1), ("direct", 3)])
def test_graphs_are_static_and_standard(head: str, objects: int) -> None:
    description = architecture_of(
        profile="tiny", trunk="plain", head=head, size=SIZE, keypoints=9, objects=objects
    )
    module = Exportable(fold(trained(RoiNetwork(description))))
    model = export_pose_graph(module, SIZE, SIZE)
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"Shape", "BatchNormalization", "GatherND", "Expand", "NonZero", "Loop"}
    assert {node.domain for node in model.graph.node} == {""}
    inputs = [value.name for value in model.graph.input]
    assert inputs == (["image"] if objects == 1 else ["image", "object"])
    assert [value.name for value in model.graph.output] == list(module.outputs)
    for value in [*model.graph.input, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        assert dims[0].dim_param and all(d.dim_value for d in dims[1:])


def test_folding_changes_nothing() -> None:
    network = trained(Detector({"trunk": "plain", "width": 8, "hidden": 16, "objects": 2}))
    folded = fold(network)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    pixels = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for name, value in network(pixels).items():
            torch.testing.assert_close(folded(pixels)[name], value, rtol=1e-4, atol=1e-4)
    lonely = nn.Sequential(nn.BatchNorm2d(3))
    with pytest.raises(ExportError, match="follows no convolution"):
        fold(lonely)  # type: ignore[arg-type]


@pytest.mark.slow
def test_pretrained_trunk_is_exported() -> None:
    pytest.importorskip("timm")
    description = architecture_of(
        profile="small", trunk="efficientnet_lite0", head="vote", size=SIZE, keypoints=9, objects=2
    )
    network = trained(RoiNetwork(description))
    model = export_pose_graph(Exportable(fold(network)), SIZE, SIZE)
    assert not {node.op_type for node in model.graph.node} & {"Shape", "Pad"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A package that the command exported, and what it told."""
    folder = tmp_path_factory.mktemp("pose")
    card = {
        "intended_use": "Tests.",
        "limits": ["None."],
        "weights": {"licence": "CC BY-SA 4.0", "notice": "Thanks."},
    }
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "gates.json").write_text('{"min_confidence": 0.25}')
    arguments = [str(checkpoint(folder / "checkpoint")), "--out", str(folder / "pkg")]
    arguments += ["--card", str(folder / "card.json"), "--gates", str(folder / "gates.json")]
    done = CliRunner().invoke(export, [*arguments, "--storage", "fp16", "--json"])
    assert done.exit_code == 0, done.output
    return folder / "pkg", json.loads(done.stdout.splitlines()[-1])


def test_the_command_recognises_a_pose_checkpoint(made: tuple[Path, dict[str, Any]]) -> None:
    package, told = made
    both = {"roi.onnx", "detector.onnx"}
    assert told["objects"] == [1, 5] and set(told["storage_effect"]) == set(told["parity"]) == both
    assert all(parity["max_relative_error"] < 1e-4 for parity in told["parity"].values())
    manifest = read_pose_package(package).manifest
    assert manifest.intended_use == "Tests." and manifest.limits == ("None.",)
    assert (manifest.weights.licence, manifest.weights.notice) == ("CC BY-SA 4.0", "Thanks.")
    assert manifest.weights.origin == ("a test",)  # the checkpoint's, where the card has none
    assert manifest.gates.min_confidence == 0.25
    assert (manifest.gates.near_mm, manifest.gates.far_mm) == (200.0, 1800.0)
    assert next_release(package, read_pose_package) == 2


def test_package_opens_and_gives_poses(made: tuple[Path, dict[str, Any]]) -> None:
    estimator = PoseEstimator.load(made[0], backend="cpu", threads=1)
    assert estimator.has_detector and set(estimator.objects) == {1, 5}
    assert estimator.manifest.networks[0].roi_scale == 1.5
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    poses = estimator.estimate(frame, K, {1: (40, 30, 50, 40), 5: (60, 40, 40, 50)})
    assert [pose.object_id for pose in poses] == [1, 5]


def test_weights_are_stored_in_half_precision(made: tuple[Path, dict[str, Any]]) -> None:
    model = onnx.load_from_string((made[0] / "roi.onnx").read_bytes())
    halves = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16]
    assert len(halves) > 8


def test_direct_head_of_one_object(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "checkpoint", head="direct", ids=(7,), detector=False)
    result = export_pose_package(folder, tmp_path / "pkg")
    network = result.package.manifest.networks[0]
    assert network.head == "direct" and network.objects == (7,)
    frame = np.zeros((120, 160, 3), dtype=np.uint8)
    estimator = PoseEstimator.load(result.package.path, backend="cpu", threads=1)
    assert len(estimator.estimate(frame, K, (40, 30, 50, 40))) == 1


def _models(folder: Path, size: list[float]) -> Path:
    folder.mkdir()
    for number in (1, 5):
        surface = box(size)
        mesh = Mesh(surface.vertices, surface.faces)
        write_ply(folder / f"obj_{number:06d}.ply", mesh)
    return folder


def test_outlines_of_the_meshes_go_along(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "checkpoint", detector=False)
    arguments = [str(folder), "--out", str(tmp_path / "pkg")]
    models = _models(tmp_path / "models", [60, 78, 42])
    done = CliRunner().invoke(export, [*arguments, "--meshes", str(models)])
    assert done.exit_code == 0, done.output
    assert "no outlines" not in done.stdout
    package = read_pose_package(tmp_path / "pkg")
    assert [entry.silhouettes for entry in package.manifest.objects] == [
        "silhouettes-000001.npy",
        "silhouettes-000005.npy",
    ]
    assert PoseEstimator.load(package, threads=1).silhouettes(5) is not None
    wrong = _models(tmp_path / "wrong", [60, 78, 90])
    done = CliRunner().invoke(
        export, [str(folder), "--out", str(tmp_path / "other"), "--meshes", str(wrong)]
    )
    assert isinstance(done.exception, DataError)
    assert "name the meshes that it was trained with" in str(done.exception)
    assert not (tmp_path / "other").exists()


def test_a_direct_head_takes_no_outlines(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "checkpoint", head="direct", detector=False)
    models = _models(tmp_path / "models", [60, 78, 42])
    done = CliRunner().invoke(
        export, [str(folder), "--out", str(tmp_path / "pkg"), "--meshes", str(models)]
    )
    assert isinstance(done.exception, UsageError) and "direct head" in str(done.exception)


def test_a_difference_is_not_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path / "checkpoint", ids=(7,), detector=False)
    in_double = exporter._in_double

    def shifted(module: Exportable, batch: Any) -> Any:
        return {name: value * 1.01 for name, value in in_double(module, batch).items()}

    monkeypatch.setattr(exporter, "_in_double", shifted)
    with pytest.raises(ExportError, match="does not compute"):
        export_pose_package(folder, tmp_path / "pkg")
    assert not (tmp_path / "pkg").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--thresholds", "x.json"], "moderation"),
        (["--image-storage", "fp16"], "moderation"),
        (["--gates", "missing.json"], "cannot be read"),
    ],
)
def test_options_of_the_other_kind_are_refused(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    folder = checkpoint(tmp_path / "checkpoint")
    done = CliRunner().invoke(export, [str(folder), "--out", str(tmp_path / "p"), *arguments])
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_a_checkpoint_without_a_roi_network(tmp_path: Path) -> None:
    from edgesafe.train.pose.checkpoint import load_pose_checkpoint

    found = load_pose_checkpoint(checkpoint(tmp_path / "checkpoint"))
    alone = tuple(info for info in found.networks if info.kind == "detector")
    dataclasses.replace(found, networks=alone).save(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match="regions of interest"):
        export_pose_package(tmp_path / "checkpoint", tmp_path / "pkg")
