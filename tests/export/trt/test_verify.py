"""``--verify-build``: TensorRT's own parser and builder, without a GPU."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from edgesafe.export.cli import export
from edgesafe.export.trt import verify
from edgesafe.export.trt.bundle import PreparedNetwork, prepare
from edgesafe.export.trt.networks import (
    DYNAMIC,
    Network,
    Tensor,
    _image_feed,
    _tensor,
    read_any_package,
)
from edgesafe.export.trt.settings import SM_OPTIONAL, SMS, TrtOptions
from edgesafe.export.trt.variants import function_variant
from edgesafe.export.trt.verify import BuildResult, check_verified, verify_network
from edgesafe.runtime.errors import ExportError, MissingExtraError
from edgesafe.runtime.package import default_model_path, read_package

ROOT = Path(__file__).parents[3]


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="pip install 'edgesafe[trt-check]'")


def one_node(node: onnx.NodeProto, shape: list[Any]) -> PreparedNetwork:
    """A network of one operator."""
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("other", 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    network = Network("one", data, "fp32", "fp32", {"x": Tensor("float32", tuple(shape))}, ("y",),
                      {}, [])  # fmt: skip
    return PreparedNetwork(network, data, {})


def test_a_small_network_builds(rtx: None, prepared: dict[str, PreparedNetwork]) -> None:
    result = verify_network(prepared["image"], ["SM89"])
    assert result.parse.ok and result.parse.layers > 5 and not result.parse.errors
    (build,) = result.builds
    assert build.ok and build.size > 1000 and build.sm == "SM89"
    check_verified([result])
    assert result.to_json()["builds"]["SM89"]["ok"] is True


def test_a_quantised_network_builds(rtx: None) -> None:
    """Symmetric int8: dequantised activations meet weights that stay quantised."""
    rng = np.random.default_rng(0)
    values = {
        "scale": np.array(0.02, np.float32),
        "zero": np.array(0, np.int8),
        "stored": rng.integers(-127, 128, (32, 16, 3, 3)).astype(np.int8),
        "scales": np.full(32, 0.01, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "quantise"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["xq"], "restore_x"),
        helper.make_node("DequantizeLinear", ["stored", "scales"], ["w"], "restore_w", axis=0),
        helper.make_node("Conv", ["xq", "w"], ["y"], "conv", pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 32, 16, 16])],
        [onnx.numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    inputs = {"x": Tensor("float32", ("batch", 16, 16, 16))}
    described = Network("conv", data, "int8", "int8", inputs, ("y",), {}, [])
    function = function_variant(data)
    kept = [node.op_type for node in onnx.load_from_string(function).graph.node]
    assert kept == [node.op_type for node in nodes]
    result = verify_network(
        PreparedNetwork(described, function, {"batch": verify_range(1, 1, 4)}), ["SM89"]
    )
    check_verified([result])
    assert result.builds[0].ok and result.precision == "int8"


def test_a_refused_node_is_named(rtx: None, prepared: dict[str, PreparedNetwork]) -> None:
    strange = one_node(helper.make_node("Strange", ["x"], ["y"], "odd one", domain="other"), [1, 4])
    result = verify_network(strange, ["SM89"])
    assert not result.parse.ok and not result.builds
    assert any("odd one" in error for error in result.parse.errors)
    with pytest.raises(ExportError, match="one does not parse: .*odd one"):
        check_verified([result])


@pytest.mark.slow
def test_the_command_fails_with_the_node(rtx: None, head_package: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        export, [str(head_package), "--verify-build", "--sm", "SM89", "--sm", "SM75"]
    )
    assert done.exit_code == 0, done.output
    assert "image (fp32) parses in TensorRT-RTX" in done.stdout
    assert "SM89   engine" in done.stdout
    # A refusal for Turing is reported, and not held against the package.
    assert "SM75   refused, not required:" in done.stdout


def failing(*, sm: str, node: str = "conv_7") -> verify.Verified:
    parse = verify.ParseResult(True, 9, 0.1, "1.7.1", ())
    builds = (
        BuildResult("SM80", True, 2_500_000, 1.0, "", ()),
        BuildResult(sm, False, 0, 1.0, node, ("no kernel", "second")),
    )
    return verify.Verified("image", "int8", parse, builds)


def test_failures_name_network_capability_and_node() -> None:
    with pytest.raises(ExportError) as caught:
        check_verified([failing(sm="SM120")])
    assert "image does not build for SM120 at the node 'conv_7': no kernel" in str(caught.value)
    check_verified([failing(sm="SM75")])
    broken = dataclasses.replace(failing(sm="SM75").parse, ok=False)
    with pytest.raises(ExportError, match="image does not parse$"):
        check_verified([dataclasses.replace(failing(sm="SM75"), parse=broken)])
    written = failing(sm="SM120").to_json()["builds"]["SM120"]
    assert written["node"] == "conv_7" and written["errors"] == ["no kernel", "second"]


def test_the_longest_named_node_is_blamed() -> None:
    nodes = ["conv", "conv_1", "block/conv_1", "a.b"]
    assert verify._blame(["at [block/conv_1 + relu]"], nodes) == "block/conv_1"
    assert verify._blame(["Cannot compile operation 'conv_1' here"], nodes) == "conv_1"
    assert verify._blame(["conv_12 and aab"], nodes) == ""


WORKER = """
import json, os, sys
job = json.loads(sys.stdin.read())
print("a library says hello")
if job["sms"] == ["SM86", "SM89"] or "parser" in __file__:
    {first}
tell = lambda **f: print(json.dumps(f), flush=True)
tell(kind="parse", ok=True, version="1", layers=3, seconds=0.1, errors=[])
for sm in job["sms"]:
    tell(kind="start", sm=sm)
    if sm == "SM86":
        print("terminate called", file=sys.stderr, flush=True)
        os.abort()
    tell(kind="build", sm=sm, ok=True, bytes=5, seconds=0.1, errors=[])
"""


def test_a_build_that_ends_the_process_costs_only_itself(
    prepared: dict[str, PreparedNetwork], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER.replace("{first}", "pass"))
    monkeypatch.setattr(verify, "_WORKER", worker)
    monkeypatch.setattr(verify.importlib.util, "find_spec", lambda name: object())
    result = verify_network(prepared["image"], ["SM80", "SM86", "SM89"])
    assert [(b.sm, b.ok) for b in result.builds] == [
        ("SM80", True),
        ("SM86", False),
        ("SM89", True),
    ]
    (error,) = result.builds[1].errors
    assert "ended with status -6: terminate called" in error


def test_a_parser_that_ends_the_process_is_reported(
    prepared: dict[str, PreparedNetwork], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "parser.py"
    worker.write_text(WORKER.replace("{first}", "os.abort()"))
    monkeypatch.setattr(verify, "_WORKER", worker)
    monkeypatch.setattr(verify.importlib.util, "find_spec", lambda name: object())
    result = verify_network(prepared["image"], ["SM80"])
    assert not result.parse.ok and "ended with status -6" in result.parse.errors[0]
    with pytest.raises(ExportError, match="image does not parse: the process ended"):
        check_verified([result])


def test_without_tensorrt_rtx(
    prepared: dict[str, PreparedNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"edgesafe\[trt-check\]"):
        verify_network(prepared["image"])


def test_open_dimensions_go_by_their_place() -> None:
    def described(shape: list[Any], axes: tuple[str, ...]) -> tuple[int | str, ...]:
        value = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)
        return _tensor(value, "image", axes).shape

    assert described(["N", 8, 8, 3], DYNAMIC[:1]) == ("batch", 8, 8, 3)
    assert described([None, "length"], DYNAMIC) == ("batch", "tokens")
    assert described([1, 8], DYNAMIC) == (1, 8)
    with pytest.raises(ExportError, match=r"leaves its dimension 2 \(height\) open"):
        described(["batch", 3, "height", 8], DYNAMIC[:1])
    with pytest.raises(ExportError, match=r"dimension 1 \(without a name\) open"):
        described(["batch", None], DYNAMIC[:1])


def test_pictures_are_arranged_as_the_runtime_arranges_them(head_package: Path) -> None:
    spec = read_package(head_package).manifest.image
    assert spec is not None
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[..., 0] = 255
    plain = _image_feed(spec, rgb)["pixels"]
    assert plain.shape == (1, 3, 16, 16) and plain[0, 0].min() > plain[0, 2].max()
    turned = dataclasses.replace(spec, layout="nhwc", channels="bgr")
    found = _image_feed(turned, rgb)["pixels"]
    np.testing.assert_array_equal(found, plain[:, ::-1].transpose(0, 2, 3, 1))


@pytest.mark.slow
def test_the_shipped_package_builds_everywhere(rtx: None) -> None:
    done = CliRunner().invoke(export, [str(default_model_path()), "--verify-build", "--json"])
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    verified = {item["network"]: item for item in json.loads(line)["verified"]}
    assert set(verified) == {"image", "text"}
    for item in verified.values():
        assert item["layers"] > 100 and not item["parse_errors"]
        assert set(item["builds"]) == {*SMS, *SM_OPTIONAL}
        for sm in SMS:
            assert item["builds"][sm]["ok"] and item["builds"][sm]["bytes"] > 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("head", ["vote", "direct"])
def test_pose_networks_build(rtx: None, tmp_path: Path, head: str) -> None:
    torch = pytest.importorskip("torch")
    from edgesafe.export.pose_graph import Exportable, export_pose_graph, fold
    from edgesafe.train.pose.network import RoiNetwork, architecture_of

    torch.manual_seed(0)
    architecture = architecture_of(
        profile="tiny", trunk="plain", head=head, size=64, keypoints=9, objects=2
    )
    network = RoiNetwork(architecture).eval()
    model = export_pose_graph(Exportable(fold(network)), 64, 64)
    inputs = {
        "image": Tensor("float32", ("batch", 3, 64, 64)),
        "object": Tensor("int64", ("batch",)),
    }
    data = model.SerializeToString()
    described = Network("roi", data, "fp32", "fp32", inputs, ("mask",), {}, [])
    ready = PreparedNetwork(described, data, {"batch": verify_range(1, 1, 4)})
    result = verify_network(ready, ["SM89"])
    check_verified([result])
    assert result.builds[0].ok


def verify_range(low: int, usual: int, high: int) -> Any:
    from edgesafe.export.trt.device.profiles import Range

    return Range(low, usual, high)


def test_the_golden_inputs_of_the_shipped_package_fit_its_networks() -> None:
    for item in prepare(read_any_package(default_model_path()), TrtOptions()):
        assert item.network.golden
        for feed in item.network.golden:
            assert set(feed) == set(item.network.inputs)
            for name, value in feed.items():
                described = item.network.inputs[name]
                assert value.dtype == np.dtype(described.dtype)
                assert len(value) == 1 and value.ndim == len(described.shape)
