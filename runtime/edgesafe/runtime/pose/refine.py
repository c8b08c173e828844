"""A pose is moved until the object's outline separates its colours from those around it.

A network that has only seen renders finds keypoints of a real object that lie a little too close
together where it is unsure, and the object then seems too far away. The outline does not suffer
from that: inside of it are the object's colours, outside those of the background (region-based
tracking: Prisacariu and Reid, "PWP3D", IJCV 2012; Stoiber et al., "SRT3D", IJCV 2022). That needs
no training and no mesh, but outlines from all sides (:mod:`edgesafe.runtime.pose.silhouettes`).

Steps get smaller from a twentieth of the object to a hundredth. At each size:

1. Colours: histograms (16 bins a channel) of what lies inside of the outline where the network sees
   the object, and of a belt around it where it does not; p = the object's share of both.
2. Lines across the outline: of the shifts d of a line, the likelihood is the product over its
   pixels at distance x (positive outwards) of h p + (1 - h)(1 - p) with
   h = 1/2 - a tanh((x - d) / 2s). Its mean and variance are a measurement of the outline.
3. A Gauss-Newton step over all lines and the pose before, with its covariance, which the line of
   sight may leave by a share of the depth. Lines far from the outline count less (weights of
   Cauchy), as do those where the network sees no object.

All in a resampled crop in which the object is 110 pixels large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.pnp import pixel_derivative, rotation_exp
from edgesafe.runtime.pose.silhouettes import Silhouettes
from edgesafe.runtime.video import import_cv2

__all__ = ["DEPTH_SD", "Refined", "refine_pose"]

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

DEPTH_SD = 0.3
"""Standard deviation of the depth of a pose of keypoints alone, as a share of it."""

_SIZE = 110
"""Side of the object in the crop, pixels; the other lengths here are in the same pixels."""
_SIDE = 208
_STEPS = (6.0, 4.0, 2.5, 1.5, 1.0)
"""Distance of the pixels on a line."""
_REPEAT = 2
"""Gauss-Newton steps at each."""
_REACH = 8
_SHIFTS = _REACH - 2
_LEVELS = 129
_LEAST_VARIANCE = 0.3
"""Of a shift, steps squared: pixels are counted, not their parts."""
_AMPLITUDE = 0.42
_SLOPE = 1.2
_BLUR = 0.3
"""An edge's mixed pixels count as background, so that it is found that far within."""
_INNER = 3
_NEAR = 13
_FAR = 44
_COARSE = 2
_BINS = 16
_FAINT = 0.02
_RARE = 1e-5
_UNSEEN = 0.1
_CAUCHY = 2.5
_WEIGHT = 0.2
"""Neighbouring lines and pixels are not independent."""
_PRIOR = 4.0
"""By how much the keypoints' covariance is too small."""
_OPTIMISM = 6.0
"""By how much the lines' information is too large: what hides an object misleads many at once."""
_FARTHEST = 20.0
"""Squared Mahalanobis distance of six numbers: one in 400 is farther by chance."""
_LEAST_PIXELS = 30


@dataclass(frozen=True, eq=False)
class Refined:
    """A refined pose.

    Attributes:
        R: (3, 3), object to camera.
        t_mm: (3,), millimetres.
        covariance: (6, 6) as in :class:`~edgesafe.runtime.pose.pnp.PnpSolution`.
    """

    R: Array
    t_mm: Array
    covariance: Array


def refine_pose(
    frame: npt.NDArray[np.uint8],
    camera: Camera,
    silhouettes: Silhouettes,
    R: Array,
    t_mm: Array,
    covariance: Array,
    mask: Floats,
    roi: RoiCrop,
    *,
    depth_sd: float,
) -> Refined | None:
    """Move a pose until the outline fits the picture.

    Args:
        frame: RGB, uint8 (H, W, 3).
        camera: Of the frame.
        silhouettes: Of the object.
        R: (3, 3), object to camera, where to begin.
        t_mm: (3,), millimetres.
        covariance: (6, 6) of that pose: rotation vector and translation in the camera frame,
            radians and millimetres.
        mask: (C, C) in 0..1, where the network sees the object; its cells cover ``roi``.
        roi: The square of the frame that the network saw.
        depth_sd: Standard deviation by which the line of sight may leave that pose besides, as a
            share of the depth.

    Returns:
        The pose with its covariance, or None where there is nothing to fit, too little of the
        object or of its surroundings being in the frame, and where the outline leads to a pose that
        the one before contradicts.
    """
    outline = _outline(silhouettes, R, t_mm, camera)
    if outline is None:
        return None
    look = _Look.of(frame, camera, outline.pixels, mask, roi)
    sight = t_mm / np.linalg.norm(t_mm)
    loose = covariance * _PRIOR
    loose[3:, 3:] += np.outer(sight, sight) * (depth_sd * t_mm[2]) ** 2
    prior = np.linalg.inv(loose)
    colours = _Colours(look)
    R0, t0 = R, t_mm
    for step in _STEPS:
        if not colours.learn(look.to_crop(outline.pixels), outline.loops, step):
            return None
        share = colours.share(step)
        for _ in range(_REPEAT):
            rows, shift, weight = _measure(look, share, outline, t_mm, camera, step)
            information = rows.T @ (weight[:, None] * rows)
            moved = _motion(R @ R0.T, t_mm - t0)
            gain = rows.T @ (weight * shift) - prior @ moved
            delta = np.asarray(np.linalg.solve(information + prior, gain), np.float64)
            R, t_mm = rotation_exp(delta[:3]) @ R, t_mm + delta[3:]
            outline = _outline(silhouettes, R, t_mm, camera)
            if outline is None:
                return None
    moved = _motion(R @ R0.T, t_mm - t0)
    if not moved @ prior @ moved <= _FARTHEST:
        return None
    spread = np.linalg.inv(information / _OPTIMISM + prior)
    return Refined(R, t_mm, (spread + spread.T) / 2)


@dataclass(frozen=True, eq=False)
class _Outline:
    """An outline (P points) in the frame.

    ``turned`` (P, 3) without the shift, ``pixels`` (P, 2) of the frame, ``outwards`` (P, 2) unit
    normals, ``loops`` (P,) as of the silhouettes.
    """

    turned: Array
    pixels: Array
    outwards: Array
    loops: npt.NDArray[np.intp]


def _outline(silhouettes: Silhouettes, R: Array, t: Array, camera: Camera) -> _Outline | None:
    view = silhouettes.nearest(R, t)
    turned = silhouettes.points[view] @ R.T
    in_camera = turned + t
    if not (np.isfinite(in_camera).all() and (in_camera[:, 2] > 1e-3).all()):
        return None
    pixels = camera.project(in_camera)
    if not np.isfinite(pixels).all():
        return None
    along = pixels[silhouettes.after[view]] - pixels[silhouettes.before[view]]
    outwards = np.stack([along[:, 1], -along[:, 0]], axis=1)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True) + 1e-12
    return _Outline(turned, pixels, outwards, silhouettes.loops[view])


@dataclass(frozen=True, eq=False)
class _Look:
    """The crop, and the map to it from the frame: x -> scale x + shift.

    ``bins`` (S, S) of the colours, ``valid`` where it shows the frame, ``seen`` the network's mask.
    """

    bins: npt.NDArray[np.int32]
    valid: Bools
    seen: Floats
    scale: float
    shift: Array

    @classmethod
    def of(
        cls,
        frame: npt.NDArray[np.uint8],
        camera: Camera,
        pixels: Array,
        mask: Floats,
        roi: RoiCrop,
    ) -> _Look:
        cv2 = import_cv2()
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        scale = _SIZE / max(float((high - low).max()), 1e-3)
        shift = (_SIDE - 1) / 2 - scale * (low + high) / 2
        square = (_SIDE, _SIDE)
        to_crop = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        picture = cv2.warpAffine(frame, to_crop, square, borderMode=cv2.BORDER_REPLICATE)
        levels = picture.astype(np.int32) * _BINS >> 8
        bins = (levels[..., 0] * _BINS + levels[..., 1]) * _BINS + levels[..., 2]
        x, y = ((np.arange(_SIDE) - shift[axis]) / scale for axis in (0, 1))
        valid = ((y >= 0) & (y <= camera.height - 1))[:, None] & (x >= 0) & (x <= camera.width - 1)
        cell = roi.side / len(mask)
        corner = np.asarray(roi.centre) - roi.side / 2 + cell / 2
        origin = scale * corner + shift
        cells = np.array([[cell * scale, 0, origin[0]], [0, cell * scale, origin[1]]])
        seen = cv2.warpAffine(np.asarray(mask, np.float32).clip(0, 1), cells, square)
        return cls(bins, valid, seen, scale, shift)

    def to_crop(self, pixels: Array) -> Array:
        return pixels * self.scale + self.shift

    def at(self, points: Array) -> tuple[npt.NDArray[np.intp], Bools]:
        """Return flat indices of the nearest pixels (...), and which of them show the frame."""
        near = np.rint(points).astype(np.intp)
        inside = ((near >= 0) & (near < _SIDE)).all(axis=-1)
        near = near.clip(0, _SIDE - 1)
        flat = near[..., 1] * _SIDE + near[..., 0]
        return flat, inside & self.valid.ravel()[flat]


class _Colours:
    """Histograms of the object and of what is around it."""

    def __init__(self, look: _Look) -> None:
        self._look = look
        # Every second pixel tells the colours as well.
        self._bins, self._valid, self._seen = (
            np.ascontiguousarray(one[::_COARSE, ::_COARSE])
            for one in (look.bins, look.valid, look.seen)
        )
        self._object: Array | None = None
        self._around: Array | None = None

    def learn(self, points: Array, loops: npt.NDArray[np.intp], step: float) -> bool:
        """Take in the colours on both sides of an outline; False where there are too few."""
        cv2 = import_cv2()
        body = np.zeros(self._bins.shape, np.uint8)
        fixed = np.rint(points.clip(-_SIDE, 2 * _SIDE) * (8 / _COARSE)).astype(np.int32)
        parts = np.split(fixed, np.flatnonzero(np.diff(loops)) + 1)
        cv2.fillPoly(body, parts, 1, cv2.LINE_8, 3)
        inner = cv2.erode(body, _square(_INNER)).view(bool) & self._valid
        near = cv2.dilate(body, _square(_NEAR * min(1.0, step / _STEPS[1])))
        belt = (cv2.dilate(body, _square(_FAR)) > near) & self._valid
        if min(np.count_nonzero(inner), np.count_nonzero(belt)) < _LEAST_PIXELS:
            return False
        of_object = _histogram(self._bins[inner], self._seen[inner] + _FAINT)
        around = _histogram(self._bins[belt], 1 + _FAINT - self._seen[belt])
        if self._object is not None and self._around is not None:
            of_object, around = (self._object + of_object) / 2, (self._around + around) / 2
        self._object, self._around = of_object, around
        return True

    def share(self, step: float) -> Floats:
        """Return the object's share p (S, S), of pixels as large as a step."""
        assert self._object is not None and self._around is not None
        p = (self._object + _RARE) / (self._object + self._around + 2 * _RARE)
        found = p.astype(np.float32)[self._look.bins]
        width = int(step) | 1
        if width > 1:
            found = import_cv2().blur(found, (width, width))
        return np.asarray(found)


def _square(radius: float) -> npt.NDArray[np.uint8]:
    side = 2 * max(1, round(radius / _COARSE)) + 1
    return np.ones((side, side), np.uint8)


def _histogram(bins: npt.NDArray[np.int32], weights: Floats) -> Array:
    """Return a histogram (bins^3,) that sums to 1, each colour shared with its neighbours."""
    count: Array = np.bincount(bins, weights, _BINS**3).astype(np.float64)
    for stride in (1, _BINS, _BINS**2):
        line = count.reshape(-1, _BINS, stride)
        shared = line / 2
        shared[:, 1:] += line[:, :-1] / 4
        shared[:, :-1] += line[:, 1:] / 4
        count = shared.ravel()
    return np.asarray(count / count.sum())


def _table() -> tuple[Array, Floats]:
    """Return the shifts (D,), in steps, and log(h p + (1 - h)(1 - p)), (levels of p, pixels, D)."""
    shifts = np.arange(-_SHIFTS, _SHIFTS + 1.0)
    h = 0.5 - _AMPLITUDE * np.tanh((_ALONG[:, None] - shifts) / (2 * _SLOPE))
    p = np.linspace(0, 1, _LEVELS)[:, None, None]
    return shifts, np.log(h * p + (1 - h) * (1 - p)).astype(np.float32)


_ALONG = np.arange(-_REACH, _REACH + 1.0)
_SHIFT, _LOG_LIKELIHOOD = _table()
_PLACE = np.arange(len(_ALONG))
_KNOWS_NOTHING = float((_SHIFT**2).mean()) + _LEAST_VARIANCE


def _measure(
    look: _Look, share: Floats, outline: _Outline, t: Array, camera: Camera, step: float
) -> tuple[Array, Array, Array]:
    """Seek the edge on each line.

    Returns:
        (P, 6) how far the outline moves outwards, crop pixels, by (omega, tau); (P,) how far it
        should; and (P,) weights.
    """
    points = look.to_crop(outline.pixels)
    lines = points[:, None] + outline.outwards[:, None] * _ALONG[:, None] * step
    flat, valid = look.at(lines)
    p = np.where(valid, share.ravel()[flat], np.float32(0.5))
    level = np.rint(p * (_LEVELS - 1)).astype(np.intp)
    likelihood = _LOG_LIKELIHOOD[level, _PLACE].sum(axis=1, dtype=np.float64)
    likelihood = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    likelihood /= likelihood.sum(axis=1, keepdims=True)
    mean = likelihood @ _SHIFT
    variance = (likelihood * (_SHIFT - mean[:, None]) ** 2).sum(axis=1) + _LEAST_VARIANCE
    shift = mean * step + _BLUR
    within, _ = look.at(points - outline.outwards * (0.06 * _SIZE))
    weight = _WEIGHT * (_UNSEEN + look.seen.ravel()[within]) / (variance * step**2)
    weight /= 1 + (shift / (_CAUCHY * step)) ** 2
    # A line on which any shift is as likely says nothing.
    weight *= (1 - variance / _KNOWS_NOTHING).clip(0, 1)
    # The lens bends lines by less than what the next step mends.
    focal = camera.K[[0, 1], [0, 1]] * look.scale
    by_pose = pixel_derivative(outline.turned, t, focal)
    rows: Array = np.einsum("pi,pij->pj", outline.outwards, by_pose)
    return rows, shift, weight


def _motion(turn: Array, shift: Array) -> Array:
    """Return (omega, tau), (6,), of a turn and a shift."""
    omega: Array = import_cv2().Rodrigues(turn)[0].ravel()
    return np.concatenate([omega, shift])
