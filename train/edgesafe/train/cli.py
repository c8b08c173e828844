"""``edgesafe train``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgesafe.train.config import RunConfig, load_config
from edgesafe.train.pose.command import pose


@click.group()
def train() -> None:
    """Train a model."""


train.add_command(pose)


_OPTIONS = (
    click.option(
        "--config",
        "config_file",
        required=True,
        type=click.Path(path_type=Path),
        help="TOML or JSON file with what differs from the defaults.",
    ),
    click.option(
        "--data",
        required=True,
        type=click.Path(path_type=Path),
        help="Records (.jsonl, .json, .parquet), or a folder with train.* and val.*.",
    ),
    click.option(
        "--out", required=True, type=click.Path(path_type=Path), help="The checkpoint to write."
    ),
    click.option(
        "--val",
        "validation",
        type=click.Path(path_type=Path),
        help="Validation records; they pick the kept epoch.",
    ),
    click.option("--safe-images", multiple=True, help="Path template of safe images, {coco_id}."),
    click.option("--unsafe-images", multiple=True, help="Path template of unsafe images."),
    click.option(
        "--init",
        type=click.Path(path_type=Path),
        help="Checkpoint to start from, instead of the pretrained towers; its architecture is that "
        "of a configuration that names none.",
    ),
    click.option("--resume", is_flag=True, help="Go on where the run that wrote --out stopped."),
    click.option("--skip-bad", is_flag=True, help="Leave bad records out instead of refusing."),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where to train.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the result as a line of JSON."),
)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@train.command()
@_options
def hysac(**options: Any) -> None:
    """Train HySAC on quadruplets of safe and unsafe images and texts.

    Writes the checkpoint OUT, and beside it OUT.run with the log and what --resume needs. Start
    it under `accelerate launch` or `torchrun` for several devices.
    """
    _train("hysac", **options)


@train.command()
@_options
def safeclip(**options: Any) -> None:
    """Train Safe-CLIP: unsafe content is redirected to its safe counterpart.

    The same data, options and files as those of `edgesafe train hysac`. The embeddings have no
    distance from a root: `moderate` judges them with a probe, which `edgesafe calibrate probe`
    adds to the exported package.
    """
    _train("safeclip", **options)


@train.command()
@_options
def clip(**options: Any) -> None:
    """Train plain CLIP on the same quadruplets, as a baseline without any safety.

    The same data, options and files as those of `edgesafe train hysac`.
    """
    _train("clip", **options)


def _train(
    method: str,
    *,
    config_file: Path,
    data: Path,
    out: Path,
    validation: Path | None,
    safe_images: tuple[str, ...],
    unsafe_images: tuple[str, ...],
    init: Path | None,
    resume: bool,
    skip_bad: bool,
    device: str,
    as_json: bool,
) -> None:
    from torch import distributed as dist

    from edgesafe.train import engine
    from edgesafe.train.checkpoint import read_info

    start = read_info(init).architecture if init is not None else None
    config = load_config(config_file, method, start)
    config = _with_templates(config, safe_images, unsafe_images)
    result = engine.train(
        config,
        data,
        out,
        validation=validation,
        resume=resume,
        skip_bad=skip_bad,
        device=device,
        init=init,
    )
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    if not result.main:
        return
    if result.ended == "interrupted":
        click.echo(f"Stopped at step {result.steps}; go on with --resume.", err=True)
        raise click.Abort
    if as_json:
        plain = {**dataclasses.asdict(result), "checkpoint": str(result.checkpoint)}
        click.echo(json.dumps(plain))
        return
    click.echo(f"{result.checkpoint}: {result.steps} steps, ended by {result.ended}")
    for name in ("recall_sum", "auc_image", "auc_text"):
        if name in result.metrics:
            click.echo(f"  {name:<11}{result.metrics[name]:.4f}")


def _with_templates(
    config: RunConfig, safe_images: tuple[str, ...], unsafe_images: tuple[str, ...]
) -> RunConfig:
    data = dataclasses.replace(
        config.data,
        safe_images=safe_images or config.data.safe_images,
        unsafe_images=unsafe_images or config.data.unsafe_images,
    )
    return dataclasses.replace(config, data=data)
