"""INT8 as explicit ``QuantizeLinear``/``DequantizeLinear`` pairs, symmetric, without zero points.

A pair stands before a matrix operator and nowhere else, so that what follows it (a clip, an
addition, a normalisation) does not cost another rounding. TensorRT and ONNX Runtime fuse the pairs
into integer kernels. Activations have one scale per tensor, as TensorRT asks; weights have one per
output channel and are stored as int8. Both are clipped where the mean square error is least. The
shift of the mean that the rounding of weights causes is taken out of the bias (Nagel et al.,
*Data-Free Quantization Through Weight Equalization and Bias Correction*, ICCV 2019, eq. 17).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgesafe.export.ranges import Batch, Spread, best_limit, observe
from edgesafe.export.typed_graph import MATRIX_OPS, constants_of, tail

__all__ = ["candidates", "channel_axis", "insert_qdq", "quantise_mse"]

Array = NDArray[Any]

_CLIPS = np.linspace(0.6, 1.0, 9)


def candidates(model: ModelProto) -> list[NodeProto]:
    """Returns the matrix operators that can be quantised: constant weights, not in the tail."""
    constants = constants_of(model)
    after = tail(model)
    return [
        node
        for node in model.graph.node
        if node.op_type in MATRIX_OPS - {"Attention"}
        and node.name not in after
        and node.input[0] not in constants
        and node.input[1] in constants
        and constants[node.input[1]].dtype == np.float32
    ]


def channel_axis(node: NodeProto, weight: Array) -> int:
    """Returns the axis of a weight that runs over the outputs of its operator."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return weight.ndim - 1


def quantise_mse(
    model: ModelProto, batches: Sequence[Batch], keep: Collection[str] = ()
) -> ModelProto:
    """Quantises all candidates but those named in ``keep``.

    Args:
        model: A tower in float32, with folded weights and named nodes; left as it is.
        batches: Calibration inputs by name.
        keep: Names of nodes that stay in float32.
    """
    nodes = [node for node in candidates(model) if node.name not in keep]
    spreads = observe(model, [node.input[0] for node in nodes], batches)
    return insert_qdq(model, nodes, spreads)


def insert_qdq(
    model: ModelProto, nodes: Sequence[NodeProto], spreads: Mapping[str, Spread]
) -> ModelProto:
    """Returns a copy of a graph in which some nodes compute in int8.

    Args:
        model: A tower in float32.
        nodes: Some of its :func:`candidates`.
        spreads: Of their first inputs.
    """
    constants = constants_of(model)
    wanted = {node.name for node in nodes}
    made: dict[str, Array] = {}
    pairs: set[str] = set()
    result: list[NodeProto] = []
    for old in model.graph.node:
        node = NodeProto()
        node.CopyFrom(old)
        if node.name in wanted:
            data, weight = node.input[0], node.input[1]
            if data not in pairs:
                pairs.add(data)
                made[f"{data}.scale"] = np.array(best_limit(spreads[data]) / 127, np.float32)
                made[f"{data}.zero"] = np.array(0, np.int8)
                result += _pair(data)
            axis = channel_axis(node, constants[weight])
            values, scale = _round(constants[weight], axis)
            if f"{weight}.int8" not in made:
                made[f"{weight}.int8"] = values
                made[f"{weight}.scale"] = scale.reshape(-1)
                result.append(_restore(weight, axis))
            shift = _mean_shift(node, values * scale - constants[weight], spreads[data].means)
            if shift is not None and len(node.input) > 2 and node.input[2] in constants:
                bias = f"{node.name}.bias"
                made[bias] = (constants[node.input[2]] - shift).astype(np.float32)
                node.input[2] = bias
            node.input[0], node.input[1] = f"{data}.dequantised", f"{weight}.restored"
        result.append(node)
    read = {name for node in result for name in node.input}
    read |= {o.name for o in model.graph.output}
    copy = ModelProto()
    copy.CopyFrom(model)
    kept = [t for t in model.graph.initializer if t.name in read]
    del copy.graph.node[:], copy.graph.initializer[:]
    copy.graph.node.extend(result)
    copy.graph.initializer.extend(kept)
    copy.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in made.items())
    return copy


def _pair(data: str) -> list[NodeProto]:
    constants = [f"{data}.scale", f"{data}.zero"]
    return [
        helper.make_node(
            "QuantizeLinear", [data, *constants], [f"{data}.int8"], name=f"{data}.quantise"
        ),
        helper.make_node(
            "DequantizeLinear",
            [f"{data}.int8", *constants],
            [f"{data}.dequantised"],
            name=f"{data}.dequantise",
        ),
    ]


def _restore(weight: str, axis: int) -> NodeProto:
    return helper.make_node(
        "DequantizeLinear",
        [f"{weight}.int8", f"{weight}.scale"],
        [f"{weight}.restored"],
        name=f"{weight}.restore",
        axis=axis,
    )


def _round(weight: Array, axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 values and the scale, which broadcasts against them."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    peak = np.max(np.abs(weight), axis=others, keepdims=True)
    peak = np.where(peak > 0, peak, 1)
    best = np.full(peak.shape, np.inf)
    scale = (peak / 127).astype(np.float32)
    for clip in _CLIPS:
        tried = (peak * clip / 127).astype(np.float32)
        rounded = np.clip(np.rint(weight / tried), -127, 127) * tried
        error = np.sum((rounded - weight) ** 2, axis=others, keepdims=True)
        scale = np.where(error < best, tried, scale)
        best = np.minimum(error, best)
    return np.clip(np.rint(weight / scale), -127, 127).astype(np.int8), scale


def _mean_shift(node: NodeProto, error: Array, means: Array) -> Array | None:
    """What an error of the weights adds to the mean of each output channel, or None."""
    if node.op_type == "Gemm":
        return np.asarray(error @ means if channel_axis(node, error) == 0 else means @ error)
    if node.op_type != "Conv":
        return None
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    total = error.reshape(error.shape[0], error.shape[1], -1).sum(axis=-1)
    # (groups, outputs of one, inputs of one) times (groups, inputs of one).
    split = total.reshape(groups, -1, total.shape[1])
    return np.asarray(np.einsum("goi,gi->go", split, means.reshape(groups, -1)).reshape(-1))
