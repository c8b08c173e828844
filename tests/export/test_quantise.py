"""INT8: ranges, weights, bias correction, hard layers, the cache, other tools' graphs."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from edgesafe.export import quantise as quantise_module
from edgesafe.export.effect import embedding_effect
from edgesafe.export.graph import EMBEDDING, ROOT_DISTANCE
from edgesafe.export.lower import lower, run_graph
from edgesafe.export.policy import lint
from edgesafe.export.qdq import candidates, insert_qdq, quantise_mse
from edgesafe.export.quantise import choose_method, fingerprint, quantise
from edgesafe.export.quantisers import quantise_with, to_int8
from edgesafe.export.ranges import Spread, best_limit, observe
from edgesafe.export.sensitivity import Hardness, hard_nodes, measure_hardness
from edgesafe.export.typed_graph import constants_of, name_nodes, split_head
from edgesafe.runtime.errors import UsageError

_TOWERS = runpy.run_path(str(Path(__file__).with_name("typed_towers.py")))
image_tower, pictures = _TOWERS["image_tower"], _TOWERS["pictures"]

OUTPUTS = (EMBEDDING, ROOT_DISTANCE)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESAFE_CACHE", str(tmp_path / "cache"))


def tower() -> ModelProto:
    model = image_tower()
    name_nodes(model)
    split_head(model)
    return model


def test_spread_of_a_tensor() -> None:
    spread = observe(tower(), ["pixels", "r1"], pictures(6))
    pixels = np.concatenate([p["pixels"] for p in pictures(6)])
    assert spread["pixels"].largest == pytest.approx(np.abs(pixels).max())
    np.testing.assert_allclose(spread["pixels"].means, pixels.mean(axis=(0, 2, 3)), atol=1e-6)
    assert spread["pixels"].counts.sum() == pixels.size
    assert spread["r1"].means.shape == (24,)


def test_outliers_are_clipped_and_flat_spreads_are_not() -> None:
    flat = Spread(2.0, np.ones(2048), np.zeros(1))
    assert best_limit(flat) == pytest.approx(2.0, rel=0.03)
    counts = np.zeros(2048)
    counts[:400] = 1e6
    counts[-1] = 1
    assert best_limit(Spread(2.0, counts, np.zeros(1))) < 1.0
    assert best_limit(Spread(0.0, np.ones(2048), np.zeros(1))) == 1.0


def test_quantised_graph_keeps_the_policy_and_the_answers() -> None:
    data = image_tower().SerializeToString()
    lowered = lower(data, "int8", pictures(16), method="mse", budget=0.0)
    model = onnx.load_from_string(lowered.onnx)
    assert lint(model) == []
    kinds = [node.op_type for node in model.graph.node]
    # Three matrix operators: a pair of activations and a stored weight each.
    assert kinds.count("QuantizeLinear") == 3 and kinds.count("DequantizeLinear") == 6
    stored = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert {tuple(t.dims) for t in stored} >= {(24, 3, 3, 3), (32, 24, 3, 3), (32, 16)}
    truth = run_graph(data, OUTPUTS, pictures(32, seed=7))
    found = run_graph(lowered.onnx, OUTPUTS, pictures(32, seed=7), precision="int8")
    effect = embedding_effect(found, truth, threshold=None, unsafe=[None] * 32, scores=None)
    assert 0.99 < effect["cosine_mean"] < 1
    assert effect["root_distance_shift_mean"] < 0.02


def test_bias_correction_removes_the_shift_of_the_mean() -> None:
    model = tower()
    nodes = [node for node in candidates(model) if node.name == "second"]
    batches = pictures(24)
    spreads = observe(model, ["r1"], batches)
    blind = {"r1": Spread(spreads["r1"].largest, spreads["r1"].counts, np.zeros(24))}

    def shift(spread: dict[str, Spread]) -> float:
        found = observe(insert_qdq(model, nodes, spread), ["c2"], batches)["c2"].means
        return float(np.abs(found - observe(model, ["c2"], batches)["c2"].means).mean())

    assert shift(spreads) < 0.7 * shift(blind)


def test_hard_layers_are_found_and_kept_within_a_budget() -> None:
    model = tower()
    found = {item.node: item for item in measure_hardness(model, pictures(8))}
    assert set(found) == {"first", "second", "project"}
    # Outputs 5 x 5 from 12 x 12 with stride 2, then 3 x 3.
    assert found["first"].macs == 24 * 27 * 25 and found["second"].macs == 32 * 24 * 9 * 9
    assert found["project"].macs == 32 * 16 and all(h.error > 0 for h in found.values())
    made = [Hardness("a", 1.0, 10), Hardness("b", 5.0, 100), Hardness("c", 0.1, 890)]
    assert hard_nodes(made, 0.01) == ["a"]
    assert hard_nodes(made, 0.2) == ["a", "b"]
    kept = quantise_mse(model, pictures(4), ["first"])
    first = next(node for node in kept.graph.node if node.name == "first")
    assert list(first.input[:2]) == ["pixels", "w1"]


def test_the_result_is_cached_by_graph_data_and_method(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = tower(), pictures(6)
    one = quantise(model, data, "mse")
    two = quantise(model, data, "mse")
    assert (one.cached, two.cached) == (False, True)
    assert one.model.SerializeToString() == two.model.SerializeToString()
    assert one.to_json() == {
        "method": "mse",
        "data_sha256": fingerprint(data),
        "onnx_sha256": one.onnx_sha256,
        "n": 6,
        "keep": 0.1,
    }
    assert not quantise(model, pictures(6, seed=3), "mse").cached
    assert not quantise(model, data, "mse", budget=0.5).cached
    other = tower()
    other.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(
            numpy_helper.to_array(other.graph.initializer[0]) * 2, other.graph.initializer[0].name
        )
    )
    assert not quantise(other, data, "mse").cached
    assert not quantise(model, data, "mse", cache=False).cached


def test_operators_are_measured_once_for_all_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def counted(model: ModelProto, batches: list[dict[str, np.ndarray]]) -> list[Hardness]:
        measured.append(len(batches))
        return measure_hardness(model, batches)

    monkeypatch.setattr(quantise_module, "measure_hardness", counted)
    model, data = tower(), pictures(6)
    kept = quantise(model, data, "mse", budget=0.5)
    assert quantise(model, data, "mse", budget=0.2).keep == 0.2 and measured == [6]
    again = quantise(model, data, "mse", budget=0.5, cache=False)
    assert measured == [6, 6]
    assert again.model.SerializeToString() == kept.model.SerializeToString()


def test_method_and_data_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="give --calib"):
        quantise(tower(), [])
    with pytest.raises(UsageError, match="unknown"):
        quantise(tower(), pictures(1), "guess")
    monkeypatch.setattr(quantise_module, "available", lambda method: False)
    assert choose_method(tower()) == "mse"  # a transformer by its norm, but no nncf here
    monkeypatch.setattr(quantise_module, "available", lambda method: True)
    assert choose_method(tower()) == "nncf"
    monkeypatch.setattr("edgesafe.export.quantisers.available", lambda method: False)
    with pytest.raises(UsageError, match="pip install nncf"):
        quantise_with("nncf", tower(), pictures(1), (), transformer=True)


def test_unsigned_pairs_become_signed_ones() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[batch, 2] x) => (float[batch, 2] y) '
        "{ q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"
    )
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(0.01, np.float32), "s"),
            numpy_helper.from_array(np.array(0, np.uint8), "z"),
        ]
    )
    to_int8(model)
    constants = constants_of(model)
    assert {a.dtype for a in constants.values()} == {np.dtype(np.int8), np.dtype(np.float32)}
    x = np.array([[2.5, 0.013]], np.float32)
    (y,) = run_graph(model.SerializeToString(), ["y"], [{"x": x}], precision="int8").values()
    # The same range, with half as many steps.
    np.testing.assert_allclose(y, x, atol=0.01 * 255 / 127 / 2 + 1e-6)


@pytest.mark.parametrize("method", ["ort-minmax", "nncf"])
@pytest.mark.slow
def test_other_quantisers_keep_the_policy(method: str) -> None:
    if method == "nncf" and importlib.util.find_spec("nncf") is None:
        pytest.skip("needs nncf")
    data = image_tower().SerializeToString()
    lowered = lower(data, "int8", pictures(12), method=method, budget=0.0)
    model = onnx.load_from_string(lowered.onnx)
    assert lint(model) == []
    assert "QuantizeLinear" in {node.op_type for node in model.graph.node}
    truth = run_graph(data, OUTPUTS, pictures(16, seed=7))
    found = run_graph(lowered.onnx, OUTPUTS, pictures(16, seed=7), precision="int8")
    effect = embedding_effect(found, truth, threshold=None, unsafe=[None] * 16, scores=None)
    assert effect["cosine_mean"] > 0.97
