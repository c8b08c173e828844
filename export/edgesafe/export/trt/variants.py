"""The graphs of a bundle, made from the graph of a package.

Two things are changed, neither in what is computed:

*Stored weights.* A package may store weights of a network that computes in float32 as int8 behind
``DequantizeLinear``. TensorRT documents weights that are dequantised for products of quantised
operands, and for 4-bit weights; so the others are unfolded here, exactly, unless they are to stay:
TensorRT-RTX takes them as they are, and its engines are then as small as they are. Half-precision
weights behind ``Cast`` always stay: a builder folds them.

*The head.* The function variant carries the bodies of the operators of ``ai.edgesafe`` and runs
everywhere. The plugin variant has the same nodes without bodies, and says in attributes which
plugin computes each: releases differ in whether a function or a plugin of one name wins, and so
nothing is left to that.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgesafe.export.functions import DOMAIN
from edgesafe.runtime.errors import ExportError

__all__ = [
    "PLUGIN_NAMESPACE",
    "PLUGIN_VERSION",
    "function_variant",
    "plugin_variant",
    "unfold_weights",
]

PLUGIN_NAMESPACE = "edgesafe"
"""Python plugins cannot have a dot in theirs, so it is not that of the domain."""

PLUGIN_VERSION = "1"

# Operators that TensorRT runs on integers where both operands are dequantised.
_INTEGER = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
# What may stand between weights and the operator that takes them.
_PASSING = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity"}
_MAX_MODEL_BYTES = 2**31 - 1


def function_variant(data: bytes, *, stored: bool = False) -> bytes:
    """Return the graph that runs on every TensorRT from 10.3.

    Args:
        data: The graph of the package.
        stored: Leave weights stored as int8 as they are.

    Raises:
        ExportError: It is too large for one file.
    """
    if stored:
        return data
    model = onnx.load_from_string(data)
    unfold_weights(model)
    return _serialize(model)


def plugin_variant(function: bytes) -> bytes | None:
    """Return a function variant with its head for plugins; None where it has no head."""
    model = onnx.load_from_string(function)
    nodes = [node for node in model.graph.node if node.domain == DOMAIN]
    if not nodes:
        return None
    defaults = {f.name: f.attribute_proto for f in model.functions if f.domain == DOMAIN}
    for node in nodes:
        own = {attribute.name for attribute in node.attribute}
        # A plugin has no defaults of an ONNX function.
        node.attribute.extend(a for a in defaults.get(node.op_type, ()) if a.name not in own)
        node.attribute.extend(
            [
                helper.make_attribute("plugin_namespace", PLUGIN_NAMESPACE),
                helper.make_attribute("plugin_version", PLUGIN_VERSION),
            ]
        )
    del model.functions[:]
    return _serialize(model)


def unfold_weights(model: ModelProto) -> int:
    """Replace constants behind ``DequantizeLinear`` by what they stand for.

    Kept are those that meet a dequantised activation in a convolution or a matrix product: these
    are the integer kernels of a quantised graph.

    Returns:
        How many were replaced.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    users: dict[str, list[NodeProto]] = {}
    makers: dict[str, NodeProto] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
        for name in node.output:
            makers[name] = node

    def dequantised(name: str) -> bool:
        maker = makers.get(name)
        while maker is not None and maker.op_type in _PASSING:
            maker = makers.get(maker.input[0])
        return maker is not None and maker.op_type == "DequantizeLinear"

    def feeds_integers(name: str) -> bool:
        for user in users.get(name, ()):
            if user.op_type in _PASSING and any(feeds_integers(out) for out in user.output):
                return True
            if user.op_type in _INTEGER and all(dequantised(key) for key in user.input[:2]):
                return True
        return False

    replaced: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.domain not in ("", "ai.onnx"):
            continue
        if not all(name in constants for name in node.input if name):
            continue
        if feeds_integers(node.output[0]):
            continue
        value = _dequantise(node, constants)
        graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        replaced.append(node)
    for node in replaced:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    used.update(value.name for value in graph.output)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return len(replaced)


def _dequantise(node: NodeProto, constants: dict[str, onnx.TensorProto]) -> np.ndarray:
    """(values - zero point) * scale, per tensor or along ``axis``."""
    values, scale, *rest = (numpy_helper.to_array(constants[n]) for n in node.input if n)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if any(a.name == "block_size" and a.i for a in node.attribute):
        raise ExportError(
            f"the weights of {node.name!r} are quantised in blocks, which are not unfolded here: "
            "export the package with another storage"
        )
    shape = [1] * values.ndim
    if scale.ndim == 1 and scale.size > 1:
        shape[axis] = scale.size
    wide = values.astype(np.float32)
    if rest:
        wide -= rest[0].astype(np.float32).reshape(shape if rest[0].size > 1 else ())
    found = wide * scale.astype(np.float32).reshape(shape if scale.size > 1 else ())
    return np.asarray(found.astype(scale.dtype))


def _serialize(model: ModelProto) -> bytes:
    if model.ByteSize() > _MAX_MODEL_BYTES:
        raise ExportError(
            f"the unfolded weights take {model.ByteSize() / 2**30:.1f} GiB, and one ONNX file "
            "holds 2: export the package with weights stored as fp16"
        )
    return bytes(model.SerializeToString())
