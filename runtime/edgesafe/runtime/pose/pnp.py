"""Pose from keypoints with covariances: SQPnP, then covariance-weighted Gauss-Newton.

With e_k = pi(K (R X_k + t)) - u_k and W_k the inverse covariance of keypoint k, at most ten steps

    delta = -(sum J_k' W_k J_k + lambda I)^-1 sum J_k' W_k e_k

lower the cost sum e_k' W_k e_k (spec/pose.md, 3.1); lambda rises only where a step would not, so
that the result is never worse than its start. The pose is perturbed as R <- exp(omega) R and
t <- t + tau, both in the camera frame: that is the left perturbation of the specification with the
rotation about the object's origin instead of the camera's, which conditions the system (its lever
is the object's size and not its distance) and makes the last 3 x 3 block of the covariance that of
t itself.

The lens is taken out first: keypoints and their covariances are moved to undistorted pixels. Where
the box of the visible part is known well, its edges join the cost
(:mod:`edgesafe.runtime.pose.extent`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.gate import Refused
from edgesafe.runtime.pose.extent import Extent
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.video import import_cv2

__all__ = ["PnpSolution", "pixel_derivative", "rotation_exp", "solve_pnp", "start_pose"]

Array = npt.NDArray[np.float64]

_STEPS = 10
_MIN_POINTS = 4
_MIN_ROBUST = 6  # so that what is left after a keypoint was dropped can still contradict itself
_FLAT = 1e-4  # second over first singular value of points that count as a line


@dataclass(frozen=True, eq=False)
class PnpSolution:
    """A pose that fits keypoints.

    Attributes:
        R: (3, 3), object to camera.
        t: (3,), millimetres, object to camera.
        covariance: (6, 6) of (omega, tau), radians and millimetres: R = exp(omega) R_true,
            t = t_true + tau, both in the camera frame.
        reprojection_px: Root mean square distance of the used keypoints from the projected
            points, frame pixels.
        mahalanobis: Mean over the used keypoints of sqrt(e' W e), of the pose that fits them best;
            about 1.25 for keypoints whose covariances are right, less what the fit takes up.
        used: (K,) which keypoints were not dropped.
    """

    R: Array
    t: Array
    covariance: Array
    reprojection_px: float
    mahalanobis: float
    used: npt.NDArray[np.bool_]


def solve_pnp(
    points: Array,
    keypoints: Array,
    covariance: Array,
    camera: Camera,
    *,
    max_mahalanobis: float | None = None,
    extent: Extent | None = None,
) -> PnpSolution:
    """Find the pose of a known object.

    Args:
        points: (K, 3) in the object's frame, millimetres.
        keypoints: (K, 2), distorted frame pixels.
        covariance: (K, 2, 2) of the keypoints, frame pixels squared, positive definite.
        camera: Of the frame.
        max_mahalanobis: While the mean Mahalanobis distance is above this, the worst keypoint is
            dropped: up to a third of them, and never below six.
        extent: Where the silhouette ends, if that is known; it moves the pose that fits the
            keypoints best.

    Raises:
        Refused: ``non_finite``, ``degenerate``, ``behind_camera``, ``inconsistent_keypoints``.
        MissingExtraError: OpenCV is not installed.
    """
    problem = _prepare(points, keypoints, covariance, camera)
    used = np.ones(len(points), dtype=bool)
    droppable = min(len(points) // 3, len(points) - _MIN_ROBUST)
    while True:
        part = problem.subset(used)
        R, t, hessian = _refine(part, *_start(part))
        distances = np.linalg.norm(part.errors(R, t), axis=1)
        mean = float(distances.mean())
        if max_mahalanobis is None or mean <= max_mahalanobis:
            break
        if droppable <= 0:
            raise Refused(
                "inconsistent_keypoints",
                f"the keypoints are {mean:.1f} standard deviations from any pose on average, and "
                f"at most {max_mahalanobis:g} is allowed",
            )
        used[np.flatnonzero(used)[int(distances.argmax())]] = False
        droppable -= 1
    if extent is not None:
        R, t, hessian = _refine(_Bounded(part, extent), R, t)
    in_camera = points @ R.T + t
    if not (in_camera[:, 2] > 0).all():
        raise Refused("behind_camera", "a part of the object would lie behind the camera")
    pixels = part.project(R, t) - part.pixels
    return PnpSolution(
        R=R,
        t=t,
        covariance=_invert(hessian),
        reprojection_px=float(np.sqrt((pixels**2).sum(axis=1).mean())),
        mahalanobis=mean,
        used=used,
    )


def start_pose(
    points: Array, keypoints: Array, covariance: Array, camera: Camera
) -> tuple[Array, Array]:
    """Return SQPnP's (R, t), where the refinement of :func:`solve_pnp` begins.

    Raises:
        Refused: ``non_finite``, ``degenerate``, ``behind_camera``.
    """
    return _start(_prepare(points, keypoints, covariance, camera))


def rotation_exp(omega: Array) -> Array:
    """Return the rotation matrix of a rotation vector (3,), radians (Rodrigues)."""
    x, y, z = omega
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle2 = float(omega @ omega)
    if angle2 < 1e-12:
        return np.asarray(np.eye(3) + skew + skew @ skew / 2)
    angle = float(np.sqrt(angle2))
    turn = np.sin(angle) / angle * skew + (1 - np.cos(angle)) / angle2 * (skew @ skew)
    return np.asarray(np.eye(3) + turn)


def pixel_derivative(turned: Array, t: Array, focal: Array) -> Array:
    """Return the derivative (n, 2, 6) by (omega, tau) of the undistorted pixels of points.

    Args:
        turned: (n, 3) the points, which R has turned already, millimetres.
        t: (3,), millimetres.
        focal: (fx, fy), pixels.
    """
    in_camera = turned + t
    inverse = 1 / in_camera[:, 2]
    found = np.zeros((len(turned), 2, 6))
    by_t = found[:, :, 3:]
    by_t[:, 0, 0] = focal[0] * inverse
    by_t[:, 1, 1] = focal[1] * inverse
    by_t[:, :, 2] = -focal * in_camera[:, :2] * (inverse**2)[:, None]
    # g . (omega x Y) = omega . (Y x g), for each row g of by_t.
    x, y, z = (turned[:, axis, None] for axis in range(3))
    found[:, :, 0] = y * by_t[:, :, 2] - z * by_t[:, :, 1]
    found[:, :, 1] = z * by_t[:, :, 0] - x * by_t[:, :, 2]
    found[:, :, 2] = x * by_t[:, :, 1] - y * by_t[:, :, 0]
    return found


@dataclass(frozen=True, eq=False)
class _Problem:
    """Points (K, 3), undistorted pixels (K, 2), whitening (K, 2, 2) with W = L' L, (fx, fy), c."""

    points: Array
    pixels: Array
    whitening: Array
    focal: Array
    principal: Array

    def subset(self, used: npt.NDArray[np.bool_]) -> _Problem:
        if used.all():
            return self
        return _Problem(
            self.points[used],
            self.pixels[used],
            self.whitening[used],
            self.focal,
            self.principal,
        )

    def project(self, R: Array, t: Array) -> Array:
        """Project to undistorted pixels (K, 2)."""
        return _project(self.points @ R.T + t, self.focal, self.principal)

    def errors(self, R: Array, t: Array) -> Array:
        """Whitened errors (K, 2); their squared sum is the cost. Infinite behind the camera."""
        in_camera = self.points @ R.T + t
        if not (in_camera[:, 2] > 1e-9).all():
            return np.full(self.pixels.shape, np.inf)
        error = _project(in_camera, self.focal, self.principal) - self.pixels
        found: Array = (self.whitening @ error[:, :, None])[:, :, 0]
        return found

    def residuals(self, R: Array, t: Array) -> Array:
        """The same in one row (2K,)."""
        return self.errors(R, t).ravel()

    def jacobian(self, R: Array, t: Array) -> Array:
        """Derivative of the residuals, (2K, 6), by (omega, tau)."""
        found = self.whitening @ pixel_derivative(self.points @ R.T, t, self.focal)
        return np.asarray(found.reshape(-1, 6))


@dataclass(frozen=True, eq=False)
class _Bounded:
    """Keypoints, and where the silhouette ends."""

    keypoints: _Problem
    extent: Extent

    def residuals(self, R: Array, t: Array) -> Array:
        """Those of the keypoints, then of the edges, (2K + 4,)."""
        in_camera = self.extent.hull @ R.T + t
        if not (in_camera[:, 2] > 1e-9).all():
            return np.full(2 * len(self.keypoints.points) + 4, np.inf)
        pixels = _project(in_camera, self.keypoints.focal, self.keypoints.principal)
        both = [self.keypoints.residuals(R, t), self.extent.residuals(pixels)[0]]
        return np.concatenate(both)

    def jacobian(self, R: Array, t: Array) -> Array:
        """Derivative of the residuals, (2K + 4, 6), by (omega, tau)."""
        focal, turned = self.keypoints.focal, self.extent.hull @ R.T
        pixels = _project(turned + t, focal, self.keypoints.principal)
        _, slope, outermost = self.extent.residuals(pixels)
        rows = pixel_derivative(turned[outermost], t, focal)[np.arange(4), [0, 1, 0, 1]]
        return np.vstack([self.keypoints.jacobian(R, t), slope[:, None] * rows])


def _project(in_camera: Array, focal: Array, principal: Array) -> Array:
    return np.asarray(in_camera[:, :2] / in_camera[:, 2:] * focal + principal)


def _prepare(points: Array, keypoints: Array, covariance: Array, camera: Camera) -> _Problem:
    if len(points) < _MIN_POINTS:
        raise Refused("degenerate", f"{len(points)} keypoints; a pose needs {_MIN_POINTS}")
    if not (np.isfinite(keypoints).all() and np.isfinite(covariance).all()):
        raise Refused("non_finite", "a keypoint or its covariance is not finite")
    focal, principal = camera.K[[0, 1], [0, 1]], camera.K[:2, 2]
    pixels = keypoints
    if camera.distorted:
        pixels, derivative = _undistort(keypoints, camera)
        covariance = derivative @ covariance @ derivative.transpose(0, 2, 1)
    try:
        # W = C C', so that L = C'.
        whitening = np.linalg.cholesky(np.linalg.inv(covariance)).transpose(0, 2, 1)
    except np.linalg.LinAlgError:
        raise Refused("degenerate", "a keypoint's covariance is not positive definite") from None
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if not spread[1] > _FLAT * spread[0]:
        raise Refused("degenerate", "the object's keypoints lie on a line")
    return _Problem(points, pixels, whitening, focal, principal)


def _undistort(keypoints: Array, camera: Camera) -> tuple[Array, Array]:
    """Return undistorted pixels (K, 2) and their derivative (K, 2, 2) by the distorted ones."""
    step = 0.5
    shifted = keypoints[:, None] + step * np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
    focal, principal = camera.K[[0, 1], [0, 1]], camera.K[:2, 2]
    found = (camera.normalise(shifted) * focal + principal).reshape(-1, 5, 2)
    if not np.isfinite(found).all():
        raise Refused("non_finite", "a keypoint lies where the lens model has no inverse")
    derivative = (found[:, 1:3] - found[:, 3:5]).transpose(0, 2, 1) / (2 * step)
    return found[:, 0], derivative


def _start(problem: _Problem) -> tuple[Array, Array]:
    cv2 = import_cv2()
    rays = (problem.pixels - problem.principal) / problem.focal
    try:
        _, turns, shifts, _ = cv2.solvePnPGeneric(
            problem.points, rays, np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP
        )
    except cv2.error:
        raise Refused("degenerate", "the keypoints determine no pose") from None
    candidates = [
        (rotation_exp(np.ravel(turn)), np.ravel(shift).astype(np.float64))
        for turn, shift in zip(turns, shifts, strict=True)
        if np.isfinite(turn).all() and np.isfinite(shift).all()
    ]
    if not candidates:
        raise Refused("degenerate", "the keypoints determine no pose")
    costs = [float((problem.errors(*pose) ** 2).sum()) for pose in candidates]
    best = int(np.argmin(costs))
    if not np.isfinite(costs[best]):
        raise Refused("behind_camera", "a part of the object would lie behind the camera")
    return candidates[best]


def _refine(problem: _Problem | _Bounded, R: Array, t: Array) -> tuple[Array, Array, Array]:
    """Return R, t and the Hessian (6, 6) at a minimum."""
    errors = problem.residuals(R, t)
    cost = float(errors @ errors)
    jacobian = problem.jacobian(R, t)
    hessian: Array = jacobian.T @ jacobian
    damping = 0.0
    for _ in range(_STEPS):
        gradient = jacobian.T @ errors
        step = _solve(hessian + damping * np.eye(6), -gradient)
        if -step @ gradient < 1e-9 * (1 + cost):
            break
        trial = rotation_exp(step[:3]) @ R, t + step[3:]
        errors_there = problem.residuals(*trial)
        cost_there = float(errors_there @ errors_there)
        if cost_there <= cost:
            (R, t), errors, cost = trial, errors_there, cost_there
            jacobian = problem.jacobian(R, t)
            hessian = jacobian.T @ jacobian
            damping /= 10
        else:
            damping = max(10 * damping, 1e-3 * float(np.diag(hessian)[:3].mean()))
    return R, t, hessian


def _solve(matrix: Array, right: Array) -> Array:
    try:
        return np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)
    except np.linalg.LinAlgError:
        raise Refused("degenerate", "the keypoints determine no pose") from None


def _invert(hessian: Array) -> Array:
    """Return the covariance (6, 6), refusing directions that the keypoints do not determine."""
    scale: Any = np.sqrt(np.diag(hessian))
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise Refused("degenerate", "the keypoints determine no pose")
    # Radians and millimetres do not compare; scaled to a unit diagonal they do.
    scaled = hessian / np.outer(scale, scale)
    if np.linalg.cond(scaled) > 1e10:
        raise Refused("degenerate", "the keypoints leave a direction of the pose open")
    inverse = np.linalg.inv(scaled) / np.outer(scale, scale)
    covariance: Array = (inverse + inverse.T) / 2
    return covariance
