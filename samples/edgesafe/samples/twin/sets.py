"""The twin's test frames as the counterfactual sets of an audit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop import LabelledObject
from edgesafe.calib.bop.writer import BopWriter
from edgesafe.calib.markers.copies import write_png
from edgesafe.calib.markers.counterfactual_dataset import (
    INDEX,
    MARKER_MASKS,
    Made,
    Sets,
    read_sets,
    write_index,
)
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.samples.twin.pictures import TWIN_KINDS, Painter
from edgesafe.samples.twin.views import HEIGHT, WIDTH, K, draw_view

__all__ = ["twin_sets"]

_SOURCE = "synthetic twin of LINEMOD"


def twin_sets(
    painter: Painter,
    frames: int,
    out: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> Sets:
    """Write whole frames of every kind, or open what is there already.

    Args:
        painter: Of the twin; its photos must be none that a network was trained on.
        frames: How many of each kind.
        out: Folder to make.
        progress: Called with the number of frames that are done.
    """
    if (out / INDEX).is_file():
        return read_sets(out)
    made: dict[str, dict[tuple[int, int], Made]] = {kind: {} for kind in TWIN_KINDS}
    markers: list[tuple[str, int, NDArray[np.bool_]]] = []
    with BopWriter(out, Camera(K, WIDTH, HEIGHT), overwrite=True) as writer:
        writer.add_model(1, painter.part.mesh)
        for number in range(frames):
            view = draw_view(painter.part, painter.seed, number)
            part = painter.see(view, K, WIDTH, HEIGHT)
            thing = LabelledObject(1, view.R, view.t, part.mask)
            for kind in TWIN_KINDS:
                drawn = painter.draw(kind, view, part, K)
                im_id = writer.add_frame(drawn.rgb, K, [thing], split=kind)
                made[kind][0, im_id] = Made(view.T, drawn.shown, None, None)
                if drawn.markers is not None:
                    markers.append((kind, im_id, drawn.markers))
            progress(number + 1)
    for split, im_id, mask in markers:
        path = out / split / "000000" / MARKER_MASKS / f"{im_id:06d}.png"
        write_png(path, mask.astype(np.uint8) * 255)
    # The index last: sets with it are whole.
    write_index(out, _SOURCE, painter.seed, made)
    return Sets(out, _SOURCE, made)
