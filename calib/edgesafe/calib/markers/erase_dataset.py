"""A data set without its markers: the same files, other pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgesafe.calib.bop import BopDataset
from edgesafe.calib.markers.copies import check_lens, copy_head, copy_scenes, write_png
from edgesafe.calib.markers.erase import Eraser, markers_near
from edgesafe.calib.markers.poses import look_at
from edgesafe.calib.markers.protect import Silhouettes
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_folder

__all__ = ["REPORT", "ErasedFrame", "erase_dataset"]

REPORT = "markers_erased.json"


@dataclass(frozen=True)
class ErasedFrame:
    """What was done to a frame.

    Attributes:
        frame: (scene, picture).
        posed: Whether the board was found; else the picture is as it was.
        before: Markers found in the original.
        left: Markers found near their places afterwards.
        changed: Share of the picture's pixels that were painted.
        seconds: For the frame, with reading and writing.
    """

    frame: tuple[int, int]
    posed: bool
    before: int
    left: int
    changed: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "scene_id": self.frame[0],
            "im_id": self.frame[1],
            "board_found": self.posed,
            "markers_before": self.before,
            "markers_left": self.left,
            "changed": round(self.changed, 6),
        }


def erase_dataset(
    data: BopDataset,
    eraser: Eraser,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> list[ErasedFrame]:
    """Write a copy of a split without markers.

    Pictures have the same relative paths, as PNG whatever they were. Annotations, masks, depth and
    models are copied. What was done to each frame is written to ``markers_erased.json``.

    Args:
        data: The split.
        eraser: Of its board.
        out: Folder to make.
        overwrite: Replace what is there.
        progress: Called with the number of frames that are done.

    Raises:
        DataError: A picture or mesh cannot be read, the lens distorts, or the board is in no frame.
        UsageError: ``out`` exists.
    """
    check_lens(data)
    silhouettes = Silhouettes(data)
    done: list[ErasedFrame] = []
    with atomic_folder(out, overwrite=overwrite) as folder:
        copy_head(data, folder)
        copy_scenes(data, folder / data.split)
        for number, frame in enumerate(data.frames, 1):
            start = time.perf_counter()
            rgb = frame.read_rgb()
            seen = look_at(data, frame, rgb, eraser.board, eraser.finder)
            before, left, changed = len(seen.found), 0, 0.0
            if seen.pose is not None:
                T = seen.pose.matrix
                before = len(markers_near(seen.found, eraser.board, frame.K, T))
                pixels = silhouettes.of(frame, rgb.shape[1], rgb.shape[0])
                erased = eraser.erase(rgb, frame.K, T, pixels.protected, frame.key)
                rgb, left = erased.rgb, erased.left
                changed = float(np.mean(erased.changed))
            place = frame.rgb_path.relative_to(data.path).with_suffix(".png")
            write_png(folder / place, rgb)
            seconds = time.perf_counter() - start
            posed = seen.pose is not None
            done.append(ErasedFrame(frame.key, posed, before, left, changed, seconds))
            progress(number)
        if not any(one.posed for one in done):
            raise DataError(
                f"{data.path / data.split}: the board was found in none of {len(done)} frames: "
                "name the board that lies under the objects (edgesafe markers detect shows what "
                "is found)"
            )
        report = {
            "format": "edgesafe.markers-erased/1",
            "fill": eraser.fill,
            "seed": eraser.seed,
            "split": data.split,
            "frames": [one.to_json() for one in done],
        }
        text = json.dumps(report, indent=1, allow_nan=False) + "\n"
        (folder / REPORT).write_text(text, encoding="ascii")
    return done
