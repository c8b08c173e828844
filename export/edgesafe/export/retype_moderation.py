"""The encoders of a moderation package, as :mod:`edgesafe.export.retype` wants them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.export.calibration_data import Inputs
from edgesafe.export.effect import embedding_effect
from edgesafe.export.probes import TEXTS, draw_images
from edgesafe.export.ranges import Batch
from edgesafe.export.retype import Part, plain
from edgesafe.runtime.errors import SourceError
from edgesafe.runtime.gate import decode_image
from edgesafe.runtime.manifest import ImageEncoder
from edgesafe.runtime.package import Package
from edgesafe.runtime.tokenizer import BadText, TextTokenizer

__all__ = ["moderation_parts"]

Outputs = Mapping[str, NDArray[Any]]


def moderation_parts(package: Package) -> list[Part]:
    """Returns the encoders of a package."""
    manifest = package.manifest
    golden = json.loads(package.files[manifest.golden])
    parts = []
    if manifest.image is not None:
        image = manifest.image
        feed = partial(_image_feed, image)
        pictures = [
            decode_image(base64.b64decode(row["png"])).views[0] for row in golden.get("image", ())
        ]
        parts.append(
            Part(
                key="image",
                file=image.file,
                outputs=tuple(image.outputs),
                takes=lambda case: case.picture is not None,
                cases=lambda cases: Inputs(
                    [feed(case.pixels()) for case in cases], [case.unsafe for case in cases]
                ),
                probes=lambda: Inputs(*_unlabelled([feed(rgb) for rgb in draw_images()])),
                compare=partial(_compare, package, "image"),
                golden=[feed(rgb) for rgb in pictures],
                wanted="pictures",
                place=("encoders", "image"),
                replace_golden=partial(_replace, "image"),
            )
        )
    if manifest.text is not None:
        text = manifest.text
        tokenizer = TextTokenizer(package.files[text.tokenizer], text, text.tokenizer)
        words = partial(_text_feed, tokenizer, text.inputs)
        rows = [row["input_ids"] for row in golden.get("text", ())]
        parts.append(
            Part(
                key="text",
                file=text.file,
                outputs=tuple(text.outputs),
                takes=lambda case: case.text is not None,
                cases=lambda cases: Inputs(
                    [words(case.text or "") for case in cases], [case.unsafe for case in cases]
                ),
                probes=lambda: Inputs(*_unlabelled([words(text) for text in TEXTS])),
                compare=partial(_compare, package, "text"),
                golden=[_named(text.inputs, tokenizer, row) for row in rows],
                wanted="texts",
                place=("encoders", "text"),
                replace_golden=partial(_replace, "text"),
            )
        )
    return parts


def _unlabelled(batches: Sequence[Batch]) -> tuple[Sequence[Batch], list[None]]:
    return batches, [None] * len(batches)


def _image_feed(spec: ImageEncoder, rgb: NDArray[np.uint8]) -> Batch:
    pixels = spec.preprocess(rgb)[None]
    if spec.channels == "bgr":
        pixels = pixels[:, ::-1]
    if spec.layout == "nhwc":
        pixels = pixels.transpose(0, 2, 3, 1)
    return {spec.input: np.ascontiguousarray(pixels)}


def _text_feed(tokenizer: TextTokenizer, names: Sequence[str], text: str) -> Batch:
    """The first window of a text."""
    try:
        window = tokenizer.windows(text)[0]
    except BadText as error:
        raise SourceError(f"the text {text!r:.60} is not encoded: {error}; leave it out") from None
    return _named(names, tokenizer, window)


def _named(names: Sequence[str], tokenizer: TextTokenizer, window: list[int]) -> Batch:
    return dict(zip(names, tokenizer.batch([window]), strict=True))


def _compare(
    package: Package,
    modality: str,
    found: Outputs,
    truth: Outputs,
    inputs: Inputs,
) -> dict[str, float]:
    return embedding_effect(
        found,
        truth,
        threshold=package.manifest.thresholds.get(modality),
        unsafe=inputs.unsafe,
        scores=_scores(package, modality, found, truth),
    )


def _scores(
    package: Package, modality: str, *answers: Outputs
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """What verdicts are made of: the root distance, or the logit of the probe."""
    found = []
    for outputs in answers:
        embedding, *radius = (np.asarray(v, np.float64) for v in outputs.values())
        if radius:
            found.append(radius[0])
            continue
        if package.manifest.probe is None:
            return None
        probe = json.loads(package.files[package.manifest.probe]).get(modality)
        if probe is None:
            return None
        found.append(embedding @ np.asarray(probe["weights"], np.float64) + float(probe["bias"]))
    return found[0], found[1]


def _replace(modality: str, golden: dict[str, Any], answers: Outputs, precision: str) -> None:
    del precision  # only tolerances depend on it
    embedding, *radius = answers.values()
    for i, row in enumerate(golden[modality]):
        row["embedding"] = plain(embedding[i])
        if radius:
            row["root_distance"] = plain(radius[0][i])[0]
