"""Look through the bytes of an ONNX model for what would make a runtime open other files.

ONNX lets a tensor live in another file ("external data"). A session made from bytes was thought to
refuse that; in fact ONNX Runtime (1.32) then resolves relative names against the *current working
directory* and reads what it finds there. And an ``EPContext`` node hands a cached engine, which is
executable code, to a device's compiler. So both are refused before ONNX Runtime sees the model.

This is a walk over the protobuf wire format, along the few fields that can lead to a tensor or a
node. It understands nothing else of ONNX, needs no ONNX library, copies nothing, and takes
milliseconds: weights are skipped by their length.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgesafe.runtime.errors import PackageError

__all__ = ["PATHS", "guard_model", "wire_fields"]

PATHS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
"""Message -> number of a field -> message in it, for all ways to a node or a tensor."""

_NODE_OP_TYPE = 4
_TENSOR_EXTERNAL_DATA = 13
_TENSOR_DATA_LOCATION = 14
_DEEPEST = 64  # graphs within graphs within graphs ...


def guard_model(model: bytes, where: str) -> None:
    """Check a serialised ``ModelProto``.

    Args:
        model: The verified bytes of the file.
        where: What to call it in messages.

    Raises:
        PackageError: A tensor lies outside the file, a node carries a compiled engine, or the
            bytes are not a protobuf message.
    """
    view = memoryview(model)
    waiting = [("ModelProto", 0, len(view), 0)]
    try:
        while waiting:
            kind, start, end, depth = waiting.pop()
            if depth > _DEEPEST:
                raise ValueError("nested too deeply")
            for number, _, at, until in wire_fields(view, start, end):
                inner = PATHS[kind].get(number)
                if inner is not None:
                    waiting.append((inner, at, until, depth + 1))
                elif kind == "TensorProto" and number == _TENSOR_EXTERNAL_DATA:
                    raise _external(where)
                elif kind == "TensorProto" and number == _TENSOR_DATA_LOCATION:
                    if any(view[at:until]):
                        raise _external(where)
                elif kind == "NodeProto" and number == _NODE_OP_TYPE:
                    if bytes(view[at:until]) == b"EPContext":
                        raise PackageError(f"{where} carries a compiled engine: refused")
    except (ValueError, IndexError) as error:
        raise PackageError(
            f"{where} is not an ONNX model ({error}): export the package again"
        ) from None


def _external(where: str) -> PackageError:
    return PackageError(
        f"{where} keeps weights in another file: refused; export with all weights inside"
    )


def wire_fields(view: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Walk over the fields of the protobuf message in ``view[at:end]``.

    Yields:
        The number of a field, where it begins, where its value begins, and where both end.

    Raises:
        ValueError: The bytes are not a message.
        IndexError: Likewise.
    """
    while at < end:
        begin = at
        key, at = _varint(view, at, end)
        wire = key & 7
        if wire == 0:
            start = at
            _, at = _varint(view, at, end)
        elif wire in (1, 5):
            start, at = at, at + (8 if wire == 1 else 4)
        elif wire == 2:
            length, start = _varint(view, at, end)
            at = start + length
        else:
            raise ValueError(f"wire type {wire}")
        if at > end:
            raise ValueError("a field is longer than its message")
        yield key >> 3, begin, start, at


def _varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number does not end")
