"""Half precision, strongly typed: every tensor of the graph has the type it is computed in.

No flag tells a builder to choose; TensorRT 11 has none, and what 10 chose was wrong for
normalisations. So the graph says it:

* The tower is float16, ``LayerNormalization`` included, whose statistics ONNX defines in float32
  (``stash_type``) as TensorRT computes them.
* After the projection there is one ``Cast`` to float32; the rest, the hyperbolic head above all, is
  float32.
* Islands of float32: reductions and exponentials, nodes with a constant that float16 cannot hold,
  and every tensor that comes within an eighth of float16's range on the probes.

Inputs and outputs keep their types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgesafe.export.typed_graph import constants_of, element_types, tail

__all__ = ["PRECISIONS", "HalfReport", "Precision", "peaks", "to_half"]

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")

Batch = Mapping[str, NDArray[Any]]

_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16
_LARGEST = float(np.finfo(np.float16).max)
_NEAR = _LARGEST / 8
_SMALLEST = float(np.finfo(np.float16).smallest_subnormal)

# Sums over many numbers, and functions that leave float16's range for harmless arguments.
_FULL_OPS = frozenset(
    {
        "CumSum", "Exp", "GlobalAveragePool", "Log", "Pow", "Range", "Reciprocal", "ReduceL1",
        "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum",
        "ReduceSumSquare", "Softplus", "ConstantOfShape",
    }
)  # fmt: skip
# Inputs that are float32 whatever the type of the data.
_FIXED = {"Resize": (1, 2)}


@dataclass(frozen=True)
class HalfReport:
    """What became of the nodes: how many compute in float16, and why others do not.

    Attributes:
        half: Nodes in float16.
        tail: Nodes after the projection.
        islands: Name of a node before it that stays in float32 -> why.
    """

    half: int
    tail: int
    islands: Mapping[str, str]


def peaks(model: ModelProto, batches: Sequence[Batch]) -> dict[str, float]:
    """Measures the largest magnitude of every float32 tensor over some inputs.

    Args:
        model: A graph in float32 that ONNX Runtime runs.
        batches: Inputs by name.
    """
    types = element_types(model)
    probe = ModelProto()
    probe.CopyFrom(model)
    there = {o.name for o in probe.graph.output}
    made = [n for node in probe.graph.node for n in node.output if types.get(n) == _FLOAT]
    for name in made:
        if name not in there:
            probe.graph.output.append(helper.make_tensor_value_info(name, _FLOAT, None))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(probe.SerializeToString(), options, ["CPUExecutionProvider"])
    found = dict.fromkeys(made, 0.0)
    for batch in batches:
        for name, value in zip(made, session.run(made, dict(batch)), strict=True):
            size = float(np.max(np.abs(value))) if value.size else 0.0
            # Written so that NaN and infinity count as too large.
            found[name] = max(found[name], size if np.isfinite(size) else np.inf)
    return found


def to_half(model: ModelProto, measured: Mapping[str, float]) -> HalfReport:
    """Turns a float32 tower into float16 in place; its outputs stay float32.

    Args:
        model: A tower as :func:`~edgesafe.export.typed_graph.split_head` leaves it, with folded
            weights and named nodes.
        measured: Of :func:`peaks`.
    """
    types = element_types(model)
    constants = constants_of(model)
    after = tail(model)
    islands = {
        node.name: reason
        for node in model.graph.node
        if node.name not in after and (reason := _island(node, types, constants, measured))
    }
    return _Converter(model, types, constants, after, islands).run()


def _island(
    node: NodeProto,
    types: Mapping[str, int],
    constants: Mapping[str, NDArray[Any]],
    measured: Mapping[str, float],
) -> str:
    """Why a node must stay in float32; empty where it need not."""
    floats = [n for n in [*node.input, *node.output] if types.get(n) == _FLOAT]
    if not floats:
        return ""
    if node.op_type in _FULL_OPS:
        return f"{node.op_type} sums or grows"
    for name in floats:
        if measured.get(name, 0.0) > _NEAR:
            return f"{name} reaches {measured[name]:.3g}"
        array = constants.get(name)
        if array is None:
            continue
        size = np.abs(array)
        if np.max(size, initial=0.0) > _LARGEST:
            return f"the constant {name} is too large"
        if array.size == 1 and 0 < float(size.reshape(-1)[0]) < _SMALLEST:
            return f"the constant {name} is too small"
    return ""


class _Converter:
    """Walks through a graph once and puts a ``Cast`` wherever two types meet."""

    def __init__(
        self,
        model: ModelProto,
        types: Mapping[str, int],
        constants: Mapping[str, NDArray[Any]],
        after: set[str],
        islands: Mapping[str, str],
    ) -> None:
        self._model = model
        self._types, self._constants = types, constants
        self._after, self._islands = after, islands
        self._native = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
        self._cast: dict[tuple[str, int], str] = {}
        self._nodes: list[NodeProto] = []
        self._halves: dict[str, TensorProto] = {}

    def run(self) -> HalfReport:
        graph = self._model.graph
        outputs = {o.name for o in graph.output}
        half = 0
        for node in list(graph.node):
            full = node.name in self._after or node.name in self._islands
            kind = _FLOAT if full else _HALF
            fixed = _FIXED.get(node.op_type, ())
            for i, name in enumerate(node.input):
                if name and self._types.get(name) == _FLOAT:
                    node.input[i] = self._as(name, _FLOAT if i in fixed else kind)
            floats = [n for n in node.output if self._types.get(n) == _FLOAT]
            if node.op_type == "Cast" and floats:
                next(a for a in node.attribute if a.name == "to").i = kind
            self._nodes.append(node)
            half += bool(floats) and not full
            self._native.update(dict.fromkeys(floats, kind))
            for name in set(floats) & outputs if kind == _HALF else ():
                self._output(node, name)
        self._collect()
        return HalfReport(half, len(self._after), dict(self._islands))

    def _as(self, name: str, kind: int) -> str:
        """The name under which a tensor is to be had in a type."""
        if name in self._constants:
            if kind == _FLOAT:
                return name
            half = f"{name}.half"
            if half not in self._halves:
                value = self._constants[name].astype(np.float16)
                self._halves[half] = numpy_helper.from_array(value, half)
            return half
        if self._native.get(name, _FLOAT) == kind:
            return name
        key = (name, kind)
        if key not in self._cast:
            made = f"{name}.{'half' if kind == _HALF else 'full'}"
            self._nodes.append(
                helper.make_node("Cast", [name], [made], name=f"{made}.cast", to=kind)
            )
            self._cast[key] = made
        return self._cast[key]

    def _output(self, node: NodeProto, name: str) -> None:
        """Makes an output of the graph, computed in float16, float32 again."""
        inner = f"{name}.half"
        node.output[:] = [inner if n == name else n for n in node.output]
        self._nodes.append(
            helper.make_node("Cast", [inner], [name], name=f"{name}.cast", to=_FLOAT)
        )
        self._native[name] = _FLOAT
        self._cast[(name, _HALF)] = inner

    def _collect(self) -> None:
        graph = self._model.graph
        read = {name for node in self._nodes for name in node.input}
        kept = [t for t in graph.initializer if t.name in read]
        copies = []
        for item in [*self._nodes, *kept]:
            copy: Any = type(item)()
            copy.CopyFrom(item)
            copies.append(copy)
        nodes = len(self._nodes)
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(copies[:nodes])
        graph.initializer.extend(copies[nodes:])
        graph.initializer.extend(self._halves.values())
