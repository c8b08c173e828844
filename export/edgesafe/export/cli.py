"""``edgesafe export``: a checkpoint becomes a model package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgesafe.export.bundles.options import bundle_options
from edgesafe.export.exporter import Exported, ExportOptions, export_package
from edgesafe.export.graph import MAXIMUM_OPSET, MINIMUM_OPSET
from edgesafe.export.pose import export_pose_package
from edgesafe.export.pose_report import pose_summary, pose_table, read_pose_options
from edgesafe.export.source import known_source
from edgesafe.export.storage import STORAGES, Storage
from edgesafe.export.text_encoder import text_encoder_option
from edgesafe.export.trt.options import trt_options
from edgesafe.export.typed_options import precision_options
from edgesafe.runtime.errors import EdgesafeError, UsageError
from edgesafe.runtime.fields import Fields, parse_json
from edgesafe.train.pose.checkpoint import is_pose_checkpoint

__all__ = ["export"]

_CARD_KEYS = ("intended_use", "limits")


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Package to make.")
@click.option(
    "--image-storage",
    type=click.Choice(STORAGES),
    default="fp32",
    show_default=True,
    help="How the weights of the image tower are stored.",
)
@click.option(
    "--text-storage",
    type=click.Choice(STORAGES),
    default="fp32",
    show_default=True,
    help="How the weights of the text tower are stored.",
)
@click.option(
    "--storage",
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Of a pose checkpoint: how the weights of its networks are stored.  [default: fp32]",
)
@click.option(
    "--views",
    type=click.Choice(["1", "5"]),
    help="Of a pose checkpoint: looks at each region whose votes are averaged; five take five "
    "times as long and bring accuracy.  [default: 1]",
)
@click.option(
    "--meshes",
    type=click.Path(path_type=Path),
    help="Of a pose checkpoint: folder models of its data set; outlines drawn from the meshes go "
    "into the package, and refine its poses.",
)
@click.option("--name", help="Of the package.  [default: the name of its folder]")
@click.option(
    "--release",
    type=click.IntRange(1),
    help="Rising number.  [default: 1, or one more than that of the replaced package]",
)
@click.option(
    "--thresholds",
    type=click.Path(path_type=Path),
    help="JSON file with calibrated thresholds; without one every verdict is undecided.",
)
@click.option(
    "--gates",
    type=click.Path(path_type=Path),
    help="Of a pose checkpoint: JSON file with gates that differ from the default ones.",
)
@click.option(
    "--card",
    type=click.Path(path_type=Path),
    help="JSON file with intended_use (text) and limits (list of texts), for a person; of a pose "
    "checkpoint also weights (licence, origin, notice).",
)
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    help="Folder of photos to measure the export on, besides drawn pictures.",
)
@click.option(
    "--opset",
    type=click.IntRange(MINIMUM_OPSET, MAXIMUM_OPSET),
    default=MINIMUM_OPSET,
    show_default=True,
    help="Version of the standard ONNX operators.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing package.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
@known_source
@bundle_options
@trt_options
@text_encoder_option
@precision_options
def export(
    checkpoint: Path,
    out: Path | None,
    image_storage: Storage,
    text_storage: Storage,
    storage: Storage | None,
    views: str | None,
    meshes: Path | None,
    name: str | None,
    release: int | None,
    thresholds: Path | None,
    gates: Path | None,
    card: Path | None,
    photos: Path | None,
    opset: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Turn CHECKPOINT, or a package, into a model package.

    The networks of a checkpoint become ONNX graphs of standard operators; what they answer in
    float32 is compared with the checkpoint in float64. A package in float32 becomes one of another
    --precision, compared with itself. It is opened as a device opens it before it takes its name.
    """
    if out is None:
        raise UsageError("--out DIR is needed: the package to make")
    if is_pose_checkpoint(checkpoint):
        if thresholds is not None or (image_storage, text_storage) != ("fp32", "fp32"):
            raise UsageError(
                "--thresholds, --image-storage and --text-storage are of moderation; a pose "
                "checkpoint takes --gates and --storage."
            )
        pose_options = read_pose_options(
            card,
            gates,
            name=name,
            release=release,
            storage=storage or "fp32",
            views=int(views or 1),
            opset=opset,
            photos=photos,
            meshes=meshes,
            overwrite=overwrite,
        )
        posed = export_pose_package(
            checkpoint, out, pose_options, progress=lambda stage: click.echo(stage, err=True)
        )
        click.echo(json.dumps(pose_summary(posed)) if as_json else pose_table(posed))
        return
    if any(one is not None for one in (storage, gates, views, meshes)):
        raise UsageError(
            "--storage, --views, --meshes and --gates are of pose checkpoints; this one takes "
            "--image-storage, --text-storage and --thresholds."
        )
    card_fields = _read(card, _CARD_KEYS)
    chosen: dict[str, Any] = {}
    if card_fields is not None and "intended_use" in card_fields:
        chosen["intended_use"] = card_fields.text("intended_use")
    if card_fields is not None and "limits" in card_fields:
        chosen["limits"] = card_fields.texts("limits")
    found = _read(thresholds, ("image", "text"))
    options = ExportOptions(
        name=name,
        release=release,
        image_storage=image_storage,
        text_storage=text_storage,
        opset=opset,
        thresholds=found.value if found else {},
        photos=photos,
        overwrite=overwrite,
        **chosen,
    )
    result = export_package(
        checkpoint, out, options, progress=lambda stage: click.echo(stage, err=True)
    )
    click.echo(json.dumps(_summary(result)) if as_json else _table(result))
    weights = result.package.manifest.weights
    if "-NC" in weights.licence.upper():
        click.echo(
            f"the weights are {weights.licence}: not for commercial use ({weights.origin[0]})",
            err=True,
        )


def _read(path: Path | None, keys: tuple[str, ...]) -> Fields | None:
    if path is None:
        return None
    try:
        fields = parse_json(path.read_bytes(), str(path))
        fields.only(*keys)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except EdgesafeError as error:
        raise UsageError(str(error)) from None
    return fields


def _summary(result: Exported) -> dict[str, Any]:
    manifest = result.package.manifest
    return {
        "package": str(result.package.path),
        "identity": manifest.identity,
        "bytes": {name: entry.size for name, entry in manifest.files.items()},
        "parity": {name: parity.to_json() for name, parity in result.parity.items()},
        "storage_effect": {name: effect.to_json() for name, effect in result.effect.items()},
        "thresholds": sorted(manifest.thresholds),
    }


def _table(result: Exported) -> str:
    manifest = result.package.manifest
    size = sum(entry.size for entry in manifest.files.values())
    lines = [f"{result.package.path}  {manifest.identity}  {size / 1e6:.1f} MB"]
    for name, parity in result.parity.items():
        line = f"  {name:5}  parity {parity.max_relative_error:.1e} over {parity.n} inputs"
        effect = result.effect.get(name)
        if effect:
            if effect.root_distance_shift_max is not None:
                line += (
                    f"; storage shifts the radius by {effect.root_distance_shift_max:.1e} at most"
                )
            line += f"; cosine of stored and original {effect.cosine_min:.6f} at least"
        lines.append(line)
    missing = sorted({"image", "text"} - set(manifest.thresholds))
    if missing and manifest.method == "safeclip":
        lines.append("  no probe: `edgesafe calibrate probe DATA --model PKG --out PKG2` adds one")
    elif missing:
        lines.append(f"  no threshold for {' and '.join(missing)}: verdicts will be undecided")
    return "\n".join(lines)
