"""What the estimator says about one object: a pose, or the reason why there is none."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Pose", "PoseTimings"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PoseTimings:
    """Milliseconds of wall time per stage; of what is shared, an equal share per region.

    Attributes:
        decode: From the bytes of a file to pixels; not known where the caller had pixels.
        detect: Of the detector, if it was needed.
        crop: Of cutting out and resampling the region.
        network: Of normalising and running the network.
        pnp: From the network's outputs to the pose.
        refine: Of fitting the object's outline to the frame, whether or not it was taken.
    """

    decode: float = 0.0
    detect: float = 0.0
    crop: float = 0.0
    network: float = 0.0
    pnp: float = 0.0
    refine: float = 0.0

    @property
    def total(self) -> float:
        """All stages together."""
        return float(sum(astuple(self)))


@dataclass(frozen=True, eq=False)
class Pose:
    """T_cam_obj of one object, or why it was refused: X_cam = R X_obj + t.

    Attributes:
        object_id: Number of the object.
        name: Name of the object.
        R: (3, 3), or None where refused.
        t_mm: (3,), millimetres, or None where refused.
        covariance: (6, 6) of a rotation vector omega in radians and a translation tau in
            millimetres: R = exp(omega) R_true, t = t_true + tau, both in the camera frame. None
            where refused, and from a direct head, which does not know it.
        reprojection_px: Root mean square distance of the keypoints from the projected model,
            frame pixels; None where there was no fit.
        confidence: In 0..1, see :mod:`edgesafe.runtime.pose.gating`; 0 where nothing was measured.
        reason: Why there is no pose, a code (see :mod:`edgesafe.runtime.pose.estimator`), or None.
        detail: The same for a person.
        roi: (x, y, w, h), the box that was looked at, frame pixels; None where there was none.
        score: Of the detector, where it found the box.
        keypoints_px: (K, 2) what the network saw, frame pixels; None where it has no such head.
        refined: Whether the pose was fitted to the object's outline
            (:mod:`edgesafe.runtime.pose.refine`); the covariance is then that of both, while
            ``reprojection_px`` and ``confidence`` stay those of the keypoints.
        package: Which package, name@release#digest.
        ms: Where the time went.
    """

    object_id: int
    name: str
    R: Array | None = None
    t_mm: Array | None = None
    covariance: Array | None = None
    reprojection_px: float | None = None
    confidence: float = 0.0
    reason: str | None = None
    detail: str | None = None
    roi: tuple[float, float, float, float] | None = None
    score: float | None = None
    keypoints_px: Array | None = field(default=None, repr=False)
    refined: bool = False
    package: str = ""
    ms: PoseTimings = PoseTimings()

    def __post_init__(self) -> None:
        """Hold the one rule: a pose that was refused carries no numbers to be used."""
        if (self.reason is None) != (self.R is not None) or (self.R is None) != (self.t_mm is None):
            raise ValueError("a pose has R and t_mm, or else a reason")

    @property
    def ok(self) -> bool:
        """Whether there is a pose."""
        return self.reason is None

    def __bool__(self) -> bool:
        """Refuse to be a condition, which would not say of what."""
        raise TypeError("a Pose is neither true nor false: ask for .ok or .reason")

    def with_ms(self, **stages: float) -> Pose:
        """Return the same with other timings of some stages."""
        return replace(self, ms=replace(self.ms, **stages))
