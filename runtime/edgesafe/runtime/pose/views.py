"""Several looks at one region: slightly moved and scaled crops whose votes are averaged.

A network's errors differ from crop to crop of the same object, so that their mean is nearer to the
truth, above all in depth; each look costs one run of the network. Known as test-time augmentation;
the vote head's keypoints have one mean, while the mean of several rotations of the direct head
would need another rule.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.pose.crop import RoiCrop

__all__ = ["COUNTS", "merge_views", "views_of"]

# (right, down) in sides of the region, and the scale of the crop.
_VIEWS = {
    1: ((0.0, 0.0, 1.0),),
    5: (
        (0.0, 0.0, 1.0),
        (0.05, 0.05, 1.05),
        (-0.05, -0.05, 1.05),
        (0.05, -0.05, 0.95),
        (-0.05, 0.05, 0.95),
    ),
}

COUNTS = tuple(_VIEWS)
"""How many looks there may be."""

Floats = npt.NDArray[np.float32]


def views_of(roi: RoiCrop, count: int) -> list[RoiCrop]:
    """Return the crops to look at, the region itself first."""
    u, v = roi.centre
    return [
        RoiCrop((u + right * roi.side, v + down * roi.side), scale * roi.side, roi.size)
        for right, down, scale in _VIEWS[count]
    ]


def merge_views(outputs: Mapping[str, Floats], size: int, count: int) -> dict[str, Floats]:
    """Average what the vote head says of the looks at each region.

    Args:
        outputs: Of ``count`` looks at each of B regions, one region after another: ``keypoints``
            (B * count, K, 2), ``covariance`` (B * count, K, 3), ``mask``; pixels of each crop.
        size: Side of the crops, pixels.
        count: Of looks; with 1 nothing is changed.

    Returns:
        ``keypoints`` (B, K, 2) and ``covariance`` (B, K, 3) in pixels of the region's own crop,
        ``mask`` of that crop. The covariance is the mean one: errors of looks at the same pixels
        are too much alike to be taken for independent.
    """
    if count == 1:
        return dict(outputs)
    shift = size * np.array([view[:2] for view in _VIEWS[count]])[None, :, None]
    scale = np.array([view[2] for view in _VIEWS[count]])[None, :, None, None]
    middle = size / 2 - 0.5
    seen = {name: value.reshape(-1, count, *value.shape[1:]) for name, value in outputs.items()}
    keypoints = (seen["keypoints"] - middle) * scale + middle + shift
    return {
        "keypoints": keypoints.mean(axis=1).astype(np.float32),
        "covariance": (seen["covariance"] * scale**2).mean(axis=1).astype(np.float32),
        "mask": seen["mask"][:, 0],
    }
