"""One training run: the loop, what it keeps, and how it stops and goes on.

Devices, distributed data parallel and process groups are accelerate's; what is drawn at random,
the precision, the place of the all-gather and everything that is written are decided here.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from edgesafe.runtime.errors import EdgesafeError, UsageError
from edgesafe.train import optim
from edgesafe.train.checkpoint import INFO_FILE, CheckpointInfo, load_checkpoint, save_checkpoint
from edgesafe.train.config import RunConfig
from edgesafe.train.data.loader import Batch, TextTable, TrainingLoader
from edgesafe.train.data.quadruplets import QuadrupletSet
from edgesafe.train.data.sampler import batches_of_epoch, with_visits
from edgesafe.train.ema import RunningMean
from edgesafe.train.evaluate import (
    EncodeSettings,
    encode_split,
    encode_texts,
    metrics,
    training_bounds,
    validation_loss,
)
from edgesafe.train.log import Mean, RunLog
from edgesafe.train.methods import (
    build_model,
    build_objective,
    build_reference,
    fixed_digest,
)
from edgesafe.train.state import Identity, Place, restore_state, save_state
from edgesafe.train.stop import GO_ON, INTERRUPTED, TIME_UP, Watch


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        checkpoint: The folder of the checkpoint.
        ended: ``epochs``, ``patience``, ``max_minutes`` or ``interrupted``.
        steps: Optimiser steps done in all.
        epochs: Whole epochs done in all.
        metrics: Those of the kept checkpoint.
        main: Whether this is the first of the processes, the one that speaks for all.
    """

    checkpoint: Path
    ended: str
    steps: int
    epochs: int
    metrics: dict[str, float] = field(default_factory=dict)
    main: bool = True


def run_folder(out: Path) -> Path:
    """The folder beside a checkpoint that holds its log and what ``--resume`` needs."""
    return out.with_name(out.name + ".run")


class Run:
    """One run's parts; the loop itself is `go`.

    Args:
        config: The configuration.
        training: The training data.
        held_out: The validation data; without any the last epoch is kept.
        out: The checkpoint to write.
        accelerator: The device and the other processes.
        progress: Whether to tell on stderr how it goes.
        init: Checkpoint to start from; None for the towers that the configuration names.
    """

    def __init__(
        self,
        config: RunConfig,
        training: QuadrupletSet,
        held_out: QuadrupletSet | None,
        out: Path,
        accelerator: Accelerator,
        progress: bool,
        init: Path | None,
    ) -> None:
        """Builds everything up to the first step."""
        self.config = config
        self.training = training
        self.held_out = held_out
        self.out = out
        self.accelerator = accelerator
        self.progress = progress
        self.device: torch.device = accelerator.device
        self.rank: int = accelerator.process_index
        self.processes: int = accelerator.num_processes
        self.encode = EncodeSettings(
            self.device, _wants_bf16(config, self.device), config.data.workers
        )
        # Every process builds the same model, then draws its own dropout.
        torch.manual_seed(config.seed)
        self.model, self.initial = build_model(config, init)
        # Before adapters are put into the towers: the copy must be of the towers alone.
        self.reference = build_reference(self.model, config)
        self.groups = optim.prepare(self.model, config)
        self.model.to(self.device)
        if config.train.channels_last:
            self.model.encoder.image.to(memory_format=torch.channels_last)
        self.optimiser = optim.adamw(self.groups, config)
        self.mean = RunningMean(self.model, config.train.ema) if config.train.ema else None
        torch.manual_seed(config.seed + 1 + self.rank)
        records = (*training.records, *(held_out.records if held_out else ()))
        self.texts = TextTable.of(records, self.model.encoder)
        self.text_features = self._cached_texts()
        if self.reference is not None:
            self._settle_reference()
        self.terms = build_objective(
            self.model,
            self.reference,
            config,
            bf16=self.encode.bf16,
            text_features=self.text_features,
        )
        self.objective: torch.nn.Module = accelerator.prepare_model(self.terms)
        self.loader = TrainingLoader(
            training.records,
            self.model.encoder,
            self.texts,
            config.augment,
            seed=config.seed,
            workers=config.data.workers,
            pin=self.device.type == "cuda",
        )
        self.identity = Identity(
            config=config.to_dict(),
            data=training.fingerprint,
            frozen=fixed_digest(self.model, self.reference),
            processes=self.processes,
        )
        self.place = Place()
        self.already = 0.0
        self.kept: dict[str, float] = {}
        self.watch = Watch(
            save_minutes=config.train.save_minutes, max_minutes=config.train.max_minutes
        )
        per_epoch = math.ceil(len(self._batches(0)) / config.train.accumulate)
        self.total = per_epoch * config.train.epochs
        if self.total == 0:
            raise UsageError(
                f"{len(training.records)} records do not make one quadruplet for each of "
                f"{self.processes} processes."
            )

    @property
    def folder(self) -> Path:
        """Where the log and the state are."""
        return run_folder(self.out)

    def go(self, resume: bool) -> RunResult:
        """Trains to the end, or until something stops it."""
        if resume:
            self._restore()
        self.already = self.place.seconds
        main = self.accelerator.is_main_process
        self.log = RunLog(
            self.folder if main else None,
            total=self.total,
            step=self.place.step,
            tensorboard=self.config.train.tensorboard,
            progress=self.progress,
        )
        try:
            with self.watch.signals():
                ended = self._loop()
                if ended != "interrupted":
                    self._add_bounds()
        finally:
            self.log.close()
        place = self.place
        return RunResult(self.out, ended, place.step, place.epoch, self.kept, self.rank == 0)

    def _loop(self) -> str:
        settings = self.config.train
        if self.place.step == 0:
            self._save()  # so that --resume works from the first moment on
        while self.place.epoch < settings.epochs:
            if settings.patience and self.place.stale >= settings.patience:
                return "patience"
            verdict = self._epoch()
            if verdict == INTERRUPTED:
                self._save()
                return "interrupted"
            if verdict == TIME_UP:
                # What was learnt in this part of an epoch may be the best there is.
                self._judge_mean(whole_epoch=False)
                self._save()
                return "max_minutes"
            self._judge_mean(whole_epoch=True)
            self.place.epoch += 1
            self.place.batch = 0
            self._save()
        return "epochs"

    def _epoch(self) -> int:
        """Trains from the current place to the end of the epoch, or until something stops it."""
        settings = self.config.train
        self.model.train()
        batches = self._batches(self.place.epoch)
        own = [self._own(batch) for batch in with_visits(batches)]
        todo = len(batches) - self.place.batch
        window = Mean()
        group: list[Batch] = []
        batches_left = self.loader.epoch(self.place.epoch, own[self.place.batch :])
        with contextlib.closing(batches_left):
            for batch in batches_left:
                group.append(batch)
                todo -= 1
                if len(group) < settings.accumulate and todo:
                    continue
                window.add(self._step(group))
                group = []
                if self.place.step % settings.log_every == 0:
                    self._log_training(window)
                    window = Mean()
                verdict = self.watch.verdict(self.device)
                if verdict in (TIME_UP, INTERRUPTED):
                    return verdict
                if verdict != GO_ON and todo:
                    self._save()
        return GO_ON

    def _step(self, group: list[Batch]) -> dict[str, Tensor]:
        optim.set_lr(
            self.optimiser, optim.lr_factor(self.place.step, self.total, self.config), self.config
        )
        mean = Mean()
        for i, batch in enumerate(group):
            last = i == len(group) - 1
            sync = contextlib.nullcontext() if last else self.accelerator.no_sync(self.objective)
            with sync:
                terms = self.objective(batch.to(self.device))
                if not bool(torch.isfinite(terms["loss"])):
                    raise EdgesafeError(
                        f"the loss is {float(terms['loss'])} at step {self.place.step}, so the run "
                        f"stops before it spoils the weights. Lower optimiser.lr or set "
                        f"optimiser.clip_norm; the last good state is in {self.folder / 'state'}."
                    )
                self.accelerator.backward(terms["loss"] / len(group))
            mean.add({name: term.detach() for name, term in terms.items()})
        if self.config.optimiser.clip_norm > 0:
            parameters = [p for g in self.groups for p in g["params"]]
            norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.optimiser.clip_norm)
            mean.add({"gradient_norm": norm})
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.model.clamp_()
        self.place.step += 1
        self.place.batch += len(group)
        if self.mean is not None:
            self.mean.update(self.model, self.place.step)
        self.log.advance()
        return mean.values()

    def _judge_mean(self, *, whole_epoch: bool) -> None:
        with self.mean.lent(self.model) if self.mean else contextlib.nullcontext():
            self._judge(whole_epoch=whole_epoch)

    def _judge(self, *, whole_epoch: bool) -> None:
        """Measures on the validation data and keeps the model if it is the best so far."""
        settings = self.config.train
        if self.held_out is None:
            self.kept = {}
            self._keep()
            return
        embedded = encode_split(
            self.model,
            self.held_out.records,
            self.encode,
            texts=self.texts,
            text_features=self.text_features,
        )
        found = metrics(embedded, self.held_out.records, self.model.curvature)
        self.terms.prepare_split(self.held_out.records, self.encode)
        found["loss"] = validation_loss(
            embedded, self.terms.split_loss, settings.batch_size * self.processes
        )
        value = self._agreed(found[settings.selection])
        best = self.place.best
        sign = -1 if settings.selection == "loss" else 1
        better = best is None or sign * value > sign * best
        self.log.write("validation", self.place.step, found, epoch=self.place.epoch, kept=better)
        told = f"epoch {self.place.epoch}: recall_sum {found['recall_sum']:.3f}, "
        if "auc" in found:
            told += f"auc image {found['auc_image']:.3f} text {found['auc_text']:.3f}, "
        self.log.say(f"{told}loss {found['loss']:.4f}{' (kept)' if better else ''}")
        if better:
            self.place.best, self.place.stale, self.kept = value, 0, found
            self._keep()
        elif whole_epoch:
            self.place.stale += 1

    def _keep(self) -> None:
        if self.accelerator.is_main_process:
            save_checkpoint(self.out, self.model, self._info())
        self.accelerator.wait_for_everyone()

    def _info(self) -> CheckpointInfo:
        config = self.config
        return CheckpointInfo.of(
            self.model,
            method=config.method,
            config=config.to_dict(),
            data={
                **self.training.describe(),
                "validation": self.held_out.describe() if self.held_out else None,
                "init": self.initial,
            },
            seed=config.seed,
            metrics={"step": self.place.step, "epoch": self.place.epoch, **self.kept},
            concepts=config.to_dict()["concepts"],
        )

    def _add_bounds(self) -> None:
        """Measures the four classes with the kept model and writes them into its checkpoint."""
        if not (self.out / INFO_FILE).exists():
            return
        model, info = load_checkpoint(self.out)
        self.kept = {k: v for k, v in info.metrics.items() if k not in ("step", "epoch")}
        model.to(self.device)
        bounds = training_bounds(
            model,
            self.training.records,
            self.encode,
            limit=self.config.train.bounds_records,
            seed=self.config.seed,
        )
        if bounds and self.accelerator.is_main_process:
            fields = {**info.__dict__, "bounds": bounds}
            save_checkpoint(self.out, model, CheckpointInfo(**fields))
        self.accelerator.wait_for_everyone()

    def _batches(self, epoch: int) -> list[list[int]]:
        settings = self.config.train
        return batches_of_epoch(
            self.training.records,
            seed=self.config.seed,
            epoch=epoch,
            size=settings.batch_size * self.processes,
            count=settings.steps_per_epoch * settings.accumulate,
            distinct=settings.distinct,
            multiple=self.processes,
        )

    def _own(self, batch: list[tuple[int, int]]) -> list[tuple[int, int]]:
        size = len(batch) // self.processes
        return batch[self.rank * size : (self.rank + 1) * size]

    def _cached_texts(self) -> Tensor | None:
        encoder = self.model.encoder
        if not (self.config.train.cache_frozen_text and encoder.is_frozen("text")):
            return None
        return encode_texts(self.model, self.texts.texts, self.encode)

    def _settle_reference(self) -> None:
        assert self.reference is not None
        self.reference.to(self.device)
        if self.config.train.channels_last:
            self.reference.model.encoder.image.to(memory_format=torch.channels_last)
        if self.config.train.cache_frozen_text:
            self.reference.remember_texts(self.training.records, self.texts, self.encode)

    def _agreed(self, value: float) -> float:
        """The first process's value, so that rounding cannot split the processes' decisions."""
        if self.processes == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float32, device=self.device)
        torch.distributed.broadcast(shared, 0)
        return float(shared[0])

    def _log_training(self, window: Mean) -> None:
        values = {name: float(value) for name, value in window.values().items()}
        values["lr_factor"] = optim.lr_factor(self.place.step - 1, self.total, self.config)
        values |= self.model.scalars()
        seconds = self.already + self.watch.seconds
        self.log.write(
            "train", self.place.step, values, epoch=self.place.epoch, seconds=round(seconds, 2)
        )

    def _save(self) -> None:
        self.place.seconds = self.already + self.watch.seconds
        generators = self._generators()
        if self.accelerator.is_main_process:
            save_state(
                self.folder / "state",
                self.place,
                self.identity,
                self.model,
                self.optimiser,
                generators,
                self._averaged(),
            )
        self.accelerator.wait_for_everyone()
        self.watch.saved()

    def _restore(self) -> None:
        self.place, generators = restore_state(
            self.folder / "state",
            self.identity,
            self.model,
            self.optimiser,
            extra=self._averaged(),
        )
        torch.set_rng_state(generators[f"cpu/{self.rank}"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(generators[f"cuda/{self.rank}"], self.device)

    def _averaged(self) -> dict[str, Tensor]:
        """What the state holds of the running mean, by name."""
        if self.mean is None:
            return {}
        return {f"mean/{name}": tensor for name, tensor in self.mean.parameters.items()}

    def _generators(self) -> dict[str, Tensor]:
        """States of every process's generators, by ``device/rank``."""
        own = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            own["cuda"] = torch.cuda.get_rng_state(self.device)
        every: dict[str, Tensor] = {}
        for name, state in own.items():
            rows = state[None].to(self.device)
            gathered = self.accelerator.gather(rows) if self.processes > 1 else rows
            for rank, row in enumerate(gathered.cpu()):
                every[f"{name}/{rank}"] = row.clone()
        return every


def _wants_bf16(config: RunConfig, device: torch.device) -> bool:
    if config.train.precision != "auto":
        return config.train.precision == "bf16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported()
