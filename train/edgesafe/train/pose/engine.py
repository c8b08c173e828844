"""`train_pose`: from a configuration and BOP data sets to a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from accelerate import Accelerator
from torch import nn

from edgesafe.runtime.errors import BackendError, DataError, UsageError
from edgesafe.train.checkpoint import INFO_FILE
from edgesafe.train.pose.cache import Pieces, frame_pieces, region_pieces
from edgesafe.train.pose.checkpoint import (
    NetworkInfo,
    PoseCheckpoint,
    is_pose_checkpoint,
    load_pose_checkpoint,
)
from edgesafe.train.pose.config import DetectorConfig, PoseConfig
from edgesafe.train.pose.dataset import PoseData, read_pose_data
from edgesafe.train.pose.detector import Detector
from edgesafe.train.pose.fit import Fit, FitResult, wants_bf16
from edgesafe.train.pose.frames import FrameSamples
from edgesafe.train.pose.initial import start_from
from edgesafe.train.pose.network import RoiNetwork, architecture_of, input_preprocess
from edgesafe.train.pose.objects import KnownObject
from edgesafe.train.pose.photos import PhotoPool
from edgesafe.train.pose.regions import RegionSamples, reach_of
from edgesafe.train.pose.tasks import DetectorObjective, RoiObjective, Task
from edgesafe.train.pose.trunks import LITE0, LITE0_ORIGIN
from edgesafe.train.pose.validate import DetectorValidator, RoiValidator

__all__ = ["PoseResult", "pose_run_folder", "train_pose"]

DETECTOR = "detector"


@dataclass(frozen=True)
class PoseResult:
    """How a run ended.

    Attributes:
        checkpoint: The folder of the checkpoint.
        networks: One entry for each network that was trained, in their order; a run that was
            interrupted has fewer.
        main: Whether this is the first of the processes, the one that speaks for all.
    """

    checkpoint: Path
    networks: tuple[FitResult, ...]
    main: bool = True

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended the run."""
        return any(result.ended == "interrupted" for result in self.networks)


def pose_run_folder(out: Path) -> Path:
    """The folder beside a checkpoint that holds its logs and what ``--resume`` needs."""
    return out.with_name(out.name + ".run")


def train_pose(
    config: PoseConfig,
    data: Sequence[Path],
    out: Path,
    *,
    validation: Path | None = None,
    split: Path | None = None,
    photos: Sequence[Path] = (),
    cache: Path | None = None,
    resume: bool = False,
    init: Path | None = None,
    only: str | None = None,
    device: str = "auto",
    progress: bool = True,
) -> PoseResult:
    """Trains the networks of a configuration and writes their checkpoint.

    Args:
        config: The configuration.
        data: BOP data sets with masks.
        out: The checkpoint to write; with ``only``, one that lacks this network is added to.
        validation: A BOP data set to validate on; None holds frames of the data out.
        split: A list of the frames of ``data`` to train on; None for all.
        photos: Folders of photos for backgrounds.
        cache: Folder for the pieces that the data is cut into, to share them between runs; None
            keeps them with the run.
        resume: Go on where the run that wrote ``out`` stopped.
        init: Checkpoint whose weights the networks start from.
        only: ``roi`` or ``detector``: train that one alone.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: Whether to tell on stderr how it goes.

    Raises:
        DataError: The data is broken, has no masks, or lacks an object.
        UsageError: ``out`` exists and ``resume`` is false, or the configuration does not fit.
        CheckpointError: There is nothing to resume, or it belongs to another run.
        BackendError: The device is not there.
    """
    return _Engine(config, out, device, progress).run(
        data, validation, split, photos, cache, resume, init, only
    )


class _Engine:
    """One run's parts."""

    def __init__(self, config: PoseConfig, out: Path, device: str, progress: bool) -> None:
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device {device}: use auto, cpu or cuda.")
        if device == "cuda" and not torch.cuda.is_available():
            raise BackendError("--device cuda: torch sees no CUDA device. Use --device cpu.")
        self.config = config
        self.out = out
        self.progress = progress
        self.accelerator = Accelerator(cpu=device == "cpu")
        self.main: bool = self.accelerator.is_main_process
        # The samples are small: threads would cost more than they bring.
        cv2.setNumThreads(1)

    def run(
        self,
        data: Sequence[Path],
        validation: Path | None,
        split: Path | None,
        photos: Sequence[Path],
        cache: Path | None,
        resume: bool,
        init: Path | None,
        only: str | None,
    ) -> PoseResult:
        """See `train_pose`."""
        self._check_out(resume, only)
        training, held_out = self._read(data, validation, split)
        pool = PhotoPool(photos, self.config.data.photos)
        initial = load_pose_checkpoint(init) if init else None
        self.checkpoint = self._start(training)
        folder = cache or pose_run_folder(self.out) / "cache"
        results = []
        for name, make in self._tasks(training, held_out, pool, folder, only):
            torch.manual_seed(self.config.seed)
            task, info = make()
            if initial is not None:
                start_from(task.network, info, initial)
            result = self._fit(name, task, info, training, pool, resume)
            results.append(result)
            if result.ended == "interrupted":
                break
        return PoseResult(self.out, tuple(results), self.main)

    def _check_out(self, resume: bool, only: str | None) -> None:
        config = self.config
        if only not in (None, "roi", DETECTOR):
            raise UsageError(f"--only {only}: use roi or detector.")
        if only == DETECTOR and config.detector is None:
            raise UsageError("--only detector needs a [detector] table in the configuration.")
        if resume or not self.out.exists():
            return
        if not is_pose_checkpoint(self.out):
            raise UsageError(f"{self.out} exists and is no checkpoint of pose training.")
        there = {info.kind for info in load_pose_checkpoint(self.out).networks}
        if only is None or only in there:
            raise UsageError(f"{self.out} exists. Pass --resume to go on, or choose another --out.")

    def _read(
        self, folders: Sequence[Path], validation: Path | None, split: Path | None
    ) -> tuple[PoseData, PoseData | None]:
        training = read_pose_data(folders, self.config, split)
        if validation is not None:
            wanted = tuple(known.id for known in training.objects)
            config = dataclasses.replace(self.config, objects=wanted)
            return training, read_pose_data([validation], config)
        training, held_out = training.split(self.config.data.validation_share)
        if not training.frames:
            raise DataError("the data has too few frames to hold any out; pass --val.")
        return training, held_out if held_out.frames else None

    def _start(self, training: PoseData) -> PoseCheckpoint:
        """The checkpoint to write: that of an earlier run where there is one."""
        if (self.out / INFO_FILE).is_file():
            found = load_pose_checkpoint(self.out)
            if [k.to_json() for k in found.objects] != [k.to_json() for k in training.objects]:
                raise UsageError(f"{self.out} is of other objects; choose another --out.")
            return found
        weights: dict[str, Any] = dataclasses.asdict(self.config.weights)
        origin = list(weights["origin"])
        trunks = [self.config.roi.trunk]
        trunks += [self.config.detector.trunk] if self.config.detector else []
        if LITE0 in trunks and LITE0_ORIGIN not in origin:
            origin.append(LITE0_ORIGIN)
        return PoseCheckpoint(
            networks=(),
            state={},
            objects=training.objects,
            data=training.describe(),
            seed=self.config.seed,
            weights={**weights, "origin": origin},
        )

    def _tasks(
        self,
        training: PoseData,
        held_out: PoseData | None,
        pool: PhotoPool,
        cache: Path,
        only: str | None,
    ) -> list[tuple[str, Callable[[], tuple[Task, NetworkInfo]]]]:
        """Names of the networks, and what makes each when its turn comes."""
        tasks: list[tuple[str, Callable[[], tuple[Task, NetworkInfo]]]] = []
        groups = {"roi": training.objects}
        if self.config.roi.per_object:
            groups = {f"roi-{known.id:06d}": (known,) for known in training.objects}
        if only != DETECTOR:
            for name, objects in groups.items():

                def make_roi(
                    name: str = name, objects: tuple[KnownObject, ...] = objects
                ) -> tuple[Task, NetworkInfo]:
                    return self._roi_task(name, objects, training, held_out, pool, cache)

                tasks.append((name, make_roi))
        settings = self.config.detector
        if settings is not None and only != "roi":

            def make_detector(
                settings: DetectorConfig = settings,
            ) -> tuple[Task, NetworkInfo]:
                return self._detector_task(settings, training, held_out, pool, cache)

            tasks.append((DETECTOR, make_detector))
        return tasks

    def _roi_task(
        self,
        name: str,
        objects: tuple[KnownObject, ...],
        training: PoseData,
        held_out: PoseData | None,
        pool: PhotoPool,
        cache: Path,
    ) -> tuple[Task, NetworkInfo]:
        config, roi = self.config, self.config.roi
        architecture = architecture_of(
            profile=roi.profile,
            trunk=roi.trunk,
            head=roi.head,
            size=roi.size,
            width=roi.width,
            hidden=roi.hidden,
            fine=roi.fine,
            keypoints=roi.keypoints,
            objects=len(objects),
        )
        size = int(architecture["size"])
        preprocess = input_preprocess(size, size)
        reach, finest = reach_of(roi, config.data)

        def samples(data: PoseData) -> RegionSamples:
            pieces = self._cached(
                data,
                lambda tell: region_pieces(
                    data, cache, reach=reach, nominal=size * finest, tell=tell
                ),
            )
            return RegionSamples(
                pieces, objects, roi, size, config.data, config.colour, pool, config.seed
            )

        network = RoiNetwork(architecture, pretrained=True)
        surfaces = [
            points[torch.linspace(0, len(points) - 1, 200).long().numpy()]
            for points in (training.surfaces[known.id] for known in objects)
        ]
        objective = RoiObjective(
            network,
            roi,
            surfaces,
            [known.diameter for known in objects],
            bf16=wants_bf16(roi.fit, self.accelerator.device),
        )
        validate = None
        if held_out is not None:
            seen = samples(held_out)
            if len(seen):
                validate = RoiValidator(
                    seen,
                    training.surfaces,
                    preprocess,
                    self.accelerator.device,
                    config.data.max_validation,
                )
        info = NetworkInfo(
            name=name,
            kind="roi",
            objects=tuple(known.id for known in objects),
            architecture=architecture,
            preprocess=preprocess.to_dict(),
            options={"roi_scale": roi.roi_scale},
            config=config.to_dict()["roi"],
        )
        return Task(name, objective, samples(training), preprocess, roi.fit, validate), info

    def _detector_task(
        self,
        settings: DetectorConfig,
        training: PoseData,
        held_out: PoseData | None,
        pool: PhotoPool,
        cache: Path,
    ) -> tuple[Task, NetworkInfo]:
        config = self.config
        preprocess = input_preprocess(settings.height_px, settings.width_px)
        architecture = {
            "trunk": settings.trunk,
            "width": settings.width,
            "hidden": settings.hidden or 4 * settings.width,
            "objects": len(training.objects),
        }

        def samples(data: PoseData) -> FrameSamples:
            # As fine as the closest look needs.
            closest = max(1.0, settings.zoom[1])
            width, height = (round(n * closest) for n in (settings.width_px, settings.height_px))
            pieces = self._cached(
                data,
                lambda tell: frame_pieces(data, cache, width=width, height=height, tell=tell),
            )
            return FrameSamples(
                pieces, training.objects, settings, config.data, config.colour, pool, config.seed
            )

        network = Detector(architecture, pretrained=True)
        objective = DetectorObjective(
            network, settings, bf16=wants_bf16(settings.fit, self.accelerator.device)
        )
        validate = None
        if held_out is not None:
            validate = DetectorValidator(
                samples(held_out),
                settings,
                preprocess,
                self.accelerator.device,
                config.data.max_validation,
            )
        info = NetworkInfo(
            name=DETECTOR,
            kind=DETECTOR,
            objects=tuple(known.id for known in training.objects),
            architecture=architecture,
            preprocess=preprocess.to_dict(),
            options={
                "max_per_object": settings.max_per_object,
                "min_score": settings.min_score,
                **({"box_sd": settings.box_sd} if settings.box_sd else {}),
            },
            config=config.to_dict()["detector"],
        )
        return Task(
            DETECTOR, objective, samples(training), preprocess, settings.fit, validate
        ), info

    def _cached(self, data: PoseData, make: Callable[[Callable[[int], None]], Pieces]) -> Pieces:
        """Opens pieces; the first process makes them where they are not there yet."""
        from tqdm import tqdm

        with self.accelerator.main_process_first():
            # The bar is drawn only once there is something to do.
            with tqdm(
                total=len(data.frames),
                unit="frame",
                desc="cache",
                delay=1,
                disable=None if self.progress and self.main else True,
            ) as bar:
                return make(lambda count: bar.update(count) and None)

    def _fit(
        self,
        name: str,
        task: Task,
        info: NetworkInfo,
        training: PoseData,
        pool: PhotoPool,
        resume: bool,
    ) -> FitResult:
        config = self.config
        plain = config.to_dict()
        own = plain["detector" if info.kind == DETECTOR else "roi"]
        identity = {
            **{key: plain[key] for key in ("seed", "objects", "data", "colour")},
            "network": {key: value for key, value in own.items() if key != "fit"},
            "fit": own["fit"],
        }
        folder = pose_run_folder(self.out) / name

        def keep(network: nn.Module, metrics: dict[str, float]) -> None:
            numbers = {"step": fit.place.step, "seconds": round(fit.place.seconds, 1), **metrics}
            self.checkpoint = self.checkpoint.with_network(
                dataclasses.replace(info, metrics=numbers), network
            )
            self.checkpoint.save(self.out)

        fit = Fit(
            task,
            folder,
            config=identity,
            fingerprint=f"{training.fingerprint}+{pool.fingerprint}",
            seed=config.seed,
            workers=config.data.workers,
            accelerator=self.accelerator,
            keep=keep,
            progress=self.progress,
        )
        # Of several networks those that were not begun when the run stopped start afresh.
        return fit.go(resume and (folder / "state").is_dir())
