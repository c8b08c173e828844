"""Restore weights that are stored as int8 behind ``DequantizeLinear`` to plain float32.

ONNX Runtime folds such weights at load. TensorRT documents ``DequantizeLinear`` of weights only
beside quantised activations, so of a network that computes in float32 they are restored before it
reads the model. In the wire format, as :mod:`edgesafe.runtime.onnx_inline`: a device has no ONNX
library.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.onnx_guard import wire_fields
from edgesafe.runtime.onnx_wire import Pieces, first, key, message, pieces, varint

__all__ = ["unfold_weights"]

# Numbers of fields, from the public onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_GRAPHS = 1, 3, (6, 11)
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 2: np.dtype("u1"), 3: np.dtype("i1")}
_FLOAT = 1

Array = npt.NDArray[Any]


def unfold_weights(model: bytes, where: str = "the model") -> bytes:
    """Return the model with its ``DequantizeLinear`` of constants computed.

    Nodes of another form (blocks, other types) are left as they are.

    Args:
        model: A serialised ``ModelProto``.
        where: What to call it in messages.

    Raises:
        PackageError: The bytes are not a model.
    """
    view = memoryview(model)
    parts: list[bytes | memoryview] = []
    try:
        for number, begin, at, to in wire_fields(view, 0, len(view)):
            if number == _MODEL_GRAPH:
                graph = b"".join(_graph(view[at:to]))
                parts += [key(number, len(graph)), graph]
            else:
                parts.append(view[begin:to])
    except (ValueError, IndexError) as error:
        raise PackageError(
            f"{where} is not an ONNX model ({error}): export the package again"
        ) from None
    return b"".join(parts)


def _graph(view: memoryview) -> Iterator[bytes | memoryview]:
    tensors: dict[bytes, memoryview] = {}
    nodes: list[tuple[memoryview, Pieces]] = []
    rest: list[memoryview] = []
    for number, begin, at, to in wire_fields(view, 0, len(view)):
        if number == _GRAPH_NODE:
            nodes.append((view[begin:to], pieces(view[at:to])))
        elif number == _GRAPH_INITIALIZER:
            tensors[_name(view[at:to])] = view[begin:to]
        else:
            rest.append(view[begin:to])
    kept: list[memoryview] = []
    used: set[bytes] = set()
    restored: list[bytes] = []
    touched: set[bytes] = set()
    for whole, node in nodes:
        tensor = _restored(node, tensors)
        if tensor is None:
            kept.append(whole)
            used |= {value for number, value in node if number == _NODE_INPUT}
            # An inner graph may read any of them.
            used |= set(tensors) if _holds_graph(node) else set()
        else:
            restored.append(tensor)
            touched |= {value for number, value in node if number == _NODE_INPUT}
    yield from kept
    yield from (whole for name, whole in tensors.items() if name in used or name not in touched)
    yield from restored
    yield from rest


def _restored(node: Pieces, tensors: dict[bytes, memoryview]) -> bytes | None:
    """Return the field of the initializer that takes a node's place, None where it must stay."""
    if first(node, _NODE_OP) != b"DequantizeLinear" or first(node, _NODE_DOMAIN):
        return None
    names = [value for number, value in node if number == _NODE_INPUT]
    if any(name not in tensors for name in names):
        return None
    found = [_read(tensors[name]) for name in names]
    numbers = _attributes(node)
    if any(array is None for array in found) or numbers.get(b"block_size", 0):
        return None
    weight, scale, *zero = (np.asarray(array, np.float32) for array in found)
    if scale.ndim > 1:
        return None
    shape = [1] * weight.ndim
    if scale.ndim == 1 and scale.size > 1:
        shape[numbers.get(b"axis", 1)] = -1
    if zero:
        weight = weight - zero[0].reshape(shape)
    values = np.asarray(weight * scale.reshape(shape), "<f4")
    tensor: Pieces = [
        *((-_TENSOR_DIMS, varint(_TENSOR_DIMS << 3) + varint(size)) for size in values.shape),
        (-_TENSOR_TYPE, varint(_TENSOR_TYPE << 3) + varint(_FLOAT)),
        (_TENSOR_NAME, first(node, _NODE_OUTPUT)),
        (_TENSOR_RAW, values.tobytes()),
    ]
    content = message(tensor)
    return key(_GRAPH_INITIALIZER, len(content)) + content


def _read(field: memoryview) -> Array | None:
    """Read an initializer, out of the field that holds it; None where its form is another."""
    ((_, _, begin, end),) = wire_fields(field, 0, len(field))
    dims: list[int] = []
    kind, raw = 0, None
    for number, start, at, to in wire_fields(field, begin, end):
        if number == _TENSOR_DIMS:
            dims += _numbers(field[at:to])
        elif number == _TENSOR_TYPE:
            (kind,) = _numbers(field[at:to])
        elif number == _TENSOR_RAW:
            raw = field[at:to]
        elif number != _TENSOR_NAME and field[start] & 7 == 2:
            return None  # values in another field than raw_data, or a text about them
    if raw is None or kind not in _TYPES:
        return None
    return np.frombuffer(raw, _TYPES[kind]).reshape(dims)


def _name(tensor: memoryview) -> bytes:
    for number, _, at, to in wire_fields(tensor, 0, len(tensor)):
        if number == _TENSOR_NAME:
            return bytes(tensor[at:to])
    return b""


def _holds_graph(node: Pieces) -> bool:
    inner = (pieces(memoryview(v)) for number, v in node if number == _NODE_ATTRIBUTE)
    return any(number in _ATTRIBUTE_GRAPHS for attribute in inner for number, _ in attribute)


def _attributes(node: Pieces) -> dict[bytes, int]:
    found = {}
    for number, value in node:
        if number == _NODE_ATTRIBUTE:
            parts = pieces(memoryview(value))
            whole = next((v for n, v in parts if n == -_ATTRIBUTE_INT), b"\x18\x00")
            (found[first(parts, _ATTRIBUTE_NAME)],) = _numbers(memoryview(whole)[1:])
    return found


def _numbers(view: memoryview) -> list[int]:
    """Read varints that stand side by side; a packed field, or the value of a plain one."""
    found, value, shift = [], 0, 0
    for byte in view:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(value - (1 << 64) if value >> 63 else value)
            value = shift = 0
    return found
