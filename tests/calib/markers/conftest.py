"""A cube on a small ArUco board, photographed from around: pictures drawn by the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgesafe.calib.board import MarkerBoard
from edgesafe.calib.bop.models_info import ModelInfo
from edgesafe.calib.markers.boards import read_board
from edgesafe.calib.render.raster import rasterise
from edgesafe.calib.render.surface import Surface
from edgesafe.runtime.mesh import Mesh, write_ply
from edgesafe.runtime.pose.intrinsics import Camera

Array = NDArray[np.float64]

WIDTH, HEIGHT = 320, 240
K = np.array([[380.0, 0, 158.0], [0, 382.0, 121.0], [0, 0, 1]])
BOARD = "grid:4x4:40:12:DICT_4X4_50"
_CORNERS = np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)], float)
_QUADS = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]


def cube(half: float = 22.0) -> Mesh:
    faces = [t for a, b, c, d in _QUADS for t in ((a, b, c), (a, c, d))]
    return Mesh(_CORNERS * half * [1, 0.8, 0.6], np.array(faces))


def camera_pose(number: int) -> Array:
    """T_cam_board of a camera that looks down at the board from its own side."""
    turn, tilt = 0.9 * number, np.radians(25 + 6 * (number % 3))
    z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    T = np.eye(4)
    T[:3, :3] = x @ z
    T[:3, 3] = [4.0 * (number % 3) - 4, 3.0 * (number % 2), 420 + 12 * (number % 4)]
    return T


def on_board(x: float = 0.0, y: float = 0.0, angle: float = 0.3) -> Array:
    """T_board_obj of the cube standing on the board, whose z points into the table."""
    T = np.eye(4)
    T[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    T[:3, 3] = [x, y, -14.0]
    return T


def photograph(board: MarkerBoard, T: Array, T_bo: Array | None, rng: Any) -> NDArray[np.uint8]:
    """Draw the board on a brown table, in light that falls off, and the cube on it."""
    px = 3.0
    paper = board.draw(px) * 205 + 30
    size = len(paper)
    to_plane = np.array([[1 / px, 0, 0.5 / px - board.half], [0, 1 / px, 0.5 / px - board.half],
                         [0, 0, 1]])  # fmt: skip
    H = K @ np.column_stack([T[:3, 0], T[:3, 1], T[:3, 3]]) @ to_plane
    fine = np.diag([4.0, 4.0, 1.0])
    fine[:2, 2] = 1.5
    big = (WIDTH * 4, HEIGHT * 4)
    seen = cv2.warpPerspective(paper.astype(np.float32), fine @ H, big)
    there = cv2.warpPerspective(np.ones((size, size), np.float32), fine @ H, big)
    seen, there = (cv2.resize(a, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
                   for a in (seen, there))  # fmt: skip
    page = np.empty((HEIGHT, WIDTH, 3), np.float32)
    table = cv2.resize(rng.uniform(-20, 20, (30, 40)).astype(np.float32), (WIDTH, HEIGHT))
    page[:] = np.array([120, 90, 60]) + table[..., None]
    page = page * (1 - there[..., None]) + seen[..., None] * [1.0, 0.98, 0.94]
    page *= (0.85 + 0.15 * np.linspace(0, 1, WIDTH))[None, :, None]
    if T_bo is not None:
        T_co = T @ T_bo
        drawn = rasterise(Surface.from_mesh(cube()), T_co[:3, :3], T_co[:3, 3], K, WIDTH, HEIGHT)
        x, y, w, h = drawn.window
        colours = np.array([[200, 40, 40], [40, 60, 200], [60, 170, 60]])[drawn.face // 4]
        page[y : y + h, x : x + w][drawn.mask] = colours
    return np.clip(page + rng.normal(0, 2, page.shape), 0, 255).astype(np.uint8)


def write_frames(
    path: Path,
    places: list[Array],
    *,
    picture: str = "png",
    folder: str = "models",
    info: bool = True,
    wrong: dict[int, Array] | None = None,
) -> Path:
    """Write a BOP data set of object 1 at T_board_obj ``places``; ``wrong`` shifts annotations."""
    board, rng = read_board(BOARD), np.random.default_rng(0)
    mesh = cube()
    (path / folder).mkdir(parents=True)
    write_ply(path / folder / "obj_000001.ply", mesh)
    models = {"1": ModelInfo.of_mesh(mesh).to_json()}
    (path / folder / "models_info.json").write_text(json.dumps(models))
    scene = path / "test/000004"
    (scene / "rgb").mkdir(parents=True)
    truth, cameras, infos = {}, {}, {}
    for number, T_bo in enumerate(places):
        T = camera_pose(number)
        suffix = ("png", "jpg")[number % 2] if picture == "mixed" else picture
        page = photograph(board, T, T_bo, rng)
        Image.fromarray(page).save(scene / f"rgb/{3 * number:06d}.{suffix}", quality=95)
        T_co = T @ T_bo
        t = T_co[:3, 3] + (wrong or {}).get(number, 0)
        truth[str(3 * number)] = [
            {
                "obj_id": 1,
                "cam_R_m2c": T_co[:3, :3].ravel().tolist(),
                "cam_t_m2c": np.ravel(t).tolist(),
            }
        ]
        cameras[str(3 * number)] = {"cam_K": K.ravel().tolist(), "depth_scale": 1.0}
        seen = (mesh.vertices @ T_co[:3, :3].T + T_co[:3, 3]) @ K.T
        seen = seen[:, :2] / seen[:, 2:]
        low, high = np.floor(seen.min(0)), np.ceil(seen.max(0))
        box = [*low.tolist(), *(high - low + 1).tolist()]
        infos[str(3 * number)] = [
            {"bbox_obj": box, "bbox_visib": box, "visib_fract": 1.0, "px_count_all": 900,
             "px_count_valid": 900, "px_count_visib": 900}
        ]  # fmt: skip
    (scene / "scene_gt.json").write_text(json.dumps(truth))
    (scene / "scene_camera.json").write_text(json.dumps(cameras))
    if info:
        (scene / "scene_gt_info.json").write_text(json.dumps(infos))
    return path


@pytest.fixture
def make_frames() -> Callable[..., Path]:
    return write_frames


@pytest.fixture(scope="session")
def cube_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames of a cube that never moves on its board; copy before changing anything."""
    return write_frames(tmp_path_factory.mktemp("markers") / "cube", [on_board()] * 5)


@pytest.fixture(scope="session")
def cube_sets(cube_frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counterfactual sets of the frames, of every kind."""
    from edgesafe.calib.bop import BopDataset
    from edgesafe.calib.markers.counterfactual import KINDS, CounterfactualMaker
    from edgesafe.calib.markers.counterfactual_dataset import make_sets

    out = tmp_path_factory.mktemp("markers") / "sets"
    make_sets(BopDataset.open(cube_frames), CounterfactualMaker(read_board(BOARD)), KINDS, out)
    return out


@pytest.fixture
def place_on_board() -> Callable[..., Array]:
    return on_board


@pytest.fixture
def pose_of_camera() -> Callable[[int], Array]:
    return camera_pose


@pytest.fixture
def take_photo() -> Callable[..., NDArray[np.uint8]]:
    return photograph


@pytest.fixture
def lens() -> Camera:
    return Camera(K, WIDTH, HEIGHT)
