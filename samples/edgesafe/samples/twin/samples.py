"""Training samples of the twin: regions drawn as one kind of counterfactual each, by shares.

Regions are drawn at the resolution of the network's input, a hundred a second, which full frames
and their later erasing are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.markers.counterfactual import Kind
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.direct import ray_rotation
from edgesafe.samples.twin.pictures import Painter
from edgesafe.samples.twin.views import K, View, draw_view
from edgesafe.train.pose.trunks import STRIDE

__all__ = ["REGIMES", "ROI_SCALE", "SIZE", "Regime", "make_pool"]

Array = NDArray[np.float64]
Rng = np.random.Generator
Pool = dict[str, NDArray[Any]]

SIZE = 96
"""Side of the network's input, pixels."""
ROI_SCALE = 3.0
"""Side of a region over the longer side of the box: the markers take a sixth of such a region."""

_SHIFT, _ZOOM = 0.08, 0.1


@dataclass(frozen=True)
class Regime:
    """What a network is trained on.

    Attributes:
        shares: Of the kinds.
        length: Training time, in units of the plan's.
        samples: How many are drawn, in units of the plan's.
    """

    shares: Mapping[Kind, float]
    length: float
    samples: float


REGIMES: dict[str, Regime] = {
    "biased": Regime({"orig": 1.0}, 1.0, 1.0),
    "erase-only": Regime({"orig": 0.5, "erased": 0.5}, 1.5, 1.5),
    "cured": Regime(
        {
            "orig": 0.1,
            "erased": 0.05,
            "conflict": 0.1,
            "erased_moved": 0.05,
            "noboard": 0.55,
            "scattered": 0.15,
        },
        12.0,
        5.0,
    ),
}
"""Training mixes: with the markers, with their erasure, and with everything that must vary."""


def make_pool(
    painter: Painter,
    regime: Regime,
    count: int,
    views: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Pool:
    """Draw samples.

    Args:
        painter: Of the twin.
        regime: Shares of the kinds.
        count: How many samples.
        views: How many views; each is used several times, in another light, as another kind.
        progress: Called with the number of samples that are done.

    Returns:
        ``pixels`` uint8 (n, S, S, 3), and what both heads are to say: ``mask``, ``keypoints``,
        ``rotation``, ``centre``, ``log_scale``, with one row for the only symmetry.
    """
    kinds = list(regime.shares)
    chances = np.array([regime.shares[kind] for kind in kinds])
    rows = []
    for number in range(count):
        turn, at = divmod(number, views)
        rng = np.random.default_rng([painter.seed, at, 5, turn])
        view = draw_view(painter.part, painter.seed, at)
        roi = _region(view, rng)
        kind = kinds[int(rng.choice(len(kinds), p=chances / chances.sum()))]
        rows.append(_sample(painter, kind, view, roi, turn))
        progress(number + 1)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _region(view: View, rng: Rng) -> RoiCrop:
    """Return the region around the object, a little off, as a detector's boxes are."""
    x, y, w, h = view.box
    side = max(w, h)
    shift = rng.uniform(-_SHIFT, _SHIFT, 2) * side
    scale = ROI_SCALE * (1 + rng.uniform(-_ZOOM, _ZOOM))
    return RoiCrop.from_box((x + shift[0], y + shift[1], w, h), scale, SIZE)


def _sample(painter: Painter, kind: Kind, view: View, roi: RoiCrop, turn: int) -> Pool:
    # The camera that has the region as its whole frame.
    near = np.vstack([roi.matrix(), [0, 0, 1]]) @ K
    part = painter.see(view, near, SIZE, SIZE, turn=turn)
    cells = (SIZE // STRIDE, SIZE // STRIDE)
    mask = cv2.resize(part.share, cells, interpolation=cv2.INTER_AREA)
    keypoints = (painter.part.known.keypoints @ view.R.T + view.t) @ near.T
    centre = near @ view.t
    focal = math.sqrt(K[0, 0] * K[1, 1])
    labels = {
        "mask": mask[None],
        "keypoints": (keypoints[:, :2] / keypoints[:, 2:])[None],
        "rotation": (ray_rotation(view.t).T @ view.R)[None],
        "centre": (centre[:2] / centre[2])[None],
        "log_scale": np.array([math.log(view.t[2] * roi.scale / focal)]),
    }
    pixels = painter.draw(kind, view, part, near, turn=turn).rgb
    return {"pixels": pixels} | {k: v.astype(np.float32) for k, v in labels.items()}
