"""Another detector for a pose package, whose other networks stay as they are.

    python -m edgesafe.export.pose_detector PKG CHECKPOINT --out PKG

A detector is trained apart from the networks of the regions (``edgesafe train pose --only
detector``), on other data and more often.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgesafe.calib.next_release import check_out, next_fields
from edgesafe.cli import run
from edgesafe.export.pose import (
    PoseExportOptions,
    describe_network,
    export_network,
    probe_pictures,
)
from edgesafe.export.storage import Storage
from edgesafe.runtime.errors import EdgesafeError, ExportError
from edgesafe.runtime.files import atomic_folder, canonical_json
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.runtime.package import PosePackage, read_pose_package, write_pose_package
from edgesafe.runtime.pose.estimator import PoseEstimator
from edgesafe.train.pose.checkpoint import load_pose_checkpoint

__all__ = ["replace_detector"]


def replace_detector(
    package: PosePackage,
    checkpoint: Path | str,
    out: Path | str,
    *,
    storage: Storage = "fp16",
    box_sd: float | None = None,
    overwrite: bool = False,
) -> PosePackage:
    """Writes the next release of a package with the detector of a checkpoint.

    Args:
        package: The present release, verified.
        checkpoint: Folder with a detector of objects that the package knows.
        out: The folder to make.
        storage: How the detector's weights are stored.
        box_sd: How exact its boxes are, instead of what its configuration says.
        overwrite: Replace an existing package.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        ExportError: It has no detector, or one of other objects; the export does not compute the
            same; the runtime would refuse the result.
        UsageError: ``out`` exists and is not to be, or cannot be, overwritten.
    """
    target = Path(out)
    check_out(target, overwrite=overwrite)
    found = load_pose_checkpoint(checkpoint)
    infos = [info for info in found.networks if info.kind == "detector"]
    if not infos:
        raise ExportError(f"{checkpoint} holds no detector: train one with a table [detector]")
    info = infos[0]
    known = {entry.id for entry in package.manifest.objects}
    strange = sorted(set(info.objects) - known)
    if strange:
        raise ExportError(
            f"the detector of {checkpoint} finds the objects {strange}, which {package.path} does "
            f"not know; it knows {sorted(known)}"
        )
    options, fields = PoseExportOptions(storage=storage), next_fields(package)
    name, release = package.manifest.name, fields["release"]
    one = export_network(found, info, probe_pictures(options), options, name, release)
    old = (fields.get("detector") or {}).get("file")
    fields["detector"] = describe_network(one, options)
    if box_sd is not None:
        fields["detector"]["box_sd"] = box_sd
    parity = {file: value for file, value in fields["parity"].items() if file != old}
    fields["parity"] = {**parity, one.file: one.parity.to_json()}
    training = dict(fields["training"])
    training["networks"] = {
        **training.get("networks", {}),
        info.name: {
            "architecture": dict(info.architecture),
            "config": dict(info.config),
            "metrics": dict(info.metrics),
            "data": dict(found.data),
            "seed": found.seed,
        },
    }
    fields["training"] = training
    golden = json.loads(package.files[package.manifest.golden])
    golden["detector"] = one.golden
    files = {file: data for file, data in package.files.items() if file != old}
    files |= {one.file: one.onnx, package.manifest.golden: canonical_json(golden)}
    with atomic_folder(target, overwrite=overwrite) as folder:
        made = write_pose_package(folder, fields, files, overwrite=True)
        try:
            PoseEstimator.load(made, backend="cpu", threads=1)
        except EdgesafeError as error:
            raise ExportError(f"the runtime would refuse the new package: {error}") from error
    return read_pose_package(target)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("package", type=click.Path(path_type=Path))
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Package to write.")
@click.option(
    "--storage", type=click.Choice(["fp32", "fp16"]), default="fp16", show_default=True,
    help="How the detector's weights are stored.",
)  # fmt: skip
@click.option(
    "--box-sd",
    type=FiniteRange(0.001, 0.5),
    metavar="SHARE",
    help="Standard deviation of the edges of its boxes, as a share of the longer side.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing package.")
def main(
    package: Path,
    checkpoint: Path,
    out: Path,
    storage: Storage,
    box_sd: float | None,
    overwrite: bool,
) -> None:
    """Write the next release of the pose package PACKAGE with the detector of CHECKPOINT."""
    made = replace_detector(
        read_pose_package(package),
        checkpoint,
        out,
        storage=storage,
        box_sd=box_sd,
        overwrite=overwrite,
    )
    click.echo(made.manifest.identity)


if __name__ == "__main__":
    run(main)
