"""One graph of a package in another precision: converted, checked, run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper

from edgesafe.export.functions import DOMAIN, DOMAIN_VERSION
from edgesafe.export.graph import check_model
from edgesafe.export.precision import Precision, peaks, to_half
from edgesafe.export.quantise import Quantised, quantise
from edgesafe.export.ranges import Batch
from edgesafe.export.sensitivity import BUDGET
from edgesafe.export.typed_graph import (
    fold_weights,
    halve_tables,
    join_head,
    name_nodes,
    soften_masks,
    split_head,
)
from edgesafe.runtime.errors import ExportError
from edgesafe.runtime.sessions import open_session

__all__ = ["Lowered", "lower", "run_graph"]

# Ranges of float16 have an eighth to spare, so a few inputs tell enough.
_PEAK_INPUTS = 16


@dataclass(frozen=True)
class Lowered:
    """A finished graph.

    Attributes:
        onnx: The file.
        precision: What it computes in.
        quantised: How; None but for int8.
        islands: Of fp16: node before the projection that stays in float32 -> why.
    """

    onnx: bytes = field(repr=False)
    precision: Precision
    quantised: Quantised | None = None
    islands: Mapping[str, str] = field(default_factory=dict)


def lower(
    data: bytes,
    precision: Precision,
    batches: Sequence[Batch],
    *,
    method: str = "auto",
    budget: float = BUDGET,
    cache: bool = True,
) -> Lowered:
    """Converts a graph in float32, however its weights are stored.

    Args:
        data: The ONNX file.
        precision: What to compute in; ``fp32`` unfolds stored weights.
        batches: Inputs by name: calibration data for int8, any inputs for fp16.
        method: Of int8, see :mod:`edgesafe.export.quantise`.
        budget: Of int8: share of the multiplications that may stay in float32.
        cache: Of int8: whether to use the cache.

    Raises:
        ExportError: The graph cannot be converted, or the result breaks the policy.
        UsageError: The method is not installed.
    """
    model = onnx.load_from_string(data)
    fold_weights(model)
    name_nodes(model)
    if precision == "fp32":
        return Lowered(_finish(model, precision), precision)
    soften_masks(model)
    head = split_head(model)
    quantised, islands = None, {}
    if precision == "fp16":
        islands = dict(to_half(model, peaks(model, batches[:_PEAK_INPUTS])).islands)
    else:
        properties = list(model.metadata_props)
        quantised = quantise(model, batches, method, budget=budget, cache=cache)
        model = quantised.model
        if not model.metadata_props:
            model.metadata_props.extend(properties)
        halve_tables(model)
    join_head(model, head)
    return Lowered(_finish(model, precision), precision, quantised, islands)


def _finish(model: ModelProto, precision: str) -> bytes:
    known = {o.domain for o in model.opset_import}
    if any(node.domain == DOMAIN for node in model.graph.node) and DOMAIN not in known:
        model.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
    used = {node.domain for node in model.graph.node} | {""}
    imports = [(o.domain, o.version) for o in model.opset_import if o.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*item) for item in imports)
    for entry in model.metadata_props:
        if entry.key in ("edgesafe.precision", "edgesafe.storage"):
            entry.value = precision
    model.producer_name = "edgesafe"
    return bytes(check_model(model).SerializeToString())


def run_graph(
    data: bytes,
    outputs: Sequence[str],
    batches: Sequence[Batch],
    *,
    precision: str = "fp32",
    where: str = "the graph",
) -> dict[str, NDArray[Any]]:
    """Runs a graph as the runtime does on a CPU; returns its outputs by name, batches joined.

    Raises:
        ExportError: It cannot be run.
    """
    session = open_session(data, backend="cpu", threads=1, where=where, precision=precision)
    try:
        runs = [session.run(outputs, batch) for batch in batches]
    except Exception as error:  # no common base
        raise ExportError(f"{where} cannot be run: {error}") from error
    return {name: np.concatenate([run[i] for run in runs]) for i, name in enumerate(outputs)}
