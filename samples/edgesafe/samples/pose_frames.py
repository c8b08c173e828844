"""Make samples/data/pose: rendered frames with known poses, for the demo.

    python -m edgesafe.samples.pose_frames MODELS --out samples/data/pose

MODELS is the folder ``models`` of the BOP data set LM-O. The parts stand on a table in the colours
of their scans, lit softly; photos of samples/data lie about and hang behind. The result is a BOP
data set of one split without the meshes, which are not the project's to hand on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesafe.calib.bop.models_info import MODELS_INFO
from edgesafe.calib.bop.scene import CAMERA, GT, GT_INFO
from edgesafe.calib.bop.writer import LabelledObject, box_of_mask
from edgesafe.calib.measure import sample_photos
from edgesafe.calib.render.camera_effects import CameraEffects, photograph
from edgesafe.calib.render.canvas import SAMPLES, Canvas, Silhouette, finer, silhouette
from edgesafe.calib.render.ground import Ground
from edgesafe.calib.render.options import LINEMOD, need_opencv
from edgesafe.calib.render.parts import Part, read_parts
from edgesafe.calib.render.photos import Photos
from edgesafe.calib.render.raster import rasterise
from edgesafe.calib.render.scene import Body, Scene, SceneOptions, random_scene
from edgesafe.calib.render.shade import Lamp, Lighting, Material, shade
from edgesafe.calib.render.surface import Surface
from edgesafe.cli import run
from edgesafe.runtime.files import atomic_folder

__all__ = ["FRAMES", "Look", "main", "render_frame"]

Array = NDArray[np.float64]
RGB8 = NDArray[np.uint8]

SCENES = SceneOptions(
    objects=(6, 7),
    distance=(520, 1000),
    table=1.0,
    upright=1.0,
    elevation=(28, 50),
    roll=2.0,
    border=0.09,
    occluders=(0, 0),
    clutter=(0, 0),
)
"""Parts with +z up on a table, hiding one another a little."""
EFFECTS = CameraEffects(
    defocus=0.6,
    motion_share=0.0,
    softness=1.0,
    noise=2.5,
    colour_noise=1.5,
    cast=0.04,
    exposure=0.15,
    gamma=0.08,
    sharpening=0.5,
    jpeg_share=0.0,
)
"""A decent camera."""
SPLIT = "val"  # tests are what wheels do not hold
_JPEG_QUALITY = 84
_MARGIN = 400  # how far beyond the border a part is drawn to learn its whole size, in samples
_MATERIAL = Material(0.08, 18.0)
_LIGHT = ((0.35, -0.45, 0.9), (-0.6, 0.3, 0.8))  # where the lamps are, ground frame


@dataclass(frozen=True)
class Look:
    """How a frame is set up.

    Attributes:
        seed: Decides where the parts stand.
        table: Its colour, or the photo that covers it.
        papers: Photos that lie on it.
        behind: The photo behind it.
    """

    seed: int
    table: tuple[int, int, int] | str
    papers: tuple[str, ...]
    behind: str


FRAMES = (
    Look(0, "grass", (), "coffee"),
    Look(5, (150, 140, 128), ("cat",), "camera"),
    Look(2, (70, 92, 84), ("astronaut", "coffee"), "rocket"),
    Look(19, (196, 190, 180), ("rocket", "cat"), "grass"),
)


def render_frame(look: Look, parts: Mapping[int, Surface]) -> tuple[RGB8, list[LabelledObject]]:
    """Return a frame (480, 640, 3) of LINEMOD's camera and what is in it.

    Args:
        look: How it is set up.
        parts: By number; each is in the frame at most once.
    """
    rng = np.random.default_rng(look.seed)
    scene = random_scene(parts, LINEMOD, SCENES, rng)
    assert scene.t_ground is not None
    lighting = _lighting(scene)
    canvas = Canvas(LINEMOD.width, LINEMOD.height)
    outlines: list[Silhouette] = []
    for owner, body in enumerate(scene.bodies):
        outlines.append(_draw(canvas, body, owner, lighting))
    background = _background(look, scene, rng)
    rgb = photograph(canvas.over(background), rng, EFFECTS)
    truth = [
        _truth(canvas, body, owner, outlines[owner]) for owner, body in enumerate(scene.bodies)
    ]
    return rgb, truth


def _lighting(scene: Scene) -> Lighting:
    up = scene.R_ground[:, 2]
    lamps = []
    for towards, strength in zip(_LIGHT, (0.5, 0.2), strict=True):
        turned = scene.R_ground @ (np.array(towards) / np.linalg.norm(towards))
        lamps.append(Lamp(tuple(turned), (strength, strength, 0.96 * strength)))
    return Lighting(tuple(up), (0.55, 0.56, 0.58), (0.32, 0.31, 0.3), tuple(lamps))


def _background(look: Look, scene: Scene, rng: np.random.Generator) -> RGB8:
    assert scene.t_ground is not None
    half = (620.0, 620.0)
    px_per_mm = float(LINEMOD.K[0, 0] / scene.t_ground[2])
    side = round(2 * half[0] * px_per_mm)
    if isinstance(look.table, str):
        texture = _photo(look.table, rng, side, side)
    else:
        grain = rng.normal(0, 4, (side, side, 1))
        texture = np.clip(np.array(look.table) + grain, 0, 255).astype(np.uint8)
    ground = Ground(half, px_per_mm, np.ascontiguousarray(texture))
    for name in look.papers:
        size = round(260 * px_per_mm)
        ground.lay_paper(rng, _photo(name, rng, size, size))
    lamp = np.array(_LIGHT[0])
    for body in scene.bodies:
        R = scene.R_ground.T @ body.R
        t = scene.R_ground.T @ (body.t - scene.t_ground)
        ground.cast_shadow(body.surface, R, t, lamp, 0.4, 9.0)
        ground.cast_shadow(body.surface, R, t, np.array([0, 0, 1.0]), 0.3, 6.0)
    behind = _photo(look.behind, rng, LINEMOD.width, LINEMOD.height)
    return ground.paint(behind, scene.R_ground, scene.t_ground, LINEMOD.K, np.ones(3))


def _photo(name: str, rng: np.random.Generator, width: int, height: int) -> RGB8:
    return Photos([sample_photos() / f"{name}.jpg"]).picture(rng, width, height)


def _draw(canvas: Canvas, body: Body, owner: int, lighting: Lighting) -> Silhouette:
    K = finer(LINEMOD.K)
    size = (LINEMOD.width * SAMPLES, LINEMOD.height * SAMPLES)
    buffers = rasterise(body.surface, body.R, body.t, K, *size, margin=_MARGIN)
    seen = canvas.claim(buffers, owner)
    canvas.paint(seen, shade(body.surface, seen, body.R, K, lighting, _MATERIAL))
    return silhouette(buffers)


def _truth(canvas: Canvas, body: Body, owner: int, outline: Silhouette) -> LabelledObject:
    assert body.part is not None
    x, y, w, h = box_of_mask(outline.mask)
    return LabelledObject(
        body.part,
        body.R,
        body.t,
        outline.in_frame(LINEMOD.width, LINEMOD.height),
        canvas.visible(owner, outline.window),
        (x + outline.window.x, y + outline.window.y, w, h),
        int(outline.mask.sum()),
    )


@click.command()
@click.argument("models", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to replace.")
def main(models: Path, out: Path) -> None:
    """Render the sample frames from MODELS, the folder models of LM-O."""
    need_opencv()
    parts = read_parts([models])
    surfaces = {part.obj_id: Surface.from_mesh(part.mesh) for part in parts}
    with atomic_folder(out, overwrite=True) as folder:
        shown = _write_frames(folder, surfaces)
        _write_models(folder, [part for part in parts if part.obj_id in shown])
        (folder / "ATTRIBUTION.md").write_text(_ATTRIBUTION, encoding="utf-8")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    click.echo(f"{len(FRAMES)} frames of {len(shown)} objects in {out}, {size / 1e3:.0f} kB")


def _write_frames(folder: Path, surfaces: Mapping[int, Surface]) -> set[int]:
    """Write the split and return the numbers of the objects in it."""
    place = folder / SPLIT / "000000"
    (place / "rgb").mkdir(parents=True)
    files: dict[str, dict[str, object]] = {GT: {}, GT_INFO: {}, CAMERA: {}}
    shown: set[int] = set()
    for number, look in enumerate(FRAMES):
        rgb, objects = render_frame(look, surfaces)
        encoded = BytesIO()
        Image.fromarray(rgb).save(encoded, "JPEG", quality=_JPEG_QUALITY, optimize=True)
        (place / "rgb" / f"{number:06d}.jpg").write_bytes(encoded.getvalue())
        files[GT][str(number)] = [one.truth() for one in objects]
        files[GT_INFO][str(number)] = [one.info() for one in objects]
        files[CAMERA][str(number)] = {"cam_K": LINEMOD.K.ravel().tolist(), "depth_scale": 1.0}
        shown |= {one.obj_id for one in objects}
    for name, content in files.items():
        lines = (f'"{key}": {json.dumps(value)}' for key, value in content.items())
        (place / name).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="ascii")
    camera = json.dumps(LINEMOD.to_dict(), indent=1)
    (folder / "camera.json").write_text(camera + "\n", encoding="ascii")
    return shown


def _write_models(folder: Path, parts: list[Part]) -> None:
    (folder / "models").mkdir()
    infos = {str(part.obj_id): part.info.to_json() for part in parts}
    (folder / "models" / MODELS_INFO).write_text(json.dumps(infos, indent=1) + "\n", "ascii")


_ATTRIBUTION = """\
# Sample frames of poses

The pictures below `val/` are renders of meshes of the data set LM-O of the BOP benchmark, made by
`python -m edgesafe.samples.pose_frames MODELS --out samples/data/pose`; sizes and symmetries in
`models/models_info.json` are those of that data set. No mesh and no photo of it is here.

* Meshes: E. Brachmann, A. Krull, F. Michel, S. Gumhold, J. Shotton, C. Rother, "Learning 6D Object
  Pose Estimation using 3D Object Coordinates", ECCV 2014, after S. Hinterstoisser, V. Lepetit,
  S. Ilic, S. Holzer, G. Bradski, K. Konolige, N. Navab, "Model Based Training, Detection and Pose
  Estimation of Texture-Less 3D Objects in Heavily Cluttered Scenes", ACCV 2012; BOP: Benchmark for
  6D Object Pose Estimation, <https://bop.felk.cvut.cz>. CC BY-SA 4.0.
* Photos on the tables and behind them: the plain ones of samples/data/photos, see
  [their attribution](../ATTRIBUTION.md); public domain and CC0 1.0.
* These renders, changed from the meshes by choosing poses, light and camera: CC BY-SA 4.0,
  <https://creativecommons.org/licenses/by-sa/4.0/>.
"""


if __name__ == "__main__":
    run(main)
