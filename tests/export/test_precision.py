"""Typed float16 graphs: what is half, what is not, and what it costs."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgesafe.export.effect import check_effect, embedding_effect, pose_effect
from edgesafe.export.graph import EMBEDDING, ROOT_DISTANCE
from edgesafe.export.lower import lower, run_graph
from edgesafe.export.policy import lint
from edgesafe.export.typed_graph import (
    constants_of,
    element_types,
    fold_weights,
    join_head,
    name_nodes,
    soften_masks,
    split_head,
    tail,
)
from edgesafe.runtime.errors import ExportError
from edgesafe.runtime.thresholds import Band, Threshold

_TOWERS = runpy.run_path(str(Path(__file__).with_name("typed_towers.py")))
image_tower, pictures = _TOWERS["image_tower"], _TOWERS["pictures"]
HALF = Threshold(0.5, (0.5, 0.5), 0.95, 4, None, None, "by hand", "0" * 64)

OUTPUTS = (EMBEDDING, ROOT_DISTANCE)


@pytest.mark.parametrize("storage", ["fp16", "int8"])
def test_stored_weights_are_folded_without_loss(storage: str) -> None:
    model = image_tower(storage=storage)
    before = run_graph(model.SerializeToString(), OUTPUTS, pictures(3))
    fold_weights(model)
    assert {n.op_type for n in model.graph.node}.isdisjoint({"Cast", "DequantizeLinear"})
    assert constants_of(model)["w2"].dtype == np.float32
    after = run_graph(model.SerializeToString(), OUTPUTS, pictures(3))
    for name in OUTPUTS:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=1e-6)


def test_the_head_is_taken_off_and_put_back() -> None:
    model = image_tower()
    head = split_head(model)
    assert [node.name for node in head.nodes] == ["lift", "root"]
    assert [o.name for o in model.graph.output] == ["tangent"] and not model.functions
    assert "curvature" not in constants_of(model)
    join_head(model, head)
    assert [o.name for o in model.graph.output] == list(OUTPUTS)
    del model.graph.node[:]
    with pytest.raises(ExportError, match="lost the tensor 'tangent'"):
        join_head(model, head)


def test_the_tail_begins_after_the_projection() -> None:
    assert tail(image_tower()) == {"scaled", "lift", "root"}


def test_masks_stay_finite_in_half_precision() -> None:
    lowest = np.array([0, np.finfo(np.float32).min], np.float32)
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[batch, 2] x) => (float[batch, 2] y) '
        "{ y = Add(x, mask) }"
    )
    model.graph.initializer.append(numpy_helper.from_array(lowest, "mask"))
    soften_masks(model)
    assert constants_of(model)["mask"].tolist() == [0, -30000]


@pytest.fixture(scope="module")
def half() -> onnx.ModelProto:
    lowered = lower(image_tower().SerializeToString(), "fp16", pictures(4))
    return onnx.load_from_string(lowered.onnx)


def test_types_of_a_half_graph(half: onnx.ModelProto) -> None:
    types = element_types(half)
    by_name = {node.name: node for node in half.graph.node}
    for name in ("first", "relu", "second", "norm", "project"):
        assert types[by_name[name].output[0]] == TensorProto.FLOAT16
    # Reductions, the tail and the head are float32; the cast stands right after the projection.
    for name in ("pool", "scaled", "lift", "root"):
        assert types[by_name[name].output[0]] == TensorProto.FLOAT
    after = [n for n in half.graph.node if by_name["project"].output[0] in n.input]
    assert [n.op_type for n in after] == ["Cast"] and types[after[0].output[0]] == TensorProto.FLOAT
    assert [n.op_type for n in half.graph.node].count("LayerNormalization") == 1
    assert lint(half) == []
    assert [v.type.tensor_type.elem_type for v in half.graph.input] == [TensorProto.FLOAT]


def test_half_precision_is_exact_enough(half: onnx.ModelProto) -> None:
    truth = run_graph(image_tower().SerializeToString(), OUTPUTS, pictures(8, seed=5))
    found = run_graph(half.SerializeToString(), OUTPUTS, pictures(8, seed=5), precision="fp16")
    effect = embedding_effect(found, truth, threshold=None, unsafe=[None] * 8, scores=None)
    assert effect["cosine_min"] > 0.99999 and 0 < effect["root_distance_shift_max"] < 2e-3
    assert check_effect(effect, "fp16", "image.onnx") is None


def test_what_would_overflow_stays_in_float32() -> None:
    data = image_tower(large=4e4).SerializeToString()
    lowered = lower(data, "fp16", pictures(4))
    assert "reaches" in lowered.islands["first"] and "reaches" in lowered.islands["shrink"]
    truth = run_graph(data, OUTPUTS, pictures(4))
    found = run_graph(lowered.onnx, OUTPUTS, pictures(4), precision="fp16")
    np.testing.assert_allclose(found[EMBEDDING], truth[EMBEDDING], atol=3e-3)


def test_fp32_is_the_graph_with_unfolded_weights() -> None:
    lowered = lower(image_tower(storage="int8").SerializeToString(), "fp32", [])
    model = onnx.load_from_string(lowered.onnx)
    assert {t.data_type for t in model.graph.initializer} <= {
        TensorProto.FLOAT,
        TensorProto.INT64,
    }


def test_nodes_get_names_of_their_own() -> None:
    model = image_tower()
    name_nodes(model)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names) and all(names)


def test_effects_are_measured_and_judged() -> None:
    truth = {"embedding": np.eye(4), "root_distance": np.array([0.1, 0.4, 0.6, 0.9])}
    found = {
        "embedding": np.eye(4) + 0.1 * np.roll(np.eye(4), 1, axis=1),
        "root_distance": np.array([0.1, 0.55, 0.6, 0.9]),
    }
    scores = found["root_distance"], truth["root_distance"]
    effect = embedding_effect(found, truth, threshold=HALF, unsafe=[None] * 4, scores=scores)
    assert effect["verdict_flips"] == 0.25 and "auc_loss" not in effect
    # From 0.4 to 0.55 crosses the lower end of the first band and the upper one of the second.
    for ends, flips in (((0.5, 0.7), 0.25), ((0.3, 0.5), 0.25), ((0.3, 0.7), 0.0)):
        banded = replace(HALF, band=Band(*ends))
        other = embedding_effect(found, truth, threshold=banded, unsafe=[None] * 4, scores=scores)
        assert other["verdict_flips"] == flips
    assert effect["root_distance_shift_max"] == pytest.approx(0.15)
    assert effect["cosine_min"] == pytest.approx(1 / np.sqrt(1.01))
    # One case of a few dozen may flip, two may not; of four cases none may.
    assert check_effect({**effect, "n": 40, "verdict_flips": 1 / 40}, "int8", "x") is None
    wrong = check_effect({**effect, "n": 40, "verdict_flips": 2 / 40}, "int8", "image.onnx")
    assert wrong == "image.onnx in int8: verdict_flips is 0.05, the limit is 0.025"
    assert "the limit is 0.005" in (check_effect(effect, "int8", "x") or "")
    with pytest.raises(ExportError, match="not finite"):
        check_effect({**effect, "cosine_mean": float("nan")}, "int8", "x")


def test_labelled_cases_give_an_area_under_the_curve() -> None:
    unsafe = [False] * 20 + [True] * 20 + [None]
    true = np.array([*np.linspace(0, 0.4, 20), *np.linspace(0.5, 1, 20), 0.0])
    one = {"embedding": np.ones((41, 2)), "root_distance": true}
    swapped = np.where(true == true[19], 0.99, true)
    effect = embedding_effect(
        one, one, threshold=replace(HALF, value=0.45), unsafe=unsafe, scores=(swapped, true)
    )
    # One safe case above 19 of the 20 unsafe ones.
    assert effect["auc_loss"] == pytest.approx(19 / 400)


def test_pose_effects_have_units() -> None:
    truth = {
        "keypoints": np.zeros((1, 4, 2)),
        "covariance": np.tile([4.0, 0, 0], (1, 4, 1)),
        "rotation": np.eye(3)[None],
        "mask": np.zeros((1, 1, 2, 2)),
    }
    turned = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    found = {
        "keypoints": np.tile([3.0, 4.0], (1, 4, 1)),
        "covariance": np.tile([1.0, 0, 0], (1, 4, 1)),
        "rotation": turned[None],
        "mask": np.full((1, 1, 2, 2), 0.25),
    }
    effect = pose_effect(found, truth)
    assert effect["keypoint_px_mean"] == 5 and effect["deviation_px_max"] == 1
    assert effect["rotation_deg_mean"] == pytest.approx(90) and effect["mask_mean"] == 0.25
    assert "keypoint_px_mean is 5" in (check_effect(effect, "int8", "roi.onnx") or "")


def test_casts_of_masks_become_half() -> None:
    """A cast to float of the tower is one to half, not one to float and back."""
    nodes = [
        helper.make_node("Cast", ["mask"], ["m"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["m", "w"], ["y"], name="project"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("mask", TensorProto.INT64, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.ones((4, 2), np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    batch = {"mask": np.ones((1, 4), np.int64)}
    lowered = onnx.load_from_string(lower(model.SerializeToString(), "fp16", [batch]).onnx)
    casts = [node for node in lowered.graph.node if node.op_type == "Cast"]
    assert [helper.get_node_attr_value(node, "to") for node in casts] == [
        TensorProto.FLOAT16,
        TensorProto.FLOAT,
    ]
    assert run_graph(lowered.SerializeToString(), ["y"], [batch])["y"].tolist() == [[4, 4]]
