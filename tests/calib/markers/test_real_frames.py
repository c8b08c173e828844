"""Erasing and the oracle on the real frames of LINEMOD, judged by a detector and projections of its
own: another dictionary object, every triangle filled by OpenCV."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgesafe.calib.bop import BopDataset
from edgesafe.calib.markers.boards import read_board
from edgesafe.calib.markers.detect import MarkerFinder, find_board_pose
from edgesafe.calib.markers.erase import Eraser
from edgesafe.calib.markers.erase_dataset import erase_dataset
from edgesafe.calib.markers.markers_cmd import markers
from edgesafe.runtime.mesh import read_ply

DATA = Path(__file__).parents[3].parent / "shared/data"
BOARD = DATA / "linemod_board/linemod_board.json"
LMO, CAT = DATA / "lmo", DATA / "linemod_cat"
NEAR_PX = 40

pytestmark = pytest.mark.skipif(
    not (BOARD.exists() and LMO.exists() and CAT.exists()),
    reason="the frames of LINEMOD are not here",
)


def their_detector() -> Any:
    import cv2

    layout = json.loads(BOARD.read_bytes())
    codes = [np.array(list(m["bits"]), np.uint8).reshape(4, 4) for m in layout["markers"]]
    bits = np.concatenate([cv2.aruco.Dictionary.getByteListFromBits(code) for code in codes])
    settings = cv2.aruco.DetectorParameters()
    settings.markerBorderBits = 2
    settings.errorCorrectionRate = 0.0
    settings.adaptiveThreshWinSizeMax, settings.adaptiveThreshWinSizeStep = 43, 8
    settings.minMarkerPerimeterRate, settings.perspectiveRemovePixelPerCell = 0.02, 8
    return cv2.aruco.ArucoDetector(cv2.aruco.Dictionary(bits, 4, 0), settings)


def middles(detector: Any, rgb: np.ndarray) -> np.ndarray:
    corners, ids, _ = detector.detectMarkers(np.ascontiguousarray(rgb[..., ::-1]))
    if ids is None:
        return np.zeros((0, 2))
    return np.array([np.reshape(quad, (4, 2)).mean(0) for quad in corners])


def check_frames(frames: int, tmp_path: Path) -> None:
    import cv2

    board, data = read_board(BOARD), BopDataset.open(LMO).thinned(frames)
    started = time.process_time()
    done = erase_dataset(data, Eraser(board), tmp_path / "erased")
    seconds = (time.process_time() - started) / frames
    copy = BopDataset.open(tmp_path / "erased")
    assert copy.keys == data.keys and all(one.posed and one.before >= 4 for one in done)
    detector, finder = their_detector(), MarkerFinder.of_board(board)
    meshes = {i: read_ply(path, texture=False) for i, path in data.models("eval").items()}
    places = np.array([[*marker.centre, 0.0] for marker in board.markers])
    for frame, twin in zip(data.frames, copy.frames, strict=True):
        relative = frame.rgb_path.relative_to(LMO)
        assert twin.rgb_path == tmp_path / "erased" / relative
        with Image.open(twin.rgb_path) as picture:
            assert picture.format == "PNG"
            after = np.asarray(picture)
        before = frame.read_rgb()
        camera = data.camera_of(frame, 640, 480)
        pose = find_board_pose(finder.find(before), board, camera)
        assert pose is not None
        seen = (places @ pose.R.T + pose.t) @ frame.K.T
        seen = seen[:, :2] / seen[:, 2:]

        def near(found: np.ndarray, seen: np.ndarray = seen) -> int:
            apart = np.linalg.norm(found[:, None] - seen[None], axis=2)
            return int((apart.min(axis=1, initial=np.inf) < NEAR_PX).sum())

        assert near(middles(detector, before)) >= 4, relative
        assert near(middles(detector, after)) == 0, relative
        changed = (before != after).any(axis=2)
        assert changed.any()
        covered = np.zeros((480, 640), np.uint8)
        for instance in frame.instances:
            mesh = meshes[instance.obj_id]
            points = (mesh.vertices @ instance.R.T + instance.t) @ frame.K.T
            pixels = np.round(points[:, :2] / points[:, 2:]).astype(np.int32)
            for triangle in pixels[mesh.faces]:
                cv2.fillConvexPoly(covered, triangle, 1)
        assert not (changed & (covered > 0)).any(), relative
        # Nothing farther from the board's markers than the blur of their borders changes.
        near_ink = np.zeros((480, 640), np.uint8)
        h = board.side / 2
        for x, y, _ in places:
            corners = np.array([[x - h, y - h, 0], [x + h, y - h, 0], [x + h, y + h, 0]])
            corners = np.vstack([corners, [[x - h, y + h, 0]]]) @ pose.R.T + pose.t
            quad = corners @ frame.K.T
            quad = np.round(quad[:, :2] / quad[:, 2:]).astype(np.int32)
            cv2.fillConvexPoly(near_ink, quad, 1)
        near_ink = cv2.dilate(near_ink, np.ones((19, 19), np.uint8))
        assert not (changed & (near_ink == 0)).any(), relative
    assert seconds < 0.5


def test_some_frames_of_lmo_lose_their_markers_and_nothing_else(tmp_path: Path):
    check_frames(3, tmp_path)


@pytest.mark.slow
def test_all_frames_of_lmo_lose_their_markers_and_nothing_else(tmp_path: Path):
    check_frames(120, tmp_path)


def test_the_markers_of_the_cat_frames_give_its_pose_away():
    result = CliRunner().invoke(markers, ["oracle", str(CAT), "--board", str(BOARD), "--json"])
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("{")]
    found = json.loads(line)
    assert found["obj_id"] == 6 and found["frames_used"] == 2
    assert found["median_add_over_diameter"] < 0.01
    assert found["leak"] is True
