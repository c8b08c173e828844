"""``edgesafe render``: from the meshes of parts to a BOP data set to train on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Literal

import click

from edgesafe.runtime.finite_range import FiniteRange

__all__ = ["render"]


@click.command()
@click.argument("meshes", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--frames", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option(
    "--symmetry",
    multiple=True,
    metavar="ID:AXIS",
    help="E.g. 3:z2 (half a turn about z), 3:zinf (round), 3:x2,z2. May be repeated.",
)
@click.option(
    "--ids",
    metavar="N,N…",
    help="Numbers of the objects, in the order of the files; of a folder, those to take.",
)
@click.option(
    "--scale",
    type=FiniteRange(min=0, min_open=True),
    default=1.0,
    help="From the unit of the meshes to millimetres; metres: 1000.",
)
@click.option(
    "--camera",
    type=click.Path(path_type=Path),
    help="JSON as of `edgesafe calibrate camera`. [default: the camera of LINEMOD, 640 x 480]",
)
@click.option("--size", metavar="WxH", help="Another resolution; K is scaled with it.")
@click.option(
    "--photos",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of photos for backgrounds and textures; may be repeated. [default: noise]",
)
@click.option(
    "--board",
    type=click.Path(path_type=Path),
    help="JSON of a marker board that lies under the parts in some frames.",
)
@click.option(
    "--board-fixed",
    multiple=True,
    metavar="[ID:]X,Y,DEGREES",
    help="In every frame the board lies under one upright part that never moves against it, as in "
    "LINEMOD: its origin at X, Y mm of the board, turned by DEGREES. May be repeated for parts.",
)
@click.option(
    "--distance",
    nargs=2,
    type=FiniteRange(min=0, min_open=True),
    metavar="MIN MAX",
    help="Depths of the parts, mm. [default: 2.5 to 8 times the largest part]",
)
@click.option(
    "--objects", nargs=2, type=click.IntRange(min=1), default=(6, 10), show_default=True,
    metavar="MIN MAX", help="Parts in a frame.",
)  # fmt: skip
@click.option(
    "--upright", type=FiniteRange(0, 1), default=0.7, show_default=True,
    help="Share of parts with +z up, seen from above; the others are turned anyhow.",
)  # fmt: skip
@click.option(
    "--table", type=FiniteRange(0, 1), default=0.6, show_default=True,
    help="Share of frames in which the parts stand on a table.",
)  # fmt: skip
@click.option(
    "--board-share", type=FiniteRange(0, 1), default=0.35, show_default=True,
    help="Share of the tables with the board.",
)  # fmt: skip
@click.option(
    "--occluders", nargs=2, type=click.IntRange(min=0), default=(0, 4), show_default=True,
    metavar="MIN MAX", help="Things put before a part.",
)  # fmt: skip
@click.option(
    "--clutter", nargs=2, type=click.IntRange(min=0), default=(4, 14), show_default=True,
    metavar="MIN MAX", help="Other things about the parts.",
)  # fmt: skip
@click.option(
    "--picture", type=click.Choice(["jpg", "png"]), default="jpg", show_default=True,
    help="Format of the frames.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
def render(
    meshes: tuple[Path, ...],
    out: Path,
    frames: int,
    symmetry: tuple[str, ...],
    ids: str | None,
    scale: float,
    camera: Path | None,
    size: str | None,
    photos: tuple[Path, ...],
    board: Path | None,
    board_fixed: tuple[str, ...],
    distance: tuple[float, float] | None,
    objects: tuple[int, int],
    upright: float,
    table: float,
    board_share: float,
    occluders: tuple[int, int],
    clutter: tuple[int, int],
    picture: Literal["jpg", "png"],
    seed: int,
    jobs: int,
) -> None:
    """Render training images of parts: MESH is a PLY file, or a models folder of BOP.

    The data set has masks, boxes and visible fractions. An interrupted run goes on where it was
    when the same command is given again.
    """
    from edgesafe.calib.render import options
    from edgesafe.calib.render.camera_effects import CameraEffects
    from edgesafe.calib.render.dataset import Job, render_dataset
    from edgesafe.calib.render.parts import read_parts
    from edgesafe.calib.render.scene import SceneOptions
    from edgesafe.calib.render.symmetry import parse_symmetries

    options.need_opencv()
    lens = options.lens(camera, size)
    parts = read_parts(
        meshes,
        ids=options.numbers(ids, "--ids"),
        scale=scale,
        symmetries=parse_symmetries(symmetry),
    )
    scenes = SceneOptions(
        objects=options.rising(objects, "--objects"),
        distance=options.distance(distance, parts),
        table=table,
        board=board_share,
        upright=upright,
        occluders=options.rising(occluders, "--occluders"),
        clutter=options.rising(clutter, "--clutter"),
    )
    if board_fixed:
        scenes = options.fixed_to_board(scenes, board_fixed, [part.obj_id for part in parts], board)
    job = Job(
        parts,
        lens,
        tuple(str(folder) for folder in photos),
        None if board is None else str(board),
        scenes,
        CameraEffects(),
        seed,
        picture,
    )
    terminal = sys.stderr.isatty()
    start = time.monotonic()

    def show(done: int) -> None:
        if terminal:
            click.echo(f"\r{done}/{frames} frames", nl=False, err=True)

    made = render_dataset(job, out, frames, jobs=jobs, progress=show)
    if terminal:
        click.echo("\r\x1b[K", nl=False, err=True)
    seconds = time.monotonic() - start
    kept = f", {frames - made} from before" if made < frames else ""
    click.echo(
        f"{out}: {frames} frames of {len(parts)} objects{kept} "
        f"({seconds / max(made, 1):.2f} s a frame)"
    )
