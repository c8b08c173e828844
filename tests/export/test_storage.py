"""Weight storage: rounding in torch, lossless re-encoding in ONNX."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgesafe.export.storage import STORAGES, Storage, round_weights, store_weights


def model_of(**arrays: np.ndarray) -> onnx.ModelProto:
    """A model that returns its initialisers."""
    tensors = [numpy_helper.from_array(a, n) for n, a in arrays.items()]
    nodes = [helper.make_node("Identity", [n], [f"{n}_out"]) for n in arrays]
    outputs = [
        helper.make_tensor_value_info(f"{n}_out", TensorProto.FLOAT, a.shape)
        for n, a in arrays.items()
    ]
    graph = helper.make_graph(nodes, "weights", [], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [o.name for o in session.get_outputs()]
    return dict(zip((n.removesuffix("_out") for n in names), session.run(names, {}), strict=True))


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.linear = nn.Linear(80, 64)
        self.table = nn.Embedding(100, 48)
        self.conv = nn.Conv2d(16, 32, 3)
        self.small = nn.Linear(20, 15)
        self.norm = nn.LayerNorm(64)
        self.bare = nn.Parameter(torch.randn(64, 96) * torch.logspace(-3, 0, 96))
        self.register_buffer("bank", torch.randn(70, 64))
        self.register_buffer("mask", torch.full((70, 70), -torch.inf).triu(1))


def weights(module: nn.Module) -> dict[str, np.ndarray]:
    return {
        name.replace(".", "_"): tensor.detach().numpy().copy()
        for name, tensor in module.state_dict().items()
    }


@pytest.mark.parametrize("storage", STORAGES)
def test_round_trip_is_exact(storage: Storage) -> None:
    layers = Layers()
    round_weights(layers, storage)
    rounded = weights(layers)
    # The exporter transposes the weights of matrix products.
    rounded["linear_weight"] = rounded["linear_weight"].T.copy()
    model = model_of(**rounded)
    plain = model.ByteSize()
    sizes = store_weights(model, storage)
    for name, array in run(model).items():
        np.testing.assert_allclose(array, rounded[name], rtol=2e-7, atol=0, err_msg=name)
    left = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    vectors = {n for n, a in rounded.items() if a.ndim < 2} | {"mask"}
    if storage == "fp32":
        assert sizes.total == sizes.fp32 and left == set(rounded)
    else:
        assert {n for n in left if not n.endswith(".scale")} == vectors
        assert model.ByteSize() < plain * (0.65 if storage == "fp16" else 0.5)


def test_int8_is_symmetric_per_channel_behind_dequantize_linear() -> None:
    layers = Layers()
    round_weights(layers, "int8")
    model = model_of(**weights(layers))
    store_weights(model, "int8")
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    nodes = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    assert set(nodes) == {"linear_weight", "table_weight", "conv_weight", "bare", "bank"}
    for name, node in nodes.items():
        values, scale = (tensors[i] for i in node.input)  # no zero point
        assert values.dtype == np.int8 and values.min() >= -127
        axis = node.attribute[0].i
        assert axis == (1 if name in ("bare", "bank") else 0)
        assert scale.shape == (values.shape[axis],) and scale.dtype == np.float32
    assert Counter(n.op_type for n in model.graph.node)["Cast"] == 1  # `small`, as fp16


@pytest.mark.parametrize(("storage", "loss"), [("fp16", 5e-4), ("int8", 1e-2)])
def test_rounding_error_is_small(storage: Storage, loss: float) -> None:
    before, layers = Layers(), Layers()
    round_weights(layers, storage)
    for (name, a), b in zip(before.state_dict().items(), layers.state_dict().values(), strict=True):
        if a.ndim < 2 or name == "mask":
            assert torch.equal(a, b), name
        else:
            assert 0 < (a - b).norm() / a.norm() < loss, name


def test_rounding_twice_changes_nothing_more() -> None:
    layers = Layers()
    round_weights(layers, "int8")
    once = weights(layers)
    round_weights(layers, "int8")
    for name, array in weights(layers).items():
        np.testing.assert_allclose(array, once[name], rtol=2e-7)


def test_what_half_precision_cannot_hold_stays_float32() -> None:
    layers = nn.Linear(64, 64)
    with torch.no_grad():
        layers.weight.mul_(1e-7)
    before = layers.weight.detach().clone()
    round_weights(layers, "fp16")
    assert torch.equal(layers.weight, before)
    model = model_of(w=before.numpy(), big=np.full((64, 64), 1e5, np.float32))
    sizes = store_weights(model, "fp16")
    assert sizes.fp16 == 0 and sizes.fp32 == 2 * 64 * 64 * 4


def test_weights_that_were_not_rounded_are_not_rounded_behind_the_back() -> None:
    array = np.random.default_rng(0).standard_normal((80, 80)).astype(np.float32)
    model = model_of(w=array)
    assert store_weights(model, "int8").int8 == 0
    np.testing.assert_array_equal(run(model)["w"], array)


def test_zero_channels() -> None:
    layers = nn.Linear(80, 64)
    with torch.no_grad():
        layers.weight[3] = 0
    round_weights(layers, "int8")
    model = model_of(w=layers.weight.detach().numpy())
    store_weights(model, "int8")
    assert not run(model)["w"][3].any()
