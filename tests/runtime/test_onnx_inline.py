"""Inlined models compute what ONNX Runtime computes of the functions themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.onnx_inline import inline_functions

onnx = pytest.importorskip("onnx")

# Nested calls, a default and a given attribute, an output that nobody takes, a name used in both.
TEXT = """
<ir_version: 9, opset_import: ["" : 18, "my" : 1]>
main (float[N, 3] x) => (float[N, 3] y, float[N, 3] z)
<float[3] w = {1, 2, 3}>
{
    t = Mul(x, w)
    y, unused = my.Outer(t, w)
    z = my.Scale <k = 5.0> (t)
}
<domain: "my", opset_import: ["" : 18, "my" : 1]>
Outer (a, b) => (c, d)
{
    t = Add(a, b)
    s = my.Scale(t)
    c = my.Scale <k = 3.0> (s)
    d = Sub(a, b)
}
<domain: "my", opset_import: ["" : 18]>
Scale <k: float = 2.0> (t) => (u)
{
    f = Constant<value_float: float = @k>()
    u = Mul(t, f)
}
"""


def run(model: bytes, x: Any) -> list[Any]:
    import onnxruntime

    return list(onnxruntime.InferenceSession(model).run(None, {"x": x}))


def test_nested_functions_and_attributes() -> None:
    model = onnx.parser.parse_model(TEXT)
    onnx.checker.check_model(model)
    before = model.SerializeToString()
    after = inline_functions(before)
    plain = onnx.load_model_from_string(after)
    onnx.checker.check_model(plain, full_check=True)
    assert not plain.functions
    assert {node.domain for node in plain.graph.node} == {""}
    x = np.array([[1.0, -2.0, 4.0]], np.float32)
    y = (x * [1, 2, 3] + [1, 2, 3]) * 6
    for found, same, expected in zip(
        run(after, x), run(before, x), [y, x * [1, 2, 3] * 5], strict=True
    ):
        np.testing.assert_allclose(found, expected)
        np.testing.assert_array_equal(found, same)


def test_a_model_without_functions_is_left_alone(tiny_image_model: Any) -> None:
    model = tiny_image_model()
    assert inline_functions(model) is model


def test_functions_that_call_themselves_end() -> None:
    model = onnx.parser.parse_model(TEXT)
    for node in model.functions[1].node:
        if node.op_type == "Mul":
            node.op_type, node.domain = "Scale", "my"
    with pytest.raises(PackageError, match="too deeply"):
        inline_functions(model.SerializeToString())


def test_a_graph_in_a_function_is_refused() -> None:
    model = onnx.parser.parse_model(TEXT)
    branch = onnx.helper.make_graph([], "g", [], [])
    model.functions[1].node[0].attribute.append(onnx.helper.make_attribute("body", branch))
    with pytest.raises(PackageError, match="use the backend 'cpu'"):
        inline_functions(model.SerializeToString(), "image.onnx")


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_cut_model_is_refused(cut: int) -> None:
    model = onnx.parser.parse_model(TEXT).SerializeToString()
    with pytest.raises(PackageError, match="cannot be inlined"):
        inline_functions(model[:-cut])
