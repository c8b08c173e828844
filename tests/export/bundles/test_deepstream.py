from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgesafe.export.bundles.deepstream import normalising_model, nvinfer_config, write_deepstream
from edgesafe.export.cli import export
from edgesafe.runtime.errors import ExportError, UsageError
from edgesafe.runtime.manifest_pose import DetectorSpec
from edgesafe.runtime.package import read_package, write_package
from edgesafe.runtime.preprocess import Preprocess

STATISTICS = Preprocess(16, 16, "stretch", "bilinear", (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))


def answer(model: bytes, pixels: Any) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(model).run(["embedding"], {"pixels": pixels})[0]


@pytest.mark.parametrize("bgr", [False, True])
def test_the_graph_normalises_each_channel(tiny_image_model: Any, bgr: bool) -> None:
    model = tiny_image_model()
    unit = np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32)
    order = slice(None, None, -1) if bgr else slice(None)
    mean, std = (np.array(v)[order].reshape(1, 3, 1, 1) for v in (STATISTICS.mean, STATISTICS.std))
    wanted = answer(model, ((unit - mean) / std).astype(np.float32))
    found = answer(normalising_model(model, STATISTICS, bgr=bgr), unit)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_moderation_package(tiny_package: Path, tmp_path: Path) -> None:
    package = read_package(tiny_package)
    assert write_deepstream(package, tmp_path / "d") == ["nvinfer_image.txt"]
    parser = configparser.ConfigParser()
    parser.read(tmp_path / "d" / "nvinfer_image.txt")
    found = parser["property"]
    assert (tmp_path / "d" / found["onnx-file"]).is_file()
    assert found["infer-dims"] == "3;16;16"
    assert found["network-mode"] == "0"
    assert float(found["net-scale-factor"]) == pytest.approx(1 / 255, rel=1e-12)
    assert (found["network-type"], found["output-tensor-meta"]) == ("100", "1")
    assert found["output-blob-names"] == "embedding;root_distance"
    assert found["maintain-aspect-ratio"] == "0"
    text = (tmp_path / "d" / "nvinfer_image.txt").read_text()
    assert "Calibrate the thresholds anew" in text
    assert "NVIDIA_TF32_OVERRIDE=0" in text


def test_a_detector() -> None:
    spec = DetectorSpec(
        "detector.onnx", 64, 48, 8, (1,), 1, 0.2, 18, "fp32", "fp32",
        Preprocess(48, 64, "stretch", "bilinear", (0.5,) * 3, (0.5,) * 3),
    )  # fmt: skip
    text = nvinfer_config("detector", spec, "detector_nvinfer.onnx", 2)
    assert "infer-dims=3;48;64" in text
    assert "output-blob-names=heat;box" in text
    assert "maintain-aspect-ratio=1" in text
    # nvinfer builds the engine with TensorRT's defaults.
    assert "NVIDIA_TF32_OVERRIDE=0" in text


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_package_of_less_precision_is_refused(
    tiny_parts: Any, tmp_path: Path, precision: str
) -> None:
    fields, files = tiny_parts()
    fields["encoders"]["image"]["precision"] = precision
    package = write_package(tmp_path / "p", fields, files)
    outputs = ["--triton", str(tmp_path / "t"), "--deepstream", str(tmp_path / "d")]
    done = CliRunner().invoke(export, [str(package.path), *outputs])
    assert isinstance(done.exception, UsageError)
    words = str(done.exception)
    assert f"image.onnx is {precision}" in words and "the package in fp32" in words
    with pytest.raises(UsageError, match="takes float32 only"):
        write_deepstream(package, tmp_path / "d")
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_the_text_encoder_may_be_of_less_precision(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    fields["encoders"]["text"]["precision"] = "fp16"
    package = write_package(tmp_path / "p", fields, files)
    assert write_deepstream(package, tmp_path / "d") == ["nvinfer_image.txt"]


@pytest.mark.parametrize("only", [[], ["--only", "image"]])
def test_a_conversion_for_deepstream_is_refused_before_it_starts(
    tiny_package: Path, tmp_path: Path, only: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it was converted")

    monkeypatch.setattr("edgesafe.export.typed_options.retype_package", never)
    arguments = ["--out", str(tmp_path / "o"), "--precision", "fp16", *only]
    done = CliRunner().invoke(
        export, [str(tiny_package), *arguments, "--deepstream", str(tmp_path / "d")]
    )
    assert isinstance(done.exception, UsageError), done.output
    assert "with --precision fp16: --deepstream takes float32 only" in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_without_a_network_on_frames_there_is_nothing(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    del fields["encoders"]["image"], files["image.onnx"]
    for part in ("thresholds", "parity", "bounds"):
        fields[part].pop("image", None)
    import json

    golden = json.loads(files["golden.json"])
    golden["image"] = []
    files["golden.json"] = json.dumps(golden).encode()
    package = write_package(tmp_path / "p", fields, files)
    with pytest.raises(ExportError, match="nothing for DeepStream"):
        write_deepstream(package, tmp_path / "d")
    assert not (tmp_path / "d").exists()
