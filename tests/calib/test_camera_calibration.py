from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgesafe.calib.calibrate_cmd import calibrate as command
from edgesafe.calib.calibration_board import CalibrationBoard, Corners
from edgesafe.calib.camera_calibration import Shot, calibrate
from edgesafe.runtime.errors import DataError, EdgesafeError, UsageError
from edgesafe.runtime.pose.intrinsics import Camera

SIZE = (640, 480)
K = np.array([[612.0, 0, 331.5], [0, 608.0, 228.25], [0, 0, 1]])
DIST = (-0.12, 0.05, 0.001, -0.0015, 0.0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


def pose(rng: np.random.Generator, middle: np.ndarray, flat: bool = False):
    """A board whose middle is seen somewhere in the frame, tilted to some side."""
    axis = rng.normal(size=2)
    axis /= np.linalg.norm(axis)
    tilt = 0 if flat else rng.uniform(0.15, 0.7)
    R = (
        cv2.Rodrigues(np.array([*axis * tilt, 0.0]))[0]
        @ cv2.Rodrigues(np.array([0, 0, rng.uniform(-0.5, 0.5)]))[0]
    )
    depth = rng.uniform(330, 480)
    pixel = np.array([rng.uniform(200, 440), rng.uniform(150, 330), 1])
    return R, np.linalg.solve(K, pixel) * depth - R @ middle


def photograph(board: CalibrationBoard, R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A picture of the board through the lens, sampled backwards through its distortion."""
    picture, to_board = board.draw(4.0)
    u, v = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2).astype(np.float64)
    rays = cv2.undistortPoints(pixels, K, np.array(DIST)).reshape(-1, 2)
    to_plane = np.linalg.inv(to_board) @ np.linalg.inv(np.column_stack([R[:, :2], t]))
    at = np.column_stack([rays, np.ones(len(rays))]) @ to_plane.T
    at = (at[:, :2] / at[:, 2:]).reshape(SIZE[1], SIZE[0], 2).astype(np.float32)
    soft = cv2.GaussianBlur(picture, (0, 0), 2.0)
    return cv2.remap(soft, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderValue=[110])


def shots_of(text: str, count: int, folder: Path, flat: bool = False) -> list[Path]:
    board = CalibrationBoard.parse(text)
    rng = np.random.default_rng(5)
    middle = np.array([board.columns, board.rows, 0]) * board.square / 2
    paths = []
    for number in range(count):
        picture = photograph(board, *pose(rng, middle, flat))
        paths.append(folder / f"shot{number:02d}.png")
        Image.fromarray(picture).save(paths[-1])
    return paths


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["camera", *map(str, arguments)])


@pytest.mark.parametrize("board", ["charuco:8x6:30:22", "chessboard:8x6:28"])
def test_a_known_camera_is_found_again(board: str, tmp_path: Path):
    out = tmp_path / "K.json"
    paths = shots_of(board, 10, tmp_path)
    # One of another resolution, one without a board.
    Image.new("L", (320, 240)).save(tmp_path / "small.png")
    Image.new("L", SIZE).save(tmp_path / "black.png")
    extra = [tmp_path / "small.png", tmp_path / "black.png"]
    result = run(*paths, *extra, "--board", board, "--out", out)
    assert result.exception is None, result.output
    assert "small.png: 320 x 240" in result.output
    assert "black.png: board not found" in result.output
    camera = Camera.from_json(out)
    np.testing.assert_allclose(camera.K, K, rtol=0, atol=1.5)
    assert (camera.width, camera.height) == SIZE
    found = json.loads(out.read_bytes())
    assert set(found) >= {"cx", "cy", "fx", "fy", "width", "height", "depth_scale", "dist"}
    assert found["views"] == 10 and found["rms"] < 0.15
    assert len(found["dist"]) == 5
    # What counts is where points come to lie, not the single coefficients.
    grid = np.array([[x, y, 500.0] for x in (-180, 0, 180) for y in (-130, 0, 130)])
    truth = Camera(K, *SIZE, dist=DIST)
    assert np.abs(camera.project(grid) - truth.project(grid)).max() < 1


@pytest.mark.parametrize("text", ["charuco:8x6:30:22", "chessboard:8x6:28"])
def test_corners_are_found_where_they_are(text: str):
    board = CalibrationBoard.parse(text)
    R, t = pose(
        np.random.default_rng(5), np.array([board.columns, board.rows, 0]) * board.square / 2
    )
    found = board.find(photograph(board, R, t))
    assert found is not None and len(found.board) == board.count
    off = found.image - Camera(K, *SIZE, dist=DIST).project(found.board @ R.T + t)
    # A chessboard may be read from its other end.
    if board.kind == "charuco" or np.abs(off).max() < 5:
        assert np.abs(off.mean(axis=0)).max() < 0.05
        assert np.abs(off).max() < 0.3
    else:
        turned = Camera(K, *SIZE, dist=DIST).project(found.board[::-1] @ R.T + t)
        assert np.abs((found.image - turned).mean(axis=0)).max() < 0.05


def views(count: int, seed: int = 0, flat: bool = False, noise: float = 0.05) -> list[Shot]:
    rng = np.random.default_rng(seed)
    y, x = np.divmod(np.arange(54), 9)
    points = np.stack([x, y, 0 * x], axis=1) * 25.0
    out = []
    for number in range(count):
        R, t = pose(rng, points.mean(0), flat)
        pixels = Camera(K, *SIZE, dist=DIST).project(points @ R.T + t)
        corners = Corners(points, pixels + rng.normal(0, noise, pixels.shape))
        out.append(Shot(f"shot {number}", SIZE, corners))
    return out


def test_shots_that_do_not_fit_are_dropped_and_named():
    shots = views(14)
    rng = np.random.default_rng(1)
    for number in (3, 9):
        corners = shots[number].corners
        assert corners is not None
        bent = corners.image + rng.normal(0, 4, corners.image.shape)
        shots[number] = Shot(shots[number].name, SIZE, Corners(corners.board, bent))
    found = calibrate(shots)
    assert set(found.dropped) == {"shot 3", "shot 9"}
    assert all("outlier" in reason for reason in found.dropped.values())
    assert len(found.errors) == 12
    assert found.rms < 0.15
    np.testing.assert_allclose(found.camera.K, K, atol=2)
    assert abs(found.camera.K[0, 0] - K[0, 0]) < 5 * found.focal_deviation[0] + 0.5


def test_views_from_straight_ahead_are_not_enough():
    for noise in (0.0, 0.05, 0.3):
        with pytest.raises(DataError, match="tilted by 20 to 45 degrees"):
            calibrate(views(12, flat=True, noise=noise))


OPENCV_DOC = Path("/usr/share/doc/opencv-doc/examples/data")


@pytest.mark.skipif(
    not (OPENCV_DOC / "left01.jpg").exists(), reason="opencv-doc of Debian is not installed"
)
def test_the_chessboards_of_opencv(tmp_path: Path):
    out = tmp_path / "K.json"
    board = ["--board", "chessboard:9x6:25", "--out", out]
    result = run(*sorted(OPENCV_DOC.glob("left[01]*.jpg")), *board)
    assert result.exception is None, result.output
    camera = Camera.from_json(out)
    # What OpenCV ships as intrinsics.yml for these pictures.
    assert camera.K[0, 0] == pytest.approx(535.9, rel=0.01)
    assert camera.K[0, 2] == pytest.approx(342.3, abs=2)
    assert json.loads(out.read_bytes())["rms"] < 0.4


def test_few_shots_are_refused_with_the_reasons():
    with pytest.raises(DataError, match="5 usable shots of 5, 8 are needed"):
        calibrate(views(5))
    shots = [*views(5), *(Shot(f"blind {n}", SIZE, None) for n in range(4))]
    with pytest.raises(DataError, match="blind 0: board not found"):
        calibrate(shots)
    with pytest.raises(DataError, match="0 usable shots"):
        calibrate([])


def test_shots_of_the_middle_alone_are_said_to_be_weak():
    small = []
    for shot in views(14, noise=0.01):
        corners = shot.corners
        assert corners is not None
        near = np.linalg.norm(corners.image - [320, 240], axis=1) < 130
        if near.sum() >= 12:
            seen = Corners(corners.board[near], corners.image[near])
            small.append(Shot(shot.name, SIZE, seen))
    found = calibrate(small)
    assert any("near the corners" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "text",
    [
        "", "charuco", "charuco:8x6:30", "chessboard:9x6", "chessboard:9x6:25:20",
        "chessboard:2x6:25", "charuco:8x6:30:31", "charuco:8x6:0:0",
        "charuco:8x6:30:22:NO_SUCH", "circles:8x6:30",
    ],
)  # fmt: skip
def test_a_board_that_cannot_be_is_refused(text: str):
    with pytest.raises(UsageError):
        CalibrationBoard.parse(text)


def test_the_dictionary_may_be_named_without_its_prefix():
    assert CalibrationBoard.parse("charuco:8x6:30:22:5x5_100").dictionary == "DICT_5X5_100"
    assert CalibrationBoard.parse("charuco:8x6:30:22:DICT_APRILTAG_36H11").count == 35


def test_a_board_with_too_few_markers_in_its_dictionary(tmp_path: Path):
    Image.new("L", SIZE).save(tmp_path / "a.png")
    board = "charuco:14x12:30:22:DICT_4X4_50"
    result = run(tmp_path / "a.png", "--board", board, "--out", tmp_path / "K.json")
    assert isinstance(result.exception, UsageError)
    assert "84 markers" in str(result.exception)


def test_files_that_are_no_pictures_are_named(tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("broken.png", "missing.png"):
        arguments = ["--board", "chessboard:9x6:25", "--out", tmp_path / "K.json"]
        result = run(tmp_path / name, *arguments)
        assert isinstance(result.exception, EdgesafeError)
        assert name in str(result.exception)
    assert not (tmp_path / "K.json").exists()
