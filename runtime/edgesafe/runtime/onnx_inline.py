"""Replace the calls of a model's own functions by the functions' bodies, in the wire format.

An ONNX model may carry functions, here those of the domain ``ai.edgesafe``. ONNX Runtime and
TensorRT inline them; OpenVINO (2026.4) knows no model functions and refuses the model. The ONNX
library could inline, but it is no requirement of a device. So this rewrites the few messages
concerned and copies all the rest, weights above all, as they are.

Inner names get a prefix of their call. Not handled: a function with an ``If`` or a ``Loop`` in it,
and calls out of such a body; the package has neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.onnx_guard import wire_fields
from edgesafe.runtime.onnx_wire import Pieces, first, key, message, pieces

__all__ = ["inline_functions"]

# Numbers of fields, from the public onnx.proto.
_MODEL_GRAPH, _MODEL_FUNCTION = 7, 25
_GRAPH_NODE = 1
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP, _NODE_ATTRIBUTE = 1, 2, 3, 4, 5
_NODE_DOMAIN, _NODE_OVERLOAD = 7, 8
_FUNCTION_NAME, _FUNCTION_INPUT, _FUNCTION_OUTPUT, _FUNCTION_NODE = 1, 4, 5, 7
_FUNCTION_DOMAIN, _FUNCTION_DEFAULT, _FUNCTION_OVERLOAD = 10, 11, 13
_ATTRIBUTE_NAME, _ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_REFERENCE = 1, 6, 11, 21
_DEEPEST = 16  # functions that call functions

_Key = tuple[bytes, bytes, bytes]


@dataclass(frozen=True)
class _Function:
    inputs: Sequence[bytes]
    outputs: Sequence[bytes]
    nodes: Sequence[Pieces]
    defaults: Mapping[bytes, bytes]


def inline_functions(model: bytes, where: str = "the model") -> bytes:
    """Return the model without functions; itself where it has none.

    Args:
        model: A serialised ``ModelProto``.
        where: What to call it in messages.

    Raises:
        PackageError: A function is of a kind that is not handled, or the bytes are not a model.
    """
    view = memoryview(model)
    try:
        fields = list(wire_fields(view, 0, len(view)))
        functions = dict(_function(view[at:to]) for n, _, at, to in fields if n == _MODEL_FUNCTION)
        if not functions:
            return model
        parts: list[bytes | memoryview] = []
        for number, begin, at, to in fields:
            if number == _MODEL_GRAPH:
                graph = b"".join(_graph(view[at:to], functions))
                parts += [key(number, len(graph)), graph]
            elif number != _MODEL_FUNCTION:
                parts.append(view[begin:to])
        return b"".join(parts)
    except (ValueError, IndexError) as error:
        raise PackageError(
            f"{where}: its functions cannot be inlined ({error}): use the backend 'cpu' or export "
            "the package again"
        ) from None


def _function(view: memoryview) -> tuple[_Key, _Function]:
    inputs, outputs, nodes, defaults = [], [], [], {}
    name = domain = overload = b""
    for number, _, at, to in wire_fields(view, 0, len(view)):
        value = view[at:to]
        if number == _FUNCTION_NAME:
            name = bytes(value)
        elif number == _FUNCTION_DOMAIN:
            domain = bytes(value)
        elif number == _FUNCTION_OVERLOAD:
            overload = bytes(value)
        elif number == _FUNCTION_INPUT:
            inputs.append(bytes(value))
        elif number == _FUNCTION_OUTPUT:
            outputs.append(bytes(value))
        elif number == _FUNCTION_NODE:
            nodes.append(pieces(value))
        elif number == _FUNCTION_DEFAULT:
            defaults[first(pieces(value), _ATTRIBUTE_NAME)] = bytes(value)
    return (domain, name, overload), _Function(inputs, outputs, nodes, defaults)


def _graph(view: memoryview, functions: Mapping[_Key, _Function]) -> Iterator[bytes | memoryview]:
    calls = 0
    for number, begin, at, to in wire_fields(view, 0, len(view)):
        if number != _GRAPH_NODE:
            yield view[begin:to]
            continue
        node = pieces(view[at:to])
        if _called(node) not in functions:
            yield view[begin:to]
            continue
        for inner in _expand(node, functions, f"edgesafe.call{calls}".encode(), 0):
            content = message(inner)
            yield key(_GRAPH_NODE, len(content)) + content
        calls += 1


def _expand(
    call: Pieces, functions: Mapping[_Key, _Function], prefix: bytes, depth: int
) -> Iterator[Pieces]:
    if depth > _DEEPEST:
        raise ValueError("functions call each other too deeply")
    function = functions[_called(call)]
    names = {b"": b""}
    given = [value for number, value in call if number == _NODE_INPUT]
    names |= dict(zip(function.inputs, [*given, *[b""] * len(function.inputs)], strict=False))
    wanted = [value for number, value in call if number == _NODE_OUTPUT]
    names |= {k: v for k, v in zip(function.outputs, wanted, strict=False) if v}
    attributes = dict(function.defaults)
    attributes |= {
        first(pieces(memoryview(value)), _ATTRIBUTE_NAME): value
        for number, value in call
        if number == _NODE_ATTRIBUTE
    }
    for index, node in enumerate(function.nodes):
        inner: Pieces = []
        for number, value in node:
            if number in (_NODE_INPUT, _NODE_OUTPUT):
                value = names.setdefault(value, prefix + b"/" + value)
            elif number == _NODE_NAME:
                value = prefix + b"/" + value
            elif number == _NODE_ATTRIBUTE:
                found = _attribute(value, attributes)
                if found is None:
                    continue
                value = found
            inner.append((number, value))
        if _called(inner) in functions:
            yield from _expand(inner, functions, prefix + b".%d" % index, depth + 1)
        else:
            yield inner


def _attribute(attribute: bytes, given: Mapping[bytes, bytes]) -> bytes | None:
    """Resolve a reference to an attribute of the call; None where the call leaves it out."""
    parts = pieces(memoryview(attribute))
    if any(number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS) for number, _ in parts):
        raise ValueError("a function holds a graph of its own")
    reference = first(parts, _ATTRIBUTE_REFERENCE)
    if not reference:
        return attribute
    if reference not in given:
        return None
    name = first(parts, _ATTRIBUTE_NAME)
    view = memoryview(given[reference])
    rest = b"".join(
        view[begin:to]
        for number, begin, _, to in wire_fields(view, 0, len(view))
        if number != _ATTRIBUTE_NAME
    )
    return key(_ATTRIBUTE_NAME, len(name)) + name + rest


def _called(node: Pieces) -> _Key:
    return first(node, _NODE_DOMAIN), first(node, _NODE_OP), first(node, _NODE_OVERLOAD)
