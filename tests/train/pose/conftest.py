"""Cubes with six colours, drawn on colour gradients, as a BOP data set of a few frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgesafe.runtime.mesh import Mesh, write_ply

WIDTH, HEIGHT = 160, 120
K = np.array([[170.0, 0.0, 80.3], [0.0, 172.0, 58.7], [0.0, 0.0, 1.0]])
SIZES = {1: (60.0, 44.0, 30.0), 5: (40.0, 40.0, 40.0)}
COLOURS = {
    1: [
        (220, 40, 40),
        (40, 200, 60),
        (50, 80, 220),
        (230, 210, 40),
        (200, 60, 200),
        (40, 210, 210),
    ],
    5: [
        (240, 240, 240),
        (20, 20, 20),
        (250, 140, 20),
        (120, 60, 20),
        (150, 250, 120),
        (90, 0, 140),
    ],
}
# Corners of the faces, counter-clockwise from outside; bit i of a corner is the side of axis i.
FACES = [(0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6)]


def corners(number: int) -> np.ndarray[Any, Any]:
    bits = (np.arange(8)[:, None] >> np.arange(3)) & 1
    return (bits - 0.5) * np.array(SIZES[number])


def cube_mesh(number: int) -> Mesh:
    triangles = [t for a, b, c, d in FACES for t in ((a, b, c), (a, c, d))]
    return Mesh(corners(number), np.array(triangles, dtype=np.int64))


def random_pose(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    q = rng.normal(size=4)
    w, x, y, z = q / np.linalg.norm(q)
    R = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    depth = rng.uniform(230, 330)
    centre = np.array([rng.uniform(0.3, 0.7) * WIDTH, rng.uniform(0.35, 0.65) * HEIGHT, 1.0])
    return R, np.linalg.inv(K) @ centre * depth


def draw_cube(
    rgb: np.ndarray[Any, Any], number: int, R: np.ndarray[Any, Any], t: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Draws a cube and returns its mask."""
    points = corners(number) @ R.T + t
    pixels = points @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    mask = np.zeros(rgb.shape[:2], dtype=np.uint8)
    for face, colour in zip(FACES, COLOURS[number], strict=True):
        normal = np.cross(points[face[1]] - points[face[0]], points[face[2]] - points[face[0]])
        if normal @ points[face[0]] >= 0:
            continue
        polygon = np.rint(pixels[list(face)] * 16).astype(np.int32)
        shade = 0.6 + 0.4 * abs(normal[2]) / np.linalg.norm(normal)
        cv2.fillConvexPoly(rgb, polygon, [int(c * shade) for c in colour], cv2.LINE_8, 4)
        cv2.fillConvexPoly(mask, polygon, 255, cv2.LINE_8, 4)
    return mask


def write_cubes(
    folder: Path, frames: int, *, objects: tuple[int, ...] = (1, 5), seed: int = 0
) -> Path:
    """Writes a BOP data set with all the objects in each frame, the last one in front."""
    rng = np.random.default_rng(seed)
    models, scene = folder / "models", folder / "train" / "000000"
    for part in (models, scene / "rgb", scene / "mask", scene / "mask_visib"):
        part.mkdir(parents=True)
    info = {}
    for number in objects:
        write_ply(models / f"obj_{number:06d}.ply", cube_mesh(number))
        size = np.array(SIZES[number])
        info[str(number)] = {"diameter": float(np.linalg.norm(size))}
        for axis, name in enumerate("xyz"):
            info[str(number)] |= {f"min_{name}": -size[axis] / 2, f"size_{name}": size[axis]}
    (models / "models_info.json").write_text(json.dumps(info))
    gt: dict[str, Any] = {}
    cameras: dict[str, Any] = {}
    gt_info: dict[str, Any] = {}
    for frame in range(frames):
        grid = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        rgb = cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        poses = [random_pose(rng) for _ in objects]
        masks = []
        for number, (R, t) in zip(objects, poses, strict=True):
            mask = draw_cube(rgb, number, R, t)
            masks = [m & ~mask for m in masks] + [mask]
        cv2.imwrite(str(scene / "rgb" / f"{frame:06d}.png"), rgb[..., ::-1])
        gt[str(frame)], gt_info[str(frame)] = [], []
        cameras[str(frame)] = {"cam_K": K.ravel().tolist(), "depth_scale": 1.0}
        for i, (number, (R, t)) in enumerate(zip(objects, poses, strict=True)):
            whole = draw_cube(rgb.copy(), number, R, t)
            gt[str(frame)].append(
                {"obj_id": number, "cam_R_m2c": R.ravel().tolist(), "cam_t_m2c": t.tolist()}
            )
            pixels, seen = int((whole > 0).sum()), int((masks[i] > 0).sum())
            box = list(cv2.boundingRect(masks[i])) if seen else [-1, -1, -1, -1]
            gt_info[str(frame)].append(
                {
                    "bbox_obj": list(cv2.boundingRect(whole)),
                    "bbox_visib": box,
                    "px_count_all": pixels,
                    "px_count_valid": pixels,
                    "px_count_visib": seen,
                    "visib_fract": seen / pixels,
                }
            )
            name = f"{frame:06d}_{i:06d}.png"
            cv2.imwrite(str(scene / "mask" / name), whole)
            cv2.imwrite(str(scene / "mask_visib" / name), masks[i])
    (scene / "scene_gt.json").write_text(json.dumps(gt))
    (scene / "scene_camera.json").write_text(json.dumps(cameras))
    (scene / "scene_gt_info.json").write_text(json.dumps(gt_info))
    return folder


@pytest.fixture(scope="session")
def cubes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two objects in ten frames."""
    return write_cubes(tmp_path_factory.mktemp("bop") / "cubes", 10)


@pytest.fixture(scope="session")
def pose_config() -> Callable[..., dict[str, Any]]:
    """A small configuration as a plain table; keyword arguments replace keys of its tables."""

    def make(**changes: dict[str, Any]) -> dict[str, Any]:
        fit = {
            "epochs": 2,
            "batch_size": 4,
            "log_every": 1,
            "tensorboard": False,
            "validate_minutes": 1000.0,
        }
        table: dict[str, Any] = {
            "seed": 3,
            "roi": {"profile": "tiny", "size": 64, "width": 8, "fit": fit},
            "data": {"validation_share": 0.2},
        }
        for name, values in changes.items():
            old = table.get(name, {})
            if isinstance(values, dict) and "fit" in values:
                values = {**values, "fit": {**fit, **values["fit"]}}
            table[name] = {**old, **values} if isinstance(values, dict) else values
        return table

    return make
