"""From a package in float32 to one in another precision, by the command."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from edgesafe.export.calibration_data import Case, read_cases, split_cases
from edgesafe.export.cli import export
from edgesafe.export.policy import lint
from edgesafe.export.pose import export_pose_package
from edgesafe.export.retype import BUDGETS
from edgesafe.runtime.encoders import open_image
from edgesafe.runtime.errors import ExportError, PackageError, SourceError, UsageError
from edgesafe.runtime.golden import read_golden
from edgesafe.runtime.package import Package, default_model_path, read_package, read_pose_package
from edgesafe.runtime.pose.estimator import PoseEstimator

_POSE = runpy.run_path(str(Path(__file__).with_name("test_pose.py")))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESAFE_CACHE", str(tmp_path / "cache"))


def run(*arguments: str | Path) -> dict[str, Any]:
    done = CliRunner().invoke(export, [*map(str, arguments), "--json"])
    if done.exception is not None:
        raise done.exception
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def photos(folder: Path, count: int = 24) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        rough = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(rough).resize((96, 80)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def pose_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retype")
    export_pose_package(_POSE["checkpoint"](folder / "checkpoint"), folder / "pkg")
    return folder / "pkg"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_pose_package_in_another_precision(
    pose_package: Path, tmp_path: Path, precision: str
) -> None:
    # The networks are untrained: their answers are noise, whose shifts mean nothing.
    extra: list[str | Path] = ["--allow-loss"]
    if precision == "int8":
        extra += ["--calib", photos(tmp_path / "photos")]
    told = run(pose_package, "--out", tmp_path / "out", "--precision", precision, *extra)
    assert set(told["precision_effect"]) == {"roi.onnx", "detector.onnx"}
    package = read_pose_package(tmp_path / "out")
    networks = [*package.manifest.networks, package.manifest.detector]
    assert {n.precision for n in networks if n} == {precision}
    for name in ("roi.onnx", "detector.onnx"):
        model = onnx.load_from_string(package.files[name])
        assert lint(model) == []
        kinds = {node.op_type for node in model.graph.node}
        assert ("QuantizeLinear" in kinds) == (precision == "int8")
        properties = {entry.key: entry.value for entry in model.metadata_props}
        assert properties["edgesafe.precision"] == precision
    # Votes, soft maxima and covariances follow the last matrix operator.
    PoseEstimator.load(package, backend="cpu", threads=1)
    effect = package.manifest.precision_effect["roi.onnx"]
    assert effect["keypoint_px_mean"] < 2 and effect["n"] > 0
    assert set(package.manifest.calibration) == (
        {"roi.onnx", "detector.onnx"} if precision == "int8" else set()
    )


def test_only_one_graph_is_converted(pose_package: Path, tmp_path: Path) -> None:
    run(
        pose_package, "--out", tmp_path / "out", "--precision", "fp16", "--only", "roi.onnx",
        "--allow-loss",
    )  # fmt: skip
    before, after = read_pose_package(pose_package), read_pose_package(tmp_path / "out")
    assert before.files["detector.onnx"] == after.files["detector.onnx"]
    assert after.manifest.detector is not None
    assert after.manifest.detector.precision == "fp32"
    with pytest.raises(UsageError, match="no 'text'"):
        run(pose_package, "--out", tmp_path / "b", "--precision", "fp16", "--only", "text")
    with pytest.raises(UsageError, match="computes in fp16 already"):
        run(tmp_path / "out", "--out", tmp_path / "c", "--precision", "fp16")


def test_a_loss_is_not_shipped(
    pose_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgesafe.export.retype.check_effect", lambda effect, precision, where: f"{where}: worse"
    )
    with pytest.raises(ExportError, match=r"worse.*--allow-loss"):
        run(pose_package, "--out", tmp_path / "out", "--precision", "fp16")
    assert not (tmp_path / "out").exists()


def test_few_inputs_are_named(pose_package: Path, tmp_path: Path) -> None:
    only = read_pose_package(pose_package).manifest.networks[0].file
    done = CliRunner().invoke(
        export,
        [str(pose_package), "--out", str(tmp_path / "out"), "--precision", "fp16", "--only", only,
         "--allow-loss"],
    )  # fmt: skip
    assert done.exit_code == 0
    assert f"{only} was measured on 8 inputs: name 100 or more with --held-out" in done.stderr


def test_more_stays_in_float32_until_little_is_lost(
    pose_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["worse", "bad", None])
    monkeypatch.setattr(
        "edgesafe.export.retype.check_effect", lambda effect, precision, where: next(answers)
    )
    only = read_pose_package(pose_package).manifest.networks[0].file
    rest = ["--precision", "int8", "--only", only, "--calib", str(photos(tmp_path / "photos"))]
    found = run(pose_package, "--out", tmp_path / "out", *rest)
    assert found["calibration"][only]["keep"] == BUDGETS[2]
    assert read_pose_package(tmp_path / "out").manifest.calibration[only].keep == BUDGETS[2]

    answers = iter(["worse"])
    with pytest.raises(ExportError, match="worse"):
        run(pose_package, "--out", tmp_path / "two", *rest, "--keep", "0.2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "int8"], "needs calibration data"),
        (["--precision", "fp16", "--calib", "."], "options of --precision int8"),
        (["--precision", "fp16", "--storage", "int8"], "--storage is of checkpoints"),
    ],
)
def test_usage(pose_package: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(pose_package, "--out", tmp_path / "out", *arguments)


def test_calibration_data_in_all_forms(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 3)
    (folder / "unsafe").mkdir()
    (folder / "0.png").rename(folder / "unsafe" / "0.png")
    assert [case.unsafe for case in read_cases([folder])] == [None, None, True]
    records = [
        {"image": "photos/1.png", "label": "safe"},
        {"text": "a knife", "label": "unsafe"},
        {"safe_image": "photos/2.png", "unsafe_text": "a gun"},
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "t.txt").write_text("one\n\ntwo\n")
    cases = read_cases([tmp_path / "r.jsonl", tmp_path / "t.txt"])
    assert [c.text for c in cases] == [None, "a knife", None, "a gun", "one", "two"]
    assert [c.unsafe for c in cases] == [False, True, False, True, None, None]
    assert cases[0].pixels().shape == (80, 96, 3)
    np.savez(
        tmp_path / "a.npz",
        pictures=np.zeros((2, 8, 8, 3), np.uint8),
        labels=np.array([True, False]),
        objects=np.array([5, 7]),
    )
    found = read_cases([tmp_path / "a.npz"])
    assert [(c.unsafe, c.object_id) for c in found] == [(True, 5), (False, 7)]


def test_calibration_data_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no pictures and no texts"):
        read_cases([tmp_path / "empty"])
    with pytest.raises(UsageError, match="is no calibration data"):
        read_cases([tmp_path / "missing"])
    (tmp_path / "bad.jsonl").write_text("[1]\n")
    with pytest.raises(SourceError, match="bad.jsonl:1"):
        read_cases([tmp_path / "bad.jsonl"])
    np.savez(tmp_path / "b.npz", other=np.zeros(3))
    with pytest.raises(UsageError, match="holds"):
        read_cases([tmp_path / "b.npz"])
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"x\.png"):
        Case(picture=tmp_path / "x.png").pixels()


def test_nothing_is_calibrated_on_and_measured() -> None:
    cases = [Case(text=str(i)) for i in range(30)]
    one, two = split_cases(cases, [])
    assert len(one) == 20 and len(two) == 10
    assert not {c.text for c in one} & {c.text for c in two}
    assert split_cases(cases, cases[:3])[1] != one and len(split_cases(cases, cases[:3])[0]) == 30
    with pytest.raises(UsageError, match="too few"):
        split_cases(cases[:2], [])


def _broken(package: Package) -> None:
    """The image encoder of a machine that gets one weight wrong."""
    model = onnx.load_from_string(package.files["image.onnx"])
    bias = [node.input[2] for node in model.graph.node if node.op_type == "Conv"][-1]
    for tensor in model.graph.initializer:
        if tensor.name == bias:
            values = onnx.numpy_helper.to_array(tensor) * 1.5
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    files = {**package.files, "image.onnx": model.SerializeToString()}
    wrong = Package(package.path, package.manifest, files)
    open_image(wrong, read_golden(wrong), backend="cpu", threads=1)


@pytest.mark.slow
def test_the_embedded_package_in_int8(tmp_path: Path) -> None:
    """The image tower on drawn pictures and photos, end to end."""
    from edgesafe.export.probes import draw_images

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i, rgb in enumerate(draw_images()):
        for turn in range(4):
            Image.fromarray(np.ascontiguousarray(np.rot90(rgb, turn))).save(
                pictures / f"{i}-{turn}.png"
            )
    told = run(
        default_model_path(), "--out", tmp_path / "out", "--precision", "int8", "--only", "image",
        "--calib", pictures,
    )  # fmt: skip
    effect = told["precision_effect"]["image"]
    assert effect["cosine_min"] > 0.99 and effect["verdict_flips"] <= 0.1
    package = read_package(tmp_path / "out")
    assert package.manifest.image is not None and package.manifest.image.precision == "int8"
    assert package.manifest.calibration["image"].method == "mse"
    assert told["bytes"]["image.onnx"] < 12e6
    with pytest.raises(PackageError, match="computes something else"):
        _broken(package)
