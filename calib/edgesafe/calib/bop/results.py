"""Reader of BOP's result files; written by `edgesafe.runtime.pose.bop_csv`."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime.errors import DataError

__all__ = ["Estimate", "Estimates", "read_results"]

_COLUMNS = "scene_id,im_id,obj_id,score,R,t,time"


@dataclass(frozen=True, eq=False)
class Estimate:
    """A pose that somebody estimated, T_cam_obj.

    Attributes:
        score: Confidence.
        R: (3, 3).
        t: (3,) mm.
    """

    score: float
    R: NDArray[np.float64]
    t: NDArray[np.float64]


Estimates: TypeAlias = Mapping[tuple[int, int, int], Sequence[Estimate]]
"""By (scene, picture, object)."""


def read_results(path: str | os.PathLike[str]) -> dict[tuple[int, int, int], list[Estimate]]:
    """Read ``scene_id,im_id,obj_id,score,R,t,time``; the header row may be missing.

    Returns:
        The estimates by (scene, picture, object).

    Raises:
        DataError: The file cannot be read, or a line is not of this form.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text file: lines {_COLUMNS} are needed") from None
    found: dict[tuple[int, int, int], list[Estimate]] = defaultdict(list)
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        if not row or (number == 1 and row[0].strip() == "scene_id"):
            continue
        try:
            scene_id, im_id, obj_id, score, R, t = row[:6]
            estimate = Estimate(
                float(score),
                np.array(R.split(), np.float64).reshape(3, 3),
                np.array(t.split(), np.float64).reshape(3),
            )
            key = int(scene_id), int(im_id), int(obj_id)
            if not np.isfinite([estimate.score, *estimate.R.ravel(), *estimate.t]).all():
                raise ValueError
        except ValueError:
            raise DataError(
                f"{path}, line {number}: must be {_COLUMNS} with finite numbers, R nine and t "
                "three, separated by spaces"
            ) from None
        found[key].append(estimate)
    return dict(found)
