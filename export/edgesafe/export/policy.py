"""The rules of a typed graph: what a graph must keep to so that every runtime takes it.

``lint`` names each node that breaks one. Why the rules are:

=========================== =====================================================================
zero points, uint8          TensorRT quantises symmetrically and refuses the rest
``MatMulInteger`` ...       dynamic quantisation, which TensorRT does not parse
opset-23 ``Attention``      TensorRT has no float32 kernel for it
head in float32             distances near the root are lost in float16, bfloat16 and TF32
end in float32              so are soft maxima over votes, covariances, rotations of pose heads: all
                            that follows the last matrix operator
no subgraphs                these rules would not reach into them, and engines are planned badly
bodies of functions         a runtime that does not know ``ai.edgesafe`` computes them
``MatMul`` in the head      a GPU may run it in TF32
LayerNorm in one node       decomposed, its squares overflow float16
static dimensions           only the batch and the length of a text vary; TensorRT plans for each
no Q/DQ in the head         it is float32
prefixed inner names        TensorRT up to 10.7 confuses them with names of the outer graph
=========================== =====================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from edgesafe.export.functions import DOMAIN
from edgesafe.export.typed_graph import MATRIX_OPS, constants_of, element_types, tail
from edgesafe.runtime.errors import ExportError

__all__ = ["BATCH", "TOKENS", "check_policy", "lint"]

BATCH, TOKENS = "batch", "tokens"
_DYNAMIC = {BATCH, TOKENS}
_QDQ = {"QuantizeLinear", "DequantizeLinear"}
_DYNAMIC_QUANTISATION = {
    "MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "QLinearMatMul", "QLinearConv",
}  # fmt: skip
_HALF = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
_IN_HEAD_NEVER = _QDQ | {"MatMul", "Gemm"}


def check_policy(model: ModelProto, where: str = "the graph") -> None:
    """Refuses a graph that breaks a rule.

    Raises:
        ExportError: It does; the first complaints are named.
    """
    found = lint(model)
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise ExportError(f"{where} breaks the rules of typed graphs: {'; '.join(found[:3])}{more}")


def lint(model: ModelProto) -> list[str]:
    """Returns the complaints about a graph, each with the name of its node."""
    constants = constants_of(model)
    types = _types(model)
    found = list(_interface(model))
    for node in model.graph.node:
        found += _node(node, types, constants)
    found += _head(model)
    found += _end(model, types)
    found += _decomposed(model)
    found += _functions(model)
    return found


def _types(model: ModelProto) -> Mapping[str, int]:
    # Functions have to be known to the inference for what follows them to be typed.
    return element_types(model)


def _interface(model: ModelProto) -> Iterator[str]:
    for value in [*model.graph.input, *model.graph.output]:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_value"):
                continue
            if dim.dim_param not in _DYNAMIC:
                what = dim.dim_param or "unnamed"
                yield f"{value.name!r}: dimension {axis} is dynamic ({what}), only the batch and "\
                    "the length of a text may be"  # fmt: skip
    for value in model.graph.output:
        kind = value.type.tensor_type.elem_type
        if kind != TensorProto.FLOAT:
            yield f"the output {value.name!r} is {_name(kind)}, it must be float32"


def _node(
    node: NodeProto, types: Mapping[str, int], constants: Mapping[str, np.ndarray]
) -> Iterator[str]:
    place = f"{node.op_type} {node.name or node.output[0]}"
    if node.domain not in ("", DOMAIN):
        yield f"{place} is of the domain {node.domain}, which not every runtime has"
    if any(a.HasField("g") or a.graphs for a in node.attribute):
        yield f"{place} holds a subgraph, which must be unrolled or folded away"
    if node.op_type in _DYNAMIC_QUANTISATION:
        yield f"{place}: quantisation must be written as QuantizeLinear and DequantizeLinear"
    if node.op_type in _QDQ:
        yield from _pair(node, place, types, constants)
    if node.op_type == "Attention" and types.get(node.input[0]) == TensorProto.FLOAT:
        yield f"{place} is in float32, for which TensorRT has no kernel: export at opset 22 or less"
    if node.domain == DOMAIN:
        for name in node.input:
            kind = types.get(name)
            if kind != TensorProto.FLOAT:
                yield f"{place} takes {name!r} as {_name(kind or 0)}, it must be float32"


def _pair(
    node: NodeProto,
    place: str,
    types: Mapping[str, int],
    constants: Mapping[str, np.ndarray],
) -> Iterator[str]:
    quantised = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
    if types.get(quantised) != TensorProto.INT8:
        yield f"{place} is of {_name(types.get(quantised, 0))}, it must be int8"
    if len(node.input) > 2 and node.input[2]:
        zero = constants.get(node.input[2])
        if zero is None:
            yield f"{place} has a zero point that is computed"
        elif zero.any():
            yield f"{place} has the zero point {int(np.reshape(zero, -1)[0])}, it must be 0"
    scale = constants.get(node.input[1])
    if scale is None:
        yield f"{place} has a scale that is computed"
    elif node.input[0] not in constants and scale.size > 1 and node.op_type == "QuantizeLinear":
        yield f"{place} has a scale per channel for an activation, it must have one"


def _head(model: ModelProto) -> Iterator[str]:
    """What lies between the first operator of the head and the outputs."""
    of_head: set[str] = set()
    for node in model.graph.node:
        inside = node.domain == DOMAIN or bool(of_head & set(node.input))
        if not inside:
            continue
        of_head.update(node.output)
        if node.op_type in _IN_HEAD_NEVER and node.domain != DOMAIN:
            yield f"{node.op_type} {node.name!r} is in the head, which is float32 and exact"
        if node.op_type == "Cast":
            yield f"Cast {node.name!r} is in the head, which is float32 throughout"


def _end(model: ModelProto, types: Mapping[str, int]) -> Iterator[str]:
    """What follows the last matrix operator: the end of a tower, or the whole of a pose head."""
    if not any(node.op_type in MATRIX_OPS for node in model.graph.node):
        return
    names = tail(model)
    for node in model.graph.node:
        if node.name not in names:
            continue
        for name in node.output:
            if types.get(name) in _HALF:
                yield (
                    f"{node.op_type} {node.name!r} makes {name!r} in {_name(types[name])}, and "
                    "all that follows the last matrix operator must be float32"
                )


def _decomposed(model: ModelProto) -> Iterator[str]:
    """Normalisations written as mean, difference, square, mean, root, quotient."""
    maker = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type != "ReduceMean":
            continue
        square = maker.get(node.input[0])
        if square is None or not _is_square(square):
            continue
        difference = maker.get(square.input[0])
        if difference is not None and difference.op_type == "Sub":
            mean = maker.get(difference.input[1])
            if mean is not None and mean.op_type == "ReduceMean":
                yield (
                    f"ReduceMean {node.name!r} is part of a decomposed LayerNormalization, which "
                    "must be one node"
                )


def _is_square(node: NodeProto) -> bool:
    return node.op_type == "Pow" or (node.op_type == "Mul" and node.input[0] == node.input[1])


def _functions(model: ModelProto) -> Iterator[str]:
    bodies = {function.name for function in model.functions if function.domain == DOMAIN}
    for node in model.graph.node:
        if node.domain == DOMAIN and node.op_type not in bodies:
            yield f"{node.op_type} {node.name!r} has no body: attach the functions of {DOMAIN}"
    for function in model.functions:
        prefix = f"{function.name}__"
        inner = [*function.input, *function.output]
        inner += [n for node in function.node for n in [*node.input, *node.output] if n]
        bare = sorted({name for name in inner if not name.startswith(prefix)})
        if function.domain == DOMAIN and bare:
            yield f"the function {function.name} has the inner name {bare[0]!r} without its prefix"
        for node in function.node:
            if node.op_type in _IN_HEAD_NEVER:
                yield f"the function {function.name} has a {node.op_type}, {node.name!r}"


def _name(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower() if kind else "of no known type"
