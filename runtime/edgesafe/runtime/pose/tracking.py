"""Poses from frame to frame: the last pose says where to look next.

Saves the detector. It is asked again within the frame in which a pose is refused, and every so many
frames for objects that came into view; without a detector the last good box is tried again.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.manifest_pose import PoseObject
from edgesafe.runtime.pose.estimator import PoseEstimator
from edgesafe.runtime.pose.intrinsics import Camera, as_camera
from edgesafe.runtime.pose.regions import Roi
from edgesafe.runtime.pose.result import Pose

__all__ = ["PoseTracker", "projected_box"]

XYWH = tuple[float, float, float, float]


def projected_box(pose: Pose, entry: PoseObject, camera: Camera) -> XYWH:
    """Return the box (x, y, w, h) of the object's hull in the frame of a pose that is one.

    Raises:
        ValueError: The pose was refused.
    """
    if pose.R is None or pose.t_mm is None:
        raise ValueError("a refused pose has no box")
    outline = camera.project(entry.hull @ pose.R.T + pose.t_mm)
    low, high = outline.min(axis=0), outline.max(axis=0)
    x, y = low + 0.5  # from pixel centres to edges
    width, height = high - low
    return float(x), float(y), float(width), float(height)


class PoseTracker:
    """Follows objects through the frames of one camera.

    Args:
        estimator: Computes the poses; may be shared.
        objects: Follow only these.
        detect_every: Ask the detector in every so many frames even while nothing is lost.
        refine: Whether poses are fitted to outlines, as in :meth:`PoseEstimator.estimate`.

    Example:
        >>> tracker = PoseTracker(PoseEstimator.load("pkg"))  # doctest: +SKIP
        >>> for frame in frames:  # doctest: +SKIP
        ...     poses = tracker.update(frame, camera)
    """

    def __init__(
        self,
        estimator: PoseEstimator,
        *,
        objects: Iterable[int] | None = None,
        detect_every: int = 30,
        refine: bool = True,
    ) -> None:
        """Start with nothing known."""
        if detect_every < 1:
            raise UsageError(f"detect_every must be a positive whole number, not {detect_every}")
        self._estimator = estimator
        self._detect_every = detect_every
        self._refine = refine
        self._since = 0
        self._objects = None if objects is None else tuple(objects)
        self._boxes: list[tuple[int, XYWH]] = []

    @property
    def tracking(self) -> bool:
        """Whether it knows where to look in the next frame."""
        return bool(self._boxes)

    def reset(self) -> None:
        """Forget where the objects were, as at a cut."""
        self._boxes = []

    def update(
        self,
        frame: npt.NDArray[np.uint8],
        K: Camera | npt.ArrayLike,
        roi: Roi | None = None,
    ) -> list[Pose]:
        """Estimate the poses in the next frame.

        Args:
            frame: RGB, uint8 (H, W, 3).
            K: The camera, or its matrix (3, 3).
            roi: Where to look in this frame, instead of where the objects were.

        Returns:
            As :meth:`PoseEstimator.estimate`.

        Raises:
            UsageError: As there; in the first frame ``roi`` may be left out only with a detector.
        """
        if roi is None and self._boxes:
            poses = self._estimate(frame, K, self._boxes)
            self._since += 1
            lost = not all(pose.ok for pose in poses)
            if self._estimator.has_detector and (lost or self._since >= self._detect_every):
                self._since = 0
                poses = self._merge(poses, self._estimate(frame, K, None))
        else:
            poses = self._estimate(frame, K, roi)
        self._remember(poses, as_camera(K, frame.shape[1], frame.shape[0]))
        return poses

    def _estimate(
        self, frame: npt.NDArray[np.uint8], K: Camera | npt.ArrayLike, roi: Roi | None
    ) -> list[Pose]:
        return self._estimator.estimate(frame, K, roi, objects=self._objects, refine=self._refine)

    def _remember(self, poses: list[Pose], camera: Camera) -> None:
        boxes: list[tuple[int, XYWH]] = []
        for pose in poses:
            if pose.ok:
                entry = self._estimator.objects[pose.object_id]
                boxes.append((pose.object_id, projected_box(pose, entry, camera)))
            elif pose.roi is not None and not self._estimator.has_detector:
                boxes.append((pose.object_id, pose.roi))
        self._boxes = boxes

    def _merge(self, tracked: list[Pose], detected: list[Pose]) -> list[Pose]:
        """Keep the tracked poses; add those of other things; say once what is refused."""
        kept = [pose for pose in tracked if pose.ok]
        for pose in detected:
            if pose.ok and not any(self._same(pose, other) for other in kept):
                kept.append(pose)
        found = {pose.object_id for pose in kept}
        refused = {pose.object_id: pose for pose in detected + tracked if not pose.ok}
        return kept + [pose for number, pose in refused.items() if number not in found]

    def _same(self, pose: Pose, other: Pose) -> bool:
        if pose.object_id != other.object_id or pose.t_mm is None or other.t_mm is None:
            return False
        apart = float(np.linalg.norm(pose.t_mm - other.t_mm))
        return apart < self._estimator.objects[pose.object_id].diameter / 2
