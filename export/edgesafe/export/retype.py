"""A package in another precision: a checkpoint is exported once, its package becomes many.

Every graph is converted (:mod:`edgesafe.export.lower`), compared with the one in float32 on data
that it was not calibrated on, and gets golden answers of its own: a device is compared with the
graph that it runs, at tolerances that fit it. So a broken device is still found, while the effect
of the precision is stated in the manifest and judged here, once.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgesafe.calib.next_release import check_out
from edgesafe.export.calibration_data import Case, Inputs, split_cases
from edgesafe.export.effect import ENOUGH, check_effect
from edgesafe.export.lower import Lowered, lower, run_graph
from edgesafe.export.precision import Precision
from edgesafe.export.ranges import Batch
from edgesafe.export.target import next_release, package_name
from edgesafe.runtime.errors import EdgesafeError, ExportError, UsageError
from edgesafe.runtime.files import atomic_folder, canonical_json
from edgesafe.runtime.package import (
    Package,
    PosePackage,
    package_kind,
    read_package,
    read_pose_package,
    write_package,
    write_pose_package,
)

__all__ = ["BUDGETS", "Part", "RetypeOptions", "Retyped", "plain", "retype_package"]

Effect = dict[str, float]

BUDGETS = (0.1, 0.2, 0.3, 0.5)
"""Shares of the multiplications in float32 that are tried in turn; with half, little is gained."""


@dataclass(frozen=True)
class RetypeOptions:
    """How to make a package of another precision.

    Attributes:
        precision: Of its graphs.
        calib: Calibration data; int8 needs some.
        held_out: Data to measure on; a third of ``calib`` where empty.
        only: Names of the graphs to convert, encoders or files; all where empty.
        method: Of int8.
        budget: Of int8: share of the multiplications that may stay in float32; None for the least
            of :data:`BUDGETS` that is exact enough.
        allow_loss: Write the package even where it is less exact than the limits ask.
        name: Of the package; None for the name of its folder.
        release: Rising number; None for 1, or one more than that of the replaced package.
        overwrite: Replace an existing package.
    """

    precision: Precision
    calib: Sequence[Case] = field(default=(), repr=False)
    held_out: Sequence[Case] = field(default=(), repr=False)
    only: tuple[str, ...] = ()
    method: str = "auto"
    budget: float | None = None
    allow_loss: bool = False
    name: str | None = None
    release: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Part:
    """One graph of a package, seen by what is common to all kinds.

    Attributes:
        key: Of ``precision_effect``: the encoder, or the file of a pose network.
        file: Name of the ONNX model.
        outputs: Their names.
        cases: Which of the given cases it takes, in the form of its inputs.
        probes: Inputs where the user gives none; for fp16 only.
        compare: From the outputs found and true, and the inputs, to the effect.
        golden: Inputs of its golden pairs, in their order.
        wanted: What calibration data of it is called.
        place: Of its entry in the manifest, to change ``precision`` and ``storage``.
        replace_golden: Puts the answers to ``golden`` in a precision into the parsed golden.json.
    """

    key: str
    file: str
    outputs: tuple[str, ...]
    cases: Callable[[Sequence[Case]], Inputs] = field(repr=False)
    probes: Callable[[], Inputs] = field(repr=False)
    compare: Callable[[Mapping[str, Any], Mapping[str, Any], Inputs], Effect] = field(repr=False)
    golden: Sequence[Batch] = field(repr=False)
    wanted: str
    place: tuple[str | int, ...]
    replace_golden: Callable[[dict[str, Any], Mapping[str, Any], str], None] = field(repr=False)
    takes: Callable[[Case], bool] = field(repr=False)


@dataclass(frozen=True)
class Retyped:
    """A written package with what was measured on the way.

    Attributes:
        package: As the runtime reads it.
        effect: Per graph that was converted.
        lowered: Per graph that was converted.
        losses: What is beyond the limits and was allowed.
        notes: What a person should know of the measurement.
    """

    package: Package | PosePackage
    effect: Mapping[str, Effect]
    lowered: Mapping[str, Lowered] = field(repr=False)
    losses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def retype_package(
    source: Path | str,
    out: Path | str,
    options: RetypeOptions,
    *,
    progress: Callable[[str], None] = lambda stage: None,
) -> Retyped:
    """Makes a package of another precision, whole or not at all.

    Args:
        source: A package whose graphs compute in float32.
        out: The folder to make.
        options: How.
        progress: Called with a line at the start of each stage.

    Raises:
        ExportError: A graph cannot be converted, or loses more than the limits allow.
        PackageError: The source is no sound package.
        UsageError: Calibration data is missing, or ``out`` exists.
    """
    from edgesafe.export.retype_moderation import moderation_parts
    from edgesafe.export.retype_pose import pose_parts

    target = Path(out)
    check_out(target, overwrite=options.overwrite)
    pose = package_kind(source) == "pose"
    package: Package | PosePackage = read_pose_package(source) if pose else read_package(source)
    reader: Callable[..., Package | PosePackage] = read_pose_package if pose else read_package
    name = package_name(options.name, target)
    release = options.release or next_release(target, reader)
    parts = pose_parts(package) if isinstance(package, PosePackage) else moderation_parts(package)
    parts = _chosen(parts, options.only)
    fields = copy.deepcopy({k: v for k, v in package.manifest.raw.items() if k != "created"})
    fields |= {"name": name, "release": release}
    golden = json.loads(package.files[package.manifest.golden])
    files = dict(package.files)
    effects, lowered = {}, {}
    losses: list[str] = []
    notes: list[str] = []
    for part in parts:
        _check_source(fields, part)
        calibration, measured = _data(part, options)
        result, effect, wrong = _converted(
            package.files[part.file], part, calibration, measured, options, progress
        )
        if options.precision != "fp32":
            effects[part.key] = effect
            if len(measured.batches) < ENOUGH:
                notes.append(
                    f"{part.file} was measured on {len(measured.batches)} inputs: name {ENOUGH} or "
                    "more with --held-out to know what the precision costs"
                )
            if wrong and not options.allow_loss:
                raise ExportError(
                    f"{wrong}. Give more calibration data, let more stay in float32 with --keep, "
                    "or accept it with --allow-loss"
                )
            losses += [wrong] if wrong else []
        files[part.file] = result.onnx
        lowered[part.key] = result
        entry = _entry(fields, part.place)
        entry["precision"] = entry["storage"] = options.precision
        answers = run_graph(
            result.onnx, part.outputs, part.golden, precision=options.precision, where=part.file
        )
        part.replace_golden(golden, answers, options.precision)
    _set_tolerances(golden, options.precision)
    files[package.manifest.golden] = canonical_json(golden)
    _note(fields, effects, lowered)
    progress(f"writing {target}")
    with atomic_folder(target, overwrite=options.overwrite) as folder:
        write = write_pose_package if pose else write_package
        _open(write(folder, fields, files, overwrite=True))
    return Retyped(reader(target), effects, lowered, tuple(losses), tuple(notes))


def _converted(
    data: bytes,
    part: Part,
    calibration: Inputs,
    measured: Inputs,
    options: RetypeOptions,
    progress: Callable[[str], None],
) -> tuple[Lowered, Effect, str | None]:
    """Converts a graph; returns also what that changes, and what of it is beyond the limits.

    Where the share that stays in float32 is not given, more and more of it does.
    """
    truth = run_graph(data, part.outputs, measured.batches)
    tried = BUDGETS if options.budget is None else (options.budget,)
    int8 = options.precision == "int8"
    for budget in tried if int8 else tried[:1]:
        if int8:
            progress(
                f"quantising {part.file} on {len(calibration.batches)} inputs, "
                f"{100 * budget:g} % in float32"
            )
        else:
            progress(f"converting {part.file} to {options.precision}")
        result = lower(
            data, options.precision, calibration.batches, method=options.method, budget=budget
        )
        progress(f"measuring {part.file} on {len(measured.batches)} inputs")
        found = run_graph(
            result.onnx,
            part.outputs,
            measured.batches,
            precision=options.precision,
            where=part.file,
        )
        effect = part.compare(found, truth, measured)
        exact = options.precision == "fp32"
        wrong = None if exact else check_effect(effect, options.precision, part.file)
        if wrong is None:
            break
        progress(f"too much is lost: {wrong}")
    return result, effect, wrong


def _chosen(parts: Sequence[Part], only: tuple[str, ...]) -> list[Part]:
    known = {part.key for part in parts}
    strange = sorted(set(only) - known)
    if strange:
        raise UsageError(f"the package has no {strange[0]!r}, only {', '.join(sorted(known))}")
    return [part for part in parts if not only or part.key in only]


def _check_source(fields: Mapping[str, Any], part: Part) -> None:
    found = _entry(fields, part.place)["precision"]
    if found != "fp32":
        raise UsageError(
            f"{part.file} computes in {found} already: start from the package in fp32 or from the "
            "checkpoint"
        )


def _entry(fields: Mapping[str, Any], place: tuple[str | int, ...]) -> dict[str, Any]:
    found: Any = fields
    for key in place:
        found = found[key]
    assert isinstance(found, dict)
    return found


def _data(part: Part, options: RetypeOptions) -> tuple[Inputs, Inputs]:
    """What to calibrate on, and what to measure on."""
    calib = [case for case in options.calib if part.takes(case)]
    held_out = [case for case in options.held_out if part.takes(case)]
    if options.precision == "int8" and not calib:
        raise UsageError(
            f"int8 needs calibration data and there are no {part.wanted} for {part.file}: give "
            f"--calib with {part.wanted} like those that the device will see, or leave this graph "
            "as it is with --only"
        )
    if not calib and not held_out:
        probes = part.probes()
        return probes, probes
    if not calib:
        calib = held_out
    chosen, measured = split_cases(calib, held_out)
    return part.cases(chosen), part.cases(measured)


def _set_tolerances(golden: dict[str, Any], precision: str) -> None:
    """Widens what a device may differ by: other kernels round half precision and int8 otherwise.

    Never beyond what the runtime accepts.
    """
    wider = {
        "fp32": {},
        "fp16": {"embedding": 0.02, "root_distance": 5e-3, "outputs": 0.02},
        "int8": {"embedding": 0.05, "root_distance": 0.02, "outputs": 0.05},
    }[precision]
    tolerances = golden["tolerances"]
    for name, value in wider.items():
        if name in tolerances:
            tolerances[name] = max(float(tolerances[name]), value)


def _note(
    fields: dict[str, Any], effects: Mapping[str, Effect], lowered: Mapping[str, Lowered]
) -> None:
    effect = {**fields.get("precision_effect", {}), **effects}
    made = {k: v.quantised.to_json() for k, v in lowered.items() if v.quantised is not None}
    calibration = {**fields.get("calibration", {}), **made}
    if effect:
        fields["precision_effect"] = effect
    if calibration:
        fields["calibration"] = calibration


def _open(package: Package | PosePackage) -> None:
    """Opens a package as a device does, golden pairs included.

    Raises:
        ExportError: The runtime would refuse it.
    """
    from edgesafe.runtime.encoders import open_image, open_text
    from edgesafe.runtime.golden import read_golden
    from edgesafe.runtime.pose.estimator import PoseEstimator

    try:
        if isinstance(package, PosePackage):
            PoseEstimator.load(package, backend="cpu", threads=1)
            return
        golden = read_golden(package)
        if package.manifest.image is not None:
            open_image(package, golden, backend="cpu", threads=1)
        if package.manifest.text is not None:
            open_text(package, golden, backend="cpu", threads=1)
    except EdgesafeError as error:
        raise ExportError(f"the runtime would refuse the new package: {error}") from error


def plain(values: Any) -> list[float]:
    """Numbers with the nine digits that float32 can hold."""
    return [float(f"{value:.9g}") for value in np.asarray(values, np.float64).reshape(-1)]
