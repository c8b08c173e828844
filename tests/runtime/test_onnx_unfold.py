from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.onnx_unfold import unfold_weights

onnx = pytest.importorskip("onnx")

WEIGHT = np.arange(-12, 12, dtype=np.int8).reshape(4, 6)


def model(
    *, axis: int | None, zero: bool = False, unsigned: bool = False, typed_data: bool = False
) -> bytes:
    """y = x DequantizeLinear(W), z = Cast(W): W is read twice."""
    from onnx import TensorProto, helper, numpy_helper

    kind = np.uint8 if unsigned else np.int8
    count = {None: 1, 0: 4, 1: 6, -2: 4}[axis]
    scale = np.linspace(0.1, 0.7, count, dtype=np.float32)
    values = {"W": WEIGHT.astype(kind), "s": scale if axis is not None else scale[0]}
    if zero:
        values["o"] = np.arange(count, dtype=kind) if axis is not None else np.array(3, kind)
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in values.items()]
    if typed_data:
        tensors[0] = helper.make_tensor("W", TensorProto.INT8, (4, 6), WEIGHT.ravel().tolist())
    attributes = {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("DequantizeLinear", list(values), ["w"], **attributes),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Cast", ["W"], ["z"], to=TensorProto.FLOAT),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, ["batch", 4])],
        [value("y", TensorProto.FLOAT, ["batch", 6]), value("z", TensorProto.FLOAT, [4, 6])],
        tensors,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


def run(data: bytes) -> list[Any]:
    import onnxruntime

    x = np.eye(4, dtype=np.float32)[:3]
    return list(onnxruntime.InferenceSession(data).run(None, {"x": x}))


@pytest.mark.parametrize("axis", [None, 0, 1, -2])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("unsigned", [False, True])
def test_it_computes_the_same_without_dequantising(
    axis: int | None, zero: bool, unsigned: bool
) -> None:
    before = model(axis=axis, zero=zero, unsigned=unsigned)
    after = unfold_weights(before)
    plain = onnx.load_model_from_string(after)
    onnx.checker.check_model(plain, full_check=True)
    assert [node.op_type for node in plain.graph.node] == ["MatMul", "Cast"]
    # W is still read by the Cast; scale and zero point have gone.
    assert {tensor.name for tensor in plain.graph.initializer} == {"W", "w"}
    for found, wanted in zip(run(after), run(before), strict=True):
        # ONNX Runtime fuses the two operators and rounds in between.
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_other_forms_are_left_alone() -> None:
    before = model(axis=0, typed_data=True)
    plain = onnx.load_model_from_string(unfold_weights(before))
    assert plain.graph.node[0].op_type == "DequantizeLinear"
    for found, wanted in zip(run(plain.SerializeToString()), run(before), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(PackageError, match="not an ONNX model"):
        unfold_weights(model(axis=0)[:-7])


def test_the_shipped_text_encoder() -> None:
    """Its weights are stored in int8; the answers stay those of ONNX Runtime's own folding."""
    from edgesafe.runtime.package import default_model_path
    from edgesafe.runtime.sessions import open_session

    data = (default_model_path() / "text.onnx").read_bytes()
    restored = unfold_weights(data)
    kinds = {n.op_type for n in onnx.load_model_from_string(restored).graph.node}
    assert "DequantizeLinear" not in kinds and len(restored) > 2 * len(data)
    feed = {name: np.ones((1, 8), np.int64) for name in ("input_ids", "attention_mask")}
    a, b = (
        open_session(m, backend="cpu", threads=1).run(("embedding",), feed)[0]
        for m in (data, restored)
    )
    np.testing.assert_allclose(a, b, atol=1e-6)
