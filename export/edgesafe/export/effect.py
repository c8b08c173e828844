"""What a lower precision changes of the answers, on inputs that it was not calibrated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.statistics import roc_auc
from edgesafe.runtime.errors import ExportError
from edgesafe.runtime.thresholds import Threshold, decide_by

__all__ = ["ENOUGH", "LIMITS", "check_effect", "embedding_effect", "pose_effect"]

Floats = NDArray[np.floating[Any]]
Outputs = Mapping[str, Floats]
Effect = dict[str, float]

LIMITS: Mapping[str, Mapping[str, float]] = {
    "fp16": {
        "cosine_mean": 0.9995, "verdict_flips": 0.005, "auc_loss": 0.002,
        "keypoint_px_mean": 0.05, "rotation_deg_mean": 0.1, "centre_px_mean": 0.05,
        "mask_mean": 0.002, "heat_mean": 0.002, "add_median": 0.005, "pose_lost": 0.005,
    },
    "int8": {
        "cosine_mean": 0.995, "verdict_flips": 0.005, "auc_loss": 0.005,
        "keypoint_px_mean": 1.0, "rotation_deg_mean": 2.0, "centre_px_mean": 1.0,
        "mask_mean": 0.03, "heat_mean": 0.01, "add_median": 0.05, "pose_lost": 0.02,
    },
}  # fmt: skip
"""Per precision: at least ``cosine_mean``, at most all others."""

# Of fewer cases an area under the curve is noise, and one of them is no small share.
_LEAST_LABELLED = 20

ENOUGH = 100
"""Of fewer inputs a share of half a percent cannot be told from none."""


def embedding_effect(
    found: Outputs,
    truth: Outputs,
    *,
    threshold: Threshold | None,
    unsafe: Sequence[bool | None],
    scores: tuple[Floats, Floats] | None,
) -> Effect:
    """Compares the answers of an encoder with those in float32.

    Args:
        found: Its outputs, ``embedding`` (n, d) first and perhaps ``root_distance`` (n,).
        truth: The same in float32.
        threshold: Of the scores, with its band; None where the package has none.
        unsafe: Labels of the inputs, None where there is none.
        scores: What verdicts are made of, found and true (n,); None where that is unknown.

    Returns:
        ``cosine_mean``, ``cosine_min``, ``n`` and, where they apply, ``root_distance_shift_mean``,
        ``root_distance_shift_max``, ``verdict_flips`` and ``auc_loss``.
    """
    names = list(truth)
    one, two = (np.asarray(o[names[0]], np.float64) for o in (found, truth))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    cosine = np.sum(one * two, axis=1) / np.maximum(lengths, 1e-30)
    effect = {"cosine_mean": float(cosine.mean()), "cosine_min": float(cosine.min())}
    if len(names) > 1:
        shift = np.abs(np.asarray(found[names[1]], np.float64) - truth[names[1]])
        effect["root_distance_shift_mean"] = float(shift.mean())
        effect["root_distance_shift_max"] = float(shift.max())
    if scores is not None and threshold is not None:
        verdicts = [[decide_by(threshold, score) for score in own] for own in scores]
        effect["verdict_flips"] = float(np.mean([a != b for a, b in zip(*verdicts, strict=True)]))
    known = np.array([value is not None for value in unsafe], bool)
    labels = np.array([bool(value) for value in unsafe], bool)[known]
    if scores is not None and min(labels.sum(), (~labels).sum()) >= _LEAST_LABELLED:
        auc = [roc_auc(np.asarray(s, np.float64)[known], labels) for s in scores]
        effect["auc_loss"] = float(auc[1] - auc[0])
    effect["n"] = len(cosine)
    return effect


def pose_effect(found: Outputs, truth: Outputs) -> Effect:
    """Compares the answers of a pose network, or of a detector, with those in float32.

    Returns:
        Keypoints and centres in pixels of the input, rotations in degrees, ``log_scale`` in its
        own unit, masks and heat as probabilities, boxes in pixels: mean and largest, and ``n``.
    """
    effect: Effect = {}
    for name, expected in truth.items():
        true = np.asarray(expected, np.float64)
        got = np.asarray(found[name], np.float64)
        if name == "covariance":
            # As the standard deviations that a pose is weighted by.
            change = np.abs(_deviation(got) - _deviation(true))
            key = "deviation_px"
        elif name == "rotation":
            trace = np.einsum("nij,nij->n", got, true)
            change = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
            key = "rotation_deg"
        elif name in ("keypoints", "centre"):
            change = np.linalg.norm(got - true, axis=-1)
            key = "keypoint_px" if name == "keypoints" else "centre_px"
        else:
            change = np.abs(got - true)
            key = "box_px" if name == "box" else name
        effect[f"{key}_mean"] = float(np.mean(change))
        effect[f"{key}_max"] = float(np.max(change))
    effect["n"] = len(next(iter(truth.values())))
    return effect


def _deviation(covariance: Floats) -> Floats:
    return np.sqrt(np.maximum(covariance[..., 0] + covariance[..., 2], 0))


def check_effect(effect: Mapping[str, float], precision: str, where: str) -> str | None:
    """Returns what is wrong with an effect, or None: it is within :data:`LIMITS`.

    Of a few dozen inputs one may change its verdict, or lose its pose.

    Raises:
        ExportError: A number is not finite: the graph overflows, whatever is allowed.
    """
    wrong = []
    for name, value in effect.items():
        if not np.isfinite(value):
            raise ExportError(f"{where} in {precision} gives answers that are not finite")
        limit = LIMITS[precision].get(name)
        if limit is None:
            continue
        if name in ("verdict_flips", "pose_lost"):
            limit = max(limit, 1.0 / effect["n"]) if effect["n"] >= _LEAST_LABELLED else limit
        if value < limit if name == "cosine_mean" else value > limit:
            wrong.append(f"{name} is {value:.4g}, the limit is {limit:.4g}")
    return f"{where} in {precision}: {'; '.join(wrong)}" if wrong else None
