"""Each rule of typed graphs refuses a graph that breaks it, and names the node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgesafe.export.functions import DOMAIN, attach_functions
from edgesafe.export.policy import check_policy, lint
from edgesafe.runtime.errors import ExportError

F, H, I8, U8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8


def model_of(
    nodes: Sequence[NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    *,
    batch: str = "batch",
    kind: int = F,
    opset: int = 18,
) -> ModelProto:
    """A graph from x (batch, 8) to y."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", kind, [batch, 8])],
        [helper.make_tensor_value_info("y", F, ["batch", 8])],
        [numpy_helper.from_array(a, name) for name, a in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    attach_functions(model)
    return model


def pair(zero: np.ndarray, scale: np.ndarray | None = None) -> ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quant"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dequant"),
    ]
    return model_of(nodes, {"s": np.float32(0.1) if scale is None else scale, "z": zero})


def head(*before: NodeProto, tangent: str = "x", kind: int = F) -> ModelProto:
    node = helper.make_node("ExpMap0", [tangent, "c"], ["y"], domain=DOMAIN, name="lift")
    return model_of([*before, node], {"c": np.array(1, np.float32)}, kind=kind)


def test_what_keeps_the_rules_passes() -> None:
    assert lint(pair(np.array(0, np.int8))) == []
    assert lint(head()) == []
    check_policy(head())


def test_quantisation_must_be_symmetric_int8() -> None:
    (quant, dequant) = lint(pair(np.array(3, np.int8)))
    assert "QuantizeLinear quant" in quant and "zero point 3" in quant and "dequant" in dequant
    assert "uint8" in lint(pair(np.array(0, np.uint8)))[0]
    per_channel = pair(np.zeros(8, np.int8), np.full(8, 0.1, np.float32))
    assert "scale per channel for an activation" in lint(per_channel)[0]


def test_dynamic_quantisation_is_refused() -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="dynamic"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="back"),
    ]
    found = lint(model_of(nodes))
    assert found[0].startswith("DynamicQuantizeLinear dynamic")
    assert any("back has a scale that is computed" in line for line in found)


def test_head_must_be_float32() -> None:
    up = helper.make_node("Cast", ["x"], ["t"], name="up", to=H)
    half = head(up, tangent="t")
    # The function's result would be float16 as well.
    half.graph.output[0].type.tensor_type.elem_type = H
    found = lint(half)
    assert any("ExpMap0 lift takes 't' as float16" in line for line in found)
    assert any("output 'y' is float16" in line for line in found)


@pytest.mark.parametrize("kind", ["QuantizeLinear", "MatMul", "Cast"])
def test_nothing_but_float32_arithmetic_follows_the_head(kind: str) -> None:
    lift = helper.make_node("ExpMap0", ["x", "c"], ["e"], domain=DOMAIN, name="lift")
    constants = {"c": np.array(1, np.float32)}
    if kind == "QuantizeLinear":
        constants |= {"s": np.array(1, np.float32), "z": np.array(0, np.int8)}
        nodes = [
            helper.make_node(kind, ["e", "s", "z"], ["q"], name="wrong"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="back"),
        ]
    elif kind == "MatMul":
        constants["w"] = np.eye(8, dtype=np.float32)
        nodes = [helper.make_node(kind, ["e", "w"], ["y"], name="wrong")]
    else:
        nodes = [
            helper.make_node(kind, ["e"], ["h"], name="wrong", to=H),
            helper.make_node(kind, ["h"], ["y"], name="back", to=F),
        ]
    found = lint(model_of([lift, *nodes], constants))
    assert any("wrong" in line and "head" in line for line in found)


def test_attention_in_float32_is_refused() -> None:
    shape = numpy_helper.from_array(np.array([0, 1, 8], np.int64), "shape")
    node = [
        helper.make_node("Reshape", ["x", "shape"], ["t"], name="split"),
        helper.make_node("Attention", ["t", "t", "t"], ["a"], name="look", q_num_heads=2,
                         kv_num_heads=2),
        helper.make_node("Reshape", ["a", "flat"], ["y"], name="join"),
    ]  # fmt: skip
    constants = {"shape": numpy_helper.to_array(shape), "flat": np.array([0, 8], np.int64)}
    found = lint(model_of(node, constants, opset=23))
    assert [line for line in found if line.startswith("Attention look is in float32")]


def test_decomposed_normalisation_is_refused() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x", "last"], ["m"], name="mean", keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["d"], name="difference"),
        helper.make_node("Pow", ["d", "two"], ["p"], name="square"),
        helper.make_node("ReduceMean", ["p", "last"], ["v"], name="variance", keepdims=1),
        helper.make_node("Sqrt", ["v"], ["s"], name="root"),
        helper.make_node("Div", ["d", "s"], ["y"], name="quotient"),
    ]
    constants = {"last": np.array([-1], np.int64), "two": np.array(2, np.float32)}
    (complaint,) = lint(model_of(nodes, constants))
    assert "ReduceMean 'variance'" in complaint and "LayerNormalization" in complaint
    constants |= {"g": np.ones(8, np.float32), "b": np.zeros(8, np.float32)}
    one = helper.make_node("LayerNormalization", ["x", "g", "b"], ["y"], name="norm")
    assert lint(model_of([one], constants)) == []


def test_only_batch_and_text_length_vary() -> None:
    node = helper.make_node("Identity", ["x"], ["y"], name="same")
    assert "dimension 0 is dynamic (height)" in lint(model_of([node], batch="height"))[0]


def test_foreign_domains_are_refused() -> None:
    node = helper.make_node("FusedGelu", ["x"], ["y"], domain="com.microsoft", name="fused")
    model = model_of([node])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert "com.microsoft" in lint(model)[0]


def test_inner_names_of_functions_are_prefixed() -> None:
    model = head()
    model.functions[0].node[0].output[0] = "last"
    found = lint(model)
    assert any("ExpMap0 has the inner name 'last'" in line for line in found)


def test_the_refusal_names_the_graph_and_counts() -> None:
    model = model_of(
        [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="a"),
         helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="b"),
         helper.make_node("QuantizeLinear", ["d", "s", "z"], ["e"], name="c"),
         helper.make_node("DequantizeLinear", ["e", "s", "z"], ["y"], name="d")],
        {"s": np.array(1, np.float32), "z": np.array(1, np.int8)},
    )  # fmt: skip
    with pytest.raises(ExportError, match=r"roi\.onnx breaks.*and 1 more"):
        check_policy(model, "roi.onnx")
    onnx.checker.check_model(model)


def product(*after: NodeProto, kind: int = F) -> ModelProto:
    """A matrix product, and what follows it."""
    weight = np.eye(8, dtype=np.float16 if kind == H else np.float32)
    first = helper.make_node("MatMul", ["x", "w"], ["m"], name="project")
    return model_of([first, *after], {"w": weight}, kind=kind)


def test_what_follows_the_last_product_is_float32() -> None:
    soft = helper.make_node("Softmax", ["m"], ["y"], name="soft")
    assert lint(product(soft)) == []
    narrow = [
        helper.make_node("Cast", ["m"], ["h"], name="narrow", to=H),
        helper.make_node("Softmax", ["h"], ["s"], name="soft"),
        helper.make_node("Cast", ["s"], ["y"], name="wide", to=F),
    ]
    found = lint(product(*narrow))
    assert len(found) == 2 and "Cast 'narrow'" in found[0] and "Softmax 'soft'" in found[1]
    # A tower in half precision is cast right after its projection.
    wide = helper.make_node("Cast", ["m"], ["y"], name="wide", to=F)
    assert lint(product(wide, kind=H)) == []


def test_subgraphs_are_refused() -> None:
    inner = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "x"], ["i"], name="hidden")],
        "branch", [], [helper.make_tensor_value_info("i", TensorProto.INT32, None)],
    )  # fmt: skip
    node = helper.make_node("If", ["c"], ["j"], name="choose", then_branch=inner, else_branch=inner)
    out = helper.make_node("Identity", ["x"], ["y"], name="pass")
    found = lint(model_of([node, out], {"c": np.array(True)}))
    assert any("If choose holds a subgraph" in line for line in found)


def test_functions_need_their_bodies() -> None:
    model = head()
    del model.functions[:]
    assert any("'lift' has no body" in line for line in lint(model))
