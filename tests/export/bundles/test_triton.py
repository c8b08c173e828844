"""The model repository: its texts are read back by the official protobuf where that is there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.export.bundles import triton
from edgesafe.export.bundles.graphs import Port, ServedNetwork, served_networks
from edgesafe.export.bundles.pbtxt import Enumerator, to_pbtxt
from edgesafe.export.bundles.triton import model_config, write_triton
from edgesafe.runtime.backends import cuda
from edgesafe.runtime.errors import BackendError, ExportError, UsageError
from edgesafe.runtime.package import read_package


@pytest.fixture(scope="module")
def model_config_pb2() -> Any:
    """The official message, out of `tritonclient`, without the client's own requirements."""
    found = importlib.util.find_spec("tritonclient")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the official protobuf comes with tritonclient: pip install tritonclient")
    path = Path(next(iter(found.submodule_search_locations))) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> Any:
        raise BackendError("no GPU in tests")

    monkeypatch.setattr(cuda, "open_device", nothing)


@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt"])
def test_the_official_protobuf_reads_the_configurations(
    model_config_pb2: Any, tiny_package: Path, tmp_path: Path, backend: Any
) -> None:
    from google.protobuf import text_format

    package = read_package(tiny_package)
    waiting = write_triton(package, tmp_path / "r", backend=backend, max_batch=5)
    networks = {f"tiny-{n.name}": n for n in served_networks(package)}
    assert waiting == (list(networks) if backend == "tensorrt" else [])
    for name, network in networks.items():
        text = (tmp_path / "r" / name / "config.pbtxt").read_text()
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
        assert (config.name, config.backend, config.max_batch_size) == (name, backend, 5)
        assert list(config.version_policy.specific.versions) == [1]
        types = {"float32": model_config_pb2.TYPE_FP32, "int64": model_config_pb2.TYPE_INT64}
        for ports, tensors in ((network.inputs, config.input), (network.outputs, config.output)):
            assert [t.name for t in tensors] == [p.name for p in ports]
            for port, tensor in zip(ports, tensors, strict=True):
                assert tensor.data_type == types[port.dtype]
                sizes = [s if isinstance(s, int) else -1 for s in port.shape[1:]]
                assert list(tensor.dims) == (sizes or [1])
                assert tensor.HasField("reshape") is (not sizes)
                assert list(tensor.reshape.shape) == []


def test_what_is_served_is_the_verified_file(tiny_package: Path, tmp_path: Path) -> None:
    import onnxruntime

    package = read_package(tiny_package)
    assert write_triton(package, tmp_path / "r") == []
    served = (tmp_path / "r" / "tiny-image" / "1" / "model.onnx").read_bytes()
    assert served == package.files["image.onnx"]
    assert onnxruntime.InferenceSession(served).get_inputs()[0].name == "pixels"
    readme = (tmp_path / "r" / "README.md").read_text()
    assert package.manifest.identity in readme
    assert "NVIDIA_TF32_OVERRIDE=0" in readme and "have still to be built" not in readme
    assert write_triton(package, tmp_path / "r2", backend="tensorrt")
    readme = (tmp_path / "r2" / "README.md").read_text()
    assert "--triton DIR --triton-backend tensorrt --overwrite" in readme


def test_plans_are_built_where_there_is_a_gpu(
    tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgesafe.runtime.backends import tensorrt_build

    class Device:
        def activate(self) -> None:
            pass

    flags = []

    def build(trt: Any, model: bytes, chosen: Any, where: str, *, logger: Any) -> bytes:
        flags.append((where, chosen.max_batch, chosen.max_length))
        return b"plan of " + where.encode()

    monkeypatch.setattr(triton, "find_module", lambda name: object())
    monkeypatch.setattr(cuda, "open_device", Device)
    monkeypatch.setattr(tensorrt_build, "make_logger", lambda trt: None)
    monkeypatch.setattr(tensorrt_build, "build_plan", build)
    lines: list[str] = []
    package = read_package(tiny_package)
    waiting = write_triton(
        package, tmp_path / "r", backend="tensorrt", max_batch=3, progress=lines.append
    )
    assert waiting == []
    assert flags == [("image", 3, 512), ("text", 3, 12)]
    plan = tmp_path / "r" / "tiny-text" / "1" / "model.plan"
    assert plan.read_bytes() == b"plan of text"
    assert not plan.with_name("model.onnx").exists()
    assert lines == ["building the plan of image", "building the plan of text"]


def test_a_folder_is_kept_unless_told_otherwise(tiny_package: Path, tmp_path: Path) -> None:
    package = read_package(tiny_package)
    (tmp_path / "r").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        write_triton(package, tmp_path / "r")
    write_triton(package, tmp_path / "r", overwrite=True)


@pytest.mark.parametrize(
    "port",
    [Port("y", "float32", ()), Port("y", "float32", (1, 3)), Port("y", "complex64", ("batch", 3))],
)
def test_what_a_server_cannot_batch_is_refused(port: Port) -> None:
    network = ServedNetwork("image", b"", "fp32", (), (port,), None)
    with pytest.raises(ExportError, match="image: y"):
        model_config(network, "image", 1, "onnxruntime", 8)


def test_texts_are_escaped(model_config_pb2: Any) -> None:
    from google.protobuf import text_format

    name = 'a"b\\c\nd\tä\0'
    text = to_pbtxt({"name": name, "max_batch_size": 3, "input": [{"optional": True}]})
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.name == name
    assert config.input[0].optional is True


def test_the_text_format() -> None:
    message = {"name": 'a"\n', "kind": Enumerator("KIND_CPU"), "on": True, "dims": [1, -1], "m": {}}
    assert to_pbtxt(message) == (
        'name: "a\\042\\012"\nkind: KIND_CPU\non: true\ndims: 1\ndims: -1\nm {\n}\n'
    )
    with pytest.raises(TypeError, match="no form"):
        to_pbtxt({"x": np.float32(1)})
