"""Result files of BOP: ``scene_id,im_id,obj_id,score,R,t,time``, one estimate a line.

R is row by row and t in millimetres, each separated by spaces; ``time`` is seconds for the whole
image, the same in all of its lines, -1 where it was not measured (bop_toolkit,
docs/bop_challenge_2019.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import EdgesafeError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.pose.result import Pose

__all__ = ["HEADER", "image_of_path", "result_line", "result_lines", "write_results"]

HEADER = "scene_id,im_id,obj_id,score,R,t,time"

_NUMBERED = re.compile(r"\d+")


def result_line(
    scene_id: int,
    im_id: int,
    obj_id: int,
    score: float,
    R: npt.ArrayLike,
    t: npt.ArrayLike,
    time_s: float = -1.0,
) -> str:
    """Return one line, without its end.

    Args:
        scene_id: Number of the scene.
        im_id: Number of the image.
        obj_id: Number of the object.
        score: Confidence.
        R: (3, 3) T_cam_obj.
        t: (3,) T_cam_obj, millimetres.
        time_s: Seconds for the whole image.
    """
    numbers = [" ".join(f"{value:.9g}" for value in np.ravel(np.asarray(part))) for part in (R, t)]
    return f"{scene_id},{im_id},{obj_id},{score:.6g},{numbers[0]},{numbers[1]},{time_s:.6g}"


def result_lines(
    scene_id: int, im_id: int, poses: Iterable[Pose], time_s: float | None = None
) -> list[str]:
    """Return the lines of one image: of its poses that were not refused.

    Args:
        scene_id: Number of the scene.
        im_id: Number of the image.
        poses: All poses of the image.
        time_s: Seconds for the image; None adds up what the poses say.
    """
    poses = list(poses)
    if time_s is None:
        time_s = sum(pose.ms.total for pose in poses) / 1e3
    return [
        result_line(scene_id, im_id, pose.object_id, pose.confidence, pose.R, pose.t_mm, time_s)
        for pose in poses
        if pose.R is not None and pose.t_mm is not None
    ]


def image_of_path(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return (scene_id, im_id) of a path as in a BOP data set, ``.../000002/rgb/000017.png``."""
    parts = PurePath(path).parts
    if len(parts) < 3 or parts[-2] not in ("rgb", "gray"):
        return None
    scene, image = parts[-3], PurePath(parts[-1]).stem
    if not (_NUMBERED.fullmatch(scene) and _NUMBERED.fullmatch(image)):
        return None
    return int(scene), int(image)


def write_results(path: str | os.PathLike[str], lines: Iterable[str]) -> None:
    """Write a result file, whole or not at all.

    Raises:
        EdgesafeError: It could not be written.
    """
    text = "".join(f"{line}\n" for line in [HEADER, *lines])
    try:
        atomic_write(Path(path), text.encode("ascii"))
    except OSError as error:
        raise EdgesafeError(
            f"{os.fspath(path)}: the results could not be written ({error.strerror or error}); "
            "choose another file and run again"
        ) from None
