"""Keep a checkpoint in half precision: half the bytes, for a repository.

    python -m edgesafe.samples.keep_checkpoint CKPT OUT

Adapters are merged already; vectors and scalars stay float32.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from edgesafe.cli import run
from edgesafe.train.checkpoint import load_checkpoint, may_replace, save_checkpoint


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(checkpoint: Path, out: Path) -> None:
    """Write CHECKPOINT as OUT with its matrices in float16, replacing a checkpoint there."""
    if not may_replace(out):
        raise click.UsageError(f"{out} is there and is no checkpoint: choose another name")
    model, info = load_checkpoint(checkpoint)
    save_checkpoint(out, model, info, dtype=torch.float16)
    click.echo(out)


if __name__ == "__main__":
    run(main)
