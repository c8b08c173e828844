from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgesafe.calib.board import MarkerBoard
from edgesafe.runtime.errors import DataError, SourceError

LINEMOD = Path(__file__).parents[2].parent / "shared/data/linemod_board/linemod_board.json"


def write(path: Path, **changes: object) -> Path:
    board = {
        "units": "mm",
        "pitch": 50.0,
        "side": 40.0,
        "border_bits": 1,
        "data_bits": 2,
        "markers": [
            {"id": 3, "bits": "1001", "center": [-50.0, -50.0]},
            {"id": 4, "bits": "0100", "center": [50.0, 50.0]},
        ],
    }
    path.write_text(json.dumps(board | changes))
    return path


def test_a_board_is_drawn_as_its_numbers_say(tmp_path: Path):
    board = MarkerBoard.read(write(tmp_path / "board.json"))
    assert board.half == 75 and board.free_half == 25
    picture = board.draw(1.0)
    assert picture.shape == (150, 150)

    def at(x: float, y: float) -> float:
        return float(picture[round(y + 75), round(x + 75)])

    # Cells of 10 mm; the first marker's four data cells about (-50, -50).
    assert [at(-55, -55), at(-45, -55), at(-55, -45), at(-45, -45)] == [1, 0, 0, 1]
    assert [at(45, 45), at(55, 45), at(45, 55), at(55, 55)] == [0, 1, 0, 0]
    assert at(-65, -50) == 0  # border
    assert at(-72, -50) == at(0, 0) == at(50, -50) == 1  # paper
    ink = (1 - picture).sum()
    assert ink == pytest.approx(2 * 40 * 40 - 3 * 100)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"units": "m"}, "units"),
        ({"side": -1}, "side"),
        ({"markers": []}, "markers"),
        ({"markers": [{"id": 1, "bits": "10", "center": [0, 0]}]}, "bits"),
        ({"markers": [{"id": 1, "bits": "1001", "center": [0]}]}, "center"),
        ({"data_bits": "2"}, "data_bits"),
    ],
)
def test_a_board_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, object], word: str):
    with pytest.raises(DataError, match=word):
        MarkerBoard.read(write(tmp_path / "board.json", **changes))


def test_files_that_are_no_boards(tmp_path: Path):
    with pytest.raises(SourceError, match="nowhere"):
        MarkerBoard.read(tmp_path / "nowhere.json")
    (tmp_path / "text.json").write_text("no board")
    with pytest.raises(DataError, match="not a marker board"):
        MarkerBoard.read(tmp_path / "text.json")


@pytest.mark.skipif(not LINEMOD.exists(), reason="the board of LINEMOD is not here")
def test_the_drawn_board_of_linemod_is_read_by_opencv():
    import cv2

    board = MarkerBoard.read(LINEMOD)
    assert len(board.markers) == 20
    picture = (np.pad(board.draw(1.0), 30, constant_values=1) * 255).astype(np.uint8)
    codes = [
        cv2.aruco.Dictionary.getByteListFromBits(m.bits.astype(np.uint8)) for m in board.markers
    ]
    settings = cv2.aruco.DetectorParameters()
    settings.markerBorderBits = board.border_bits
    dictionary = cv2.aruco.Dictionary(np.concatenate(codes), 4, 0)
    corners, ids, _ = cv2.aruco.ArucoDetector(dictionary, settings).detectMarkers(picture)
    assert sorted(int(number) for number in np.ravel(ids)) == list(range(20))
    for quad, number in zip(corners, np.ravel(ids), strict=True):
        middle = np.asarray(quad).reshape(4, 2).mean(0) - 30 - board.half + 0.5
        np.testing.assert_allclose(middle, board.markers[int(number)].centre, atol=1.5)
