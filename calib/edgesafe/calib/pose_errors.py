"""How wrong a pose is: ADD, ADD-S, MSSD, MSPD, angle and distance.

A pose is T_cam_obj, X_cam = R X + t, millimetres. With the estimate E, the truth G, the vertices x
of the object's mesh and its symmetries S (see `edgesafe.calib.bop.symmetries`):

* ADD   = mean_x |E x - G x|. Hinterstoisser et al., "Model Based Training, Detection and Pose
  Estimation of Texture-Less 3D Objects in Heavily Cluttered Scenes", ACCV 2012, eq. 5.
* ADD-S = mean_x min_y |G x - E y|, also called ADI: from each true point to the nearest estimated
  one. The same, eq. 6; the direction is that of bop_toolkit, ``pose_error.adi``.
* MSSD  = min_S max_x |E x - G S x|. Hodan et al., "BOP Challenge 2020 on 6D Object Localization",
  ECCVW 2020, eq. 2; Drost et al., "Introducing MVTec ITODD", ICCVW 2017.
* MSPD  = min_S max_x |proj(E x) - proj(G S x)|, pixels. Hodan et al. 2020, eq. 3.
* The angle between the rotations and the distance between the translations, of the symmetry with
  the smallest angle.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgesafe.calib.nearest import NearestPoints

__all__ = ["add", "adi", "mspd", "mssd", "rotation_translation"]

Array: TypeAlias = NDArray[np.float64]

# Symmetries that are looked at together: so many that their points stay in the cache.
_POINTS_AT_ONCE = 100_000
_IDENTITY = np.eye(4)[None]


def add(
    R_est: ArrayLike, t_est: ArrayLike, R_gt: ArrayLike, t_gt: ArrayLike, pts: ArrayLike
) -> float:
    """Return the mean distance of corresponding points, mm.

    Args:
        R_est: (3, 3) estimate.
        t_est: (3,) estimate, mm.
        R_gt: (3, 3) truth.
        t_gt: (3,) truth, mm.
        pts: (N, 3) vertices of the mesh, mm.
    """
    apart = _moved(R_est, t_est, pts) - _moved(R_gt, t_gt, pts)
    return float(np.linalg.norm(apart, axis=1).mean())


def adi(
    R_est: ArrayLike,
    t_est: ArrayLike,
    R_gt: ArrayLike,
    t_gt: ArrayLike,
    pts: ArrayLike,
    index: NearestPoints | None = None,
) -> float:
    """Return the mean distance of true points to their nearest estimated one, mm.

    Args:
        R_est: (3, 3) estimate.
        t_est: (3,) estimate, mm.
        R_gt: (3, 3) truth.
        t_gt: (3,) truth, mm.
        pts: (N, 3) vertices of the mesh, mm.
        index: Of the same points, to be made once for many poses.
    """
    # Seen from the estimated object, whose points never move: the index serves all poses.
    true = _moved(R_gt, t_gt, pts) - np.asarray(t_est, np.float64).reshape(3)
    index = index or NearestPoints(pts)
    return float(index.distances(true @ np.asarray(R_est, np.float64)).mean())


def mssd(
    R_est: ArrayLike,
    t_est: ArrayLike,
    R_gt: ArrayLike,
    t_gt: ArrayLike,
    pts: ArrayLike,
    syms: ArrayLike = _IDENTITY,
) -> float:
    """Return the maximum symmetry-aware surface distance, mm.

    Args:
        R_est: (3, 3) estimate.
        t_est: (3,) estimate, mm.
        R_gt: (3, 3) truth.
        t_gt: (3,) truth, mm.
        pts: (N, 3) vertices of the mesh, mm.
        syms: (S, 4, 4) symmetries with the identity.
    """
    pts = np.asarray(pts, np.float64)
    R, t = _equivalent(R_gt, t_gt, syms)
    # E x - G S x is linear in x: one product per symmetry.
    R = np.asarray(R_est, np.float64) - R
    t = np.asarray(t_est, np.float64).reshape(3) - t
    best = np.inf
    step = max(1, _POINTS_AT_ONCE // len(pts))
    for i in range(0, len(R), step):
        apart = R[i : i + step] @ pts.T + t[i : i + step, :, None]
        squares = np.einsum("sdn,sdn->sn", apart, apart)
        best = min(best, float(squares.max(axis=1).min()))
    return float(np.sqrt(best))


def mspd(
    R_est: ArrayLike,
    t_est: ArrayLike,
    R_gt: ArrayLike,
    t_gt: ArrayLike,
    pts: ArrayLike,
    syms: ArrayLike = _IDENTITY,
    *,
    K: ArrayLike,
) -> float:
    """Return the maximum symmetry-aware projection distance, pixels.

    Infinite where a point of the estimate does not lie before the camera.

    Args:
        R_est: (3, 3) estimate.
        t_est: (3,) estimate, mm.
        R_gt: (3, 3) truth.
        t_gt: (3,) truth, mm.
        pts: (N, 3) vertices of the mesh, mm.
        syms: (S, 4, 4) symmetries with the identity.
        K: (3, 3) camera matrix.
    """
    pts, K = np.asarray(pts, np.float64), np.asarray(K, np.float64)
    rays = K @ _moved(R_est, t_est, pts).T
    if rays[2].min() <= 0:
        return np.inf
    seen = rays[:2] / rays[2]
    R, t = _equivalent(R_gt, t_gt, syms)
    best = np.inf
    step = max(1, _POINTS_AT_ONCE // len(pts))
    for i in range(0, len(R), step):
        true = K @ (R[i : i + step] @ pts.T + t[i : i + step, :, None])
        squares = ((true[:, :2] / true[:, 2:] - seen) ** 2).sum(axis=1)
        best = min(best, float(squares.max(axis=1).min()))
    return float(np.sqrt(best))


def rotation_translation(
    R_est: ArrayLike,
    t_est: ArrayLike,
    R_gt: ArrayLike,
    t_gt: ArrayLike,
    syms: ArrayLike = _IDENTITY,
) -> tuple[float, float]:
    """Return the angle in degrees and the distance in mm to the nearest equivalent truth.

    Args:
        R_est: (3, 3) estimate.
        t_est: (3,) estimate, mm.
        R_gt: (3, 3) truth.
        t_gt: (3,) truth, mm.
        syms: (S, 4, 4) symmetries with the identity.
    """
    R, t = _equivalent(R_gt, t_gt, syms)
    # |A - B| = 2 sqrt(2) sin(angle / 2) in the Frobenius norm: exact at small angles, where the
    # arc cosine of the trace is not.
    chords = np.linalg.norm(np.asarray(R_est, np.float64) - R, axis=(1, 2)) / (2 * np.sqrt(2))
    nearest = int(chords.argmin())
    angle = 2 * np.arcsin(min(1.0, float(chords[nearest])))
    shift = np.asarray(t_est, np.float64).reshape(3) - t[nearest]
    return float(np.degrees(angle)), float(np.linalg.norm(shift))


def _moved(R: ArrayLike, t: ArrayLike, pts: ArrayLike) -> Array:
    t = np.asarray(t, np.float64).reshape(3)
    return np.asarray(np.asarray(pts, np.float64) @ np.asarray(R, np.float64).T + t)


def _equivalent(R_gt: ArrayLike, t_gt: ArrayLike, syms: ArrayLike) -> tuple[Array, Array]:
    """Return all poses G S, rotations (S, 3, 3) and translations (S, 3)."""
    syms, R_gt = np.asarray(syms, np.float64), np.asarray(R_gt, np.float64)
    shift = syms[:, :3, 3] @ R_gt.T + np.asarray(t_gt, np.float64).reshape(3)
    return np.asarray(R_gt @ syms[:, :3, :3]), np.asarray(shift)
