"""What every change of precision needs to know of a graph: its weights, its head, its tail.

A tower is handed to converters and quantisers *without* the operators of the domain
``ai.edgesafe``: they refuse or inline functions of a custom domain, and the head must stay float32.
:func:`split_head` takes it off, :func:`join_head` puts it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgesafe.export.functions import DOMAIN
from edgesafe.runtime.errors import ExportError

__all__ = [
    "MATRIX_OPS",
    "Head",
    "constants_of",
    "element_types",
    "fold_weights",
    "halve_tables",
    "join_head",
    "name_nodes",
    "soften_masks",
    "split_head",
    "tail",
]

Array = NDArray[Any]

MATRIX_OPS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Attention"})
"""Operators that cost; the last of them before an output is its projection."""

# exp(-30000) is 0 in every type, and -30000 plus any score is finite in half precision.
_MASKED = -30000.0
_TABLE = 4096
_MASK_OPS = {"Mul", "Add", "Where"}


@dataclass(frozen=True)
class Head:
    """What :func:`split_head` took off a graph.

    Attributes:
        nodes: In their order.
        initializers: Those that only the head reads.
        outputs: Of the whole graph.
    """

    nodes: tuple[NodeProto, ...] = field(repr=False)
    initializers: tuple[TensorProto, ...] = field(repr=False)
    outputs: tuple[ValueInfoProto, ...] = field(repr=False)


def constants_of(model: ModelProto) -> dict[str, Array]:
    """Returns the initialisers of a model by name."""
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def fold_weights(model: ModelProto) -> None:
    """Turns stored weights (fp16 behind ``Cast``, int8 behind ``DequantizeLinear``) into float32.

    ``Constant`` nodes become initialisers on the way, so that all constants are in one place.
    """
    graph = model.graph
    found = {t.name: t for t in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = _constant(node)
        elif node.op_type == "Cast" and _stored(node, found, TensorProto.FLOAT16):
            half = numpy_helper.to_array(found[node.input[0]])
            found[node.output[0]] = _tensor(half.astype(np.float32), node.output[0])
        elif node.op_type == "DequantizeLinear" and _stored(node, found, TensorProto.INT8):
            found[node.output[0]] = _tensor(_restore(node, found), node.output[0])
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for node in kept for name in node.input} | {o.name for o in graph.output}
    del graph.initializer[:]
    graph.initializer.extend(t for name, t in found.items() if name in read)


def soften_masks(model: ModelProto) -> None:
    """Replaces the "minus infinity" of attention masks by a number that no type overflows on."""
    read = {name for node in model.graph.node if node.op_type in _MASK_OPS for name in node.input}
    for tensor in model.graph.initializer:
        if tensor.name in read and tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            if (array < 2 * _MASKED).any():
                softened = np.where(array < 2 * _MASKED, np.float32(_MASKED), array)
                tensor.CopyFrom(_tensor(softened.astype(np.float32), tensor.name))


def name_nodes(model: ModelProto) -> None:
    """Gives every node without a name of its own one."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"node_{index}_{node.op_type}"
        taken.add(node.name)


def halve_tables(model: ModelProto) -> None:
    """Stores tables that rows are looked up in as float16 behind ``Cast``, which is folded at load.

    Behind ``DequantizeLinear`` the whole table would be restored at every inference.
    """
    tables = {n.input[0] for n in model.graph.node if n.op_type == "Gather"}
    casts = []
    for tensor in model.graph.initializer:
        if tensor.name not in tables or tensor.data_type != TensorProto.FLOAT:
            continue
        array = numpy_helper.to_array(tensor)
        if array.size < _TABLE or np.abs(array).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(_tensor(array.astype(np.float16), f"{name}.half"))
        casts.append(
            helper.make_node(
                "Cast", [f"{name}.half"], [name], name=f"{name}.restore", to=TensorProto.FLOAT
            )
        )
    nodes = [*casts, *_copied(model.graph.node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def split_head(model: ModelProto) -> Head:
    """Takes the operators of ``ai.edgesafe`` and all that follows them off a graph.

    Returns:
        The head; without such operators it has no nodes and the graph stays as it was.
    """
    graph = model.graph
    of_head: set[str] = set()
    head, tower = [], []
    for node in graph.node:
        if node.domain == DOMAIN or of_head & set(node.input):
            head.append(node)
            of_head.update(node.output)
        else:
            tower.append(node)
    outputs = tuple(_copied(graph.output))
    if not head:
        return Head((), (), outputs)
    read = {name for node in tower for name in node.input}
    produced = {name for node in tower for name in node.output}
    own = [t for t in graph.initializer if t.name not in read]
    result = Head(tuple(_copied(head)), tuple(_copied(own)), outputs)
    shared = {t.name for t in own}
    cut = [n for node in head for n in node.input if n in produced]
    cut += [o.name for o in outputs if o.name in produced]
    types = element_types(model)
    kept = [t for t in graph.initializer if t.name not in shared]
    kept = _copied(kept)
    tower = _copied(tower)
    del graph.node[:], graph.initializer[:], graph.output[:]
    graph.node.extend(tower)
    graph.initializer.extend(kept)
    for name in dict.fromkeys(cut):
        graph.output.append(helper.make_tensor_value_info(name, types[name], None))
    del model.functions[:]
    imports = [o for o in _copied(model.opset_import) if o.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    return result


def join_head(model: ModelProto, head: Head) -> None:
    """Puts a head back; :func:`~edgesafe.export.functions.attach_functions` adds its bodies.

    Raises:
        ExportError: The graph no longer has the tensor that the head reads.
    """
    graph = model.graph
    if head.nodes:
        there = {name for node in graph.node for name in node.output}
        there |= {t.name for t in head.initializers} | {t.name for t in graph.initializer}
        for node in head.nodes:
            lost = [name for name in node.input if name and name not in there]
            if lost:
                raise ExportError(f"the converted graph lost the tensor {lost[0]!r} of its head")
            there |= set(node.output)
    graph.node.extend(head.nodes)
    graph.initializer.extend(head.initializers)
    del graph.output[:]
    graph.output.extend(head.outputs)


def tail(model: ModelProto) -> set[str]:
    """Returns the names of the nodes after the projection: no matrix operator follows them.

    Reductions, normalisations, soft maxima over votes, covariances: little work on which the whole
    answer depends.
    """
    before: set[str] = set()
    names = set()
    for node in reversed(model.graph.node):
        if node.op_type in MATRIX_OPS or before & set(node.output):
            before.update(node.input)
        else:
            names.add(node.name)
    return names


def element_types(model: ModelProto) -> dict[str, int]:
    """Infers the element type of every tensor of the graph.

    Raises:
        ExportError: That of one cannot be inferred.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(f"the graph is not valid ONNX: {error}") from error
    graph = inferred.graph
    types = {v.name: v.type.tensor_type.elem_type for v in [*graph.value_info, *graph.input]}
    types |= {v.name: v.type.tensor_type.elem_type for v in graph.output}
    types |= {t.name: t.data_type for t in graph.initializer}
    for node in graph.node:
        for name in node.output:
            if name and not types.get(name):
                raise ExportError(
                    f"the type of {name!r}, which {node.op_type} {node.name!r} makes, is unknown"
                )
    return types


def _copied(items: Iterable[Any]) -> list[Any]:
    """Copies of messages: what is deleted from its owner must not be read any more."""
    copies = []
    for item in items:
        copy = type(item)()
        copy.CopyFrom(item)
        copies.append(copy)
    return copies


def _constant(node: NodeProto) -> TensorProto:
    attribute = node.attribute[0]
    value: Any = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        array = numpy_helper.to_array(value)
    elif attribute.name in ("value_float", "value_floats"):
        array = np.array(value, np.float32)
    elif attribute.name in ("value_int", "value_ints"):
        array = np.array(value, np.int64)
    else:
        raise ExportError(f"the constant {node.output[0]!r} is of a kind that is not supported")
    return _tensor(array, node.output[0])


def _stored(node: NodeProto, found: dict[str, TensorProto], kind: int) -> bool:
    if node.op_type == "Cast" and helper.get_node_attr_value(node, "to") != TensorProto.FLOAT:
        return False
    return node.input[0] in found and found[node.input[0]].data_type == kind


def _restore(node: NodeProto, found: dict[str, TensorProto]) -> Array:
    values, scale, *zero = (numpy_helper.to_array(found[name]) for name in node.input if name)
    if zero and zero[0].any():
        raise ExportError(f"{node.name!r} has a zero point: export from the checkpoint again")
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.ndim:
        shape = [1] * values.ndim
        shape[axis] = -1
        scale = scale.reshape(shape)
    return np.asarray(values.astype(np.float32) * scale, np.float32)


def _tensor(array: Array, name: str) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
