"""The box of the visible part as a measurement of the pose.

Keypoints that are uncertain are drawn toward one another, for the mean of several possible places
lies between them, and the object then seems small and far away. The edges of a tight box do not
suffer from that: the silhouette, the projected hull, reaches each of them. It may reach farther,
where something hides the object or the frame ends. So with d = (edge - silhouette) / sd, positive
where the silhouette ends within the box, the cost of an edge is

    d^2                  within the box
    d^2, |d| <= 1        beyond it (Huber, "Robust Estimation of a Location Parameter", 1964)
    2 |d| - 1, |d| > 1

and nothing beyond an edge that lies at the border of the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.pose.intrinsics import Camera

__all__ = ["Extent"]

Array = npt.NDArray[np.float64]

_LEAST_SD = 0.5
"""Pixels: no box is more exact than its rounding."""


@dataclass(frozen=True, eq=False)
class Extent:
    """Where the silhouette of an object ends, in undistorted pixels.

    Attributes:
        hull: (M, 3) points of the object whose convex hull is its own, millimetres.
        edges: (4,) left, top, right and bottom; a pixel centre is a whole number.
        sd: Standard deviation of an edge, pixels.
        open: (4,) edges at the border of the frame, beyond which anything may be.
    """

    hull: Array
    edges: Array
    sd: float
    open: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, hull: Array, box: Sequence[float], sd: float, camera: Camera) -> Extent:
        """Make one of a box of the frame.

        Args:
            hull: (M, 3) points of the object, millimetres.
            box: (x, y, w, h) of its visible part, frame pixels: columns x .. x + w - 1.
            sd: Standard deviation of an edge as a share of the box's longer side.
            camera: Of the frame.
        """
        x, y, w, h = (float(value) for value in box)
        left, top, right, bottom = x - 0.5, y - 0.5, x + w - 0.5, y + h - 0.5
        across, down = (left + right) / 2, (top + bottom) / 2
        middles = np.array([[left, down], [across, top], [right, down], [across, bottom]])
        focal, principal = camera.K[[0, 1], [0, 1]], camera.K[:2, 2]
        if camera.distorted:
            middles = camera.normalise(middles) * focal + principal
        outside = np.array(
            [left < 0.5, top < 0.5, right > camera.width - 1.5, bottom > camera.height - 1.5]
        )
        edges = middles[[0, 1, 2, 3], [0, 1, 0, 1]]
        return cls(hull, edges, max(_LEAST_SD, sd * max(w, h)), outside)

    def residuals(self, pixels: Array) -> tuple[Array, Array, npt.NDArray[np.intp]]:
        """Compare the projected hull with the edges.

        Args:
            pixels: (M, 2) the hull's undistorted pixels.

        Returns:
            (4,) whose squares are the costs; (4,) their derivatives by the coordinate of the
            outermost point of each side; and (4,) which point that is.
        """
        low, high = pixels.argmin(axis=0), pixels.argmax(axis=0)
        outermost = np.r_[low, high]
        sign = np.array([1.0, 1.0, -1.0, -1.0])
        apart = sign * (pixels[outermost, [0, 1, 0, 1]] - self.edges) / self.sd
        far = np.sqrt(
            np.maximum(-2 * apart - 1, 1.0)
        )  # of edges that it reaches more than sd beyond
        beyond = apart < -1
        found, slope = np.where(beyond, -far, apart), np.where(beyond, 1 / far, 1.0)
        free = self.open & (apart < 0)
        found, slope = np.where(free, 0.0, found), np.where(free, 0.0, slope)
        return found, slope * sign / self.sd, outermost
