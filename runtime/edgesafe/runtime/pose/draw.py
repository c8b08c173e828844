"""Poses drawn over their frame: axes, box, and the outline of the hull or of the full mesh.

x is red, y green, z blue. What was refused is a dashed red region with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.manifest_pose import PoseObject
from edgesafe.runtime.mesh import Mesh
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.result import Pose
from edgesafe.runtime.video import import_cv2

__all__ = ["draw_poses", "outline"]

RGB8 = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]

_AXES = ((230, 40, 40), (40, 200, 40), (60, 90, 255))
_BOX = (255, 200, 0)
_OUTLINE = (0, 255, 200)
_REFUSED = (255, 60, 60)
_EDGES = [(i, i | 1 << axis) for i in range(8) for axis in range(3) if not i >> axis & 1]
_SUBPIXEL = 4  # bits after the binary point of OpenCV's coordinates
_FAR = 1e5  # pixels; beyond, OpenCV's 32-bit coordinates overflow


def draw_poses(
    frame: RGB8,
    poses: Iterable[Pose],
    objects: Mapping[int, PoseObject],
    camera: Camera,
    meshes: Mapping[int, Mesh] | None = None,
) -> RGB8:
    """Return a copy of a frame with poses drawn over it.

    Args:
        frame: RGB, uint8 (H, W, 3).
        poses: Of this frame.
        objects: By number.
        camera: Of the frame.
        meshes: By number of the object; of others the hull is outlined.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = import_cv2()
    page: RGB8 = np.array(frame, dtype=np.uint8, order="C")
    thick = max(1, round(max(frame.shape[:2]) / 640))
    for pose in poses:
        if pose.R is None or pose.t_mm is None:
            if pose.roi is not None:
                _region(cv2, page, pose, thick)
            continue
        entry = objects[pose.object_id]
        mesh = (meshes or {}).get(pose.object_id)
        for contour in outline(pose, entry, camera, mesh):
            _lines(cv2, page, contour, _OUTLINE, thick, closed=True)
        corners = _project(camera, entry.corners, pose)
        for i, j in _EDGES:
            _lines(cv2, page, corners[[i, j]], _BOX, thick)
        ends = np.vstack([np.zeros(3), np.eye(3) * entry.diameter / 2])
        axes = _project(camera, ends, pose)
        for axis, colour in enumerate(_AXES):
            _lines(cv2, page, axes[[0, axis + 1]], colour, 2 * thick)
        place = np.nanmin(corners, axis=0) if np.isfinite(corners).any() else np.zeros(2)
        _text(cv2, page, f"{pose.name} {pose.confidence:.2f}", place, _BOX, thick)
    return page


def outline(pose: Pose, entry: PoseObject, camera: Camera, mesh: Mesh | None = None) -> list[Array]:
    """Return the closed contours (N, 2), frame pixels, of an object.

    Of the hull that is the convex hull of its projected points; of a mesh the border of what its
    triangles cover in the frame.

    Raises:
        ValueError: The pose was refused.
        MissingExtraError: OpenCV is not installed.
    """
    if pose.R is None or pose.t_mm is None:
        raise ValueError("a refused pose has no outline")
    cv2 = import_cv2()
    if mesh is None:
        points = _project(camera, entry.hull, pose)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) < 3:
            return []
        return [cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)]
    points = _project(camera, mesh.vertices, pose)
    faces = mesh.faces[np.isfinite(points[mesh.faces]).all(axis=(1, 2))]
    covered = np.zeros((camera.height, camera.width), dtype=np.uint8)
    shifted = np.rint(points[faces] * 2**_SUBPIXEL).astype(np.int32)
    for triangle in shifted:
        cv2.fillConvexPoly(covered, triangle, 255, cv2.LINE_8, _SUBPIXEL)
    contours, _ = cv2.findContours(covered, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [contour[:, 0].astype(np.float64) for contour in contours]


def _project(camera: Camera, points: Array, pose: Pose) -> Array:
    """Project to frame pixels; NaN for what is behind the camera or far outside."""
    assert pose.R is not None and pose.t_mm is not None
    in_camera = points @ pose.R.T + pose.t_mm
    pixels = np.full((len(points), 2), np.nan)
    ahead = in_camera[:, 2] > 1e-3
    pixels[ahead] = camera.project(in_camera[ahead])
    pixels[~(np.abs(pixels) < _FAR).all(axis=1)] = np.nan
    return pixels


def _lines(
    cv2: Any, page: RGB8, points: Array, colour: tuple[int, ...], thick: int, closed: bool = False
) -> None:
    if not np.isfinite(points).all():
        return
    shifted = np.rint(points * 2**_SUBPIXEL).astype(np.int32)
    cv2.polylines(page, [shifted], closed, colour, thick, cv2.LINE_AA, _SUBPIXEL)


def _region(cv2: Any, page: RGB8, pose: Pose, thick: int) -> None:
    assert pose.roi is not None
    x, y, w, h = np.clip(pose.roi, -_FAR, _FAR)
    corners = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]) - 0.5
    for start, end in zip(corners[:-1], corners[1:], strict=True):
        for at in np.arange(0.0, 1.0, 0.1):
            _lines(cv2, page, start + (end - start) * [[at], [at + 0.05]], _REFUSED, thick)
    _text(cv2, page, f"{pose.name}: {pose.reason}", corners[0], _REFUSED, thick)


def _text(
    cv2: Any, page: RGB8, text: str, place: Array, colour: tuple[int, ...], thick: int
) -> None:
    plain = text.encode("ascii", "replace").decode()  # all that OpenCV's font has
    height, width = page.shape[:2]
    x = int(np.clip(place[0], 0, max(0, width - 9 * thick * len(plain))))
    y = int(np.clip(place[1] - 4 * thick, 14 * thick, height - 5 * thick))
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45 * thick
    (w, h), below = cv2.getTextSize(plain, font, scale, thick)
    # On a plate: an outline alone is lost on a cluttered picture.
    cv2.rectangle(page, (x - 2, y - h - 2), (x + w + 1, y + below), (0, 0, 0), cv2.FILLED)
    cv2.putText(page, plain, (x, y), font, scale, colour, thick, cv2.LINE_AA)
