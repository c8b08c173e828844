"""The mean of the weights of checkpoints that started from one another, as one checkpoint.

    python -m edgesafe.train.soup A B --data TRAIN.jsonl --val VAL.jsonl --out OUT

Runs from the same start lie in one valley of the loss, and the mean of their weights generalises
better than each (Wortsman et al., Model soups, ICML 2022). What a checkpoint says of itself, the
bounds of the four classes and the metrics, is measured anew.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import torch
from torch import Tensor

from edgesafe.cli import run
from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.checkpoint import INFO_FILE, CheckpointInfo, load_checkpoint, save_checkpoint
from edgesafe.train.config import read_config
from edgesafe.train.data.quadruplets import read_quadruplets
from edgesafe.train.evaluate import EncodeSettings, encode_split, metrics, training_bounds
from edgesafe.train.model import SafetyModel


def mean_of(checkpoints: list[Path]) -> tuple[SafetyModel, CheckpointInfo]:
    """Return the last checkpoint's model with the mean of all their weights, and its description.

    Raises:
        CheckpointError: A checkpoint cannot be read, or is of another architecture.
    """
    model, info = load_checkpoint(checkpoints[-1])
    states = [model.state_dict()]
    for path in checkpoints[:-1]:
        other, its = load_checkpoint(path)
        if (its.architecture, its.preprocess) != (info.architecture, info.preprocess):
            raise CheckpointError(
                f"{path} has other towers than {checkpoints[-1]}: a mean needs the same ones."
            )
        states.append(other.state_dict())
    model.load_state_dict({name: _mean([state[name] for state in states]) for name in states[0]})
    return model, info


def _mean(tensors: list[Tensor]) -> Tensor:
    first = tensors[0]
    if not first.is_floating_point():
        return first
    return torch.stack([tensor.double() for tensor in tensors]).mean(dim=0).to(first.dtype)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "checkpoints", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Training records that the bounds of the classes are measured on.",
)
@click.option(
    "--val",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Validation records that the metrics are measured on.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Checkpoint to write.")
def main(checkpoints: tuple[Path, ...], data: Path, val: Path, out: Path) -> None:
    """Write the mean of the weights of CHECKPOINTS as one, replacing a checkpoint at --out."""
    if len(checkpoints) < 2:
        raise click.UsageError("a mean needs at least two checkpoints")
    if out.exists() and not (out / INFO_FILE).is_file():
        raise click.UsageError(f"{out} is there and is no checkpoint: choose another name")
    model, info = mean_of(list(checkpoints))
    config = read_config(info.config)
    settings = EncodeSettings(torch.device("cpu"), workers=config.data.workers)
    training = read_quadruplets(data, config.data)
    held_out = read_quadruplets(val, config.data)
    bounds = training_bounds(
        model, training.records, settings, limit=config.train.bounds_records, seed=info.seed
    )
    embedded = encode_split(model, held_out.records, settings)
    found = metrics(embedded, held_out.records, model.curvature)
    described = {
        **training.describe(),
        "validation": held_out.describe(),
        "mean_of": [path.name for path in checkpoints],
    }
    info = dataclasses.replace(
        info, geometry=model.geometry(), bounds=bounds, metrics=found, data=described
    )
    save_checkpoint(out, model, info)
    click.echo(out)


if __name__ == "__main__":
    run(main)
