"""Poses of known objects in a frame; the one place that gives one out.

Every region of interest ends as one :class:`Pose`, with a pose or with a reason:

==========================  ======================================================================
``not_detected``            an object that was asked for was not found by the detector
``bad_roi``                 the box is not four finite numbers with an area
``roi_outside``             less than a tenth of the box lies in the frame
``mask_too_small``          the network hardly sees the object
``inconsistent_keypoints``  no pose explains the keypoints
``degenerate``              the keypoints determine no pose
``behind_camera``           a part of the object would lie behind the camera
``out_of_range``            nearer or farther than the package is made for
``outside_roi``             the pose does not lie in the region that was looked at
``low_confidence``          see :mod:`edgesafe.runtime.pose.gating`
``non_finite``              a number was not finite
``inference_failed``        the backend raised an error
==========================  ======================================================================

What is wrong with the call itself (a frame that is no RGB picture, a K that cannot be its camera's,
an object that the package does not know) is a ``UsageError``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import PackageError, UsageError
from edgesafe.runtime.gate import Refused
from edgesafe.runtime.intake import elapsed
from edgesafe.runtime.manifest_pose import PoseManifest, PoseObject
from edgesafe.runtime.package import PosePackage, default_model_path, read_pose_package
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.detector import Detection, Letterbox, find_boxes
from edgesafe.runtime.pose.extent import Extent
from edgesafe.runtime.pose.fit import Fit, fit_pose
from edgesafe.runtime.pose.gating import check_place
from edgesafe.runtime.pose.golden import parse_pose_golden
from edgesafe.runtime.pose.intrinsics import Camera, as_camera
from edgesafe.runtime.pose.networks import DetectorRunner, PoseRunner, open_detector, open_network
from edgesafe.runtime.pose.refine import DEPTH_SD, refine_pose
from edgesafe.runtime.pose.regions import (
    Region,
    Roi,
    check_frame,
    check_region,
    check_sd,
    read_roi,
)
from edgesafe.runtime.pose.result import Pose, PoseTimings
from edgesafe.runtime.pose.silhouettes import Silhouettes, parse_silhouettes

__all__ = ["PoseEstimator"]

SAMPLE = "pose-lmo"

_TIGHT = 0.03
"""Boxes whose edges are known as well as this tell the depth, and need no slack along it."""
_OUTSIDE = 0.05
"""Diameters by which outlines may leave the box: they lie half a pixel of a drawing outside."""


class PoseEstimator:
    """Estimates poses with one package; create with :meth:`load`.

    Not to be called from two threads at once for the timings to mean anything; the results would
    be right.

    Example:
        >>> estimator = PoseEstimator.load("pkg")  # doctest: +SKIP
        >>> for pose in estimator.estimate(frame, Camera.from_json("K.json")):  # doctest: +SKIP
        ...     print(pose.name, pose.t_mm if pose.ok else pose.reason)
    """

    def __init__(
        self, package: PosePackage, *, backend: str = "auto", threads: int | None = None
    ) -> None:
        """Open the networks of a verified package and check their golden pairs.

        Raises:
            PackageError: A model is refused, or does not compute here what it did.
            BackendError: The backend is not usable here.
            MissingExtraError: ONNX Runtime is not installed.
        """
        manifest = package.manifest
        golden = parse_pose_golden(
            package.files[manifest.golden], str(package.path / manifest.golden)
        )
        self._manifest = manifest
        self._path = package.path
        self._objects = {entry.id: entry for entry in manifest.objects}
        self._silhouettes = {
            entry.id: _outlines(package, entry, entry.silhouettes)
            for entry in manifest.objects
            if entry.silhouettes is not None
        }
        self._networks: dict[int, PoseRunner] = {}
        for spec in manifest.networks:
            runner = open_network(package, spec, golden, backend=backend, threads=threads)
            self._networks.update(dict.fromkeys(spec.objects, runner))
        self._detector = None
        if manifest.detector:
            self._detector = open_detector(
                package, manifest.detector, golden, backend=backend, threads=threads
            )

    @classmethod
    def load(
        cls,
        package: str | os.PathLike[str] | PosePackage | None = None,
        backend: str = "auto",
        *,
        threads: int | None = None,
        allow_hard_links: bool = False,
    ) -> PoseEstimator:
        """Read, verify and open a package.

        Args:
            package: Its folder; None takes the sample package.
            backend: ``auto``, ``cpu``, ``cuda``, ``trt`` or ``openvino``.
            threads: CPU threads of one inference; None takes two, or one on a single core.
            allow_hard_links: Accept files that have other names on the disk.

        Raises:
            PackageError: The package is missing, damaged or refused.
            SourceError: There is no sample package.
            UsageError: The name of the backend is unknown.
            BackendError: The backend is not usable here.
            MissingExtraError: ONNX Runtime is not installed.
        """
        if not isinstance(package, PosePackage):
            folder = default_model_path(SAMPLE) if package is None else package
            package = read_pose_package(folder, allow_hard_links=allow_hard_links)
        return cls(package, backend=backend, threads=threads)

    @property
    def manifest(self) -> PoseManifest:
        """What the package says about itself."""
        return self._manifest

    @property
    def objects(self) -> Mapping[int, PoseObject]:
        """The objects by their number."""
        return self._objects

    @property
    def has_detector(self) -> bool:
        """Whether ``roi`` may be left out."""
        return self._detector is not None

    def network(self, object_id: int) -> PoseRunner:
        """Return the network that knows an object.

        Raises:
            UsageError: The package does not know the object.
        """
        return self._networks[self._entry(object_id).id]

    def silhouettes(self, object_id: int) -> Silhouettes | None:
        """Return an object's outlines from all sides; None where the package has none.

        Raises:
            UsageError: The package does not know the object.
        """
        return self._silhouettes.get(self._entry(object_id).id)

    @property
    def detector(self) -> DetectorRunner | None:
        """The detector, if there is one."""
        return self._detector

    def estimate(
        self,
        frame: npt.NDArray[np.uint8],
        K: Camera | npt.ArrayLike,
        roi: Roi | None = None,
        *,
        objects: Iterable[int] | None = None,
        roi_sd: float | None = None,
        refine: bool = True,
    ) -> list[Pose]:
        """Estimate the poses of objects in one frame.

        Args:
            frame: RGB, uint8 (H, W, 3).
            K: The camera, or its matrix (3, 3) in the frame's pixels.
            roi: Where to look: a box (x, y, w, h) for a package of one object; boxes by the
                number of the object; None to ask the detector.
            objects: Only these; of those that the detector does not find there is a pose with the
                reason ``not_detected``. Without, only what it finds.
            roi_sd: How exact the boxes of ``roi`` are: the standard deviation of their edges as a
                share of the longer side, 0.001 to 0.5. Such a box must hold the visible part and
                end where it ends, and the depth of a vote head profits much. None: they only say
                where to look.
            refine: Whether a pose is fitted to the outline of its object, where the package has
                outlines and the head is a vote head (:mod:`edgesafe.runtime.pose.refine`).

        Returns:
            One pose per box, in their order; each may be refused.

        Raises:
            UsageError: The frame is no RGB picture; K cannot be its camera's; ``roi`` is missing
                and the package has no detector; an object is unknown; ``roi_sd`` is no such share.
        """
        roi_sd = check_sd(roi_sd)
        frame = check_frame(frame)
        height, width = frame.shape[:2]
        camera = as_camera(K, width, height)
        wanted = self._known(objects)
        detect_ms = 0.0
        if roi is None:
            started = time.perf_counter()
            regions = self._detect(frame, wanted)
            detect_ms = elapsed(started) / max(1, len(regions))
        else:
            regions = self._regions(roi, wanted, roi_sd)
        regions = [check_region(region, width, height) for region in regions]
        poses: list[Pose | None] = [None] * len(regions)
        by_network: dict[int, list[int]] = {}
        for index, region in enumerate(regions):
            if region.refused is None:
                by_network.setdefault(id(self._networks[region.entry.id]), []).append(index)
            else:
                poses[index] = self._refuse(region, region.refused)
        for indices in by_network.values():
            some = [regions[index] for index in indices]
            for index, pose in zip(indices, self._look(frame, camera, some, refine), strict=True):
                poses[index] = pose
        return [pose.with_ms(detect=detect_ms) for pose in poses if pose is not None]

    def _known(self, objects: Iterable[int] | None) -> tuple[int, ...] | None:
        if objects is None:
            return None
        wanted = tuple(objects)
        for number in wanted:
            self._entry(number)
        return wanted

    def _entry(self, number: object) -> PoseObject:
        try:
            return self._objects[number]  # type: ignore[index]
        except (KeyError, TypeError):
            raise UsageError(
                f"object {number!r:.60} is not in the package {self._path}; it knows "
                f"{', '.join(f'{o.id} ({o.name})' for o in self._objects.values())}"
            ) from None

    def _detect(self, frame: npt.NDArray[np.uint8], wanted: tuple[int, ...] | None) -> list[Region]:
        detector = self._detector
        if detector is None:
            raise UsageError(
                f"the package {self._path} has no detector: pass roi, the box of each object as "
                "(x, y, w, h) in pixels (edgesafe pose --roi), or use a package with a detector"
            )
        spec = detector.spec
        box = Letterbox(frame.shape[1], frame.shape[0], spec.width, spec.height)
        try:
            outputs = detector.run(box.image(frame))
        except Exception as error:  # whatever the backend raises
            failed = Refused("inference_failed", f"the detector: {error}")
            return [Region(self._objects[n], None, None, failed) for n in wanted or spec.objects]
        found = find_boxes(outputs["heat"][0], outputs["box"][0], spec, box)
        regions = [
            Region(self._objects[d.object_id], d.box, d.score, sd=spec.box_sd)
            for d in _best_first(found)
            if wanted is None or d.object_id in wanted
        ]
        lacking = set(wanted or ()) - {region.entry.id for region in regions}
        unseen = Refused("not_detected", "the detector does not find it in the frame")
        return regions + [Region(self._objects[n], None, None, unseen) for n in sorted(lacking)]

    def _regions(self, roi: Roi, wanted: tuple[int, ...] | None, sd: float | None) -> list[Region]:
        """Turn what the caller calls a region into a list."""
        regions = []
        for number, box in read_roi(roi):
            if number is None:
                chosen = wanted or tuple(self._objects)
                if len(chosen) != 1:
                    raise UsageError(
                        f"the package {self._path} knows {len(self._objects)} objects: say of "
                        "which one the roi is, as {object_id: (x, y, w, h)}"
                    )
                number = chosen[0]
            regions.append(Region.of(self._entry(number), box, sd))
        return [region for region in regions if wanted is None or region.entry.id in wanted]

    def _look(
        self, frame: npt.NDArray[np.uint8], camera: Camera, regions: list[Region], refine: bool
    ) -> list[Pose]:
        """Run the network that the regions have in common, and fit."""
        runner = self._networks[regions[0].entry.id]
        spec = runner.spec
        started = time.perf_counter()
        rois = [
            RoiCrop.from_box(region.box, spec.roi_scale, spec.size)
            for region in regions
            if region.box is not None
        ]
        crops = runner.crops(frame, rois)
        cropped = time.perf_counter()
        try:
            outputs = runner.look(crops, [region.entry.id for region in regions])
        except Exception as error:  # whatever the backend raises
            failed = Refused("inference_failed", f"{spec.file}: {error}")
            return [self._refuse(region, failed) for region in regions]
        done = time.perf_counter()
        count = len(regions)
        ms = PoseTimings(
            crop=elapsed(started, cropped) / count, network=elapsed(cropped, done) / count
        )
        poses = []
        for index, (region, roi) in enumerate(zip(regions, rois, strict=True)):
            began = time.perf_counter()
            one = {name: value[index] for name, value in outputs.items()}
            pose = self._fit(region, one, runner, roi, camera)
            fitted = time.perf_counter()
            if refine and pose.ok:
                pose = self._refine(frame, camera, region, one, roi, pose)
            poses.append(
                pose.with_ms(
                    crop=ms.crop,
                    network=ms.network,
                    pnp=elapsed(began, fitted),
                    refine=elapsed(fitted) if refine else 0.0,
                )
            )
        return poses

    def _refine(
        self,
        frame: npt.NDArray[np.uint8],
        camera: Camera,
        region: Region,
        outputs: Mapping[str, npt.NDArray[np.float32]],
        roi: RoiCrop,
        pose: Pose,
    ) -> Pose:
        """Fit a pose to the outline; what leads nowhere leaves it as it is."""
        entry, silhouettes = region.entry, self._silhouettes.get(region.entry.id)
        if silhouettes is None or pose.R is None or pose.t_mm is None or pose.covariance is None:
            return pose
        tight = region.sd is not None and region.sd <= _TIGHT
        found = refine_pose(
            frame,
            camera,
            silhouettes,
            pose.R,
            pose.t_mm,
            pose.covariance,
            outputs["mask"][0],
            roi,
            depth_sd=0.0 if tight else DEPTH_SD,
        )
        if found is None:
            return pose
        try:
            check_place(found.R, found.t_mm, entry, roi, camera, self._manifest.gates)
        except Refused:
            return pose
        return replace(pose, R=found.R, t_mm=found.t_mm, covariance=found.covariance, refined=True)

    def _fit(
        self,
        region: Region,
        outputs: Mapping[str, npt.NDArray[np.float32]],
        runner: PoseRunner,
        roi: RoiCrop,
        camera: Camera,
    ) -> Pose:
        fit, gates, extent = Fit(), self._manifest.gates, None
        if region.box is not None and region.sd is not None:
            extent = Extent.of(region.entry.hull, region.box, region.sd, camera)
        try:
            fit_pose(fit, outputs, runner.spec, region.entry, gates, roi, camera, extent)
        except Refused as refused:
            return self._refuse(region, refused, fit)
        return self._pose(region, fit, R=fit.R, t_mm=fit.t_mm, covariance=fit.covariance)

    def _refuse(self, region: Region, refused: Refused, fit: Fit | None = None) -> Pose:
        return self._pose(region, fit or Fit(), reason=refused.code, detail=refused.detail)

    def _pose(self, region: Region, fit: Fit, **outcome: Any) -> Pose:
        """What is told whether the pose is given or refused, and the outcome."""
        return Pose(
            object_id=region.entry.id,
            name=region.entry.name,
            reprojection_px=fit.reprojection_px,
            confidence=fit.confidence,
            roi=region.box,
            score=region.score,
            keypoints_px=fit.keypoints_px,
            package=self._manifest.identity,
            **outcome,
        )


def _outlines(package: PosePackage, entry: PoseObject, file: str) -> Silhouettes:
    """Read an object's outlines, and refuse those of something else."""
    where = str(package.path / file)
    found = parse_silhouettes(package.files[file], where, entry.centre)
    slack = _OUTSIDE * entry.diameter
    low, high = found.points.min(axis=(0, 1)), found.points.max(axis=(0, 1))
    end = entry.minimum + entry.size
    if (low < entry.minimum - slack).any() or (high > end + slack).any():
        raise PackageError(
            f"{where} reaches beyond the box of {entry.name}: it is of another object; export the "
            "package again"
        )
    return found


def _best_first(found: list[Detection]) -> list[Detection]:
    return sorted(found, key=lambda detection: -detection.score)
