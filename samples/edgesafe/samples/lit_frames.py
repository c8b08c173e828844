"""Which frames of a data set show their objects neither burnt out, nor black, nor in pure noise.

    python -m edgesafe.samples.lit_frames DATASET --out LIST.txt
    edgesafe train pose --data DATASET --split LIST.txt …

The renderer spreads light, exposure and noise wider than cameras do, so that a network which learns
long enough bears them all. One that learns for minutes gets further on the ordinary frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from edgesafe.calib.bop.dataset import BopDataset
from edgesafe.calib.bop.frame import Frame
from edgesafe.cli import run
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.video import import_cv2

__all__ = ["Light", "light_of", "lit"]

_WHITE = 250
_FEW = 100  # pixels; fewer tell nothing


@dataclass(frozen=True)
class Light:
    """How the objects of a frame are lit, at half its size.

    Attributes:
        burnt: Share of their pixels with a channel at 250 or more.
        median: Median of their grey levels, 0..255.
        noise: Median distance of a grey level from the mean of its 3 x 3 neighbours.
    """

    burnt: float
    median: float
    noise: float


def light_of(frame: Frame) -> Light | None:
    """Measure a frame; None where fewer than a hundred pixels show an object.

    Raises:
        DataError: The picture cannot be read.
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = import_cv2()
    bgr = cv2.imread(str(frame.rgb_path), cv2.IMREAD_REDUCED_COLOR_2)
    if bgr is None:
        raise DataError(f"{frame.rgb_path} cannot be read: fetch or render the data set again")
    shown = np.zeros(bgr.shape[:2], dtype=bool)
    for instance in frame.instances:
        mask = instance.mask_visib_path and cv2.imread(
            str(instance.mask_visib_path), cv2.IMREAD_GRAYSCALE
        )
        if mask is None:
            raise DataError(f"{frame.rgb_path} has no masks of its objects (mask_visib)")
        size = (shown.shape[1], shown.shape[0])
        shown |= cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) > 0
    if shown.sum() < _FEW:
        return None
    pixels: npt.NDArray[np.float32] = bgr.astype(np.float32)
    grey = pixels.mean(axis=2)
    rough = np.abs(grey - cv2.blur(grey, (3, 3)))
    return Light(
        burnt=float((pixels[shown].max(axis=1) >= _WHITE).mean()),
        median=float(np.median(grey[shown])),
        noise=float(np.median(rough[shown])),
    )


def lit(light: Light) -> bool:
    """Tell whether a frame is an ordinary one."""
    return light.burnt < 0.08 and 38 < light.median < 150 and light.noise < 3.5


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="List to write.")
def lit_frames(dataset: Path, out: Path) -> None:
    """List the ordinarily lit frames of DATASET, a BOP data set with masks."""
    if out.exists():
        raise UsageError(f"{out} exists: choose another file, or delete it")
    frames = BopDataset.open(dataset, prefer="train").frames
    chosen = [
        f"{frame.scene_id}/{frame.im_id}"
        for frame in frames
        if (light := light_of(frame)) is not None and lit(light)
    ]
    if not chosen:
        raise DataError(f"no frame of {dataset} is ordinarily lit: there is nothing to train on")
    atomic_write(out, "".join(f"{line}\n" for line in chosen).encode())
    click.echo(f"{len(chosen)} of {len(frames)} frames: {out}")


if __name__ == "__main__":
    run(lit_frames)
