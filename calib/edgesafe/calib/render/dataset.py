"""Many frames as one BOP data set, made by several processes, interrupted and gone on with.

Frames are put into ``OUT.partial``; when the last one is done, the folder takes the name ``OUT``,
so that what has that name is whole. A frame counts as done when its record is there, which is
written after its pictures; each frame has a random generator of its own, seeded by the seed and
its number, so that it looks the same whoever renders it when.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgesafe.calib.board import MarkerBoard
from edgesafe.calib.bop.scene import CAMERA, GT, GT_INFO
from edgesafe.calib.render.camera_effects import CameraEffects
from edgesafe.calib.render.frame import Rendered, Studio
from edgesafe.calib.render.parts import Part, write_parts
from edgesafe.calib.render.photos import Photos
from edgesafe.calib.render.scene import SceneOptions
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.errors import EdgesafeError, UsageError
from edgesafe.runtime.files import atomic_write, canonical_json, sha256_hex
from edgesafe.runtime.pose.intrinsics import Camera

__all__ = ["Job", "render_dataset"]

_PER_SCENE = 1000
_JPEG_QUALITY = 95
_SETTINGS = "render.json"
_RECORDS = "records"


@dataclass(frozen=True, eq=False)
class Job:
    """What a data set is made of.

    Attributes:
        parts: The objects.
        camera: K and the size of the frames.
        photos: Folders of photos.
        board: JSON of a marker board, or None.
        scenes: Where things are.
        effects: What the camera does.
        seed: Of all randomness.
        picture: Format of the frames; masks are PNG.
    """

    parts: tuple[Part, ...]
    camera: Camera
    photos: tuple[str, ...]
    board: str | None
    scenes: SceneOptions
    effects: CameraEffects
    seed: int
    picture: Literal["jpg", "png"]

    def settings(self) -> dict[str, Any]:
        """Return all that decides how a frame looks, as JSON values, for who goes on with it.

        Raises:
            SourceError: The board or a folder of photos cannot be read.
            DataError: The board is none.
        """
        if self.board is not None:
            MarkerBoard.read(self.board)
        meshes = {
            str(part.obj_id): sha256_hex(
                part.mesh.vertices.tobytes()
                + part.mesh.faces.tobytes()
                + (b"" if part.mesh.colours is None else part.mesh.colours.tobytes())
            )
            for part in self.parts
        }
        return {
            "format": "edgesafe.render/1",
            "meshes": meshes,
            "camera": self.camera.to_dict(),
            "photos": [Path(path).name for path in Photos(self.photos).paths],
            "board": None if self.board is None else sha256_hex(Path(self.board).read_bytes()),
            "scenes": asdict(self.scenes),
            "effects": asdict(self.effects),
            "seed": self.seed,
            "picture": self.picture,
        }


def render_dataset(
    job: Job,
    out: Path,
    frames: int,
    *,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Render frames 0..``frames``-1 and return how many of them were rendered now.

    Args:
        job: What is rendered.
        out: The data set's folder; it must not exist.
        frames: How many.
        jobs: Processes.
        progress: Called with the number of frames that are done.

    Raises:
        UsageError: ``out`` exists, or an interrupted run had other settings.
        SourceError: The board or a folder of photos cannot be read.
        DataError: The board is none.
    """
    if out.exists():
        raise UsageError(f"{out} exists already: choose another name or remove it first")
    partial = out.parent / f"{out.name}.partial"
    _begin(partial, job.settings(), frames)
    missing = [number for number in range(frames) if not _record(partial, number).exists()]
    done = frames - len(missing)
    progress(done)
    for _ in _rendered(job, partial, missing, jobs):
        done += 1
        progress(done)
    _gather(job, partial, frames)
    os.rename(partial, out)
    shutil.rmtree(out / _RECORDS)
    return len(missing)


def _begin(partial: Path, settings: dict[str, Any], frames: int) -> None:
    """Make the folder of the frames, or check that it is of the same run."""
    noted = partial / _SETTINGS
    if not noted.exists():
        (partial / _RECORDS).mkdir(parents=True, exist_ok=True)
        atomic_write(noted, json.dumps(settings, indent=1).encode("ascii"))
        return
    try:
        earlier = json.loads(noted.read_bytes())
    except ValueError:
        earlier = None
    # Through JSON, so that tuples compare equal to the lists that they come back as.
    if earlier != json.loads(canonical_json(settings)):
        raise UsageError(
            f"{partial} holds frames of an interrupted run with other settings: "
            "give the same arguments to go on with it, or remove it to start anew"
        )
    there = max((int(record.stem) + 1 for record in _records(partial)), default=0)
    if there > frames:
        raise UsageError(
            f"{partial} holds frames of an interrupted run up to number {there}: "
            f"give --frames {there} or more to go on with it, or remove it to start anew"
        )


def _records(partial: Path) -> Iterator[Path]:
    # Names that start with a dot are of writes that were cut off.
    return (partial / _RECORDS).glob("[0-9]*.json")


def _rendered(job: Job, partial: Path, numbers: list[int], jobs: int) -> Iterator[int]:
    if jobs == 1 or len(numbers) < 2:
        worker = _Worker(job, partial)
        for number in numbers:
            yield worker.make(number)
        return
    # Forking a process that runs OpenCV's threads can hang it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(jobs, len(numbers)), context, _start_worker, (job, partial)
    ) as pool:
        try:
            yield from pool.map(_make_frame, numbers, chunksize=4)
        except BrokenProcessPool:
            raise EdgesafeError(
                "a rendering process was ended from outside, perhaps for want of memory: give the "
                "same command with fewer --jobs, it goes on where it was"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """Renders and stores frames; one in each process."""

    def __init__(self, job: Job, partial: Path) -> None:
        self._job, self._partial = job, partial
        self._studio = Studio(
            {part.obj_id: Surface.from_mesh(part.mesh) for part in job.parts},
            job.camera,
            Photos(job.photos),
            None if job.board is None else MarkerBoard.read(job.board),
            job.scenes,
            job.effects,
        )

    def make(self, number: int) -> int:
        """Render one frame and put it into the folder."""
        rendered = self._studio.frame(np.random.default_rng([self._job.seed, number]))
        self._store(number, rendered)
        return number

    def _store(self, number: int, rendered: Rendered) -> None:
        import cv2

        folder, name = _place(self._partial, number)
        for kind in ("rgb", "mask", "mask_visib"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        suffix = self._job.picture
        how = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        if suffix == "png":
            how = [cv2.IMWRITE_PNG_COMPRESSION, 3]
        _, data = cv2.imencode(f".{suffix}", rendered.rgb[..., ::-1], how)
        (folder / "rgb" / f"{name}.{suffix}").write_bytes(data.tobytes())
        for at, labelled in enumerate(rendered.objects):
            for kind, mask in (("mask", labelled.mask), ("mask_visib", labelled.visible)):
                assert mask is not None
                _, data = cv2.imencode(".png", mask.astype(np.uint8) * 255)
                (folder / kind / f"{name}_{at:06d}.png").write_bytes(data.tobytes())
        record = {
            GT: [labelled.truth() for labelled in rendered.objects],
            GT_INFO: [labelled.info() for labelled in rendered.objects],
        }
        atomic_write(_record(self._partial, number), canonical_json(record))


_worker: _Worker | None = None


def _start_worker(job: Job, partial: Path) -> None:
    global _worker
    import cv2

    # Ctrl-C is for the parent, which lets the frames at hand be finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    _worker = _Worker(job, partial)


def _make_frame(number: int) -> int:
    assert _worker is not None
    return _worker.make(number)


def _place(partial: Path, number: int) -> tuple[Path, str]:
    return partial / "train" / f"{number // _PER_SCENE:06d}", f"{number % _PER_SCENE:06d}"


def _record(partial: Path, number: int) -> Path:
    return partial / _RECORDS / f"{number:06d}.json"


def _gather(job: Job, partial: Path, frames: int) -> None:
    """Write the files of BOP from the records; done again from the start if interrupted."""
    camera = {
        "cam_K": [float(value) for value in job.camera.K.ravel()],
        "depth_scale": job.camera.depth_scale,
    }
    scenes: dict[Path, dict[str, dict[str, Any]]] = {}
    for number in range(frames):
        folder, name = _place(partial, number)
        record = json.loads(_record(partial, number).read_bytes())
        files = scenes.setdefault(folder, {GT: {}, GT_INFO: {}, CAMERA: {}})
        for kind, content in (record | {CAMERA: camera}).items():
            files[kind][str(int(name))] = content
    for folder, files in scenes.items():
        for kind, content in files.items():
            atomic_write(folder / kind, json.dumps(content).encode())
    # Frames are rendered without the distortion of the lens.
    lens = replace(job.camera, dist=()).to_dict()
    atomic_write(partial / "camera.json", json.dumps(lens, indent=2).encode())
    (partial / "models").mkdir(exist_ok=True)
    write_parts(partial / "models", job.parts)
