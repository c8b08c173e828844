"""Checkpoint to model package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgesafe.calib.next_release import check_out
from edgesafe.export.contents import concepts_json, golden_json
from edgesafe.export.graph import MINIMUM_OPSET
from edgesafe.export.parity import Parity, StorageEffect
from edgesafe.export.probes import GOLDEN_IMAGES, GOLDEN_TEXTS, TEXTS, draw_images, read_images
from edgesafe.export.storage import Storage
from edgesafe.export.target import next_release, package_name
from edgesafe.export.towers import (
    ExportedTower,
    TowerPlan,
    export_encoder,
    fitting_storage,
    image_probes,
    text_probes,
)
from edgesafe.runtime.concepts import read_bank
from edgesafe.runtime.encoders import open_image, open_text
from edgesafe.runtime.errors import EdgesafeError, ExportError
from edgesafe.runtime.fields import Fields
from edgesafe.runtime.files import atomic_folder
from edgesafe.runtime.golden import read_golden
from edgesafe.runtime.manifest_parts import read_per_modality, read_threshold
from edgesafe.runtime.package import Package, read_package, write_package
from edgesafe.runtime.thresholds import FAR
from edgesafe.train.checkpoint import CheckpointInfo, load_checkpoint
from edgesafe.train.model import SafetyModel

__all__ = ["Exported", "ExportOptions", "export_package"]

MINIMUM_RUNTIME = "0.1.0"
"""The first version of edgesafe that reads what is written here."""

_NOT_STATED = "not stated"


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Attributes:
        name: Of the package; None for the name of its folder.
        release: Rising number; None for 1, or one more than that of the package it replaces.
        image_storage: How the weights of the image tower are stored.
        text_storage: How the weights of the text tower are stored.
        opset: Of the standard ONNX operators, 18 to 22.
        thresholds: ``image`` and ``text``, in the form of the manifest; without them the runtime
            answers ``undecided``.
        intended_use: For a person.
        limits: What the model cannot do, for a person.
        photos: Folder of photos to measure on besides the drawn pictures.
        overwrite: Replace an existing package.
    """

    name: str | None = None
    release: int | None = None
    image_storage: Storage = "fp32"
    text_storage: Storage = "fp32"
    opset: int = MINIMUM_OPSET
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    intended_use: str = "Moderation of images and texts by the policy of its training data."
    limits: tuple[str, ...] = ("Thresholds hold for data like those that they were calibrated on.",)
    photos: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Exported:
    """A written package with what was measured on the way.

    Attributes:
        package: As the runtime reads it.
        parity: Per modality.
        effect: Per modality, of the storage of its weights; empty for ``fp32``.
    """

    package: Package
    parity: Mapping[str, Parity]
    effect: Mapping[str, StorageEffect]


def export_package(
    checkpoint: Path | str,
    out: Path | str,
    options: ExportOptions | None = None,
    *,
    progress: Callable[[str], None] = lambda stage: None,
) -> Exported:
    """Turns a checkpoint into a model package, whole or not at all.

    Args:
        checkpoint: The folder that training wrote.
        out: The folder to make.
        options: How.
        progress: Called with a line at the start of each stage.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        ExportError: A tower cannot be exported, or the export does not compute the same.
        PackageError: The thresholds or the name are not valid.
        UsageError: ``out`` exists and ``overwrite`` is false.
    """
    options = options or ExportOptions()
    target = Path(out)
    check_out(target, overwrite=options.overwrite)
    name = package_name(options.name, target)
    # A distance from the root is positive, the logit of a probe need not be; the manifest decides.
    read_per_modality(Fields(options.thresholds, "thresholds"), partial(read_threshold, low=-FAR))
    release = options.release or next_release(target, read_package)
    progress(f"reading {checkpoint}")
    model, info = load_checkpoint(checkpoint)
    model.eval().requires_grad_(False)
    options = _with_fitting_storage(model, options, progress)

    progress(f"exporting the image tower, weights as {options.image_storage}")
    pictures = draw_images()
    photos = read_images(options.photos) if options.photos else []
    preprocess = model.encoder.preprocess
    pixels = np.stack([preprocess(rgb) for rgb in [*pictures, *photos]])
    image = export_encoder(model, _image_plan(model, options, name, release), image_probes(pixels))

    progress(f"exporting the text tower, weights as {options.text_storage}")
    prompts = [p for concept in info.concepts for p in concept.get("prompts", ())]
    text = export_encoder(
        model,
        _text_plan(model, options, name, release),
        text_probes(model, [*TEXTS, *prompts[:64]]),
    )

    progress(f"writing {target}")
    golden_texts = [(t, model.encoder.token_ids([t])[0]) for t in TEXTS[:GOLDEN_TEXTS]]
    files = {
        "image.onnx": image.onnx,
        "text.onnx": text.onnx,
        "tokenizer.json": model.encoder.tokenizer_json,
        "concepts.json": concepts_json(model, text.reference, info.concepts, _concept_radius(info)),
        "golden.json": golden_json(
            preprocess,
            pictures[:GOLDEN_IMAGES],
            image.reference(image_probes(pixels[:GOLDEN_IMAGES])),
            golden_texts,
            text.reference(text_probes(model, TEXTS[:GOLDEN_TEXTS])),
        ),
    }
    fields = _manifest(model, info, options, name, release, image, text)
    with atomic_folder(target, overwrite=options.overwrite) as folder:
        _check_package(write_package(folder, fields, files, overwrite=True))
    parity = {"image": image.parity, "text": text.parity}
    effects = {"image": image.effect, "text": text.effect}
    return Exported(read_package(target), parity, {k: e for k, e in effects.items() if e})


def _with_fitting_storage(
    model: SafetyModel, options: ExportOptions, progress: Callable[[str], None]
) -> ExportOptions:
    """The options, with fp16 for a tower that is too large for fp32; says so."""
    for modality in ("image", "text"):
        wanted = getattr(options, f"{modality}_storage")
        chosen = fitting_storage(getattr(model.encoder, modality), wanted)
        if chosen != wanted:
            progress(
                f"the {modality} tower is too large for one file as {wanted}: its weights are "
                f"stored as {chosen}"
            )
            change: dict[str, Any] = {f"{modality}_storage": chosen}
            options = replace(options, **change)
    return options


def _image_plan(model: SafetyModel, options: ExportOptions, name: str, release: int) -> TowerPlan:
    size = model.encoder.preprocess
    return TowerPlan(
        modality="image",
        example={"pixels": torch.zeros(2, 3, size.height, size.width)},
        axes={"pixels": {0: "batch"}},
        limits={},
        storage=options.image_storage,
        opset=options.opset,
        name=name,
        release=release,
    )


def _text_plan(model: SafetyModel, options: ExportOptions, name: str, release: int) -> TowerPlan:
    encoder = model.encoder
    ids, mask = encoder.tokenize(TEXTS[:2])
    axes = {0: "batch"} if encoder.fixed_length else {0: "batch", 1: "tokens"}
    return TowerPlan(
        modality="text",
        example={"input_ids": ids, "attention_mask": mask},
        axes={"input_ids": axes, "attention_mask": axes},
        limits={"tokens": encoder.max_tokens},
        storage=options.text_storage,
        opset=options.opset,
        name=name,
        release=release,
    )


def _manifest(
    model: SafetyModel,
    info: CheckpointInfo,
    options: ExportOptions,
    name: str,
    release: int,
    image: ExportedTower,
    text: ExportedTower,
) -> dict[str, Any]:
    encoder = model.encoder
    common = {
        "outputs": image.reference.outputs,
        "opset": options.opset,
        "precision": "fp32",
    }
    effects = {"image": image.effect, "text": text.effect}
    rooted = image.reference.curvature is not None
    return {
        "kind": "moderation",
        "name": name,
        "release": release,
        "minimum_runtime": MINIMUM_RUNTIME,
        "method": _judged_as(image),
        "geometry": _geometry(model, image),
        "encoders": {
            "image": {
                **common,
                "file": "image.onnx",
                "input": "pixels",
                "storage": options.image_storage,
                "preprocess": encoder.preprocess.to_dict(),
            },
            "text": {
                **common,
                "file": "text.onnx",
                "inputs": ["input_ids", "attention_mask"],
                "storage": options.text_storage,
                "tokenizer": "tokenizer.json",
                "max_tokens": encoder.max_tokens,
                "pad_id": encoder.pad_id,
                "fixed_length": encoder.fixed_length,
            },
        },
        "thresholds": dict(options.thresholds),
        **({"bounds": dict(info.bounds)} if rooted else {}),
        "concepts": {"file": "concepts.json"},
        "golden": {"file": "golden.json"},
        "parity": {"image": image.parity.to_json(), "text": text.parity.to_json()},
        "weights": {
            "licence": info.weights.get("licence") or _NOT_STATED,
            "origin": list(info.weights.get("origin") or [_NOT_STATED]),
            "notice": info.weights.get("notice") or "",
        },
        "intended_use": options.intended_use,
        "limits": list(options.limits),
        # Not the configuration: it names folders of the machine that trained.
        "training": {
            # A file of the training machine means nothing here.
            "architecture": {k: v for k, v in info.architecture.items() if k != "checkpoint"},
            "method": info.method,
            "seed": info.seed,
            "data": dict(info.data),
            "metrics": dict(info.metrics),
            "storage_effect": {k: e.to_json() for k, e in effects.items() if e},
        },
    }


def _judged_as(image: ExportedTower) -> str:
    """How a runtime judges: by the distance from the root, or by a probe.

    So a plain CLIP is judged as Safe-CLIP is, and MERU as HySAC; ``training.method`` says what
    they are.
    """
    return "safeclip" if image.reference.curvature is None else "hysac"


def _geometry(model: SafetyModel, image: ExportedTower) -> dict[str, Any]:
    geometry = model.geometry()
    if image.reference.curvature is not None:
        # As the graph holds it.
        geometry["curvature"] = float(np.float32(image.reference.curvature))
    return geometry


def _concept_radius(info: CheckpointInfo) -> float | None:
    """As near to the root as the most general safe texts; None where no bounds were measured."""
    safe_text = info.bounds.get("safe_text")
    return float(safe_text["low_05"]) if safe_text else None


def _check_package(package: Package) -> None:
    """Opens a package as a device does, golden pairs included.

    Raises:
        ExportError: The runtime would refuse it.
    """
    manifest = package.manifest
    assert manifest.image is not None
    try:
        golden = read_golden(package)
        read_bank(package)
        open_image(package, golden, backend="cpu", threads=1)
        open_text(package, golden, backend="cpu", threads=1)
    except EdgesafeError as error:
        raise ExportError(f"the runtime would refuse the new package: {error}") from error
