"""``edgesafe train pose``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

__all__ = ["pose"]


@click.command()
@click.option(
    "--config",
    "config_file",
    required=True,
    type=click.Path(path_type=Path),
    help="TOML or JSON file with what differs from the defaults.",
)
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="BOP data set with masks; may be given several times, and names follow it too.",
)
@click.argument("more_data", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The checkpoint to write."
)
@click.option(
    "--val",
    "validation",
    type=click.Path(path_type=Path),
    help="BOP data set to validate on, instead of frames held out.",
)
@click.option(
    "--split",
    type=click.Path(path_type=Path),
    help="List of the frames to train on, e.g. LINEMOD's usual 15 %; a file, or a folder of them.",
)
@click.option(
    "--photos",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of photos for backgrounds; may be given several times.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Folder for cut-out pieces of the data, to be shared by runs.  [default: OUT.run/cache]",
)
@click.option("--only", type=click.Choice(["roi", "detector"]), help="Train one network alone.")
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    help="Checkpoint to start from, instead of pretrained or random weights.",
)
@click.option("--resume", is_flag=True, help="Go on where the run that wrote --out stopped.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to train.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: torch's choice]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as a line of JSON.")
def pose(
    config_file: Path,
    data: tuple[Path, ...],
    more_data: tuple[Path, ...],
    out: Path,
    validation: Path | None,
    split: Path | None,
    photos: tuple[Path, ...],
    cache: Path | None,
    only: str | None,
    init: Path | None,
    resume: bool,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train the networks that find known objects and their 6D poses.

    Reads BOP data sets with masks, as `edgesafe render` makes them. Writes the checkpoint OUT, and
    beside it OUT.run with logs and what --resume needs. Start it under `accelerate launch` or
    `torchrun` for several devices.
    """
    import torch
    from torch import distributed as dist

    from edgesafe.train.pose.config import load_pose_config
    from edgesafe.train.pose.engine import train_pose

    if threads is not None:
        torch.set_num_threads(threads)
    result = train_pose(
        load_pose_config(config_file),
        (*data, *more_data),
        out,
        validation=validation,
        split=split,
        photos=photos,
        cache=cache,
        resume=resume,
        init=init,
        only=only,
        device=device,
    )
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    if not result.main:
        return
    if result.interrupted:
        last = result.networks[-1]
        click.echo(f"Stopped at step {last.steps} of {last.name}; go on with --resume.", err=True)
        raise click.Abort
    if as_json:
        plain = {**dataclasses.asdict(result), "checkpoint": str(result.checkpoint)}
        click.echo(json.dumps(plain))
        return
    click.echo(f"{result.checkpoint}:")
    for network in result.networks:
        told = ", ".join(f"{n} {v:.3f}" for n, v in network.metrics.items() if "/" not in n)
        click.echo(
            f"  {network.name}: {network.steps} steps, ended by {network.ended}"
            + (f"; {told}" if told else "")
        )
