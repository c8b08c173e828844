"""Smaller weights, the same arithmetic: how the initialisers of a model are stored.

``fp32``
    As they are.
``fp16``
    Half-precision initialisers behind ``Cast``.
``int8``
    Symmetric per-channel int8 initialisers behind ``DequantizeLinear`` (no zero points), embedding
    tables per row; what is too small for that is stored as fp16.

Every runtime computes in float32 on the restored weights: there are no integer kernels, no
activation ranges, and nothing like ``MatMulInteger`` or ``DynamicQuantizeLinear``, which TensorRT
rejects. Vectors (biases, norms, scales) always stay float32.

Weights are rounded *in the torch model first* (:func:`round_weights`), and the exported graph then
only re-encodes what is already representable (:func:`store_weights`). So the parity that is
measured between the two is that of the shipped file, not of a rounding that happens afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

__all__ = ["STORAGES", "Storage", "StoredBytes", "round_weights", "store_weights"]

Storage = Literal["fp32", "fp16", "int8"]
STORAGES: tuple[Storage, ...] = ("fp32", "fp16", "int8")

Array = NDArray[np.float32]

# Below these sizes a tensor stays as it is: it would save nothing and cost a node.
_MIN_FP16 = 256
_MIN_INT8 = 4096
# Rounding to half precision loses 2^-12 of a normal number at most; more means subnormals or
# overflow, and the tensor is better left alone.
_FP16_LOSS = 2.0**-11
# Re-encoding an already rounded tensor may move it by rounding errors of the scale, no more.
_LOSSLESS = 1e-6


@dataclass(frozen=True)
class StoredBytes:
    """Bytes of the initialisers by the way they are stored."""

    fp32: int
    fp16: int
    int8: int

    @property
    def total(self) -> int:
        """Bytes of all initialisers."""
        return self.fp32 + self.fp16 + self.int8


@torch.no_grad()
def round_weights(module: nn.Module, storage: Storage) -> None:
    """Rounds the weights of a module in place to what the storage can hold.

    Parameters and floating-point buffers with at least two dimensions are rounded. Scales of int8
    run over the output channels: the first axis of layers, tables and packed projections, the last
    one of a bare matrix, which torch code multiplies from the right.
    """
    for owner in module.modules():
        own = [*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)]
        for _, tensor in own:
            if tensor.dtype != torch.float32:
                continue
            array = cast(Array, tensor.detach().cpu().numpy())
            kind = _kind(array, storage)
            if kind == "int8":
                values, scale = _quantise(array, _channel_axis(owner, tensor))
                tensor.copy_(torch.from_numpy(values.astype(np.float32) * scale))
            elif kind == "fp16":
                tensor.copy_(torch.from_numpy(array.astype(np.float16).astype(np.float32)))


def store_weights(model: ModelProto, storage: Storage) -> StoredBytes:
    """Re-encodes the initialisers of a model whose weights :func:`round_weights` has rounded.

    A tensor that the storage cannot hold without loss stays in float32.

    Returns:
        How many bytes are stored in which way.
    """
    nodes: list[NodeProto] = []
    kept: list[TensorProto] = []
    sizes = {"fp32": 0, "fp16": 0, "int8": 0}
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        kind = _kind(array, storage) if array.dtype == np.float32 else "fp32"
        encoded = _encode(tensor.name, array, kind)
        if encoded is None:
            kind, encoded = "fp32", ([tensor], None)
        tensors, node = encoded
        kept.extend(tensors)
        if node is not None:
            nodes.append(node)
        sizes[kind] += sum(len(numpy_helper.to_array(t).tobytes()) for t in tensors)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    nodes.extend(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return StoredBytes(**sizes)


def _kind(array: NDArray[Any], storage: Storage) -> Storage:
    if storage == "fp32" or array.ndim < 2 or array.size < _MIN_FP16:
        return "fp32"
    if not np.isfinite(array).all():  # an attention mask of minus infinities
        return "fp32"
    if storage == "int8" and array.size >= _MIN_INT8:
        return "int8"
    with np.errstate(over="ignore"):
        half = array.astype(np.float16).astype(np.float32)
    # Infinite where a number is too large.
    lossy = np.linalg.norm(half - array) > _FP16_LOSS * np.linalg.norm(array)
    return "fp32" if lossy else "fp16"


def _channel_axis(owner: nn.Module, tensor: Tensor) -> int:
    if isinstance(owner, nn.ConvTranspose1d | nn.ConvTranspose2d):
        return 1
    layer = isinstance(owner, nn.Linear | nn.Embedding | nn.modules.conv._ConvNd)
    return 0 if layer or isinstance(owner, nn.MultiheadAttention) else tensor.ndim - 1


def _quantise(array: Array, axis: int) -> tuple[NDArray[np.int8], Array]:
    """Symmetric int8 values and the scale, which broadcasts against them."""
    others = tuple(i for i in range(array.ndim) if i != axis)
    peak = np.max(np.abs(array), axis=others, keepdims=True)
    scale = (np.where(peak > 0, peak, 1) / 127).astype(np.float32)
    return np.clip(np.rint(array / scale), -127, 127).astype(np.int8), scale


def _encode(
    name: str, array: NDArray[Any], kind: Storage
) -> tuple[list[TensorProto], NodeProto | None] | None:
    """Tensors and the node that restores ``name`` from them; None where that would lose anything.

    The exporter may have transposed a weight, so the axis of its scales is looked for.
    """
    if kind == "fp16":
        half = array.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), array):
            return None
        stored = numpy_helper.from_array(half, f"{name}.fp16")
        node = helper.make_node(
            "Cast", [stored.name], [name], name=f"{name}.restore", to=TensorProto.FLOAT
        )
        return [stored], node
    if kind == "int8":
        for axis in sorted({0, 1, array.ndim - 1}):
            values, scale = _quantise(array, axis)
            restored = values.astype(np.float32) * scale
            if np.max(np.abs(restored - array)) <= _LOSSLESS * np.max(np.abs(array)):
                stored = numpy_helper.from_array(values, f"{name}.int8")
                scales = numpy_helper.from_array(scale.reshape(-1), f"{name}.scale")
                node = helper.make_node(
                    "DequantizeLinear",
                    [stored.name, scales.name],
                    [name],
                    name=f"{name}.restore",
                    axis=axis,
                )
                return [stored, scales], node
        return None
    return None
