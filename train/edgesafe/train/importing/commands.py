"""``edgesafe import hysac``, ``safeclip``, ``openclip`` and ``meru``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgesafe.runtime.errors import UsageError
from edgesafe.train.checkpoint import INFO_FILE, may_replace, save_checkpoint
from edgesafe.train.importing import hysac as hysac_release
from edgesafe.train.importing import meru as meru_release
from edgesafe.train.importing import openclip as openclip_release
from edgesafe.train.importing import safeclip as safeclip_release
from edgesafe.train.importing.released import Imported
from edgesafe.train.importing.source import locate

__all__ = ["hysac", "meru", "openclip", "safeclip"]


def _common(command: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print the result as a line of JSON."),
        click.option("--overwrite", is_flag=True, help="Replace a checkpoint."),
        click.option("--licence", help="Of the weights, where you know better than the default."),
        click.option(
            "--out", required=True, type=click.Path(path_type=Path), help="Checkpoint to write."
        ),
        click.argument("path"),
    ):
        command = decorate(command)
    return command


@click.command()
@_common
@click.option(
    "--bounds",
    type=click.Path(path_type=Path),
    help="hysac_bounds.json, where it does not lie beside the weights.",
)
@click.option(
    "--base", help="Folder of openai/clip-vit-large-patch14, to compare what is frozen with."
)
def hysac(path: str, bounds: Path | None, base: str | None, **options: Any) -> None:
    """Make a checkpoint of the released HySAC.

    PATH is a folder with hysac_model.pth and hysac_bounds.json, that file, or a repository of the
    Hugging Face hub. Its adapters are merged.
    """
    source = locate(path, hysac_release.FILES)
    compared = None
    if base is not None:
        compared = safeclip_release.transformers_weights(locate(base, ("model.safetensors",)))
    _write(hysac_release.import_hysac(source, bounds=bounds, base=compared), **options)


@click.command()
@_common
def safeclip(path: str, **options: Any) -> None:
    """Make a checkpoint of a released Safe-CLIP.

    PATH is a folder of transformers' CLIPModel (safetensors or bin), open_clip_pytorch_model.bin,
    or a repository of the Hugging Face hub, such as aimagelab/safeclip_vit-l_14.
    """
    _write(safeclip_release.import_safeclip(locate(path, safeclip_release.FILES)), **options)


@click.command()
@_common
@click.option("--architecture", help="open_clip's name of it, such as ViT-B-32.")
@click.option(
    "--quick-gelu/--gelu",
    default=None,
    help="Activation of the MLPs.  [default: what the architecture says]",
)
def openclip(path: str, architecture: str | None, quick_gelu: bool | None, **options: Any) -> None:
    """Make a checkpoint of open_clip's weights: a baseline, or the start of a training.

    PATH is a folder with open_clip_config.json, a file of weights (then with --architecture), or a
    repository of the Hugging Face hub.
    """
    source = locate(path, openclip_release.FILES)
    done = openclip_release.import_openclip(
        source, architecture=architecture, quick_gelu=quick_gelu, licence=options["licence"]
    )
    _write(done, **options)


@click.command()
@_common
def meru(path: str, **options: Any) -> None:
    """Make a checkpoint of a released MERU, or of its CLIP baseline.

    PATH is its .pth file.
    """
    _write(meru_release.import_meru(locate(path, meru_release.FILES)), **options)


def _write(
    imported: Imported, *, out: Path, licence: str | None, overwrite: bool, as_json: bool
) -> None:
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists already: choose another name or pass --overwrite")
    if not may_replace(out):
        raise UsageError(f"{out} holds no {INFO_FILE}: only a checkpoint is overwritten")
    info = imported.info
    if licence is not None:
        weights = {**info.weights, "licence": licence}
        architecture = {**info.architecture, "weights": weights}
        info = dataclasses.replace(info, weights=weights, architecture=architecture)
    save_checkpoint(out, imported.model, info)
    for note in imported.notes:
        click.echo(f"note: {note}", err=True)
    shown = {
        "checkpoint": str(out),
        "method": info.method,
        "architecture": str(info.architecture["name"]).partition(":")[2],
        "dim": info.geometry["dim"],
        "curvature": info.geometry.get("curvature"),
        "licence": info.weights["licence"],
        "origin": list(info.weights["origin"]),
        "notes": list(imported.notes),
    }
    if as_json:
        click.echo(json.dumps(shown))
        return
    click.echo(
        f"{out}: {info.method}, {shown['architecture']}, {shown['dim']} dimensions\n"
        f"  licence {shown['licence']}; {'; '.join(shown['origin'])}"
    )
