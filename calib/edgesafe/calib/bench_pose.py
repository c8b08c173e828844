"""``edgesafe bench pose``: what the pose of one region of interest costs on this machine.

All on one core: one thread in ONNX Runtime and in OpenCV, and the process bound to one CPU where
the system allows it. The crop and the network work on the frame. The keypoints that PnP gets are
those of a pose in the middle of the region with noise of known covariance, new in every run, so
that it does its whole work whatever the network sees in the frame.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import SourceError
from edgesafe.runtime.gate import Refused, decode_image, read_image_file
from edgesafe.runtime.manifest_pose import PoseObject
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.detector import Letterbox, find_boxes
from edgesafe.runtime.pose.estimator import PoseEstimator
from edgesafe.runtime.pose.fit import Fit, fit_pose
from edgesafe.runtime.pose.intrinsics import Camera, as_camera
from edgesafe.runtime.pose.pnp import rotation_exp
from edgesafe.runtime.pose.refine import DEPTH_SD, refine_pose
from edgesafe.runtime.video import import_cv2

__all__ = ["STAGES", "Cost", "bench_detector", "bench_regions", "pose"]

STAGES = ("crop", "network", "pnp", "refine", "end_to_end")
"""``refine`` only where the package has outlines."""

_WARM_UP = 10
_NOISE_PX = 1.0  # of the network's input
_SIZE = (640, 480)
_BOX = 120.0  # pixels; about what an object of LM-O has in its frames


@dataclass(frozen=True)
class Cost:
    """Milliseconds of one stage: wall time, and CPU time of all threads of the process."""

    wall_p50: float
    wall_p99: float
    cpu_p50: float
    cpu_p99: float
    cpu_mean: float


@click.command()
@click.option("--model", metavar="PKG", help="Pose package. [default: the one of the samples]")
@click.option("--frame", metavar="FILE", help="A picture. [default: noise of 640 x 480]")
@click.option("--camera", "camera_file", metavar="K.json", help="Of the picture.")
@click.option("--object", "object_id", type=int, metavar="ID", help="[default: the first]")
@click.option("--runs", type=click.IntRange(min=10), default=200, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def pose(
    model: str | None,
    frame: str | None,
    camera_file: str | None,
    object_id: int | None,
    runs: int,
    as_json: bool,
) -> None:
    """Measure the milliseconds of a pose per region of interest, on one core.

    Crop, network, PnP and, where the package has outlines, the fit to them, by themselves and
    together: wall time and CPU time, one region at a time.
    """
    from edgesafe.calib.machine import machine_facts, peak_rss_mib

    machine = machine_facts()
    with _one_core():
        estimator = PoseEstimator.load(model, backend="cpu", threads=1)
        number = next(iter(estimator.objects)) if object_id is None else object_id
        pixels = _read(frame) if frame is not None else _noise()
        camera = _camera(camera_file, pixels)
        spec = estimator.network(number).spec
        result: dict[str, Any] = {
            "package": estimator.manifest.identity,
            "object": number,
            "head": spec.head,
            "size": spec.size,
            "runs": runs,
            "machine": machine,
            "stages": bench_regions(estimator, number, pixels, camera, runs),
            "detector": bench_detector(estimator, pixels, max(10, runs // 4)),
            "peak_mib": peak_rss_mib(),
        }
    if as_json:
        click.echo(json.dumps(result, default=vars))
    else:
        click.echo("\n".join(_lines(result)))


def bench_regions(
    estimator: PoseEstimator,
    object_id: int,
    frame: npt.NDArray[np.uint8],
    camera: Camera,
    runs: int,
) -> dict[str, Cost]:
    """Time one region after another.

    Args:
        estimator: Of the package; opened with one thread for numbers of one core.
        object_id: Which object.
        frame: RGB, uint8 (H, W, 3).
        camera: Of the frame.
        runs: How many regions; a few more warm up.

    Returns:
        The cost of each of :data:`STAGES` that there is.
    """
    runner = estimator.network(object_id)
    spec, entry = runner.spec, estimator.objects[object_id]
    silhouettes = estimator.silhouettes(object_id) if spec.head == "vote" else None
    # No gate: the work shall be done to its end.
    gates = replace(estimator.manifest.gates, min_confidence=0.0, near_mm=0.0, far_mm=np.inf)
    random = np.random.default_rng(0)
    height, width = frame.shape[:2]
    side = min(_BOX, height / 2, width / 2)
    wall, cpu = np.empty((2, runs, len(STAGES)))
    for run in range(-_WARM_UP, runs):
        x, y = random.uniform(0, (width - side, height - side))
        roi = RoiCrop.from_box((x, y, side, side), spec.roi_scale, spec.size)
        marks = [(time.perf_counter(), time.process_time())]
        crops = runner.crops(frame, [roi])
        marks.append((time.perf_counter(), time.process_time()))
        outputs = {name: value[0] for name, value in runner.look(crops, [object_id]).items()}
        marks.append((time.perf_counter(), time.process_time()))
        outputs = _answer(outputs, entry, roi, camera, random)
        begin = time.perf_counter(), time.process_time()
        fit = Fit()
        try:
            fit_pose(fit, outputs, spec, entry, gates, roi, camera)
        except Refused:
            pass  # at the very end; the work is done
        marks.append((time.perf_counter(), time.process_time()))
        if silhouettes is not None and fit.R is not None and fit.t_mm is not None:
            assert fit.covariance is not None
            mask = outputs["mask"][0]
            pose = fit.R, fit.t_mm, fit.covariance
            refine_pose(frame, camera, silhouettes, *pose, mask, roi, depth_sd=DEPTH_SD)
        marks.append((time.perf_counter(), time.process_time()))
        if run < 0:
            continue
        for clock, table in enumerate((wall, cpu)):
            crop_s, network_s, _, refine_s = np.diff([mark[clock] for mark in marks])
            refine_s = refine_s if silhouettes is not None else 0.0
            parts = crop_s, network_s, marks[3][clock] - begin[clock], refine_s
            table[run] = *parts, sum(parts)
    return {
        stage: _cost(wall[:, i], cpu[:, i])
        for i, stage in enumerate(STAGES)
        if stage != "refine" or silhouettes is not None
    }


def bench_detector(
    estimator: PoseEstimator, frame: npt.NDArray[np.uint8], runs: int
) -> Cost | None:
    """Time the detector on a frame, from pixels to boxes; None where there is none."""
    detector = estimator.detector
    if detector is None:
        return None
    box = Letterbox(frame.shape[1], frame.shape[0], detector.spec.width, detector.spec.height)
    wall, cpu = np.empty((2, runs))
    for run in range(-3, runs):
        begin = time.perf_counter(), time.process_time()
        outputs = detector.run(box.image(frame))
        find_boxes(outputs["heat"][0], outputs["box"][0], detector.spec, box)
        if run >= 0:
            wall[run] = time.perf_counter() - begin[0]
            cpu[run] = time.process_time() - begin[1]
    return _cost(wall, cpu)


def _answer(
    outputs: dict[str, npt.NDArray[np.float32]],
    entry: PoseObject,
    roi: RoiCrop,
    camera: Camera,
    random: np.random.Generator,
) -> dict[str, npt.NDArray[np.float32]]:
    """Put what a network would answer about a real object in the place of its outputs."""
    found = {**outputs, "mask": np.ones_like(outputs["mask"])}
    if "keypoints" not in outputs:
        found["rotation"] = rotation_exp(random.normal(size=3)).astype(np.float32)
        return found
    focal = np.sqrt(camera.K[0, 0] * camera.K[1, 1])
    depth = focal * entry.diameter / (roi.side / 1.5)
    t = depth * np.append(camera.normalise(np.array(roi.centre))[0], 1.0)
    points = entry.keypoints @ rotation_exp(random.normal(size=3)).T + t
    keypoints = roi.to_crop(camera.project(points))
    spread = _NOISE_PX**2
    found["keypoints"] = (keypoints + random.normal(0, _NOISE_PX, keypoints.shape)).astype(
        np.float32
    )
    found["covariance"] = np.tile(np.array([spread, 0, spread], dtype=np.float32), (len(points), 1))
    return found


def _cost(wall: npt.NDArray[np.float64], cpu: npt.NDArray[np.float64]) -> Cost:
    numbers = [*np.percentile(wall, [50, 99]), *np.percentile(cpu, [50, 99]), cpu.mean()]
    return Cost(*(float(1e3 * value) for value in numbers))


@contextmanager
def _one_core() -> Iterator[None]:
    """Bind the process to one CPU and OpenCV to one thread, for as long as the block runs."""
    cv2 = import_cv2()
    threads = cv2.getNumThreads()
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    cv2.setNumThreads(1)
    try:
        if before:
            os.sched_setaffinity(0, {max(before)})
        yield
    finally:
        cv2.setNumThreads(threads)
        if before:
            os.sched_setaffinity(0, before)


def _noise() -> npt.NDArray[np.uint8]:
    width, height = _SIZE
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _read(path: str) -> npt.NDArray[np.uint8]:
    try:
        return decode_image(read_image_file(path)).views[0]
    except Refused as refused:
        raise SourceError(f"{path}: {refused.code}: {refused.detail}") from None


def _camera(path: str | None, frame: npt.NDArray[np.uint8]) -> Camera:
    height, width = frame.shape[:2]
    if path is not None:
        return as_camera(Camera.from_json(path), width, height)
    focal = 0.9 * max(width, height)
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera(K, width, height)


def _lines(result: dict[str, Any]) -> Sequence[str]:
    machine = result["machine"]
    stages: dict[str, Cost] = result["stages"]
    rows = [(name.replace("_", " "), cost) for name, cost in stages.items()]
    if result["detector"]:
        rows.append(("detector", result["detector"]))
    head = f"  {'ms':<12}{'p50':>9}{'p99':>9}{'CPU p50':>9}{'CPU p99':>9}{'CPU mean':>9}"
    return [
        f"package   {result['package']}, object {result['object']}, {result['head']} head",
        f"machine   {machine['processor']}, {machine['cores']} cores, load {machine['load_1min']}",
        "",
        f"one region of {result['size']} x {result['size']} pixels on one core, "
        f"{result['runs']} runs",
        head,
        *(
            f"  {name:<12}{c.wall_p50:9.2f}{c.wall_p99:9.2f}{c.cpu_p50:9.2f}{c.cpu_p99:9.2f}"
            f"{c.cpu_mean:9.2f}"
            for name, c in rows
        ),
        "",
        f"peak memory of this process   {result['peak_mib']:.0f} MiB",
    ]
