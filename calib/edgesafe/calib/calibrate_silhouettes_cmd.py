"""``edgesafe calibrate silhouettes``: outlines that poses are refined with, for a package."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["silhouettes"]


@click.command()
@click.argument("models", type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), required=True, help="Pose package.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Package to make.")
@click.option("--overwrite", is_flag=True, help="Replace an existing package.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
def silhouettes(models: Path, model: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    """Draw the meshes of MODELS from all sides and write the package's next release with them.

    MODELS is a folder of BOP with the meshes that the package was trained with (obj_000001.ply and
    so on, millimetres). With the outlines the runtime fits the poses of vote heads to the frame,
    which makes their depth much better; the meshes themselves stay here. The networks stay as they
    are.
    """
    from edgesafe.calib.next_release import check_out, next_fields
    from edgesafe.calib.pose_silhouettes import draw_objects
    from edgesafe.runtime.errors import UsageError
    from edgesafe.runtime.package import read_pose_package, write_pose_package

    check_out(out, overwrite=overwrite)
    package = read_pose_package(model)
    if not any(network.head == "vote" for network in package.manifest.networks):
        raise UsageError(
            f"{model} has a direct head, whose poses have no covariance to be refined with: "
            "outlines are for vote heads"
        )
    fields = next_fields(package)
    old = {entry.silhouettes for entry in package.manifest.objects}
    kept = {name: content for name, content in package.files.items() if name not in old}
    fields["objects"], drawn = draw_objects(
        fields["objects"], models, lambda line: click.echo(line, err=True)
    )
    made = write_pose_package(out, fields, {**kept, **drawn}, overwrite=overwrite)
    size = sum(len(content) for content in drawn.values())
    if as_json:
        summary = {"package": made.manifest.identity, "path": str(out), "bytes": size}
        click.echo(json.dumps(summary))
    else:
        click.echo(f"written: {out}  {made.manifest.identity}, outlines of {size / 1e6:.1f} MB")
