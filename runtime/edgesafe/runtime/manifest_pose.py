"""The manifest of a pose package: the objects, the networks that know them, and the gates.

Lengths are millimetres in the object's frame, that of its mesh. What every manifest says is read
by :mod:`edgesafe.runtime.manifest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.fields import Fields
from edgesafe.runtime.manifest import (
    MANIFEST,
    Common,
    check_keys,
    check_kind,
    check_named_files,
    read_common,
    read_head,
)
from edgesafe.runtime.manifest_parts import read_precision, read_preprocess
from edgesafe.runtime.pose.views import COUNTS
from edgesafe.runtime.preprocess import Preprocess

__all__ = [
    "MAX_HULL",
    "ContinuousSymmetry",
    "DetectorSpec",
    "Gates",
    "PoseManifest",
    "PoseNetwork",
    "PoseObject",
    "parse_pose_manifest",
]

MAX_HULL = 64
"""Points of the convex hull that an outline is drawn from."""

Array = npt.NDArray[np.float64]
Head = Literal["vote", "direct"]

_MAX_OBJECTS = 256
_MAX_ID = 2**31 - 1
_FAR_MM = 1e6
_MAX_SIDE = 4096


@dataclass(frozen=True, eq=False)
class ContinuousSymmetry:
    """The object looks the same turned by any angle about ``axis`` (3,) through ``offset`` (3,)."""

    axis: Array
    offset: Array


@dataclass(frozen=True, eq=False)
class PoseObject:
    """What a package knows of an object.

    Attributes:
        id: Its number, as in BOP.
        name: For a person.
        diameter: Largest distance of two of its points.
        minimum: (3,) corner of its axis-aligned box.
        size: (3,) of that box.
        keypoints: (K, 3), in the order of the network's outputs; of a direct head perhaps none.
        hull: (N, 3), N <= 64, points of its convex hull.
        symmetries_discrete: (S, 4, 4) without the identity.
        symmetries_continuous: As in BOP.
        silhouettes: File with its outlines from all sides, see
            :mod:`edgesafe.runtime.pose.silhouettes`; None where poses are not refined.
    """

    id: int
    name: str
    diameter: float
    minimum: Array = field(repr=False)
    size: Array = field(repr=False)
    keypoints: Array = field(repr=False)
    hull: Array = field(repr=False)
    symmetries_discrete: Array = field(repr=False)
    symmetries_continuous: tuple[ContinuousSymmetry, ...] = field(repr=False)
    silhouettes: str | None = None

    @property
    def centre(self) -> Array:
        """The middle (3,) of the box."""
        return np.asarray(self.minimum + self.size / 2)

    @property
    def corners(self) -> Array:
        """The eight corners (8, 3) of the box; bit i of an index is the side along axis i."""
        bits = (np.arange(8)[:, None] >> np.arange(3)) & 1
        return np.asarray(self.minimum + bits * self.size)


@dataclass(frozen=True)
class PoseNetwork:
    """``file`` maps crops of ``size`` pixels to keypoints, or directly to a pose.

    Attributes:
        file: The ONNX model.
        head: ``vote`` or ``direct``.
        objects: Ids, in the order of its input ``object``; there is that input if there are more
            than one.
        size: Side of the crop, pixels.
        stride: Crop pixels per cell of its mask.
        roi_scale: Side of the square crop over the longer side of the object's box.
        views: Crops per region whose votes are averaged, see :mod:`edgesafe.runtime.pose.views`.
        opset: Of ONNX.
        precision: Of its arithmetic.
        storage: Of its weights.
        preprocess: Its ``normalize`` is used; the crop has the size already.
    """

    file: str
    head: Head
    objects: tuple[int, ...]
    size: int
    stride: int
    roi_scale: float
    views: int
    opset: int
    precision: str
    storage: str
    preprocess: Preprocess

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs of its kind of head."""
        if self.head == "vote":
            return ("keypoints", "covariance", "mask")
        return ("rotation", "centre", "log_scale", "mask")


@dataclass(frozen=True)
class DetectorSpec:
    """``file`` maps a letterboxed frame to places and boxes of objects.

    Attributes:
        file: The ONNX model.
        width: Columns of its input.
        height: Rows of its input.
        stride: Input pixels per cell of its outputs.
        objects: Ids, in the order of the channels of ``heat``.
        max_per_object: At most so many boxes of one object.
        min_score: A box needs this much heat.
        opset: Of ONNX.
        precision: Of its arithmetic.
        storage: Of its weights.
        preprocess: Its ``normalize`` is used; the letterbox has the size already.
        box_sd: Standard deviation of the edges of its boxes as a share of their longer side; None
            where it is not known, and the boxes only say where to look.
    """

    file: str
    width: int
    height: int
    stride: int
    objects: tuple[int, ...]
    max_per_object: int
    min_score: float
    opset: int
    precision: str
    storage: str
    preprocess: Preprocess
    box_sd: float | None = None


@dataclass(frozen=True)
class Gates:
    """What a pose has to pass to be given out.

    Attributes:
        min_mask_px: Least sum of mask probability times stride squared, crop pixels squared.
        max_mahalanobis: Of the vote head: largest mean distance of the keypoints, in standard
            deviations.
        min_confidence: Least confidence.
        max_reprojection_px: Of the vote head: largest root mean square error, crop pixels.
        near_mm: Least depth of the object's origin.
        far_mm: Largest depth of the object's origin.
    """

    min_mask_px: float
    max_mahalanobis: float
    min_confidence: float
    max_reprojection_px: float
    near_mm: float
    far_mm: float


@dataclass(frozen=True)
class PoseManifest(Common):
    """A checked manifest of a pose package."""

    objects: tuple[PoseObject, ...]
    networks: tuple[PoseNetwork, ...]
    detector: DetectorSpec | None
    gates: Gates


def parse_pose_manifest(data: bytes, where: str = MANIFEST) -> PoseManifest:
    """Check and read the manifest of a pose package.

    Args:
        data: The bytes of ``manifest.json``.
        where: What to call it in messages.

    Raises:
        PackageError: Not such a manifest, damaged, edited, of an unknown format, too new for this
            runtime, or with a value of a wrong type or out of its range.
    """
    top = read_head(data, where)
    check_kind(top, "pose", where)
    check_keys(top, set(PoseManifest.__dataclass_fields__))
    manifest = PoseManifest(
        **read_common(top),
        objects=tuple(_object(item) for item in _each(top, "objects")),
        networks=tuple(_network(item) for item in _each(top, "networks")),
        detector=_detector(top.fields("detector")) if "detector" in top else None,
        gates=_gates(top.fields("gates")),
    )
    _check_references(manifest, where)
    return manifest


def _each(top: Fields, name: str) -> list[Fields]:
    items = top.items(name)
    if not 1 <= len(items) <= _MAX_OBJECTS:
        raise top.fail(name, f"must have 1 to {_MAX_OBJECTS} entries, not {len(items)}")
    return [Fields(item, f"{top.where}: {name}[{index}]") for index, item in enumerate(items)]


def _object(fields: Fields) -> PoseObject:
    fields.only(
        "id", "name", "diameter", "extent", "keypoints", "hull", "symmetries_discrete",
        "symmetries_continuous", "silhouettes",
    )  # fmt: skip
    extent = fields.fields("extent")
    extent.only("min", "size")
    hull = _rows(fields, "hull", 3)
    if not 4 <= len(hull) <= MAX_HULL:
        raise fields.fail("hull", f"must have 4 to {MAX_HULL} points, not {len(hull)}")
    return PoseObject(
        id=fields.integer("id", 0, _MAX_ID),
        name=fields.text("name"),
        diameter=fields.number("diameter", 1e-3, _FAR_MM),
        minimum=np.array(extent.numbers("min", -_FAR_MM, _FAR_MM, count=3)),
        size=np.array(extent.numbers("size", 0.0, _FAR_MM, count=3)),
        keypoints=_rows(fields, "keypoints", 3),
        hull=hull,
        symmetries_discrete=_discrete(fields),
        symmetries_continuous=_continuous(fields),
        silhouettes=fields.text("silhouettes") if "silhouettes" in fields else None,
    )


def _rows(fields: Fields, name: str, width: int) -> Array:
    """Read a list of lists of ``width`` numbers as an array (N, width)."""
    rows = fields.items(name)
    place = f"{fields.where}: {name}"
    found = [
        Fields({"row": row}, place).numbers("row", -_FAR_MM, _FAR_MM, count=width) for row in rows
    ]
    return np.array(found, dtype=np.float64).reshape(-1, width)


def _discrete(fields: Fields) -> Array:
    found = _rows(fields, "symmetries_discrete", 16).reshape(-1, 4, 4)
    turn = found[:, :3, :3]
    rigid = np.abs(turn @ turn.transpose(0, 2, 1) - np.eye(3)).max(initial=0.0) < 1e-3
    if not (rigid and (np.linalg.det(turn) > 0).all() and (found[:, 3] == [0, 0, 0, 1]).all()):
        raise fields.fail("symmetries_discrete", "must hold rigid motions, 4 x 4 row by row")
    return found


def _continuous(fields: Fields) -> tuple[ContinuousSymmetry, ...]:
    found = []
    for index, item in enumerate(fields.items("symmetries_continuous")):
        part = Fields(item, f"{fields.where}: symmetries_continuous[{index}]")
        part.only("axis", "offset")
        axis = np.array(part.numbers("axis", -1e3, 1e3, count=3))
        if not np.linalg.norm(axis) > 1e-6:
            raise part.fail("axis", "has no direction")
        offset = np.array(part.numbers("offset", -_FAR_MM, _FAR_MM, count=3))
        found.append(ContinuousSymmetry(axis / np.linalg.norm(axis), offset))
    return tuple(found)


def _network(fields: Fields) -> PoseNetwork:
    fields.only(
        "file", "head", "objects", "size", "stride", "roi_scale", "views", "opset", "precision",
        "storage", "preprocess",
    )  # fmt: skip
    head: Head = "vote" if fields.one_of("head", "vote", "direct") == "vote" else "direct"
    size = fields.integer("size", 16, _MAX_SIDE)
    return PoseNetwork(
        head=head,
        size=size,
        roi_scale=fields.number("roi_scale", 0.5, 10.0),
        views=_views(fields, head),
        **_model(fields, size, size),
    )


def _views(fields: Fields, head: Head) -> int:
    if "views" not in fields:
        return 1
    views = fields.integer("views", 1, max(COUNTS))
    if views not in COUNTS or (views > 1 and head != "vote"):
        raise fields.fail("views", f"must be one of {list(COUNTS)}, and 1 for the direct head")
    return views


def _detector(fields: Fields) -> DetectorSpec:
    fields.only(
        "file", "width", "height", "stride", "objects", "max_per_object", "min_score", "box_sd",
        "opset", "precision", "storage", "preprocess",
    )  # fmt: skip
    width, height = (fields.integer(name, 16, _MAX_SIDE) for name in ("width", "height"))
    return DetectorSpec(
        width=width,
        height=height,
        max_per_object=fields.integer("max_per_object", 1, 1000),
        min_score=fields.number("min_score", 0.0, 1.0),
        box_sd=fields.number("box_sd", 0.001, 0.5) if "box_sd" in fields else None,
        **_model(fields, width, height),
    )


def _model(fields: Fields, width: int, height: int) -> dict[str, Any]:
    """Read what networks and detectors have in common."""
    stride = fields.integer("stride", 1, 64)
    if width % stride or height % stride:
        raise fields.fail("stride", f"must divide the input of {width} x {height} pixels")
    preprocess = read_preprocess(fields.fields("preprocess"))
    if (preprocess.width, preprocess.height) != (width, height):
        raise fields.fail("preprocess", f"must have the size of the input, {width} x {height}")
    ids = fields.items("objects")
    if not ids or not all(type(value) is int for value in ids) or len(set(ids)) != len(ids):
        raise fields.fail("objects", "must be different ids of objects")
    return {
        "file": fields.text("file"),
        "objects": tuple(ids),
        "stride": stride,
        "opset": fields.integer("opset", 1, 1000),
        "precision": read_precision(fields),
        "storage": fields.text("storage"),
        "preprocess": preprocess,
    }


def _gates(fields: Fields) -> Gates:
    fields.only(*Gates.__dataclass_fields__)
    gates = Gates(
        min_mask_px=fields.number("min_mask_px", 0.0, 1e8),
        max_mahalanobis=fields.number("max_mahalanobis", 1e-3, 1e6),
        min_confidence=fields.number("min_confidence", 0.0, 1.0),
        max_reprojection_px=fields.number("max_reprojection_px", 1e-3, 1e6),
        near_mm=fields.number("near_mm", 0.0, _FAR_MM),
        far_mm=fields.number("far_mm", 0.0, _FAR_MM),
    )
    if not gates.near_mm < gates.far_mm:
        raise fields.fail("near_mm", f"must be below far_mm ({gates.near_mm} >= {gates.far_mm})")
    return gates


def _check_references(manifest: PoseManifest, where: str) -> None:
    """Refuse a manifest whose parts do not fit together."""
    by_id = {entry.id: entry for entry in manifest.objects}
    if len(by_id) != len(manifest.objects):
        raise PackageError(f"{where}: objects has one id twice")
    served = [number for network in manifest.networks for number in network.objects]
    if sorted(served) != sorted(by_id):
        raise PackageError(
            f"{where}: each of the objects {sorted(by_id)} needs exactly one network; the networks "
            f"serve {sorted(served)}"
        )
    detected: Sequence[int] = manifest.detector.objects if manifest.detector else ()
    if not set(detected) <= set(by_id):
        raise PackageError(f"{where}: the detector finds objects that are not described")
    for network in manifest.networks:
        counts = {len(by_id[number].keypoints) for number in network.objects}
        if network.head == "vote" and (len(counts) != 1 or min(counts) < 4):
            raise PackageError(
                f"{where}: the objects of {network.file} need the same number of keypoints, four "
                "or more"
            )
    models = [network.file for network in manifest.networks]
    models += [manifest.detector.file] if manifest.detector else []
    silhouettes = [entry.silhouettes for entry in manifest.objects if entry.silhouettes]
    check_named_files(manifest, [manifest.golden, *models, *silhouettes], models, where)
    extra = sorted(set(manifest.parity) - set(models))
    if extra:
        raise PackageError(f"{where}: parity names {extra}, which are no networks")
