"""What a caller hands over: the frame, and where to look in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.gate import Refused
from edgesafe.runtime.manifest_pose import PoseObject

__all__ = ["Box", "Region", "Roi", "check_frame", "check_region", "check_sd", "read_roi"]

_LEAST_INSIDE = 0.1

Box: TypeAlias = "Sequence[float] | npt.NDArray[Any]"
"""(x, y, w, h) in frame pixels as in BOP: pixel columns x .. x + w - 1."""
Roi: TypeAlias = "Box | Mapping[int, Box] | Iterable[tuple[int, Box]]"
"""One box, or boxes by the number of the object."""


@dataclass(frozen=True, eq=False)
class Region:
    """A box to look at, on its way.

    Attributes:
        entry: The object.
        box: (x, y, w, h), frame pixels.
        score: Of the detector.
        refused: Why it is not looked at.
        sd: Standard deviation of the box's edges as a share of its longer side; None where it only
            says where to look.
    """

    entry: PoseObject
    box: tuple[float, float, float, float] | None
    score: float | None = None
    refused: Refused | None = None
    sd: float | None = None

    @classmethod
    def of(cls, entry: PoseObject, box: object, sd: float | None = None) -> Region:
        """Read a box, perhaps of somebody's detector: what is wrong with it ends as a refusal."""
        try:
            x, y, w, h = (float(value) for value in box)  # type: ignore[attr-defined]
            if all(map(math.isfinite, (x, y, w, h))) and w > 0 and h > 0 and w * h >= 1:
                return cls(entry, (x, y, w, h), sd=sd)
        except (TypeError, ValueError):
            pass
        problem = f"a region is (x, y, w, h) with an area, in pixels, not {box!r:.80}"
        return cls(entry, None, refused=Refused("bad_roi", problem))


def check_frame(frame: Any) -> npt.NDArray[np.uint8]:
    """Return an RGB frame, contiguous.

    Grey and transparent pictures are refused rather than converted: the networks were trained in
    colour and on opaque pictures, and would answer all the same.
    """
    if not isinstance(frame, np.ndarray):
        raise UsageError(
            f"a frame is an RGB array uint8 (H, W, 3), not {type(frame).__name__}; read files with "
            "edgesafe pose, or numpy.asarray(PIL.Image.open(path).convert('RGB'))"
        )
    if frame.size == 0:
        raise UsageError(f"the frame is empty: {frame.shape}")
    if frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 1):
        raise UsageError(
            f"the frame is grey, {frame.shape}: an RGB array uint8 (H, W, 3) is needed; the "
            "networks know the objects in colour (numpy.repeat the channel to try all the same)"
        )
    if frame.ndim == 3 and frame.shape[2] == 4:
        raise UsageError(
            f"the frame has four channels, {frame.shape}: pass frame[..., :3] if it is RGB and "
            "opaque"
        )
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise UsageError(
            f"the frame is {frame.dtype} {frame.shape}: an RGB array uint8 (H, W, 3) is needed"
        )
    return np.ascontiguousarray(frame)


def check_sd(sd: float | None) -> float | None:
    """Return how exact a box is, or refuse what is no share.

    Raises:
        UsageError: It is neither None nor in 0.001..0.5.
    """
    number = isinstance(sd, (int, float)) and not isinstance(sd, bool)
    if sd is None or (number and 0.001 <= sd <= 0.5):
        return sd
    raise UsageError(
        "roi_sd is the standard deviation of the edges of a box as a share of its longer side, "
        f"0.001 to 0.5, or None for boxes that only say where to look; not {sd!r:.40}"
    )


def read_roi(roi: Roi) -> list[tuple[int | None, object]]:
    """Turn what a caller may call a roi into pairs of object and box.

    Returns:
        The number of the object, None where there is one box without, and the box as it came.

    Raises:
        UsageError: It has none of the forms of :data:`Roi`.
    """
    if isinstance(roi, Mapping):
        return list(roi.items())
    try:
        items: list[Any] = list(roi)
        if len(items) == 4 and all(isinstance(v, (int, float, np.number)) for v in items):
            return [(None, items)]
        return [(number, box) for number, box in items]
    except (TypeError, ValueError):
        raise UsageError(
            "roi must be (x, y, w, h), {object_id: (x, y, w, h)} or a list of "
            f"(object_id, (x, y, w, h)), not {roi!r:.80}"
        ) from None


def check_region(region: Region, width: int, height: int) -> Region:
    """Refuse a box of which less than a tenth lies in the frame (``roi_outside``)."""
    if region.refused is not None or region.box is None:
        return region
    x, y, w, h = region.box
    wide = max(0.0, min(x + w, width) - max(x, 0.0))
    high = max(0.0, min(y + h, height) - max(y, 0.0))
    if wide * high >= _LEAST_INSIDE * w * h:
        return region
    outside = Refused("roi_outside", f"the region {region.box} hardly lies in the frame")
    return replace(region, refused=outside)
