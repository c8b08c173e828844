"""The sample frames are made anew from meshes; here from a box and a pyramid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgesafe.calib.bop import BopDataset
from edgesafe.calib.render.options import LINEMOD
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.mesh import Mesh, write_ply
from edgesafe.samples import pose_frames
from edgesafe.samples.pose_frames import FRAMES, main, render_frame

SIDES = np.array(
    [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
)


def box(size: tuple[float, float, float], colour: tuple[int, int, int]) -> Mesh:
    bits = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
    faces = np.concatenate([SIDES[:, [0, 1, 2]], SIDES[:, [0, 2, 3]]])
    colours = np.tile(np.array(colour, np.uint8), (8, 1))
    return Mesh(bits * np.array(size) / 2, faces, colours=colours)


@pytest.fixture(scope="module")
def meshes() -> dict[int, Mesh]:
    shapes = (((90, 60, 120), (200, 40, 40)), ((120, 90, 60), (40, 60, 200)))
    return {number: box(*shape) for number, shape in enumerate(shapes, start=1)}


@pytest.fixture
def models(meshes: dict[int, Mesh], tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    for number, mesh in meshes.items():
        write_ply(folder / f"obj_{number:06d}.ply", mesh)
    return folder


def test_a_frame_shows_what_its_truth_says(meshes: dict[int, Mesh]) -> None:
    surfaces = {number: Surface.from_mesh(mesh) for number, mesh in meshes.items()}
    rgb, objects = render_frame(replace(FRAMES[1], papers=()), surfaces)
    assert rgb.shape == (480, 640, 3) and rgb.dtype == np.uint8
    assert len(objects) > 1
    for one in objects:
        corners = meshes[one.obj_id].vertices @ one.R.T + one.t
        pixels = LINEMOD.project(corners)
        x, y, w, h = one.info()["bbox_obj"]
        assert np.abs(pixels.min(axis=0) - (x, y)).max() < 2
        assert np.abs(pixels.max(axis=0) - (x + w - 1, y + h - 1)).max() < 2
        assert one.visible is not None
        red, _, blue = rgb[one.visible].mean(axis=0)
        assert (red > blue + 40) == (one.obj_id == 1)
    again, _ = render_frame(replace(FRAMES[1], papers=()), surfaces)
    assert np.array_equal(rgb, again)


def test_the_command_writes_a_data_set_without_meshes(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pose_frames, "FRAMES", FRAMES[:2])
    out = tmp_path / "pose"
    result = CliRunner().invoke(main, [str(models), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "2 frames of 2 objects" in result.output
    data = BopDataset.open(out)
    assert data.split == pose_frames.SPLIT and len(data.frames) == 2
    assert data.objects == [1, 2] == sorted(data.models_info)
    assert data.camera is not None and np.array_equal(data.camera.K, LINEMOD.K)
    for frame in data.frames:
        assert frame.read_rgb().shape == (480, 640, 3)
        assert all(one.bbox_visib is not None for one in frame.instances)
    assert not list(out.rglob("*.ply")) and (out / "ATTRIBUTION.md").is_file()
