"""One encoder of a package: its tower exported, headed, stored, stamped, checked and measured."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn

from edgesafe.export.graph import (
    EMBEDDING,
    ROOT_DISTANCE,
    add_head,
    add_unit_head,
    check_model,
    export_tower,
    stamp,
)
from edgesafe.export.parity import (
    Answers,
    Parity,
    StorageEffect,
    join,
    measure_effect,
    measure_parity,
    run_onnx,
)
from edgesafe.export.storage import Storage, round_weights, store_weights
from edgesafe.runtime.errors import ExportError
from edgesafe.train import lorentz
from edgesafe.train.model import HyperbolicDualEncoder, SafetyModel, unit

__all__ = [
    "ExportedTower",
    "Float64Tower",
    "TowerPlan",
    "export_encoder",
    "fitting_storage",
    "image_probes",
    "text_probes",
]

Modality = Literal["image", "text"]
Batch = Mapping[str, Tensor]

# A model is one protobuf message, and those end at 2 GiB.
_MAX_MODEL_BYTES = 2**31 - 1
FP32_LIMIT = 1_900_000_000
"""Bytes of float32 weights from which on a tower is stored as fp16: the graph must fit beside."""
# torch holds whatever a forward keeps for its gradient; there is none here, but batches of ViT-L
# activations in float64 are large all the same.
_BATCH = 4


@dataclass(frozen=True)
class TowerPlan:
    """How to export one tower.

    Attributes:
        modality: ``image`` or ``text``.
        example: Input name to an example (2, ...).
        axes: Input name to {dimension: symbolic name}.
        limits: Symbolic name to its largest size.
        storage: Of the weights.
        opset: Of the standard operators.
        name: Of the package, for the metadata.
        release: Of the package.
    """

    modality: Modality
    example: Batch
    axes: Mapping[str, Mapping[int, str]]
    limits: Mapping[str, int]
    storage: Storage
    opset: int
    name: str
    release: int


@dataclass(frozen=True)
class ExportedTower:
    """A finished encoder.

    Attributes:
        onnx: The file.
        reference: The torch model with the stored weights, in float64.
        parity: Of ``onnx`` with ``reference``.
        effect: What the storage changed; None where it changed nothing (``fp32``).
    """

    onnx: bytes = field(repr=False)
    reference: Float64Tower
    parity: Parity
    effect: StorageEffect | None


class Float64Tower:
    """Tower and geometry in float64: the truth that an export is compared with.

    Attributes:
        scale: exp(alpha) of the modality, by which the features are multiplied; 1 on the sphere.
        curvature: c > 0; None on the sphere.
    """

    def __init__(self, model: SafetyModel, modality: Modality) -> None:
        """Copies the tower of one modality; later changes to the model do not reach the copy."""
        self._tower = copy.deepcopy(getattr(model.encoder, modality)).double().eval()
        self._place: Callable[[Tensor], Tensor] = unit
        self._curvature: Tensor | None = None
        self.scale = 1.0
        self.curvature: float | None = None
        if isinstance(model, HyperbolicDualEncoder):
            lift = copy.deepcopy(model.lift).double().requires_grad_(False)
            self._place = getattr(lift, modality)
            self._curvature = lift.curvature
            alpha = lift.visual_alpha if modality == "image" else lift.textual_alpha
            self.scale = float(alpha.exp())
            self.curvature = float(lift.curvature)

    @property
    def outputs(self) -> list[str]:
        """Names of what the exported encoder answers."""
        return [EMBEDDING] if self.curvature is None else [EMBEDDING, ROOT_DISTANCE]

    @torch.no_grad()
    def __call__(self, batches: Sequence[Batch]) -> Answers:
        """Encodes batches of tensors by input name."""
        return join([self._encode(batch) for batch in batches])

    def _encode(self, batch: Batch) -> Answers:
        tensors = [t.double() if t.is_floating_point() else t for t in batch.values()]
        points = self._place(self._tower(*tensors))
        if self._curvature is None:
            return Answers(points.numpy())
        return Answers(points.numpy(), lorentz.root_distance(points, self._curvature).numpy())


def export_encoder(model: SafetyModel, plan: TowerPlan, probes: Sequence[Batch]) -> ExportedTower:
    """Exports one tower of a model, whose weights it rounds in place to what is stored.

    Args:
        model: On the CPU, in float32 and evaluation mode.
        plan: What to do.
        probes: Inputs to measure on, of any batch sizes.

    Raises:
        ExportError: The tower cannot be exported, or the export does not compute the same.
    """
    tower = cast(nn.Module, getattr(model.encoder, plan.modality))
    check_size(tower, plan)
    original = Float64Tower(model, plan.modality)(probes) if plan.storage != "fp32" else None
    round_weights(tower, plan.storage)
    reference = Float64Tower(model, plan.modality)
    proto = export_tower(tower, plan.example, plan.axes, limits=plan.limits, opset=plan.opset)
    store_weights(proto, plan.storage)
    stamp(
        proto,
        name=f"{plan.name}-{plan.modality}",
        release=plan.release,
        properties={
            "edgesafe.kind": "moderation",
            "edgesafe.modality": plan.modality,
            **_add_head(proto, reference),
            "edgesafe.precision": "fp32",
            "edgesafe.storage": plan.storage,
        },
    )
    onnx_bytes = check_model(proto).SerializeToString()
    truth = reference(probes)
    arrays: list[dict[str, NDArray[Any]]] = [
        {name: tensor.numpy() for name, tensor in batch.items()} for batch in probes
    ]
    parity = measure_parity(run_onnx(onnx_bytes, arrays, reference.outputs), truth)
    effect = measure_effect(truth, original) if original else None
    return ExportedTower(onnx_bytes, reference, parity, effect)


def _add_head(proto: ModelProto, reference: Float64Tower) -> dict[str, str]:
    """Grafts the head of the geometry on; returns what the metadata says of it."""
    if reference.curvature is None:
        add_unit_head(proto)
        return {"edgesafe.geometry": "euclidean"}
    add_head(proto, scale=reference.scale, curvature=reference.curvature)
    curvature = float(np.float32(reference.curvature))
    return {"edgesafe.geometry": "lorentz", "edgesafe.curvature": repr(curvature)}


def image_probes(pixels: NDArray[np.float32]) -> list[Batch]:
    """Splits (n, 3, H, W) into batches of one and of several: a graph may work for one only."""
    return [{"pixels": torch.from_numpy(pixels[rows])} for rows in _groups(len(pixels))]


def text_probes(model: SafetyModel, texts: Sequence[str]) -> list[Batch]:
    """Tokenises texts in batches of one (no padding) and of several."""
    batches = (model.encoder.tokenize(texts[rows]) for rows in _groups(len(texts)))
    return [{"input_ids": ids, "attention_mask": mask} for ids, mask in batches]


def _groups(count: int) -> list[slice]:
    starts = [0, *range(1, count, _BATCH)]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]


def fitting_storage(tower: nn.Module, wanted: Storage) -> Storage:
    """The wanted storage, or fp16 where the tower would be too large for a file as fp32."""
    return "fp16" if wanted == "fp32" and _bytes(tower, "fp32") > FP32_LIMIT else wanted


def check_size(tower: nn.Module, plan: TowerPlan) -> None:
    """Refuses a tower that does not fit into one file.

    Raises:
        ExportError: It is too large, stored as planned.
    """
    size = _bytes(tower, plan.storage)
    if size > _MAX_MODEL_BYTES - (64 << 20):
        raise ExportError(
            f"the {plan.modality} tower has {size / 2**30:.1f} GiB of weights as {plan.storage}; "
            "an ONNX file holds at most 2 GiB. Store it smaller, or export a smaller architecture."
        )


def _bytes(tower: nn.Module, storage: Storage) -> int:
    each = {"fp32": 4, "fp16": 2, "int8": 1}
    tensors = [*tower.parameters(), *tower.buffers()]
    # Vectors stay float32 whatever the storage is.
    return sum(t.numel() * (each[storage] if t.ndim >= 2 else 4) for t in tensors)
