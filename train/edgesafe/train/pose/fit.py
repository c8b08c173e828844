"""The loop that trains one network: schedule, running mean, saving, stopping, going on.

Devices, distributed data parallel and process groups are accelerate's. What is drawn at random for
a sample depends on seed, epoch and number alone, so a run that is resumed after a fixed number of
epochs was asked for goes on bit for bit on the CPU. With a budget of time the learning rate follows
the clock, which no two runs share.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from edgesafe.runtime.errors import EdgesafeError, UsageError
from edgesafe.train.ema import RunningMean
from edgesafe.train.log import Mean, RunLog
from edgesafe.train.pose.config import FitConfig
from edgesafe.train.pose.loader import Batch, batches_of_epoch, load
from edgesafe.train.pose.schedule import adamw, lr_factor, set_lr
from edgesafe.train.pose.tasks import Task
from edgesafe.train.state import Identity, Place, frozen_digest, restore_state, save_state
from edgesafe.train.stop import GO_ON, INTERRUPTED, SAVE, TIME_UP, Watch

__all__ = ["Fit", "FitResult", "wants_bf16"]

_FREE = ("epochs", "max_minutes", "validate_minutes", "save_minutes", "log_every", "tensorboard")
MAY_CHANGE = (
    *(f"fit.{name}" for name in _FREE),
    "data.workers",
    "data.max_validation",
)
"""Keys of the configuration that a resumed run may have changed."""


@dataclass(frozen=True)
class FitResult:
    """How the training of one network ended.

    Attributes:
        name: Of the task.
        ended: ``epochs``, ``max_minutes`` or ``interrupted``.
        steps: Optimiser steps done in all.
        epochs: Whole epochs done in all.
        samples: Samples seen in all.
        seconds: Time of training, over all resumptions.
        metrics: Of the last validation.
    """

    name: str
    ended: str
    steps: int
    epochs: int
    samples: int
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)


class Fit:
    """Trains the network of a task.

    Args:
        task: What to train.
        folder: For the log and the state.
        config: What must be the same when the run goes on, plain values.
        fingerprint: Of the training data.
        seed: Seed of everything drawn at random.
        workers: Processes that make samples.
        accelerator: The device and the other processes.
        keep: Called with the averaged network and the metrics whenever it is to be written.
        progress: Whether to tell on stderr how it goes.
    """

    def __init__(
        self,
        task: Task,
        folder: Path,
        *,
        config: Mapping[str, Any],
        fingerprint: str,
        seed: int,
        workers: int,
        accelerator: Accelerator,
        keep: Callable[[nn.Module, dict[str, float]], None],
        progress: bool,
    ) -> None:
        """Builds everything up to the first step."""
        self.task = task
        self.settings = task.fit
        self.folder = folder
        self.seed = seed
        self.workers = workers
        self.accelerator = accelerator
        self.keep = keep
        self.progress = progress
        self.device: torch.device = accelerator.device
        self.processes: int = accelerator.num_processes
        network = task.network
        self.identity = Identity(
            config=config,
            data=fingerprint,
            frozen=frozen_digest(network),
            processes=self.processes,
        )
        task.objective.to(self.device)
        if self.settings.channels_last:
            network.to(memory_format=torch.channels_last)
        self.optimiser = adamw(network, self.settings)
        self.mean = RunningMean(network, self.settings.ema)
        self.objective: nn.Module = accelerator.prepare_model(task.objective)
        self.place = Place()
        self.metrics: dict[str, float] = {}
        self.clock = time.process_time if self.settings.clock == "cpu" else time.monotonic
        self.per_epoch = len(self._batches(0))
        if self.per_epoch == 0:
            raise UsageError(
                f"{len(task.samples)} samples of {task.name} do not make one for each of "
                f"{self.processes} processes."
            )

    @property
    def total(self) -> int | None:
        """Steps of the whole run; None where time decides."""
        return None if self.settings.max_minutes else self.per_epoch * self.settings.epochs

    def go(self, resume: bool) -> FitResult:
        """Trains to the end, or until something stops it."""
        if resume:
            self._restore()
        settings = self.settings
        self.already = self.place.seconds
        left = settings.max_minutes - self.already / 60 if settings.max_minutes else 0.0
        self.watch = Watch(
            save_minutes=settings.save_minutes,
            # No time at all would mean no limit.
            max_minutes=max(left, 1e-9) if settings.max_minutes else 0.0,
            clock=self.clock,
        )
        self.validated = self.seconds
        self.log = RunLog(
            self.folder if self.accelerator.is_main_process else None,
            total=self.total,
            step=self.place.step,
            tensorboard=settings.tensorboard,
            progress=self.progress,
        )
        try:
            with self.watch.signals():
                ended = self._loop()
        finally:
            self.log.close()
        place = self.place
        return FitResult(
            name=self.task.name,
            ended=ended,
            steps=place.step,
            epochs=place.epoch,
            samples=place.step * self._size(),
            seconds=place.seconds,
            metrics=self.metrics,
        )

    @property
    def seconds(self) -> float:
        """Time of training so far, over all resumptions."""
        return self.already + self.watch.seconds

    def _loop(self) -> str:
        settings = self.settings
        if self.place.step == 0:
            self._save()  # so that --resume works from the first moment on
        while settings.max_minutes or self.place.epoch < settings.epochs:
            verdict = self._epoch()
            if verdict == INTERRUPTED:
                self._save()
                return "interrupted"
            if verdict == TIME_UP:
                self._validate()
                self._save()
                return "max_minutes"
            self.place.epoch += 1
            self.place.batch = 0
        self._validate()
        self._save()
        return "epochs"

    def _epoch(self) -> int:
        """Trains from the current place to the end of the epoch, or until something stops it."""
        settings = self.settings
        batches = self._batches(self.place.epoch)[self.place.batch :]
        rank = self.accelerator.process_index
        own = [b[rank * len(b) // self.processes :][: len(b) // self.processes] for b in batches]
        window = Mean()
        batches_left = load(
            self.task.samples,
            self.place.epoch,
            own,
            self.task.preprocess,
            workers=self.workers,
            pin=self.device.type == "cuda",
        )
        with contextlib.closing(batches_left):
            for batch in batches_left:
                window.add(self._step(batch))
                if self.place.step % settings.log_every == 0:
                    self._log_training(window)
                    window = Mean()
                if self._due(self.validated, settings.validate_minutes):
                    self._validate()
                verdict = self.watch.verdict(self.device)
                if verdict in (TIME_UP, INTERRUPTED):
                    return verdict
                if verdict == SAVE:
                    self._save()
        return GO_ON

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        share = self._share()
        set_lr(self.optimiser, lr_factor(share, self.settings), self.settings)
        self.objective.train()
        batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        if self.settings.channels_last:
            batch["pixels"] = batch["pixels"].contiguous(memory_format=torch.channels_last)
        terms = self.objective(batch, share)
        if not bool(torch.isfinite(terms["loss"])):
            raise EdgesafeError(
                f"{self.task.name}: the loss is {terms['loss'].item()} at step {self.place.step}, "
                f"so the run stops before it spoils the weights. Lower fit.lr; the last good state "
                f"is in {self.folder / 'state'}."
            )
        self.accelerator.backward(terms["loss"])
        values = {name: term.detach() for name, term in terms.items()}
        if self.settings.clip_norm > 0:
            parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
            values["gradient_norm"] = torch.nn.utils.clip_grad_norm_(
                parameters, self.settings.clip_norm
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.place.step += 1
        self.place.batch += 1
        self.mean.update(self.task.network, self.place.step)
        self.log.advance()
        return values

    def _share(self) -> float:
        """How much of the run is done, 0..1, the same in every process."""
        if self.total is not None:
            return min(1.0, self.place.step / self.total)
        share = min(1.0, self.seconds / (self.settings.max_minutes * 60))
        if self.processes > 1:
            agreed = torch.tensor(share, device=self.device)
            torch.distributed.broadcast(agreed, 0)
            share = float(agreed)
        return share

    def _due(self, last: float, minutes: float) -> bool:
        if self.task.validate is None:
            return False
        due = self.seconds - last >= minutes * 60
        if self.processes > 1:
            agreed = torch.tensor(int(due), device=self.device)
            torch.distributed.broadcast(agreed, 0)
            due = bool(agreed)
        return due

    def _validate(self) -> None:
        """Measures the averaged network; every process waits for the first one."""
        if self.task.validate is not None and self.accelerator.is_main_process:
            self.metrics, pictures = self.task.validate(self.mean.network)
            self.log.write(
                "validation", self.place.step, self.metrics, seconds=round(self.seconds, 1)
            )
            for name, picture in pictures.items():
                self.log.picture(name, self.place.step, picture)
            told = ", ".join(
                f"{name} {value:.3f}" for name, value in self.metrics.items() if "/" not in name
            )
            self.log.say(f"{self.task.name} step {self.place.step}: {told}")
        self.accelerator.wait_for_everyone()
        self.validated = self.seconds

    def _log_training(self, window: Mean) -> None:
        values = {name: float(value) for name, value in window.values().items()}
        share = self._share()
        values["lr_factor"] = lr_factor(share, self.settings)
        values["samples_per_second"] = self.place.step * self._size() / max(self.seconds, 1e-9)
        self.log.write(
            "train",
            self.place.step,
            values,
            epoch=self.place.epoch,
            progress=round(share, 4),
            seconds=round(self.seconds, 1),
        )

    def _save(self) -> None:
        """Writes the state, and the averaged network into the checkpoint."""
        self.place.seconds = self.seconds
        generators = {"cpu": torch.get_rng_state()}
        if self.accelerator.is_main_process:
            save_state(
                self.folder / "state",
                self.place,
                self.identity,
                self.task.network,
                self.optimiser,
                generators,
                self._extra(),
            )
            if self.place.step:
                self.keep(self.mean.network, self.metrics)
        self.accelerator.wait_for_everyone()
        self.watch.saved()

    def _restore(self) -> None:
        self.place, generators = restore_state(
            self.folder / "state",
            self.identity,
            self.task.network,
            self.optimiser,
            extra=self._extra(),
            defaults=self.identity.config,
            may_change=MAY_CHANGE,
        )
        torch.set_rng_state(generators["cpu"])

    def _extra(self) -> dict[str, Tensor]:
        """The running mean and the batch statistics, which no optimiser knows of."""
        extra = {f"mean/{name}": value for name, value in self.mean.network.state_dict().items()}
        for name, value in self.task.network.named_buffers():
            extra[f"buffer/{name}"] = value
        return extra

    def _size(self) -> int:
        return min(self.settings.batch_size * self.processes, len(self.task.samples))

    def _batches(self, epoch: int) -> list[list[int]]:
        return batches_of_epoch(
            len(self.task.samples),
            seed=self.seed,
            epoch=epoch,
            size=self.settings.batch_size * self.processes,
            multiple=self.processes,
        )


def wants_bf16(fit: FitConfig, device: torch.device) -> bool:
    """Whether the convolutions run in bf16."""
    if fit.precision != "auto":
        return fit.precision == "bf16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported()
