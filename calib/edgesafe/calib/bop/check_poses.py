"""Do K, poses and boxes belong to the pictures and to the meshes?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop.dataset import BopDataset
from edgesafe.calib.bop.findings import Finding, examples
from edgesafe.calib.bop.frame import Frame, Instance
from edgesafe.calib.bop.scene import Scene
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import Mesh

__all__ = ["BoxFit", "box_iou", "check_boxes", "check_poses", "projected_box"]

Array = NDArray[np.float64]

# The annotations of LM-O are off by up to 0.01.
_ORTHONORMAL, _NO_ROTATION = 1e-3, 0.03
_ASPECT = 0.1
_FOV_DEGREES = (5.0, 150.0)
_MIDDLE = (0.25, 0.75)
_DISTANCES = (0.5, 200.0)
_IOU_ERROR, _IOU_WARNING = 0.5, 0.8
_FRAMES = 300
_EDGE = 1.0


@dataclass
class BoxFit:
    """How well the boxes of one object fit its projected mesh.

    Attributes:
        iou: Intersection over union of each box with that of the projected mesh.
        shifts: (dx, dy) of its middle from that of the projection, pixels.
    """

    iou: list[float] = field(default_factory=list)
    shifts: list[Array] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        dx, dy = np.median(self.shifts, axis=0).tolist()
        return {
            "boxes": len(self.iou),
            "median_iou": float(np.median(self.iou)),
            "worst_iou": min(self.iou),
            "median_shift_px": [dx, dy],
        }


def check_poses(dataset: BopDataset, diameters: Mapping[int, float]) -> Iterator[Finding]:
    """Check rotations, translations, visible shares and K of a split.

    Args:
        dataset: A split.
        diameters: Of the objects, mm.
    """
    place = dataset.split
    for scene in dataset.scenes:
        names = _instance_names(scene)
        turns = scene.R @ scene.R.transpose(0, 2, 1)
        off = np.abs(turns - np.eye(3)).max(axis=(1, 2), initial=0.0)
        mirrored = np.linalg.det(scene.R) < 0
        bad = np.flatnonzero((off > _NO_ROTATION) | mirrored)
        if len(bad):
            text = f"cam_R_m2c is no rotation at {examples([names[i] for i in bad])}"
            yield Finding("error", "rotation", place, text, len(bad))
        rough = np.flatnonzero((off > _ORTHONORMAL) & (off <= _NO_ROTATION) & ~mirrored)
        if len(rough):
            text = (
                "cam_R_m2c is not quite orthonormal (R R^T is off by up to "
                f"{off[rough].max():.2g}) at {examples([names[i] for i in rough])}"
            )
            yield Finding("warning", "rough_rotation", place, text, len(rough))
        behind = np.flatnonzero(scene.t[:, 2] <= 0)
        if len(behind):
            text = f"the object lies behind the camera at {examples([names[i] for i in behind])}"
            yield Finding("error", "behind_camera", place, text, len(behind))
        wrong = np.flatnonzero((scene.visib_fract < 0) | (scene.visib_fract > 1))
        if len(wrong):
            text = f"visib_fract is not in 0..1 at {examples([names[i] for i in wrong])}"
            yield Finding("error", "visib_fract", place, text, len(wrong))
    yield from _unit(dataset, diameters)
    yield from _cameras(dataset)


def check_boxes(
    dataset: BopDataset, meshes: Mapping[int, Mesh]
) -> tuple[dict[int, BoxFit], list[Finding]]:
    """Compare boxes with the projected meshes and with the borders of the pictures.

    Looks at no more than a few hundred frames, spread evenly.

    Raises:
        DataError: A picture cannot be read.
    """
    fits: dict[int, BoxFit] = defaultdict(BoxFit)
    outside: list[str] = []
    for frame in dataset.thinned(_FRAMES).frames:
        try:
            width, height = frame.picture_size()
        except DataError:
            continue  # check_pictures says so
        for i, instance in enumerate(frame.instances):
            if not _inside(instance, width, height):
                outside.append(f"{_frame_name(frame)} instance {i}")
            mesh = meshes.get(instance.obj_id)
            if mesh is not None and instance.bbox_obj is not None and instance.t[2] > 0:
                box = projected_box(mesh, instance, frame.K)
                fit = fits[instance.obj_id]
                fit.iou.append(box_iou(np.array(instance.bbox_obj), box))
                fit.shifts.append(_middle(np.array(instance.bbox_obj)) - _middle(box))
    found = []
    if outside:
        text = f"bbox_visib reaches beyond the picture at {examples(outside)}"
        found.append(Finding("error", "box_outside", dataset.split, text, len(outside)))
    for obj_id, fit in sorted(fits.items()):
        median = float(np.median(fit.iou))
        if median < _IOU_WARNING:
            dx, dy = np.median(fit.shifts, axis=0)
            found.append(
                Finding(
                    "error" if median < _IOU_ERROR else "warning",
                    "box_fit",
                    dataset.split,
                    f"object {obj_id}: bbox_obj and the projected mesh overlap by {median:.2f} "
                    f"(median IoU; middles {dx:+.1f}, {dy:+.1f} px apart): K, unit or frame of "
                    "the mesh do not belong to these annotations",
                )
            )
    return dict(fits), found


def projected_box(mesh: Mesh, instance: Instance, K: Array) -> Array:
    """Return the box (x, y, w, h) of the pixels that a mesh covers.

    The boxes that come with LM-O are one pixel narrower: w is the last column less the first.
    """
    rays = (mesh.vertices @ instance.R.T + instance.t) @ K.T
    pixels = rays[:, :2] / np.maximum(rays[:, 2:], 1e-6)
    # A pixel is covered if its middle is.
    low, high = np.ceil(pixels.min(axis=0)), np.floor(pixels.max(axis=0))
    return np.concatenate([low, high - low + 1])


def box_iou(a: Array, b: Array) -> float:
    """Return intersection over union of two boxes (x, y, w, h)."""
    sides = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    return both / max(float(np.prod(a[2:]) + np.prod(b[2:])) - both, 1e-12)


def _unit(dataset: BopDataset, diameters: Mapping[int, float]) -> Iterator[Finding]:
    distances = np.concatenate([np.linalg.norm(scene.t, axis=1) for scene in dataset.scenes])
    ids = np.concatenate([scene.obj_id for scene in dataset.scenes])
    known = np.isin(ids, list(diameters))
    if not known.any():
        return
    sizes = np.array([diameters[int(obj_id)] for obj_id in ids[known]])
    ratio = float(np.median(distances[known] / sizes))
    if _DISTANCES[0] <= ratio <= _DISTANCES[1]:
        return
    yield Finding(
        "error",
        "unit",
        dataset.split,
        f"the objects are {ratio:.2g} of their diameters away (median): cam_t_m2c and the models "
        "are in different units; BOP has millimetres for both",
    )


def _cameras(dataset: BopDataset) -> Iterator[Finding]:
    place = dataset.split
    sizes: dict[tuple[int, int], list[str]] = defaultdict(list)
    odd: dict[str, list[str]] = defaultdict(list)
    for frame in dataset.thinned(_FRAMES).frames:
        try:
            width, height = frame.picture_size()
        except DataError:
            continue
        sizes[width, height].append(_frame_name(frame))
        for text in _odd_camera(frame.K, width, height):
            odd[text].append(_frame_name(frame))
    for text, names in odd.items():
        message = f"K {text}, at {examples(names)}: was the picture resized, or K transposed?"
        yield Finding("error", "K", place, message, len(names))
    if len(sizes) > 1:
        text = ", ".join(f"{w} x {h} ({len(names)})" for (w, h), names in sizes.items())
        yield Finding("warning", "sizes", place, f"the pictures have different sizes: {text}")
    try:
        camera = dataset.camera
    except DataError as error:
        yield Finding("error", "camera", "camera.json", str(error))
        return
    if camera is None or not sizes:
        return
    if (camera.width, camera.height) not in sizes:
        text = f"is of {camera.width} x {camera.height} pixels, no picture of {place} is"
        yield Finding("warning", "camera", "camera.json", text)
    elif np.abs(dataset.frames[0].K - camera.K).max() > 1e-2 * camera.K[0, 0]:
        text = f"has another K than scene_camera.json of {place}, which is what counts"
        yield Finding("warning", "camera", "camera.json", text)


def _odd_camera(K: Array, width: int, height: int) -> Iterator[str]:
    fx, fy = K[0, 0], K[1, 1]
    for name, value, side in (("cx", K[0, 2], width), ("cy", K[1, 2], height)):
        if not _MIDDLE[0] <= (value + 0.5) / side <= _MIDDLE[1]:
            yield f"has {name} = {value:g} in pictures of {width} x {height} pixels"
    if abs(fx / fy - 1) > _ASPECT:
        yield f"has fx = {fx:g} and fy = {fy:g}"
    angle = np.degrees(2 * np.arctan(width / (2 * fx)))
    if not _FOV_DEGREES[0] <= angle <= _FOV_DEGREES[1]:
        yield f"has fx = {fx:g}, an angle of view of {angle:.3g} degrees"
    if np.abs(K[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] - [0, 0, 0, 0, 1]).max() > 1e-6:
        yield "is not [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"


def _inside(instance: Instance, width: int, height: int) -> bool:
    if instance.bbox_visib is None:
        return True
    x, y, w, h = instance.bbox_visib
    return min(x, y) >= -_EDGE and x + w <= width + _EDGE and y + h <= height + _EDGE


def _middle(box: Array) -> Array:
    return np.asarray(box[:2] + box[2:] / 2)


def _instance_names(scene: Scene) -> list[str]:
    counts = np.diff(scene.starts)
    images = np.repeat(scene.im_ids, counts)
    rank = np.arange(len(images)) - np.repeat(scene.starts[:-1], counts)
    return [f"{scene.number:06d}/{im:06d} instance {i}" for im, i in zip(images, rank, strict=True)]


def _frame_name(frame: Frame) -> str:
    return f"{frame.scene_id:06d}/{frame.im_id:06d}"
