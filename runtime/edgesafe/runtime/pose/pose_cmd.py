"""``edgesafe pose``: poses in pictures, videos, cameras and streams.

Exit status: 0 every source got its lines; 2 wrong usage; 3 a path was missing or held no picture,
the camera does not belong to a picture, or the package or the backend could not be used.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import click
import numpy as np
import numpy.typing as npt

from edgesafe.runtime.backends.base import BACKENDS
from edgesafe.runtime.camera import Camera as Device
from edgesafe.runtime.errors import DataError, MissingExtraError, SourceError
from edgesafe.runtime.files import check_writable
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.runtime.gate import Refused, decode_image, read_image_file
from edgesafe.runtime.intake import elapsed
from edgesafe.runtime.mesh import Mesh, read_ply
from edgesafe.runtime.pose.bop_csv import image_of_path, result_lines, write_results
from edgesafe.runtime.pose.draw import draw_poses
from edgesafe.runtime.pose.estimator import PoseEstimator
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.output import Overlays, PoseLines, PoseTable
from edgesafe.runtime.pose.result import Pose, PoseTimings
from edgesafe.runtime.pose.roi_option import RoiTable, parse_meshes, parse_rois
from edgesafe.runtime.pose.tracking import PoseTracker
from edgesafe.runtime.sources import Source, expand
from edgesafe.runtime.video import Frame, read_frames

__all__ = ["pose"]

RGB8 = npt.NDArray[np.uint8]


@dataclass
class _Run:
    """One run of the command: what it computes with, and what came of it."""

    estimator: PoseEstimator
    camera: Camera
    rois: RoiTable | None
    roi_sd: float | None
    objects: tuple[int, ...] | None
    tracking: bool
    refine: bool
    writer: PoseLines | PoseTable
    overlays: Overlays | None
    meshes: dict[int, Mesh]
    every: int
    left: float
    rows: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    number: int = 0
    tracker: PoseTracker | None = None

    def look(self, source: Source) -> None:
        """Print the lines of one source."""
        by_kind: dict[str, Callable[[Source], None]] = {
            "image": self._image,
            "video": self._video,
            "camera": self._device,
            "stream": self._device,
        }
        self.tracker = PoseTracker(self.estimator, objects=self.objects, refine=self.refine)
        try:
            if source.problem is not None:
                raise source.problem
            by_kind[source.kind](source)
        except Refused as refused:
            self._problem(source.name, refused)
        except SourceError as error:
            self._problem(source.name, Refused("unopened", str(error)))
        except MissingExtraError as error:
            self._problem(source.name, Refused("missing_extra", str(error)))
        self.number += 1

    def _image(self, source: Source) -> None:
        started = time.perf_counter()
        try:
            decoded = decode_image(read_image_file(source.target))
            if len(decoded.views) > 1:
                raise Refused("transparent", "what is behind the transparent parts is not known")
        except Refused as refused:
            self._nothing(source.name, 0, refused, PoseTimings(decode=elapsed(started)))
            self.left -= 1
            return
        scene, image = image_of_path(source.target) or (0, self.number)
        self._frame(source, 0, decoded.views[0], (scene, image), elapsed(started))

    def _video(self, source: Source) -> None:
        limit = None if self.left == float("inf") else int(self.left)
        for frame in read_frames(source.target, every=self.every, max_frames=limit):
            self._taken(source, frame)

    def _device(self, source: Source) -> None:
        limit = None if self.left == float("inf") else int(self.left)
        device = Device(source.target, name=source.name)
        frames = device.frames(every=self.every, max_frames=limit)
        try:
            with closing(frames):
                for frame in frames:
                    self._taken(source, frame)
        except KeyboardInterrupt:
            if not device.counts.produced:
                raise
            # How a camera is meant to be ended.
            click.echo("interrupted; the camera is closed", err=True)
        count = device.counts
        click.echo(
            f"{source.name}: {count.produced} frames, {count.taken} looked at, {count.dropped} "
            f"dropped, {count.stalls} stalls, {count.reconnects} reconnects",
            err=True,
        )

    def _taken(self, source: Source, frame: Frame) -> None:
        if frame.rgb is None:
            refused = frame.refused or Refused("no_frame", "there is no frame")
            self._nothing(source.name, frame.index, refused, PoseTimings())
            return
        self._frame(source, frame.index, frame.rgb, (self.number, frame.index or 0), 0.0)

    def _frame(
        self, source: Source, index: int | None, rgb: RGB8, place: tuple[int, int], decode: float
    ) -> None:
        self.left -= 1
        height, width = rgb.shape[:2]
        if (width, height) != (self.camera.width, self.camera.height):
            wrong = Refused(
                "wrong_resolution",
                f"the camera is calibrated for {self.camera.width} x {self.camera.height} pixels "
                f"and the picture has {width} x {height}",
            )
            self._nothing(source.name, index, wrong, PoseTimings(decode=decode))
            self.problems.append(f"{source.name}: {wrong.detail}")
            return
        poses = [p.with_ms(decode=decode) for p in self._estimate(source, rgb)]
        for found in poses:
            self.counts["poses" if found.ok else "refused"] += 1
            self.writer.pose(source.name, index, found)
        if not poses:
            nothing = Refused("not_detected", "no object is detected in the picture")
            if not self.estimator.has_detector:
                nothing = Refused("no_roi", "there is no --roi for this picture")
            self._nothing(source.name, index, nothing, PoseTimings(decode=decode))
        self.rows += result_lines(*place, poses)
        if self.overlays is not None:
            relative = source.relative
            if source.kind != "image":
                relative = relative / f"{index or 0:06d}.jpg"
            page = draw_poses(rgb, poses, self.estimator.objects, self.camera, self.meshes)
            self.overlays.write(PurePosixPath(relative), page)

    def _estimate(self, source: Source, rgb: RGB8) -> list[Pose]:
        roi = self.rois.find(source.target) if self.rois else None
        if self.tracking and self.tracker is not None and source.kind != "image":
            # A roi given for all frames only says where to start.
            started = self.tracker.tracking
            if started or roi is not None or self.estimator.has_detector:
                return self.tracker.update(rgb, self.camera, None if started else roi)
            return []
        if roi is None and not self.estimator.has_detector:
            return []
        sd = self.roi_sd if roi is not None else None
        return self.estimator.estimate(
            rgb, self.camera, roi, objects=self.objects, roi_sd=sd, refine=self.refine
        )

    def _nothing(self, name: str, index: int | None, refused: Refused, ms: PoseTimings) -> None:
        self.counts["without"] += 1
        self.writer.nothing(name, index, refused, ms)

    def _problem(self, name: str, refused: Refused) -> None:
        self._nothing(name, None, refused, PoseTimings())
        self.problems.append(f"{name}: {refused.detail}")


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--model", metavar="PKG", help="Model package; without it, the one of the samples.")
@click.option(
    "--camera",
    "camera_file",
    required=True,
    metavar="K.json",
    help="Intrinsics with the keys of BOP's camera.json, and dist (edgesafe calibrate camera).",
)
@click.option(
    "--roi",
    "rois",
    multiple=True,
    metavar="[ID:]X,Y,W,H",
    help="Where to look, pixels; repeatable. Or a JSON file, for all pictures or by file name.",
)
@click.option(
    "--roi-sd",
    type=FiniteRange(0.001, 0.5),
    metavar="SHARE",
    help="The boxes of --roi are tight about the visible part: standard deviation of their edges, "
    "as a share of the longer side (0.01 for boxes drawn with care). Makes the depth much better. "
    "[default: they only say where to look]",
)
@click.option(
    "--object", "objects", multiple=True, type=int, metavar="ID", help="Only this; repeatable."
)
@click.option("--track", is_flag=True, help="In videos and cameras, look where it was last.")
@click.option(
    "--refine/--no-refine",
    default=True,
    show_default=True,
    help="Fit the pose to the object's outline, where the package has outlines.",
)
@click.option("--overlay", metavar="DIR", help="Draw the poses into this new or empty folder.")
@click.option(
    "--mesh",
    "meshes",
    multiple=True,
    metavar="[ID:]FILE|DIR",
    help="Outline the full mesh (PLY) instead of the hull; repeatable.",
)
@click.option("--csv", "csv_file", metavar="FILE", help="Also write a BOP result file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What computes.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute.")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of a video, camera or stream, take one frame of so many.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many pictures in all.")
def pose(
    sources: tuple[str, ...],
    model: str | None,
    camera_file: str,
    rois: tuple[str, ...],
    roi_sd: float | None,
    objects: tuple[int, ...],
    track: bool,
    refine: bool,
    overlay: str | None,
    meshes: tuple[str, ...],
    csv_file: str | None,
    as_json: bool,
    backend: str,
    threads: int | None,
    every: int,
    limit: int | None,
) -> None:
    """Estimate the 6D poses of known objects in pictures, videos and cameras.

    SOURCE is a file, a folder, a glob, a video, 0 (a camera), rtsp://... or http://..., or - for a
    list of sources on standard input. Poses are T_cam_obj in millimetres.

    Without --roi the package's detector says where to look. What cannot be estimated is refused
    with a reason.

    Exit status: 0 every source got its lines; 2 wrong usage; 3 a path is missing or holds no
    picture, a picture is not of the camera, or the model cannot be used.
    """
    if roi_sd is not None and not rois:
        raise click.UsageError("--roi-sd goes with --roi: name the boxes that it is about")
    if csv_file is not None:
        check_writable(csv_file, "--csv")
    camera = Camera.from_json(camera_file)
    overlays = Overlays(overlay) if overlay is not None else None
    # FFmpeg writes about every damaged frame; the lines say it better.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    estimator = PoseEstimator.load(model, backend=backend, threads=threads)
    known = estimator.objects
    _check_objects(objects, known)
    table = parse_rois(rois, objects or known)
    if table is None and not estimator.has_detector:
        raise click.UsageError(
            "the package has no detector: say where to look with --roi X,Y,W,H (pixels), or use a "
            "package with a detector"
        )
    run = _Run(
        estimator=estimator,
        camera=camera,
        rois=table,
        roi_sd=roi_sd,
        objects=objects or None,
        tracking=track,
        refine=refine,
        writer=PoseLines(sys.stdout, sys.stderr, estimator.manifest.identity)
        if as_json
        else PoseTable(sys.stdout),
        overlays=overlays,
        meshes=_read_meshes(parse_meshes(meshes, objects or known)),
        every=every,
        left=float("inf") if limit is None else limit,
    )
    try:
        for source in expand(sources, (os.fsdecode(line) for line in sys.stdin.buffer)):
            if run.left <= 0:
                break
            run.look(source)
    finally:
        # A camera ends by Ctrl-C; what was estimated until then counts.
        if csv_file is not None:
            write_results(csv_file, run.rows)
    counts = run.counts
    click.echo(
        f"{counts['poses']} pose{'s' if counts['poses'] != 1 else ''}, "
        f"{counts['refused']} refused, "
        f"{counts['without']} picture{'s' if counts['without'] != 1 else ''} without any",
        err=True,
    )
    if run.problems:
        more = f" (and {len(run.problems) - 1} more)" if len(run.problems) > 1 else ""
        raise SourceError(f"not everything could be looked at: {run.problems[0]}{more}")


def _check_objects(objects: Iterable[int], known: Iterable[int]) -> None:
    unknown = sorted(set(objects) - set(known))
    if unknown:
        raise click.UsageError(
            f"--object {unknown[0]} is not in the package; it knows "
            f"{', '.join(map(str, sorted(known)))}"
        )


def _read_meshes(files: dict[int, Path]) -> dict[int, Mesh]:
    meshes = {number: read_ply(file, texture=False) for number, file in files.items()}
    for number, mesh in meshes.items():
        if not len(mesh.faces):
            raise DataError(f"{files[number]} has no faces, only points: its outline is not known")
    return meshes
