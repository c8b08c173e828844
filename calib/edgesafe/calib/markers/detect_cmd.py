"""``edgesafe markers detect``: markers, and the board's pose, in pictures and data sets."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesafe.calib.markers.options import say
from edgesafe.runtime.errors import DataError, SourceError, UsageError
from edgesafe.runtime.output import printable
from edgesafe.runtime.picture_folder import PictureFolder

if TYPE_CHECKING:
    from edgesafe.calib.board import MarkerBoard
    from edgesafe.calib.markers.detect import BoardPose, FoundMarkers
    from edgesafe.runtime.pose.intrinsics import Camera

__all__ = ["detect"]

_Picture = tuple[str, PurePosixPath, "NDArray[np.uint8]", "Camera | None"]


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--board",
    metavar="BOARD",
    help="Look for this board: its JSON, grid:5x7:40:10:DICT_4X4_50 or "
    "charuco:8x6:30:22:DICT_4X4_50.",
)
@click.option(
    "--dictionary",
    metavar="NAME",
    help="Look for any marker of a dictionary of OpenCV, e.g. DICT_APRILTAG_36h11.",
)
@click.option(
    "--camera",
    "camera_path",
    type=click.Path(path_type=Path),
    help="JSON with K, for the pose of the board. [default: that of the data set]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for pictures with markers.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per picture.")
@click.pass_context
def detect(
    ctx: click.Context,
    sources: tuple[str, ...],
    board: str | None,
    dictionary: str | None,
    camera_path: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Find markers in pictures, folders and BOP data sets.

    Of a board its pose is told too, T_cam_board in millimetres, where the camera is known.
    """
    from edgesafe.calib.markers.boards import dictionary_markers, read_board
    from edgesafe.calib.markers.detect import MarkerFinder, find_board_pose

    if (board is None) == (dictionary is None):
        raise UsageError("name what to look for: --board or --dictionary")
    layout = None if board is None else read_board(board)
    if layout is not None:
        finder = MarkerFinder.of_board(layout)
    else:
        codes, correctable = dictionary_markers(dictionary or "")
        finder = MarkerFinder(list(range(len(codes))), codes, 1, correctable)
    pages = None if out is None else PictureFolder(out, "--out", "pictures")
    counts: Counter[str] = Counter()
    for name, relative, rgb, camera in _pictures(sources, camera_path):
        found = finder.find(rgb)
        pose = None
        if layout is not None and camera is not None:
            pose = find_board_pose(found, layout, camera)
        counts["pictures"] += 1
        counts["with markers"] += len(found) > 0
        counts["with the board's pose"] += pose is not None
        if pages is not None:
            page = Image.fromarray(_overlay(rgb, found, pose, layout, camera))
            pages.write(relative.with_suffix(".png"), page)
        if as_json:
            click.echo(json.dumps(_record(name, found, pose)))
        else:
            told = "" if pose is None else f"  {_told(pose)}"
            numbers = " ".join(map(str, sorted(found.ids.tolist()))) or "-"
            click.echo(printable(f"{name}: {len(found)} markers: {numbers}{told}", sys.stdout))
    if not counts["pictures"]:
        ctx.exit(3)
    say(", ".join(f"{count} {what}" for what, count in counts.items()))


def _pictures(sources: tuple[str, ...], camera_path: Path | None) -> Iterator[_Picture]:
    """Yield the name, a relative path, the pixels and the camera of each picture."""
    from edgesafe.calib.bop.dataset import BopDataset, split_names
    from edgesafe.calib.bop.frame import read_picture
    from edgesafe.calib.bop.inspect import is_dataset
    from edgesafe.runtime.pose.intrinsics import Camera
    from edgesafe.runtime.sources import expand

    known = None if camera_path is None else Camera.from_json(camera_path)
    for text in sources:
        path = Path(text)
        if path.is_dir() and is_dataset(path):
            for split in split_names(path):
                data = BopDataset.open(path, split)
                for frame in data.frames:
                    rgb = frame.read_rgb()
                    camera = known or data.camera_of(frame, rgb.shape[1], rgb.shape[0])
                    relative = PurePosixPath(frame.rgb_path.relative_to(path).as_posix())
                    yield str(frame.rgb_path), relative, rgb, camera
            continue
        for source in expand([text]):
            if source.problem is not None:
                raise SourceError(f"{source.name}: {source.problem.detail}")
            if source.kind != "image":
                raise UsageError(f"{source.name} is no picture: name pictures or folders of them")
            rgb = read_picture(Path(source.target))
            if known is not None and (known.width, known.height) != rgb.shape[1::-1]:
                raise DataError(
                    f"{source.name} is {rgb.shape[1]} x {rgb.shape[0]} and the camera of "
                    f"{camera_path} {known.width} x {known.height}: name the camera that took it"
                )
            yield source.name, source.relative, rgb, known


def _record(name: str, found: FoundMarkers, pose: BoardPose | None) -> dict[str, Any]:
    return {
        "source": name,
        "markers": [
            {"id": int(number), "corners": np.round(corners, 3).tolist()}
            for number, corners in zip(found.ids, found.corners, strict=True)
        ],
        "board": None
        if pose is None
        else {
            "R": [float(value) for value in pose.R.ravel()],
            "t": [float(value) for value in pose.t],
            "markers": pose.markers,
            "rms_px": pose.rms_px,
        },
    }


def _told(pose: BoardPose) -> str:
    x, y, z = pose.t
    return (
        f"board at {x:.1f} {y:.1f} {z:.1f} mm from {pose.markers} markers, {pose.rms_px:.2f} px rms"
    )


def _overlay(
    rgb: NDArray[np.uint8],
    found: FoundMarkers,
    pose: BoardPose | None,
    board: MarkerBoard | None,
    camera: Camera | None,
) -> NDArray[np.uint8]:
    """Return a copy of a picture with found markers, and the board's others, drawn over."""
    from edgesafe.runtime.video import import_cv2

    cv2 = import_cv2()
    page = np.ascontiguousarray(rgb).copy()
    thick = max(1, round(max(rgb.shape[:2]) / 640))
    if pose is not None and board is not None and camera is not None:
        points = board.corners.reshape(-1, 3) @ pose.R.T + pose.t
        if points[:, 2].min() > 0:
            for quad in camera.project(points).reshape(-1, 4, 2):
                _quad(cv2, page, quad, (255, 200, 0), thick)
    for number, quad in zip(found.ids, found.corners, strict=True):
        _quad(cv2, page, quad, (0, 255, 120), 2 * thick)
        x, y = (int(round(value)) for value in quad[0])
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(page, str(number), (x, y), font, 0.5 * thick, (255, 40, 40), 2 * thick)
    return page


def _quad(
    cv2: Any,
    page: NDArray[np.uint8],
    quad: NDArray[np.float64],
    colour: tuple[int, int, int],
    thick: int,
) -> None:
    shifted = np.round(np.clip(quad, -1e5, 1e5) * 16).astype(np.int32)
    cv2.polylines(page, [shifted], True, colour, thick, cv2.LINE_AA, 4)
