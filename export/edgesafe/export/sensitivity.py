"""Which operators must not be int8: the error that each one alone causes, against what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from edgesafe.export.qdq import candidates, channel_axis, insert_qdq
from edgesafe.export.ranges import Batch, Spread, observe, run_tensors, session_of
from edgesafe.export.typed_graph import constants_of

__all__ = ["BUDGET", "Hardness", "hard_nodes", "measure_hardness"]

BUDGET = 0.1
"""Share of the multiplications that may stay in float32."""

# Ranges and errors of single operators need far fewer inputs than the calibration itself.
_INPUTS = 8


@dataclass(frozen=True)
class Hardness:
    """Of one operator.

    Attributes:
        node: Its name.
        error: Mean square of the change of the outputs over that of the outputs, it alone in int8.
        macs: Multiplications for one input.
    """

    node: str
    error: float
    macs: int


def measure_hardness(model: ModelProto, batches: Sequence[Batch]) -> list[Hardness]:
    """Measures every operator that could be quantised.

    Args:
        model: A tower in float32, with folded weights and named nodes.
        batches: Calibration inputs by name; the first few are used.
    """
    used = list(batches[:_INPUTS])
    nodes = candidates(model)
    outputs = [o.name for o in model.graph.output]
    spreads = observe(model, [node.input[0] for node in nodes], used)
    macs = _macs(model, used[0])
    truth = _answers(model, outputs, used)
    found = []
    for node in nodes:
        single = insert_qdq(model, [node], _only(spreads, node.input[0]))
        answers = _answers(single, outputs, used)
        error = sum(
            float(np.mean((a - t) ** 2) / max(float(np.mean(t**2)), 1e-20))
            for a, t in zip(answers, truth, strict=True)
        )
        found.append(Hardness(node.name, error, macs[node.name]))
    return found


def hard_nodes(found: Sequence[Hardness], budget: float = BUDGET) -> list[str]:
    """Returns the operators to keep in float32: most error per multiplication, within a budget.

    Args:
        found: Of all candidates.
        budget: Share of all multiplications.
    """
    left = budget * sum(item.macs for item in found)
    kept = []
    for item in sorted(found, key=lambda h: h.error / max(h.macs, 1), reverse=True):
        if item.macs <= left:
            left -= item.macs
            kept.append(item.node)
    return sorted(kept)


def _only(spreads: dict[str, Spread], name: str) -> dict[str, Spread]:
    return {name: spreads[name]}


def _answers(
    model: ModelProto, outputs: Sequence[str], batches: Sequence[Batch]
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    session = session_of(model)
    runs = [session.run(list(outputs), dict(batch)) for batch in batches]
    # One after the other: texts of several lengths have one answer of the same shape each.
    return [np.concatenate([run[i].reshape(-1) for run in runs]) for i in range(len(outputs))]


def _macs(model: ModelProto, batch: Batch) -> dict[str, int]:
    """Multiplications of every candidate for one input."""
    constants = constants_of(model)
    nodes = candidates(model)
    made = run_tensors(
        session_of(model, [n.output[0] for n in nodes]), [n.output[0] for n in nodes], batch
    )
    found = {}
    for node in nodes:
        weight = constants[node.input[1]]
        per_output = weight.size // weight.shape[channel_axis(node, weight)]
        rows = len(next(iter(batch.values())))
        found[node.name] = made[node.output[0]].size // rows * per_output
    return found
