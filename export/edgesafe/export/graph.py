"""From a torch tower to an ONNX graph with the hyperbolic head.

The tower is exported by torch; the head is then grafted on as nodes of the domain ``ai.edgesafe``:
scale, exponential map, root distance. So the head never passes through the exporter, the version
converter or the optimiser, all of which inline functions of a custom domain, and it stays float32
whatever becomes of the tower.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxscript.optimizer
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edgesafe.export.functions import DOMAIN, DOMAIN_VERSION, attach_functions
from edgesafe.export.policy import check_policy
from edgesafe.runtime.errors import ExportError
from edgesafe.runtime.version import VERSION

__all__ = [
    "EMBEDDING",
    "MAXIMUM_OPSET",
    "MINIMUM_OPSET",
    "ROOT_DISTANCE",
    "add_head",
    "add_unit_head",
    "check_model",
    "export_tower",
    "stamp",
]

EMBEDDING = "embedding"
ROOT_DISTANCE = "root_distance"
# 18: JetPack 6 ships TensorRT 10.3 and ONNX Runtime builds that all read it. From 23 the exporter
# emits the Attention operator, for which TensorRT has no float32 kernel.
MINIMUM_OPSET, MAXIMUM_OPSET = 18, 22
# The oldest that has functions and goes with opset 18; nothing of the later ones is used.
_IR_VERSION = 8
_FEATURES = "features"
_ALLOWED_DOMAINS = {"", DOMAIN}


def export_tower(
    tower: nn.Module,
    inputs: Mapping[str, Tensor],
    axes: Mapping[str, Mapping[int, str]],
    *,
    limits: Mapping[str, int] | None = None,
    opset: int = MINIMUM_OPSET,
) -> ModelProto:
    """Exports a tower as a graph from its inputs to ``features`` (batch, d).

    Args:
        tower: Takes the inputs in their order and returns one tensor (batch, d).
        inputs: Name to an example, whose batch must be at least 2.
        axes: Name to {dimension: symbolic name} of what may vary.
        limits: Symbolic name to the largest size it may take.
        opset: Version of the standard operators, 18 to 22.

    Raises:
        ExportError: The exporter refuses the tower, or specialises a dimension that must vary.
    """
    largest = limits or {}
    names = sorted({name for dims in axes.values() for name in dims.values()})
    sizes = {n: torch.export.Dim(n, min=1, max=largest.get(n)) for n in names}
    shapes = tuple({i: sizes[n] for i, n in axes.get(key, {}).items()} for key in inputs)
    try:
        with warnings.catch_warnings():
            # The exporter warns of its own deprecations and of shared dimension names.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                tower,
                tuple(inputs.values()),
                dynamo=True,
                opset_version=opset,
                input_names=list(inputs),
                output_names=[_FEATURES],
                dynamic_shapes=shapes,
                # The default rewrites fuse batch normalisation into the convolutions' weights,
                # which could then no longer be stored as they were rounded. Runtimes fuse it.
                optimize=False,
                verbose=False,
            )
            assert program is not None
            onnxscript.optimizer.inline(program.model)
            onnxscript.optimizer.fold_constants(program.model)
            onnxscript.optimizer.remove_unused_nodes(program.model)
            model = program.model_proto
    except Exception as error:  # the exporter's errors have no common base but this
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(
            f"torch cannot export {type(tower).__name__} at opset {opset}: {reason[0]}. "
            "Its forward must not branch on the values of its inputs."
        ) from error
    strip(model)
    model.ir_version = _IR_VERSION
    wanted = {key: dict(dims) for key, dims in axes.items()}
    _check_axes(model, wanted)
    return model


def add_head(model: ModelProto, *, scale: float, curvature: float) -> None:
    """Lifts ``features`` onto the hyperboloid: the model's outputs become embedding and radius.

    Args:
        model: What :func:`export_tower` returned.
        scale: exp(alpha) of the modality, by which the features are multiplied.
        curvature: c > 0.
    """
    graph = model.graph
    _make_room(model)
    dims = graph.output[0].type.tensor_type.shape.dim
    batch, dim = dims[0].dim_param, dims[1].dim_value
    constants = {"edgesafe_scale": scale, "edgesafe_curvature": curvature}
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    nodes = [
        helper.make_node("Mul", [_FEATURES, "edgesafe_scale"], ["edgesafe_tangent"]),
        helper.make_node(
            "ExpMap0", ["edgesafe_tangent", "edgesafe_curvature"], [EMBEDDING], domain=DOMAIN
        ),
        helper.make_node(
            "RootDistance", [EMBEDDING, "edgesafe_curvature"], [ROOT_DISTANCE], domain=DOMAIN
        ),
    ]
    for node in nodes:
        node.name = f"edgesafe_{node.op_type}"
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, [batch, dim]),
            helper.make_tensor_value_info(ROOT_DISTANCE, TensorProto.FLOAT, [batch]),
        ]
    )
    model.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))


def add_unit_head(model: ModelProto) -> None:
    """Divides ``features`` by their length: the model's one output becomes the embedding.

    Args:
        model: What :func:`export_tower` returned.
    """
    graph = model.graph
    _make_room(model)
    dims = graph.output[0].type.tensor_type.shape.dim
    batch, dim = dims[0].dim_param, dims[1].dim_value
    constants = {"edgesafe_last": np.array([-1], np.int64), "edgesafe_tiny": np.float32(1e-12)}
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    nodes = [
        helper.make_node("ReduceL2", [_FEATURES, "edgesafe_last"], ["edgesafe_n"], keepdims=1),
        helper.make_node("Max", ["edgesafe_n", "edgesafe_tiny"], ["edgesafe_length"]),
        helper.make_node("Div", [_FEATURES, "edgesafe_length"], [EMBEDDING]),
    ]
    for node in nodes:
        node.name = f"edgesafe_{node.op_type}"
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, [batch, dim]))


def stamp(model: ModelProto, *, name: str, release: int, properties: Mapping[str, str]) -> None:
    """Writes who made the model and what it is into its metadata."""
    model.producer_name = "edgesafe"
    model.producer_version = VERSION
    model.domain = DOMAIN
    model.model_version = release
    model.graph.name = name
    helper.set_model_props(model, dict(properties))


def check_model(model: ModelProto) -> ModelProto:
    """Attaches the function bodies and checks the finished model.

    Returns:
        The model with inferred shapes of its inner tensors removed again: they are of no use to a
        runtime and can only contradict it.

    Raises:
        ExportError: The checker refuses it, shapes cannot be inferred, it uses operators of other
            domains, an output lost its symbolic batch, or it breaks the policy of typed graphs.
    """
    attach_functions(model)
    del model.graph.value_info[:]
    strangers = sorted(
        {f"{n.domain}:{n.op_type}" for n in model.graph.node if n.domain not in _ALLOWED_DOMAINS}
    )
    if strangers:
        raise ExportError(f"the graph uses {strangers[0]}, which not every runtime has")
    try:
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    for output in inferred.graph.output:
        if not output.type.tensor_type.shape.dim[0].dim_param:
            raise ExportError(f"the batch of the output {output.name!r} became a constant")
    check_policy(model)
    return model


def _make_room(model: ModelProto) -> None:
    """Renames inner tensors that have the name of an output: torch calls a look-up `embedding`."""
    taken = {EMBEDDING, ROOT_DISTANCE}
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"tower_{name}" if name in taken else name for name in names]
    for tensor in model.graph.initializer:
        if tensor.name in taken:
            tensor.name = f"tower_{tensor.name}"


def _check_axes(model: ModelProto, wanted: Mapping[str, Mapping[int, str]]) -> None:
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for axis, name in wanted.get(value.name, {}).items():
            if dims[axis].dim_param != name:
                found = dims[axis].dim_param or dims[axis].dim_value
                raise ExportError(
                    f"dimension {axis} of {value.name!r} must vary as {name!r} and is {found!r} "
                    "in the graph: the tower's forward fixes it"
                )


def strip(model: ModelProto) -> None:
    """Removes what the exporter notes for debugging: stack traces with paths of this machine."""
    graph = model.graph
    holders: Sequence[Any] = [
        model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output,
    ]  # fmt: skip
    for holder in holders:
        holder.doc_string = ""
        if hasattr(holder, "metadata_props"):
            del holder.metadata_props[:]
    del graph.value_info[:]
    # Sub-graphs (If, Loop) would carry notes of their own; no tower has any.
    for node in graph.node:
        if any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
            raise ExportError(f"the graph has control flow ({node.op_type} {node.name!r})")
