"""A checkpoint of pose training becomes a pose package."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgesafe.calib.next_release import check_out
from edgesafe.calib.pose_silhouettes import draw_objects
from edgesafe.export.graph import MINIMUM_OPSET, check_model, stamp
from edgesafe.export.parity import LIMIT, Parity
from edgesafe.export.pose_graph import IMAGE, OBJECT, Exportable, export_pose_graph, fold
from edgesafe.export.probes import draw_images, read_images
from edgesafe.export.storage import Storage, round_weights, store_weights
from edgesafe.export.target import next_release, package_name
from edgesafe.runtime.errors import EdgesafeError, ExportError, UsageError
from edgesafe.runtime.files import atomic_folder, canonical_json
from edgesafe.runtime.package import PosePackage, read_pose_package, write_pose_package
from edgesafe.runtime.pose.estimator import PoseEstimator
from edgesafe.runtime.pose.golden import golden_pair
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.runtime.sessions import open_session
from edgesafe.runtime.version import VERSION
from edgesafe.train.pose.checkpoint import NetworkInfo, PoseCheckpoint, load_pose_checkpoint
from edgesafe.train.pose.trunks import STRIDE

__all__ = [
    "ExportedNetwork",
    "PoseExportOptions",
    "PoseExported",
    "describe_network",
    "export_network",
    "export_pose_package",
    "probe_pictures",
]

_NOT_STATED = "not stated"
_GOLDEN = 2
_TOLERANCE = 0.01
_BATCH = 4

Arrays = dict[str, NDArray[Any]]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class PoseExportOptions:
    """How to export.

    Attributes:
        name: Of the package; None for the name of its folder.
        release: Rising number; None for 1, or one more than that of the package it replaces.
        storage: How the weights are stored.
        opset: Of the standard ONNX operators, 18 to 22.
        views: Looks at each region, 1 or 5; more than one for vote heads only.
        gates: Those of the manifest that differ from the defaults.
        weights: ``licence``, ``origin`` and ``notice`` where they differ from the checkpoint's.
        intended_use: For a person.
        limits: What the model cannot do, for a person.
        photos: Folder of photos to measure on besides the drawn pictures.
        meshes: Folder ``models`` of BOP with the objects' meshes, from which their outlines from
            all sides are drawn; None for a package that does not refine its poses.
        overwrite: Replace an existing package.
    """

    name: str | None = None
    release: int | None = None
    storage: Storage = "fp32"
    opset: int = MINIMUM_OPSET
    views: int = 1
    gates: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    intended_use: str = "6D pose of the objects that it was trained on, in colour pictures."
    limits: tuple[str, ...] = (
        "Objects, lighting and cameras unlike the training data lower the accuracy.",
    )
    photos: Path | None = None
    meshes: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class PoseExported:
    """A written package with what was measured on the way.

    Attributes:
        package: As the runtime reads it.
        parity: Per file: against the same weights in float64.
        effect: Per file: the largest change by the storage of the weights, relative as for the
            parity; empty for ``fp32``.
    """

    package: PosePackage
    parity: Mapping[str, Parity]
    effect: Mapping[str, float]


@dataclass(frozen=True)
class ExportedNetwork:
    """One network of the package.

    Attributes:
        info: As the checkpoint describes it.
        file: Its name in the package.
        onnx: The model.
        golden: Golden pairs.
        parity: Against the same weights in float64.
        effect: The largest change by the storage of the weights; None for ``fp32``.
    """

    info: NetworkInfo
    file: str
    onnx: bytes = field(repr=False)
    golden: list[dict[str, Any]] = field(repr=False)
    parity: Parity
    effect: float | None


def export_pose_package(
    checkpoint: Path | str,
    out: Path | str,
    options: PoseExportOptions | None = None,
    *,
    progress: Callable[[str], None] = lambda stage: None,
) -> PoseExported:
    """Turns a checkpoint of pose training into a package, whole or not at all.

    Args:
        checkpoint: The folder that training wrote.
        out: The folder to make.
        options: How.
        progress: Called with a line at the start of each stage.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        ExportError: A network cannot be exported, or the export does not compute the same.
        DataError: A mesh is missing or not that of its object.
        PackageError: The result would not be a valid package.
        UsageError: ``out`` exists and is not to be, or cannot be, overwritten.
    """
    options = options or PoseExportOptions()
    target = Path(out)
    check_out(target, overwrite=options.overwrite)
    name = package_name(options.name, target)
    release = options.release or next_release(target, read_pose_package)
    progress(f"reading {checkpoint}")
    found = load_pose_checkpoint(checkpoint)
    if not any(info.kind == "roi" for info in found.networks):
        raise ExportError(f"{checkpoint} holds no network for regions of interest: train one first")
    objects = [known.to_json() for known in found.objects]
    drawn: dict[str, bytes] = {}
    if options.meshes is not None:
        if all(i.architecture.get("head") != "vote" for i in found.networks if i.kind == "roi"):
            raise UsageError(
                "--meshes: outlines refine the poses of vote heads, and this checkpoint has a "
                "direct head: leave the option out"
            )
        objects, drawn = draw_objects(objects, options.meshes, progress)
    pictures = probe_pictures(options)
    exported = []
    for info in found.networks:
        progress(f"exporting {info.name}, weights as {options.storage}")
        exported.append(export_network(found, info, pictures, options, name, release))

    progress(f"writing {target}")
    golden = {
        "tolerances": {"outputs": _TOLERANCE},
        "roi": [pair for one in exported if one.info.kind == "roi" for pair in one.golden],
        "detector": [pair for one in exported if one.info.kind != "roi" for pair in one.golden],
    }
    files = {one.file: one.onnx for one in exported} | drawn
    files["golden.json"] = canonical_json(golden)
    fields = _manifest(found, objects, exported, options, name, release)
    with atomic_folder(target, overwrite=options.overwrite) as folder:
        package = write_pose_package(folder, fields, files, overwrite=True)
        try:
            PoseEstimator.load(package, backend="cpu", threads=1)
        except EdgesafeError as error:
            raise ExportError(f"the runtime would refuse the new package: {error}") from error
    return PoseExported(
        package=read_pose_package(target),
        parity={one.file: one.parity for one in exported},
        effect={one.file: one.effect for one in exported if one.effect is not None},
    )


def probe_pictures(options: PoseExportOptions) -> list[Pixels]:
    """What networks are measured on."""
    return draw_images() + (read_images(options.photos) if options.photos else [])


def export_network(
    checkpoint: PoseCheckpoint,
    info: NetworkInfo,
    pictures: Sequence[Pixels],
    options: PoseExportOptions,
    name: str,
    release: int,
) -> ExportedNetwork:
    """Exports one network and measures it.

    Raises:
        ExportError: It cannot be exported, or the export does not compute the same.
    """
    preprocess = Preprocess.from_dict(info.preprocess)
    pixels = [preprocess.resize(picture) for picture in pictures]
    original = checkpoint.network(info.name)
    folded = fold(original)
    round_weights(folded, options.storage)
    module = Exportable(folded)
    proto = export_pose_graph(module, preprocess.height, preprocess.width, opset=options.opset)
    store_weights(proto, options.storage)
    stamp(
        proto,
        name=f"{name}-{info.name}",
        release=release,
        properties={
            "edgesafe.kind": "pose",
            "edgesafe.network": info.kind,
            "edgesafe.precision": "fp32",
            "edgesafe.storage": options.storage,
        },
    )
    onnx = check_model(proto).SerializeToString()

    batches = _batches(preprocess.normalize(np.stack(pixels)), module.objects)
    truth = [_in_double(module, batch) for batch in batches]
    session = open_session(onnx, backend="cpu", threads=1, where=f"{info.name}.onnx")
    answers = [
        dict(zip(module.outputs, session.run(module.outputs, batch), strict=True))
        for batch in batches
    ]
    error = max(_difference(a, t) for a, t in zip(answers, truth, strict=True))
    # Written so that NaN fails.
    if not error <= LIMIT:
        raise ExportError(
            f"the exported network {info.name} is off by {error:.2g} (relative), more than "
            f"{LIMIT:.0e}: it does not compute what was trained; do not use the package."
        )
    effect = None
    if options.storage != "fp32":
        before = [_in_double(Exportable(original), batch) for batch in batches]
        effect = max(_difference(t, b) for t, b in zip(truth, before, strict=True))
    golden = [
        golden_pair(
            pixels[i],
            {key: value[0] for key, value in _in_double(module, batch).items()},
            info.objects[int(batch[OBJECT][0]) if OBJECT in batch else 0]
            if info.kind == "roi"
            else None,
        )
        for i, batch in enumerate(
            _batches(preprocess.normalize(np.stack(pixels[:_GOLDEN])), module.objects, single=True)
        )
    ]
    parity = Parity(float(error), len(pixels))
    return ExportedNetwork(info, f"{info.name}.onnx", onnx, golden, parity, effect)


def _batches(pixels: NDArray[np.float32], objects: int, *, single: bool = False) -> list[Arrays]:
    """Splits pictures into batches of one and of several; the objects take turns."""
    step = 1 if single else _BATCH
    starts = [0, *range(1, len(pixels), step)]
    batches: list[Arrays] = []
    for start, end in zip(starts, [*starts[1:], len(pixels)], strict=True):
        batch: Arrays = {IMAGE: pixels[start:end]}
        if objects > 1:
            batch[OBJECT] = np.arange(start, end, dtype=np.int64) % objects
        batches.append(batch)
    return batches


@torch.no_grad()
def _in_double(module: Exportable, batch: Arrays) -> Arrays:
    """The outputs of a copy of a network in float64."""
    double = copy.deepcopy(module).double()
    image = torch.from_numpy(batch[IMAGE]).double()
    index = torch.from_numpy(batch[OBJECT]) if OBJECT in batch else None
    outputs = double(image, index)
    return {name: value.numpy() for name, value in zip(module.outputs, outputs, strict=True)}


def _difference(found: Arrays, truth: Arrays) -> float:
    """Largest difference of each output over the largest value of it in the same picture."""
    worst = 0.0
    for name, expected in truth.items():
        rows = len(expected)
        size = np.abs(expected).reshape(rows, -1).max(axis=1)
        apart = np.abs(found[name] - expected).reshape(rows, -1).max(axis=1)
        # A mask of nothing, or a scale of exp(0): not relative to less than a thousandth.
        worst = max(worst, float(np.max(apart / np.maximum(size, 1e-3))))
        if not np.isfinite(found[name]).all():
            return float("nan")
    return worst


def describe_network(one: ExportedNetwork, options: PoseExportOptions) -> dict[str, Any]:
    """What the manifest says of a network."""
    info = one.info
    fields: dict[str, Any] = {
        "file": one.file,
        "objects": list(info.objects),
        "stride": STRIDE,
        "opset": options.opset,
        "precision": "fp32",
        "storage": options.storage,
        "preprocess": dict(info.preprocess),
    }
    if info.kind == "roi":
        fields |= {"head": info.architecture["head"], "size": int(info.architecture["size"])}
        if fields["head"] == "vote":
            fields["views"] = options.views
    else:
        fields |= {key: info.preprocess[key] for key in ("width", "height")}
    return {**fields, **info.options}


def _manifest(
    checkpoint: PoseCheckpoint,
    objects: Sequence[Mapping[str, Any]],
    exported: Sequence[ExportedNetwork],
    options: PoseExportOptions,
    name: str,
    release: int,
) -> dict[str, Any]:
    networks, detector = [], None
    for one in exported:
        if one.info.kind == "roi":
            networks.append(describe_network(one, options))
        else:
            detector = describe_network(one, options)
    weights = {**checkpoint.weights, **options.weights}
    fields: dict[str, Any] = {
        "kind": "pose",
        "name": name,
        "release": release,
        "minimum_runtime": VERSION,
        "objects": list(objects),
        "networks": networks,
        "gates": {**_gates(checkpoint, exported), **options.gates},
        "golden": {"file": "golden.json"},
        "parity": {one.file: one.parity.to_json() for one in exported},
        "weights": {
            "licence": weights.get("licence") or _NOT_STATED,
            "origin": list(weights.get("origin") or [_NOT_STATED]),
            "notice": weights.get("notice") or "",
        },
        "intended_use": options.intended_use,
        "limits": list(options.limits),
        "training": {
            "data": dict(checkpoint.data),
            "seed": checkpoint.seed,
            "networks": {
                one.info.name: {
                    "architecture": dict(one.info.architecture),
                    "config": dict(one.info.config),
                    "metrics": dict(one.info.metrics),
                }
                for one in exported
            },
        },
    }
    if detector is not None:
        fields["detector"] = detector
    return fields


def _gates(checkpoint: PoseCheckpoint, exported: Sequence[ExportedNetwork]) -> dict[str, float]:
    """Lenient defaults: they refuse what cannot be right, not what is doubtful."""
    size = min(int(one.info.architecture["size"]) for one in exported if one.info.kind == "roi")
    near, far = checkpoint.data.get("depth_mm") or (1.0, 1e5)
    return {
        # Of a fully visible object about a fifth of the region is object.
        "min_mask_px": 0.01 * size * size,
        "max_mahalanobis": 4.0,
        "min_confidence": 0.02,
        "max_reprojection_px": 0.1 * size,
        "near_mm": near / 2,
        "far_mm": far * 2,
    }
