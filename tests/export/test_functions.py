"""The bodies of the ai.edgesafe operators against the float64 geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgesafe.calib.retrieval.traversal import traverse
from edgesafe.export.functions import DOMAIN, OPERATORS, attach_functions, function
from edgesafe.runtime import lorentz

PAIRS = ("LorentzDistance", "ExteriorAngle")
CURVATURES = (0.1, 1.0, 10.0)
TAU = 0.5


def graph(name: str, opset: int = 18, **attributes: Any) -> onnx.ModelProto:
    """A model of one node."""
    points = {"X": ["N", "d"], "C": []}
    if name in PAIRS:
        points = {"X": ["N", "d"], "Z": ["M", "d"], "C": []}
    if name == "Traverse":
        points = {"X": ["N", "d"], "T": [], "C": []}
    mapped = {"ExpMap0": ["N", "d"], "Traverse": ["N", "d"]}
    shape = mapped.get(name, ["N", "M"] if name in PAIRS else ["N"])
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in points.items()]
    node = helper.make_node(name, list(points), ["Y"], domain=DOMAIN, **attributes)
    output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, shape)
    model = helper.make_model(
        helper.make_graph([node], "one", inputs, [output]),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    attach_functions(model)
    return model


def session(model: onnx.ModelProto, optimized: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if optimized:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def points(seed: int, count: int = 24, d: int = 96) -> np.ndarray:
    """Directions at random, norms 1e-6 to 20."""
    rng = np.random.default_rng(seed)
    v = rng.standard_normal((count, d))
    norms = 10 ** rng.uniform(-6, np.log10(20), (count, 1))
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True) * norms, np.float32)


def neighbours(x: np.ndarray) -> np.ndarray:
    """Points on the ray, a little aside, and far away of each point."""
    rng = np.random.default_rng(9)
    aside = rng.standard_normal(x.shape).astype(np.float32)
    aside *= np.linalg.norm(x, axis=1, keepdims=True) / np.linalg.norm(aside, axis=1, keepdims=True)
    steps = (10.0 ** rng.uniform(-5, 0, (len(x), 1))).astype(np.float32)
    return np.concatenate([x[:8] * 0.7, x[8:16] * 1.01, x[:8] + steps[:8] * aside[:8], -x[:4]])


def expected(name: str, x: np.ndarray, z: np.ndarray, c: float) -> np.ndarray:
    wide, other = x.astype(np.float64), z.astype(np.float64)
    return {
        "ExpMap0": lambda: lorentz.exp_map0(wide, c),
        "RootDistance": lambda: lorentz.root_distance(wide, c),
        "Traverse": lambda: traverse(wide, TAU, c)[0],
        "HalfAperture": lambda: lorentz.half_aperture(wide, c),
        "LorentzDistance": lambda: lorentz.distance(wide[:, None], other[None], c),
        "ExteriorAngle": lambda: lorentz.exterior_angle(wide[:, None], other[None], c),
    }[name]()


# Relative for lengths, absolute for angles. ExpMap0 at norm 20 and c = 10 is sinh(63), whose
# condition number is 63: the loss is that of rounding its argument to float32.
TOLERANCE = {
    "ExpMap0": 1.5e-5,
    "RootDistance": 1e-6,
    "Traverse": 1e-6,
    "HalfAperture": 1e-6,
    "LorentzDistance": 4e-5,
    "ExteriorAngle": 4e-6,
}


@pytest.mark.parametrize("runtime", ["onnxruntime", "reference"])
@pytest.mark.parametrize("name", OPERATORS)
def test_bodies_compute_the_geometry(name: str, runtime: str) -> None:
    options: dict[str, Any] = {"min_radius": 0.1} if name == "HalfAperture" else {}
    model = graph(name, **options)
    run: Any = session(model).run if runtime == "onnxruntime" else ReferenceEvaluator(model).run
    x = points(1)
    z = np.concatenate([points(2), neighbours(x)])
    for c in CURVATURES:
        feeds = {"X": x, "C": np.array(c, np.float32)} | ({"Z": z} if name in PAIRS else {})
        if name == "Traverse":
            feeds["T"] = np.array(TAU, np.float32)
        (got,) = run(None, feeds)
        truth = expected(name, x, z, float(np.float32(c)))
        assert got.shape == truth.shape and got.dtype == np.float32
        angle = name == "ExteriorAngle"
        np.testing.assert_allclose(
            got, truth, rtol=0 if angle else TOLERANCE[name], atol=TOLERANCE[name] if angle else 0
        )


@pytest.mark.parametrize("opset", [18, 20, 22])
@pytest.mark.parametrize("name", OPERATORS)
def test_checker_and_shape_inference(name: str, opset: int) -> None:
    model = graph(name, opset)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    assert inferred.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"


@pytest.mark.parametrize("name", OPERATORS)
def test_bodies_are_made_for_devices(name: str) -> None:
    body = function(name)
    assert not {n.domain for n in body.node} - {""}
    assert not {n.op_type for n in body.node} & {"MatMul", "Gemm", "Atan2", "Acosh", "Acos"}
    inner = [*body.input, *body.output, *(o for n in body.node for o in n.output)]
    assert all(value.startswith(f"{name}__") for value in inner)
    assert len({n.name for n in body.node}) == len(body.node)


@pytest.mark.parametrize("name", OPERATORS)
def test_onnx_runtime_inlines_the_function(name: str, tmp_path: Path) -> None:
    session(graph(name), tmp_path / "optimized.onnx")
    optimized = onnx.load(tmp_path / "optimized.onnx")
    assert optimized.graph.node
    assert DOMAIN not in {n.domain for n in optimized.graph.node}


def test_limits() -> None:
    c = np.array(1.0, np.float32)
    x = np.array([[0.0, 0.0], [1e-30, 0.0], [0.1, 0.0], [0.2, 0.0], [0.4, 0.0]], np.float32)
    (aperture,) = session(graph("HalfAperture")).run(None, {"X": x, "C": c})
    np.testing.assert_allclose(aperture, [*[np.pi / 2] * 4, np.pi / 6], rtol=2e-7)
    (narrow,) = session(graph("HalfAperture", min_radius=0.05)).run(None, {"X": x, "C": c})
    assert narrow[4] == pytest.approx(np.arcsin(0.25), rel=1e-6)
    (moved,) = session(graph("Traverse")).run(
        None, {"X": x, "T": np.array(0.2, np.float32), "C": c}
    )
    np.testing.assert_array_equal(moved[:4], x[:4])  # nearer than 0.2, asinh(0.2) = 0.1987
    np.testing.assert_allclose(np.arcsinh(moved[4, 0]), 0.2, rtol=2e-7)
    (mapped,) = session(graph("ExpMap0")).run(None, {"X": x, "C": c})
    np.testing.assert_allclose(mapped[:, 0], np.sinh(x[:, 0].astype(np.float64)), rtol=2e-7)
    (huge,) = session(graph("ExpMap0")).run(None, {"X": x * 1e4, "C": c})
    assert np.isfinite(huge).all()
    angle = session(graph("ExteriorAngle"))
    (got,) = angle.run(None, {"X": x[3:], "Z": x[[0, 3, 4]], "C": c})
    np.testing.assert_allclose(got, [[np.pi, 0, 0], [np.pi, np.pi, 0]], atol=1e-6)
    (at_root,) = angle.run(None, {"X": x[:1], "Z": x[3:], "C": c})
    np.testing.assert_allclose(at_root, np.pi / 2, rtol=2e-7)
    (same,) = session(graph("LorentzDistance")).run(None, {"X": x, "Z": x, "C": c})
    assert not np.diag(same).any()


@pytest.mark.parametrize("name", ["ExpMap0", "RootDistance"])
def test_not_a_number_stays_one(name: str) -> None:
    x = np.array([[np.nan, 1.0]], np.float32)
    (got,) = session(graph(name)).run(None, {"X": x, "C": np.array(1.0, np.float32)})
    assert np.isnan(got).all()


def test_only_called_functions_are_attached() -> None:
    model = graph("RootDistance")
    assert [f.name for f in model.functions] == ["RootDistance"]
    attach_functions(model)
    assert [f.name for f in model.functions] == ["RootDistance"]
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18), (DOMAIN, 1)]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="opset 18"):
        function("ExpMap0", 17)
    node = helper.make_node("Nothing", ["X"], ["Y"], domain=DOMAIN)
    strange = helper.make_model(helper.make_graph([node], "g", [], []))
    with pytest.raises(ValueError, match="Nothing"):
        attach_functions(strange)
