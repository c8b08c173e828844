"""The mean of the weights of checkpoints that started from one another, as one checkpoint.

    python -m edgesafe.train.soup A B --data TRAIN.jsonl --val VAL.jsonl --out OUT

Where runs lie in one valley of the loss, the mean of their weights often generalises better than
each (Wortsman et al., Model soups, ICML 2022). The bounds of the four classes and the metrics are
measured anew, on the CPU; configuration, seed and concepts are those of the last checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor

from edgesafe.cli import run
from edgesafe.runtime.errors import CheckpointError, UsageError
from edgesafe.runtime.files import check_writable, sha256_hex
from edgesafe.train.checkpoint import (
    INFO_FILE,
    MODEL_FILE,
    CheckpointInfo,
    load_checkpoint,
    may_replace,
    save_checkpoint,
)
from edgesafe.train.config import read_config
from edgesafe.train.data.quadruplets import read_quadruplets
from edgesafe.train.evaluate import EncodeSettings, encode_split, metrics, training_bounds
from edgesafe.train.model import SafetyModel


def mean_of(checkpoints: list[Path]) -> tuple[SafetyModel, CheckpointInfo]:
    """Return the last checkpoint's model with the mean of all their weights, and its description.

    Raises:
        CheckpointError: A checkpoint cannot be read, or is of another kind than the last.
    """
    model, info = load_checkpoint(checkpoints[-1])
    states = [model.state_dict()]
    for path in checkpoints[:-1]:
        other, its = load_checkpoint(path)
        differs = [what for what, of in _KIND.items() if of(its) != of(info)]
        if differs:
            raise CheckpointError(
                f"{path} and {checkpoints[-1]} differ in their {' and '.join(differs)}. "
                "Name checkpoints of runs that started from one another (--init)."
            )
        states.append(other.state_dict())
    model.load_state_dict({name: _mean([state[name] for state in states]) for name in states[0]})
    return model, info


_KIND: dict[str, Callable[[CheckpointInfo], object]] = {
    "method": lambda info: info.method,
    "architecture": lambda info: info.architecture,
    "preprocessing": lambda info: info.preprocess,
    "geometry": lambda info: (
        info.geometry.get("model", "lorentz"),
        info.geometry.get("min_radius"),
    ),
    "concepts": lambda info: info.concepts,
}
"""What has to be the same, for weights to mean the same."""


def _mean(tensors: list[Tensor]) -> Tensor:
    last = tensors[0]
    if not last.is_floating_point():
        return last
    return torch.stack([tensor.double() for tensor in tensors]).mean(dim=0).to(last.dtype)


def _refuse(checkpoints: tuple[Path, ...], out: Path) -> None:
    places = [path.resolve() for path in checkpoints]
    if len(places) < 2 or len(set(places)) < len(places):
        raise UsageError("a mean needs at least two checkpoints, each named once")
    if out.resolve() in places:
        raise UsageError(f"--out {out} is one of the checkpoints: choose another name")
    if not may_replace(out):
        raise UsageError(f"--out {out} is there and is no checkpoint: choose another name")
    # What is written is a folder, put in place of one that may be there.
    check_writable(out.with_name(f"{out.name}.new"), "--out", make_folder=True)


def _told(checkpoint: Path) -> dict[str, str]:
    weights = (checkpoint / MODEL_FILE).read_bytes()
    return {"name": checkpoint.name, "sha256": sha256_hex(weights)}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "checkpoints",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Training records that the bounds of the classes are measured on.",
)
@click.option(
    "--val",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Validation records that the metrics are measured on.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Checkpoint to write.")
@click.option("--skip-bad", is_flag=True, help="Leave bad records out instead of refusing.")
def main(checkpoints: tuple[Path, ...], data: Path, val: Path, out: Path, skip_bad: bool) -> None:
    """Write the mean of the weights of CHECKPOINTS as one, replacing a checkpoint at --out."""
    _refuse(checkpoints, out)
    model, info = mean_of(list(checkpoints))
    where = checkpoints[-1] / INFO_FILE
    if not info.config:
        raise CheckpointError(
            f"{where} has no training configuration. Name checkpoints of `edgesafe train`."
        )
    config = read_config(info.config, f"{where}: config")
    settings = EncodeSettings(torch.device("cpu"), workers=config.data.workers)
    click.echo(f"reading {data} and {val}", err=True)
    training = read_quadruplets(data, config.data, skip_bad=skip_bad)
    held_out = read_quadruplets(val, config.data, skip_bad=skip_bad)
    click.echo("measuring the mean on both", err=True)
    bounds = training_bounds(
        model, training.records, settings, limit=config.train.bounds_records, seed=info.seed
    )
    embedded = encode_split(model, held_out.records, settings)
    found = metrics(embedded, held_out.records, model.curvature)
    described = {
        **training.describe(),
        "validation": held_out.describe(),
        "mean_of": [_told(path) for path in checkpoints],
    }
    info = dataclasses.replace(
        info, geometry=model.geometry(), bounds=bounds, metrics=found, data=described
    )
    save_checkpoint(out, model, info)
    click.echo(out)


if __name__ == "__main__":
    run(main)
