"""`train`: from a configuration and records to a checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator

from edgesafe.calib.bad_records import BadRecordsError, json_lines
from edgesafe.runtime.errors import BackendError, UsageError
from edgesafe.runtime.files import atomic_write
from edgesafe.train.config import RunConfig
from edgesafe.train.data.quadruplets import QuadrupletSet, read_quadruplets
from edgesafe.train.run import Run, RunResult, run_folder

__all__ = ["RunResult", "run_folder", "train"]

BAD_RECORDS = "bad_records.jsonl"


def train(
    config: RunConfig,
    data: Path,
    out: Path,
    *,
    validation: Path | None = None,
    resume: bool = False,
    skip_bad: bool = False,
    device: str = "auto",
    progress: bool = True,
    init: Path | None = None,
) -> RunResult:
    """Trains a model and writes its checkpoint.

    Args:
        config: The configuration.
        data: Training records: a file, or a folder with ``train.*``.
        out: The checkpoint to write.
        validation: Validation records; None takes ``data.validation`` of the configuration, then
            ``val.*`` of the data folder; without any the last epoch is kept.
        resume: Go on where the run that wrote ``out`` stopped.
        skip_bad: Leave bad records out instead of refusing the data.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: Whether to tell on stderr how it goes; the bar shows on a terminal only.
        init: Checkpoint whose weights and lift the run starts from; None for the pretrained
            towers that the configuration names.

    Raises:
        BadRecordsError: Records are bad; all of them are in ``CKPT.bad_records.jsonl`` too.
        UsageError: ``out`` exists and ``resume`` is false, or the configuration does not fit.
        CheckpointError: There is nothing to resume, or it belongs to another run.
        BackendError: The device is not there.
    """
    if not resume and (out.exists() or run_folder(out).exists()):
        there = out if out.exists() else run_folder(out)
        raise UsageError(f"{there} exists. Pass --resume to go on, or choose another --out.")
    accelerator = _accelerator(device)
    training = _read(data, config, out, skip_bad)
    file = _validation_file(config, data, validation)
    held_out = _read(file, config, out, skip_bad) if file else None
    run = Run(config, training, held_out, out, accelerator, progress, init)
    return run.go(resume)


def _accelerator(device: str) -> Accelerator:
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: use auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError("--device cuda: torch sees no CUDA device. Use --device cpu.")
    return Accelerator(cpu=device == "cpu")


def _read(file: Path, config: RunConfig, out: Path, skip_bad: bool) -> QuadrupletSet:
    try:
        return read_quadruplets(file, config.data, skip_bad=skip_bad)
    except BadRecordsError as error:
        report = out.with_name(f"{out.name}.{BAD_RECORDS}")
        report.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(report, json_lines(error.bad).encode())
        raise


def _validation_file(config: RunConfig, data: Path, named: Path | None) -> Path | None:
    if named is not None:
        return named
    if config.data.validation is not None:
        return Path(config.data.validation)
    if data.is_dir():
        for suffix in (".jsonl", ".json", ".parquet"):
            if (data / f"val{suffix}").is_file():
                return data / f"val{suffix}"
    return None
