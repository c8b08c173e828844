"""The board's pose in every frame of a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.board import MarkerBoard
from edgesafe.calib.bop import BopDataset, Frame
from edgesafe.calib.markers.detect import BoardPose, FoundMarkers, MarkerFinder, find_board_pose

__all__ = ["BoardFrame", "look_at", "look_at_all"]


@dataclass(frozen=True, eq=False)
class BoardFrame:
    """What the markers of a frame tell.

    Attributes:
        frame: The frame.
        found: Its markers.
        pose: T_cam_board; None where the markers do not tell it.
    """

    frame: Frame
    found: FoundMarkers
    pose: BoardPose | None


def look_at(
    dataset: BopDataset,
    frame: Frame,
    rgb: NDArray[np.uint8],
    board: MarkerBoard,
    finder: MarkerFinder,
) -> BoardFrame:
    """Find the board in a frame whose picture (H, W, 3) is known.

    Raises:
        DataError: K can be of no camera.
    """
    found = finder.find(rgb)
    camera = dataset.camera_of(frame, rgb.shape[1], rgb.shape[0])
    return BoardFrame(frame, found, find_board_pose(found, board, camera))


def look_at_all(
    dataset: BopDataset,
    board: MarkerBoard,
    progress: Callable[[int], None] = lambda done: None,
) -> list[BoardFrame]:
    """Find the board in all frames of a data set.

    Raises:
        DataError: A picture cannot be read, or K can be of no camera.
        MissingExtraError: OpenCV is not installed.
    """
    finder = MarkerFinder.of_board(board)
    found = []
    for done, frame in enumerate(dataset.frames, 1):
        found.append(look_at(dataset, frame, frame.read_rgb(), board, finder))
        progress(done)
    return found
