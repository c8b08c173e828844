"""One encoder of a package: its tower exported, headed, stored, stamped, checked and measured."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgesafe.export.graph import add_head, check_model, export_tower, stamp
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
from edgesafe.train.model import HyperbolicDualEncoder

__all__ = [
    "ExportedTower",
    "Float64Tower",
    "TowerPlan",
    "export_encoder",
    "image_probes",
    "text_probes",
]

Modality = Literal["image", "text"]
Batch = Mapping[str, Tensor]

# A model is one protobuf message, and those end at 2 GiB.
_MAX_MODEL_BYTES = 2**31 - 1
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
    """Tower and lift in float64: the truth that an export is compared with."""

    def __init__(self, model: HyperbolicDualEncoder, modality: Modality) -> None:
        """Copies the tower of one modality; later changes to the model do not reach the copy."""
        self._tower = copy.deepcopy(getattr(model.encoder, modality)).double().eval()
        self._lift = copy.deepcopy(model.lift).double().requires_grad_(False)
        self._to_points = getattr(self._lift, modality)
        alpha = self._lift.visual_alpha if modality == "image" else self._lift.textual_alpha
        self.scale = float(alpha.exp())
        self.curvature = float(self._lift.curvature)

    @torch.no_grad()
    def __call__(self, batches: Sequence[Batch]) -> Answers:
        """Encodes batches of tensors by input name."""
        return join([self._encode(batch) for batch in batches])

    def _encode(self, batch: Batch) -> Answers:
        tensors = [t.double() if t.is_floating_point() else t for t in batch.values()]
        points = self._to_points(self._tower(*tensors))
        radius = lorentz.root_distance(points, self._lift.curvature)
        return Answers(points.numpy(), radius.numpy())


def export_encoder(
    model: HyperbolicDualEncoder, plan: TowerPlan, probes: Sequence[Batch]
) -> ExportedTower:
    """Exports one tower of a model, whose weights it rounds in place to what is stored.

    Args:
        model: On the CPU, in float32 and evaluation mode.
        plan: What to do.
        probes: Inputs to measure on, of any batch sizes.

    Raises:
        ExportError: The tower cannot be exported, or the export does not compute the same.
    """
    tower = cast(nn.Module, getattr(model.encoder, plan.modality))
    _check_size(tower, plan.modality)
    original = Float64Tower(model, plan.modality)(probes) if plan.storage != "fp32" else None
    round_weights(tower, plan.storage)
    reference = Float64Tower(model, plan.modality)
    proto = export_tower(tower, plan.example, plan.axes, limits=plan.limits, opset=plan.opset)
    store_weights(proto, plan.storage)
    add_head(proto, scale=reference.scale, curvature=reference.curvature)
    stamp(
        proto,
        name=f"{plan.name}-{plan.modality}",
        release=plan.release,
        properties={
            "edgesafe.kind": "moderation",
            "edgesafe.modality": plan.modality,
            "edgesafe.geometry": "lorentz",
            "edgesafe.curvature": repr(float(np.float32(reference.curvature))),
            "edgesafe.precision": "fp32",
            "edgesafe.storage": plan.storage,
        },
    )
    onnx_bytes = check_model(proto).SerializeToString()
    truth = reference(probes)
    arrays: list[dict[str, NDArray[Any]]] = [
        {name: tensor.numpy() for name, tensor in batch.items()} for batch in probes
    ]
    parity = measure_parity(run_onnx(onnx_bytes, arrays), truth)
    effect = measure_effect(truth, original) if original else None
    return ExportedTower(onnx_bytes, reference, parity, effect)


def image_probes(pixels: NDArray[np.float32]) -> list[Batch]:
    """Splits (n, 3, H, W) into batches of one and of several: a graph may work for one only."""
    return [{"pixels": torch.from_numpy(pixels[rows])} for rows in _groups(len(pixels))]


def text_probes(model: HyperbolicDualEncoder, texts: Sequence[str]) -> list[Batch]:
    """Tokenises texts in batches of one (no padding) and of several."""
    batches = (model.encoder.tokenize(texts[rows]) for rows in _groups(len(texts)))
    return [{"input_ids": ids, "attention_mask": mask} for ids, mask in batches]


def _groups(count: int) -> list[slice]:
    starts = [0, *range(1, count, _BATCH)]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]


def _check_size(tower: nn.Module, modality: str) -> None:
    size = sum(t.numel() * 4 for t in [*tower.parameters(), *tower.buffers()])
    if size > _MAX_MODEL_BYTES - (64 << 20):
        raise ExportError(
            f"the {modality} tower has {size / 2**30:.1f} GiB of weights; an ONNX file holds at "
            "most 2 GiB. Export a smaller architecture."
        )
