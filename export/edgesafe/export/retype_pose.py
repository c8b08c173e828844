"""The networks of a pose package, as :mod:`edgesafe.export.retype` wants them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.export.calibration_data import Case, Inputs
from edgesafe.export.effect import pose_effect
from edgesafe.export.pose_graph import IMAGE, OBJECT
from edgesafe.export.pose_shift import pose_shift
from edgesafe.export.probes import draw_images
from edgesafe.export.ranges import Batch
from edgesafe.export.retype import Part
from edgesafe.runtime.gate import decode_image
from edgesafe.runtime.manifest_pose import DetectorSpec, PoseNetwork, PoseObject
from edgesafe.runtime.package import PosePackage
from edgesafe.runtime.pose.crop import RoiCrop, crop_image

__all__ = ["pose_parts"]

Outputs = Mapping[str, NDArray[Any]]
Pixels = NDArray[np.uint8]


def pose_parts(package: PosePackage) -> list[Part]:
    """Returns the networks of a package and its detector."""
    manifest = package.manifest
    golden = json.loads(package.files[manifest.golden])
    parts = []
    for index, spec in enumerate(manifest.networks):
        rows = [row for row in golden.get("roi", ()) if row.get("object") in spec.objects]
        feeds = [_crop_feed(spec, _picture(row["png"]), row["object"]) for row in rows]
        place = ("networks", index)
        known = {entry.id: entry for entry in manifest.objects}
        parts.append(
            _part(
                spec, spec.outputs, feeds, place, partial(_region, spec),
                partial(_compare, spec, [known[number] for number in spec.objects]),
            )
        )  # fmt: skip
    if manifest.detector is not None:
        detector = manifest.detector
        rows = list(golden.get("detector", ()))
        feeds = [_frame_feed(detector, _picture(row["png"])) for row in rows]
        parts.append(
            _part(
                detector, ("heat", "box"), feeds, ("detector",), partial(_frame, detector),
                lambda found, truth, inputs: pose_effect(found, truth),
            )
        )  # fmt: skip
    return parts


def _part(
    spec: PoseNetwork | DetectorSpec,
    outputs: Sequence[str],
    feeds: Sequence[Batch],
    place: tuple[str | int, ...],
    feed: Any,
    compare: Callable[[Outputs, Outputs, Inputs], dict[str, float]],
) -> Part:
    list_of = "roi" if isinstance(spec, PoseNetwork) else "detector"
    served = set(spec.objects)

    def takes(case: Case) -> bool:
        known = case.object_id is None or case.object_id in served
        return case.picture is not None and known

    def cases(chosen: Sequence[Case]) -> Inputs:
        made = [feed(case, index) for index, case in enumerate(chosen)]
        return Inputs(made, [None] * len(made))

    return Part(
        key=spec.file,
        file=spec.file,
        outputs=tuple(outputs),
        takes=takes,
        cases=cases,
        probes=lambda: cases([Case(picture=rgb) for rgb in draw_images()]),
        compare=compare,
        golden=feeds,
        wanted="pictures, or a BOP data set of its objects",
        place=place,
        replace_golden=partial(_replace, list_of, served),
    )


def _picture(text: str) -> Pixels:
    return decode_image(base64.b64decode(text)).views[0]


def _region(spec: PoseNetwork, case: Case, index: int) -> Batch:
    """The crop of a case; of a picture without a box all of it, of the next object in turn."""
    rgb = case.pixels()
    number = spec.objects[index % len(spec.objects)] if case.object_id is None else case.object_id
    if case.box is not None:
        rgb = crop_image(rgb, RoiCrop.from_box(case.box, spec.roi_scale, spec.size))
    return _crop_feed(spec, spec.preprocess.resize(rgb), number)


def _crop_feed(spec: PoseNetwork, rgb: Pixels, number: int) -> Batch:
    feed: dict[str, NDArray[Any]] = {IMAGE: spec.preprocess.normalize(rgb[None])}
    if len(spec.objects) > 1:
        feed[OBJECT] = np.array([spec.objects.index(number)], np.int64)
    return feed


def _compare(
    spec: PoseNetwork, objects: Sequence[PoseObject], found: Outputs, truth: Outputs, inputs: Inputs
) -> dict[str, float]:
    rows = [objects[int(batch[OBJECT][0]) if OBJECT in batch else 0] for batch in inputs.batches]
    return pose_effect(found, truth) | pose_shift(found, truth, spec, rows)


def _frame(spec: DetectorSpec, case: Case, index: int) -> Batch:
    del index  # a frame shows all objects
    return _frame_feed(spec, spec.preprocess.resize(case.pixels()))


def _frame_feed(spec: DetectorSpec, rgb: Pixels) -> Batch:
    return {IMAGE: spec.preprocess.normalize(rgb[None])}


def _replace(
    list_of: str,
    served: set[int],
    golden: dict[str, Any],
    answers: Outputs,
    precision: str,
) -> None:
    """New values at the places that the old pairs sample.

    In int8 without covariances: rounding elsewhere, already by another number of threads, changes
    the spread of uncertain votes by a fifth and their mean by a hundredth.
    """
    of_this = [
        row for row in golden[list_of] if list_of == "detector" or row.get("object") in served
    ]
    for i, row in enumerate(of_this):
        if precision == "int8":
            row["outputs"].pop("covariance", None)
        for name, samples in row["outputs"].items():
            flat = np.ravel(answers[name][i])
            for sample in samples:
                sample[1] = float(flat[sample[0]])
