"""Pictures put together: a board without objects, objects over something else, moved markers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.board import MarkerBoard
from edgesafe.calib.markers.boards import dictionary_markers
from edgesafe.calib.markers.plane import Window, homography, warp, window_of
from edgesafe.calib.markers.smooth import fill_smoothly
from edgesafe.calib.markers.view import BoardView
from edgesafe.runtime.video import import_cv2

__all__ = [
    "Drawn",
    "clean_plate",
    "draw_board",
    "extended_paper",
    "moved_board",
    "over",
    "scatter_markers",
    "strew",
]

Array = NDArray[np.float64]
RGB8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

_GRAIN = 2.0
_FEATHER_PX = 1.0
_LEAST_TURN, _MOST_TURN = np.radians(30), np.radians(330)
_SHIFT_SHARE = 0.145  # of the board's side: 90 mm on the board of LINEMOD
_TRIES, _TILE = 200, 10
_OTHER_CODES = ("DICT_4X4_50", "DICT_5X5_50", "DICT_6X6_50")


class Drawn(NamedTuple):
    """A picture (H, W, 3) and where markers are in it (H, W)."""

    rgb: RGB8
    markers: Mask


def clean_plate(rgb: RGB8, view: BoardView, hidden: Mask, rng: Rng, *, erased: bool) -> Drawn:
    """Return a frame without its annotated objects.

    Where an object hid the markers, the board is drawn in the frame's light; elsewhere the
    surroundings are continued.

    Args:
        rgb: (H, W, 3); with ``erased``, a frame whose visible markers are erased already.
        view: The board in it.
        hidden: (H, W) the objects with a rim.
        rng: Of the grain.
        erased: Draw paper where markers would be.
    """
    page = fill_smoothly(rgb.astype(np.float32), ~hidden, grain=_GRAIN, rng=rng)
    box = view.window.slices
    behind = view.zone & hidden[box]
    board = view.paper if erased else view.shown(view.white)
    page[box][behind] = board[behind] + rng.normal(0, _GRAIN, (int(behind.sum()), 1))
    markers = np.zeros(rgb.shape[:2], bool)
    if not erased:
        ink = warp(view.pictures.ink, view.to_frame, view.window, 0.0) > 0
        markers[box] = view.marker | (ink & behind)
    return Drawn(_bytes(page), markers)


def over(objects: RGB8, seen: Mask, background: RGB8) -> RGB8:
    """Return objects (H, W, 3), where they are seen (H, W), before another background."""
    cv2 = import_cv2()
    share = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), _FEATHER_PX)[..., None]
    return _bytes(objects * share + background * (1 - share))


def moved_board(T: Array, board: MarkerBoard, rng: Rng) -> Array:
    """Return T_cam_board (4, 4) of a board that was turned and shifted on its table."""
    angle = rng.uniform(_LEAST_TURN, _MOST_TURN)
    reach = _SHIFT_SHARE * 2 * board.half
    motion = np.eye(4)
    motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    motion[:2, 3] = rng.uniform(-reach, reach, 2)
    return np.asarray(T @ motion)


def draw_board(rgb: RGB8, view: BoardView, T: Array, protected: Mask, rng: Rng) -> Drawn:
    """Draw the markers of a board at another pose (4, 4), in the light of the board that was seen.

    Args:
        rgb: (H, W, 3) where they are drawn.
        view: The board as it was seen.
        T: (4, 4) T_cam_board where to draw it.
        protected: (H, W) what is before it.
        rng: Of the grain.
    """
    height, width = rgb.shape[:2]
    window = window_of(view.K, T, view.pictures.outline, width, height)
    if not (window.width and window.height):
        return Drawn(rgb.copy(), np.zeros((height, width), bool))
    to_frame = homography(view.K, T) @ view.pictures.to_plane
    white = warp(view.pictures.white, to_frame, window, 1.0)[..., None]
    share = warp(view.pictures.zone, to_frame, window, 0.0)
    ink = warp(view.pictures.ink, to_frame, window, 0.0) > 0.5
    keep = protected[window.slices]
    paper, black = (_extended(one, view.window, rgb.shape) for one in (view.paper, view.ink))
    new = white * paper[window.slices] + (1 - white) * black[window.slices]
    new += rng.normal(0, _GRAIN, new.shape[:2])[..., None]
    share = np.where(keep, np.float32(0), share)[..., None]
    page = rgb.astype(np.float32)
    page[window.slices] = page[window.slices] * (1 - share) + new * share
    markers = np.zeros((height, width), bool)
    markers[window.slices] = ink & ~keep
    return Drawn(_bytes(page), markers)


def scatter_markers(background: RGB8, board: MarkerBoard, rng: Rng, most: int = 12) -> Drawn:
    """Lay some markers, of the board and of OpenCV's dictionaries, anyhow into a picture."""
    height, width = background.shape[:2]
    page = background.astype(np.float32)
    markers = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(4, most + 1))):
        picture = _some_marker(board, rng)
        size = rng.uniform(0.06, 0.2) * min(height, width)
        angle = rng.uniform(0, 2 * np.pi)
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2
        corners = corners @ [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        corners[:, 1] *= rng.uniform(0.5, 1)
        corners += rng.uniform(-0.1, 0.1, (4, 2)) * size
        corners += rng.uniform(0, 1, 2) * [width, height]
        _lay(picture, corners, page, markers, rng)
    return Drawn(_bytes(page), markers)


def strew(view: BoardView, area: Mask, forbidden: Mask, rng: Rng) -> Mask:
    """Return as many pixels (H, W) as ``area`` has, in markers' shapes, where nothing forbids it.

    Args:
        view: The board; its projected markers are the shapes.
        area: (H, W) visible markers.
        forbidden: (H, W) objects and markers.
        rng: Of the places.
    """
    cv2 = import_cv2()
    height, width = area.shape
    wanted = int(area.sum())
    corners = view.pictures.board.corners.reshape(-1, 3)[:, :2]
    seen = np.column_stack([corners, np.ones(len(corners))]) @ homography(view.K, view.T).T
    quads = (seen[:, :2] / seen[:, 2:]).reshape(-1, 4, 2)
    found = np.zeros(area.shape, bool)
    scale, lacking = 1.0, wanted
    for tries in range(_TRIES):
        if lacking <= wanted // 200:
            break
        if tries % (_TRIES // 5) == _TRIES // 5 - 1:
            scale *= 0.75
        quad = quads[int(rng.integers(len(quads)))]
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shape = (quad - quad.mean(axis=0)) * scale @ turn.T
        size = abs(float(cv2.contourArea(shape.astype(np.float32))))
        if size > lacking:
            shape *= np.sqrt(lacking / size)
        shape += rng.uniform(0, 1, 2) * [width, height]
        patch = np.zeros((height, width), np.uint8)
        cv2.fillPoly(patch, [np.round(shape).astype(np.int32)], 1)
        inside = patch > 0
        if not inside.any() or (inside & (forbidden | found)).sum() > 0.05 * inside.sum():
            continue
        found |= inside & ~forbidden
        lacking = wanted - int(found.sum())
    free = ~(forbidden | found)
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    # What found no room in one piece goes into small tiles.
    for place in rng.permutation(rows * columns):
        if lacking <= wanted // 200:
            break
        row, column = divmod(int(place), columns)
        box = (
            slice(row * _TILE, (row + 1) * _TILE),
            slice(column * _TILE, (column + 1) * _TILE),
        )
        found[box] |= free[box]
        lacking -= int(free[box].sum())
    return found


def extended_paper(view: BoardView, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the colour of paper in the whole frame (H, W, 3)."""
    return _extended(view.paper, view.window, shape)


def _some_marker(board: MarkerBoard, rng: Rng) -> NDArray[np.float32]:
    """Return a marker with a white rim, (n, n), 1 for white."""
    if rng.random() < 0.5:
        marker = board.markers[int(rng.integers(len(board.markers)))]
        cells, border = marker.bits, board.border_bits
    else:
        codes, _ = dictionary_markers(_OTHER_CODES[int(rng.integers(len(_OTHER_CODES)))])
        cells, border = codes[int(rng.integers(len(codes)))], 1
    inked = np.pad(cells.astype(np.float32), border)
    rimmed = np.pad(inked, 1, constant_values=1)
    return np.asarray(np.kron(rimmed, np.ones((8, 8))), np.float32)


def _lay(
    picture: NDArray[np.float32], corners: Array, page: NDArray[np.float32], markers: Mask, rng: Rng
) -> None:
    """Draw a marker with its corners (4, 2) into a page, in place."""
    cv2 = import_cv2()
    height, width = markers.shape
    n = len(picture)
    low, high = np.float32(-0.5), np.float32(n - 0.5)
    square = np.array([[low, low], [high, low], [high, high], [low, high]], np.float32)
    to_frame = cv2.getPerspectiveTransform(square, corners.astype(np.float32))
    first = np.clip(np.floor(corners.min(axis=0)) - 1, 0, [width, height]).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0)) + 2, 0, [width, height]).astype(int)
    if (last <= first).any():
        return
    window = Window(int(first[0]), int(first[1]), *(last - first).tolist())
    white = warp(picture, to_frame, window, 0.0)[..., None]
    share = warp(np.ones_like(picture), to_frame, window, 0.0)[..., None]
    paper, ink = rng.uniform(170, 255), rng.uniform(5, 60)
    # What lies outside of the marker is black in both, so that this is already weighted.
    page[window.slices] *= 1 - share
    page[window.slices] += white * paper + (share - white) * ink
    markers[window.slices] |= share[..., 0] > 0.5


def _extended(
    colours: NDArray[np.float32], window: Window, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Continue the colours of a window over the whole frame."""
    cv2 = import_cv2()
    below, right = shape[0] - window.y - window.height, shape[1] - window.x - window.width
    return np.asarray(
        cv2.copyMakeBorder(colours, window.y, below, window.x, right, cv2.BORDER_REPLICATE)
    )


def _bytes(page: NDArray[np.float32] | Array) -> RGB8:
    return np.asarray(np.clip(np.round(page), 0, 255), np.uint8)
