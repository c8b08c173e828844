"""Small towers with everything that a change of precision has to treat."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgesafe.export.functions import DOMAIN, attach_functions
from edgesafe.export.graph import EMBEDDING, ROOT_DISTANCE

DIM = 16
SIDE = 12


def image_tower(*, storage: str = "fp32", seed: int = 0, large: float = 1.0) -> ModelProto:
    """Two convolutions, a pooled product, a projection, the hyperbolic head.

    Args:
        storage: ``fp32``, or ``fp16`` or ``int8`` for the weight of the second convolution.
        seed: Of the weights.
        large: Factor of the first convolution's outputs.
    """
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        fan = int(np.prod(shape[1:]))
        return (rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32)

    constants = {
        "w1": normal(24, 3, 3, 3) * np.float32(large),
        "b1": normal(24),
        "b2": normal(32),
        "small": np.array(1 / large, np.float32),
        "gamma": np.ones(32, np.float32),
        "beta": np.zeros(32, np.float32),
        "w3": normal(32, DIM).astype(np.float32),
        "b3": normal(DIM),
        "axes": np.array([2, 3], np.int64),
        "scale": np.array(0.3, np.float32),
        "curvature": np.array(0.5, np.float32),
    }
    w2 = normal(32, 24, 3, 3)
    nodes = []
    if storage == "fp32":
        constants["w2"] = w2
    elif storage == "fp16":
        constants["w2.fp16"] = w2.astype(np.float16)
        nodes.append(helper.make_node("Cast", ["w2.fp16"], ["w2"], to=TensorProto.FLOAT))
    else:
        peak = np.abs(w2).max(axis=(1, 2, 3)) / 127
        quotient = np.rint(w2 / peak[:, None, None, None])
        constants |= {"w2.int8": quotient.astype(np.int8), "w2.scale": peak.astype(np.float32)}
        nodes.append(helper.make_node("DequantizeLinear", ["w2.int8", "w2.scale"], ["w2"], axis=0))
    nodes += [
        helper.make_node("Conv", ["pixels", "w1", "b1"], ["c1"], name="first", strides=[2, 2]),
        helper.make_node("Mul", ["c1", "small"], ["m1"], name="shrink"),
        helper.make_node("Relu", ["m1"], ["r1"], name="relu"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="second"),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("ReduceMean", ["r2", "axes"], ["pooled"], name="pool", keepdims=0),
        helper.make_node("LayerNormalization", ["pooled", "gamma", "beta"], ["n"], name="norm"),
        helper.make_node("Gemm", ["n", "w3", "b3"], ["features"], name="project"),
        helper.make_node("Mul", ["features", "scale"], ["tangent"], name="scaled"),
        helper.make_node("ExpMap0", ["tangent", "curvature"], [EMBEDDING], name="lift",
                         domain=DOMAIN),
        helper.make_node("RootDistance", [EMBEDDING, "curvature"], [ROOT_DISTANCE], name="root",
                         domain=DOMAIN),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "tower",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["batch", DIM]),
            helper.make_tensor_value_info(ROOT_DISTANCE, TensorProto.FLOAT, ["batch"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    attach_functions(model)
    return model


def pictures(count: int, seed: int = 1) -> list[dict[str, np.ndarray]]:
    """Inputs with a batch of one."""
    rng = np.random.default_rng(seed)
    shape = (count, 1, 3, SIDE, SIDE)
    return [{"pixels": p} for p in rng.standard_normal(shape).astype(np.float32)]
