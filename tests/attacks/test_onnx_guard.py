from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.onnx_guard import PATHS, guard_model

WAYS = ["initializer", "constant", "sparse", "subgraph", "function", "list", "training"]


def test_the_paths_are_all_that_onnx_has() -> None:
    """Compared with the installed ONNX's own definitions: every way to a node or a tensor."""
    found: dict[str, dict[int, str]] = {}
    waiting = [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if message.name not in found:
            inner = [(f.number, f.message_type) for f in message.fields if f.message_type]
            found[message.name] = {number: kind.name for number, kind in inner}
            waiting += [kind for _, kind in inner]
    leading = {"NodeProto", "TensorProto"}
    while True:
        more = {name for name, inner in found.items() if leading & set(inner.values())} - leading
        if not more:
            break
        leading |= more
    expected = {n: {k: v for k, v in found[n].items() if v in leading} for n in leading}
    assert expected == PATHS
    numbers = {f.name: f.number for f in onnx.TensorProto.DESCRIPTOR.fields}
    assert (numbers["external_data"], numbers["data_location"]) == (13, 14)
    assert {f.name: f.number for f in onnx.NodeProto.DESCRIPTOR.fields}["op_type"] == 4


def _outside() -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def _model(way: str, tensor: TensorProto) -> bytes:
    model = onnx.ModelProto(ir_version=9)
    graph = model.graph
    if way == "initializer":
        graph.initializer.append(tensor)
    elif way == "constant":
        graph.node.append(helper.make_node("Constant", [], ["y"], value=tensor))
    elif way == "list":
        attribute = graph.node.add(op_type="Odd").attribute.add(name="t")
        attribute.tensors.append(tensor)
    elif way == "sparse":
        graph.sparse_initializer.add().values.CopyFrom(tensor)
    elif way == "subgraph":
        branch = onnx.GraphProto(name="g", initializer=[tensor])
        graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=branch))
    elif way == "function":
        node = helper.make_node("Constant", [], ["y"], value=tensor)
        model.functions.add(name="f", node=[node])
    else:
        model.training_info.add().algorithm.initializer.append(tensor)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("way", WAYS)
def test_a_tensor_in_another_file_is_found_wherever_it_hides(way: str) -> None:
    guard_model(_model(way, numpy_helper.from_array(np.zeros(4, np.float32), "w")), "m")
    with pytest.raises(PackageError, match="another file"):
        guard_model(_model(way, _outside()), "m")


@pytest.mark.parametrize("part", ["location only", "entries only"])
def test_half_a_reference_is_refused_too(part: str) -> None:
    tensor = _outside()
    tensor.ClearField("external_data" if part == "location only" else "data_location")
    with pytest.raises(PackageError, match="another file"):
        guard_model(_model("initializer", tensor), "m")


def test_a_compiled_engine_is_refused() -> None:
    model = onnx.ModelProto(ir_version=9)
    model.graph.node.append(helper.make_node("EPContext", [], ["y"], domain="com.microsoft"))
    with pytest.raises(PackageError, match="compiled engine"):
        guard_model(model.SerializeToString(), "m")


@pytest.mark.parametrize("data", [b"\xff" * 20, b"\x3a\x7f", b"\x0b", b"\x08", b"\x3a\x02\x0b\x00"])
def test_what_is_no_protobuf_is_refused(data: bytes) -> None:
    with pytest.raises(PackageError, match="not an ONNX model"):
        guard_model(data, "m")


def test_endless_nesting_is_refused() -> None:
    data = b""
    for _ in range(200):  # graph in attribute in node in graph ...
        for number in (6, 5, 1):
            data = bytes([number << 3 | 2]) + _length(data) + data
    with pytest.raises(PackageError, match="deep"):
        guard_model(bytes([7 << 3 | 2]) + _length(data) + data, "m")


def _length(data: bytes) -> bytes:
    size, out = len(data), b""
    while size > 127:
        out, size = out + bytes([size & 127 | 128]), size >> 7
    return out + bytes([size])


def test_damaged_models_end_in_a_verdict_or_a_package_error(tiny_image_model: Any) -> None:
    data = tiny_image_model()
    rng = random.Random(7)
    refused = 0
    for _ in range(2000):
        changed = bytearray(data[: rng.randrange(1, len(data) + 1)])
        for _ in range(rng.randrange(4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            guard_model(bytes(changed), "m")
        except PackageError:
            refused += 1
    assert refused > 500
