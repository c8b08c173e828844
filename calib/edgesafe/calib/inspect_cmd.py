"""``edgesafe inspect``: a model package, a checkpoint or a data set of poses, for a person."""

from __future__ import annotations

from pathlib import Path

import click

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.inspect_cmd import inspect as inspect_package

__all__ = ["inspect"]


@click.command()
@click.argument(
    "path", metavar="[PKG|CKPT|DATASET]", required=False, type=click.Path(path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
@click.option(
    "--allow-hard-links",
    is_flag=True,
    help="Of a package: accept files that have other names on this disk.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Of a data set: folder for pictures with the annotations drawn over.",
)
@click.pass_context
def inspect(
    ctx: click.Context,
    path: Path | None,
    as_json: bool,
    allow_hard_links: bool,
    out: Path | None,
) -> None:
    """Show what is in a model package, a checkpoint or a BOP data set; else in the sample package.

    Every file of a package is verified. Of a checkpoint only checkpoint.json is read. Of a data set
    the cameras, units, meshes, poses, boxes, masks and splits are checked.
    """
    if path is not None and _is_dataset(path):
        if allow_hard_links:
            raise UsageError(f"--allow-hard-links is for packages, and {path} is a data set")
        from edgesafe.calib.bop.inspect import inspect_dataset

        inspect_dataset(path, out, as_json)
        return
    if out is not None:
        raise UsageError(
            f"--out is for BOP data sets (SPLIT/%06d/scene_camera.json), and "
            f"{path or 'the sample package'} is none"
        )
    ctx.invoke(inspect_package, path=path, as_json=as_json, allow_hard_links=allow_hard_links)


def _is_dataset(path: Path) -> bool:
    from edgesafe.calib.bop.inspect import is_dataset

    return is_dataset(path)
