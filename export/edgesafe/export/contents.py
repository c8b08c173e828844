"""The JSON files of a package: the concept bank and the golden pairs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.export.parity import Answers
from edgesafe.export.probes import Pixels, encode_png
from edgesafe.export.towers import Float64Tower, text_probes
from edgesafe.runtime import lorentz
from edgesafe.runtime.errors import ExportError
from edgesafe.runtime.files import canonical_json
from edgesafe.runtime.golden import sample_pixels
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.model import SafetyModel

__all__ = ["concepts_json", "golden_json"]


def concepts_json(
    model: SafetyModel,
    text: Float64Tower,
    concepts: Sequence[Mapping[str, Any]],
    radius: float | None = None,
) -> bytes:
    """Embeds each concept of a checkpoint with the text tower.

    A concept is the mean of its prompts, taken in the tangent space of the root: the only place
    where a mean of points of different radius is their mean radius in their mean direction.

    A cone is the wider the nearer its apex is to the root, so cones compare only where their
    apexes are equally general; and an unsafe prompt lies as far out as the inputs that its cone
    should hold. With ``radius`` every apex is moved along its direction to that distance.

    On the sphere it is the mean of the prompts' embeddings, of length 1 again.

    Args:
        model: For its tokeniser.
        text: The text tower with the weights that the package holds.
        concepts: ``name``, ``tag``, ``prompts`` and, where it is allowed, ``safe: true``.
        radius: Distance of every apex from the root; None keeps that of the prompts.

    Raises:
        ExportError: A concept has no name, no tag or no prompts.
    """
    rows = []
    for index, concept in enumerate(concepts):
        name, tag, prompts = (concept.get(key) for key in ("name", "tag", "prompts"))
        texts = [p for p in prompts if isinstance(p, str) and p.strip()] if prompts else []
        if not (isinstance(name, str) and name and isinstance(tag, str) and tag and texts):
            raise ExportError(
                f"checkpoint.json: concepts[{index}] needs a name, a tag and at least one prompt"
            )
        point = _mean(text(text_probes(model, texts)).embedding, text.curvature, radius)
        safe = bool(concept.get("safe", False))
        rows.append({"name": name, "tag": tag, "safe": safe, "embedding": _plain(point)})
    return canonical_json({"concepts": rows})


def _mean(
    points: NDArray[np.floating[Any]], curvature: float | None, radius: float | None
) -> NDArray[np.floating[Any]]:
    if curvature is None:
        mean = points.mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12))
    mean = lorentz.log_map0(points, curvature).mean(axis=0)
    if radius is not None:
        mean = mean * (radius / max(float(np.linalg.norm(mean)), 1e-12))
    return lorentz.exp_map0(mean, curvature)


def golden_json(
    preprocess: Preprocess,
    images: Sequence[Pixels],
    image_answers: Answers,
    texts: Sequence[tuple[str, Sequence[int]]],
    text_answers: Answers,
) -> bytes:
    """Pairs inputs with the answers that every device must give.

    Args:
        preprocess: Of the image encoder.
        images: RGB (H, W, 3).
        image_answers: To ``images``, in their order.
        texts: Texts with their token ids.
        text_answers: To ``texts``, in their order.
    """
    tolerances = {"pixels": 2 / 255 / min(preprocess.std), "embedding": 0.01}
    if image_answers.root_distance is not None:
        tolerances["root_distance"] = 1e-3
    image_rows = [
        {
            "png": base64.b64encode(encode_png(rgb)).decode("ascii"),
            "pixels_sample": [
                [int(c), int(y), int(x), round(v, 6)]
                for c, y, x, v in sample_pixels(preprocess(rgb))
            ],
            **_answer(image_answers, i),
        }
        for i, rgb in enumerate(images)
    ]
    text_rows = [
        {"text": text, "input_ids": list(ids), **_answer(text_answers, i)}
        for i, (text, ids) in enumerate(texts)
    ]
    return canonical_json({"tolerances": tolerances, "image": image_rows, "text": text_rows})


def _answer(answers: Answers, row: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"embedding": _plain(answers.embedding[row])}
    if answers.root_distance is not None:
        answer["root_distance"] = float(f"{answers.root_distance[row]:.9g}")
    return answer


def _plain(vector: NDArray[Any]) -> list[float]:
    """Numbers with the nine digits that float32 can hold, not the seventeen of float64."""
    return [float(f"{value:.9g}") for value in np.asarray(vector, np.float64)]
