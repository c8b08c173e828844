"""The graphs of a bundle: what is unfolded, what is kept, what a plugin sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgesafe.export.functions import DOMAIN, attach_functions
from edgesafe.export.trt.bundle import PreparedNetwork
from edgesafe.export.trt.variants import function_variant, plugin_variant, unfold_weights
from edgesafe.runtime.errors import ExportError
from edgesafe.runtime.sessions import open_session

INT8 = np.array([[10, -20, 30], [-40, 50, 127]], np.int8)


def quantised(nodes: list[onnx.NodeProto], **extra: Any) -> onnx.ModelProto:
    """A graph from x (N, 2) to y (N, 3), with stored weights and scales."""
    values = {
        "stored": INT8,
        "scale": np.array([0.5, 0.25, 0.125], np.float32),
        "one_scale": np.array(0.5, np.float32),
        "zero": np.zeros(3, np.int8),
        **extra,
    }
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(v, k) for k, v in values.items() if k in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto) -> np.ndarray:
    session = open_session(model.SerializeToString(), backend="cpu", threads=1)
    x = np.array([[1.0, -2.0], [0.3, 0.7]], np.float32)
    return session.run(["y"], {"x": x})[0]


STORED = helper.make_node("DequantizeLinear", ["stored", "scale"], ["w"], "restore", axis=1)


def test_stored_weights_are_unfolded_exactly() -> None:
    model = quantised([STORED, helper.make_node("MatMul", ["x", "w"], ["y"])])
    before = run(model)
    assert unfold_weights(model) == 1
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    (weight,) = model.graph.initializer
    np.testing.assert_array_equal(
        numpy_helper.to_array(weight), INT8 * np.array([0.5, 0.25, 0.125], np.float32)
    )
    np.testing.assert_array_equal(run(model), before)


def test_zero_points_and_scales_of_a_tensor() -> None:
    points = helper.make_node("DequantizeLinear", ["stored", "scale", "points"], ["w"], axis=1)
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = quantised([points, product], points=np.array([1, -2, 3], np.int8))
    before = run(model)
    assert unfold_weights(model) == 1
    np.testing.assert_array_equal(run(model), before)
    plain = quantised(
        [helper.make_node("DequantizeLinear", ["stored", "one_scale"], ["w"]), product]
    )
    assert unfold_weights(plain) == 1
    np.testing.assert_array_equal(numpy_helper.to_array(plain.graph.initializer[0]), INT8 * 0.5)


@pytest.mark.parametrize("transposed", [False, True])
def test_weights_of_integer_kernels_are_kept(transposed: bool) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one_scale", "point"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "one_scale", "point"], ["xq"]),
        STORED,
        helper.make_node("MatMul", ["xq", "w"], ["y"]),
    ]
    if transposed:
        nodes[2] = helper.make_node("DequantizeLinear", ["turned", "scale"], ["w0"], axis=0)
        nodes.insert(3, helper.make_node("Transpose", ["w0"], ["w"], perm=[1, 0]))
    model = quantised(nodes, point=np.array(0, np.int8), turned=INT8.T.copy())
    assert unfold_weights(model) == 0
    assert [node.op_type for node in model.graph.node] == [node.op_type for node in nodes]


def test_a_table_in_a_quantised_graph_is_unfolded() -> None:
    """Looked up rather than multiplied: no integer kernel takes it."""
    model = quantised(
        [
            helper.make_node("QuantizeLinear", ["x", "one_scale", "point"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "one_scale", "point"], ["xq"]),
            helper.make_node("ReduceSum", ["xq"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["sum"], ["index"], to=TensorProto.INT64),
            STORED,
            helper.make_node("Gather", ["w", "index"], ["row"]),
            helper.make_node("Unsqueeze", ["row", "axes"], ["y"]),
        ],
        point=np.array(0, np.int8),
        axes=np.array([0], np.int64),
    )
    assert unfold_weights(model) == 1
    assert [n.op_type for n in model.graph.node].count("DequantizeLinear") == 1


def test_half_precision_weights_stay_behind_their_cast(
    tiny_image_model: Callable[..., bytes],
) -> None:
    data = function_variant(tiny_image_model(storage="fp16"))
    types = [t.data_type for t in onnx.load_from_string(data).graph.initializer]
    assert TensorProto.FLOAT16 in types


def test_stored_weights_stay_where_that_is_asked_for(
    tiny_image_model: Callable[..., bytes],
) -> None:
    data = tiny_image_model(storage="int8")
    kinds = [
        [node.op_type for node in onnx.load_from_string(found).graph.node]
        for found in (function_variant(data, stored=True), function_variant(data))
    ]
    assert "DequantizeLinear" in kinds[0] and "DequantizeLinear" not in kinds[1]


def test_blocks_are_refused() -> None:
    model = quantised([STORED, helper.make_node("MatMul", ["x", "w"], ["y"])])
    model.graph.node[0].attribute.append(helper.make_attribute("block_size", 2))
    with pytest.raises(ExportError, match="'restore' are quantised in blocks"):
        unfold_weights(model)


def test_the_plugin_variant_has_the_same_nodes_without_bodies(
    prepared: dict[str, PreparedNetwork],
) -> None:
    function = onnx.load_from_string(prepared["image"].function)
    data = plugin_variant(prepared["image"].function)
    assert data is not None
    plugin = onnx.load_from_string(data)
    assert function.functions and not plugin.functions
    assert [n.op_type for n in plugin.graph.node] == [n.op_type for n in function.graph.node]
    (head,) = (node for node in plugin.graph.node if node.domain == DOMAIN)
    attributes = {a.name: helper.get_attribute_value(a) for a in head.attribute}
    assert attributes == {"plugin_namespace": b"edgesafe", "plugin_version": b"1"}
    assert plugin_variant(prepared["text"].function) is None


def test_a_plugin_gets_the_defaults_of_the_function() -> None:
    points = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    c = helper.make_tensor_value_info("c", TensorProto.FLOAT, [])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])
    node = helper.make_node("HalfAperture", ["x", "c"], ["y"], domain=DOMAIN)
    model = helper.make_model(
        helper.make_graph([node], "g", [points, c], [out]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    attach_functions(model)
    data = plugin_variant(model.SerializeToString())
    assert data is not None
    found = {a.name: a for a in onnx.load_from_string(data).graph.node[0].attribute}
    assert found["min_radius"].f == pytest.approx(0.1)
