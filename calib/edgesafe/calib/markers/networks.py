"""Who is audited: packages, result files of BOP, or any function.

A network of several seeds is a list of runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgesafe.calib.bop import BopDataset, Box
from edgesafe.calib.bop.results import Estimate, Estimates, read_results
from edgesafe.calib.pose_evaluation import estimate_poses, targets_of
from edgesafe.runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from edgesafe.runtime.pose.estimator import PoseEstimator

__all__ = ["Answer", "FunctionRun", "PackageRun", "PoseFunction", "ResultsRun", "Run"]

Answer: TypeAlias = "tuple[int, ArrayLike, ArrayLike, float]"
"""Number of the object, R (3, 3), t (3,) mm, score."""

PoseFunction: TypeAlias = Callable[
    [NDArray[np.uint8], NDArray[np.float64], Sequence["tuple[int, Box | None]"]], Iterable[Answer]
]
"""From a picture (H, W, 3), K (3, 3), and objects with their visible boxes, to poses."""


class Run(Protocol):
    """One trained network: one seed."""

    @property
    def identity(self) -> str:
        """What it is, for the report."""
        ...

    @property
    def objects(self) -> frozenset[int] | None:
        """Numbers of the objects that it knows; None where nobody says."""
        ...

    def has(self, kind: str) -> bool:
        """Tell whether it can answer about a set."""
        ...

    def estimates(
        self, kind: str, data: BopDataset, objects: Sequence[int], min_visib: float
    ) -> Estimates:
        """Return its poses in all frames of a set."""
        ...


class PackageRun:
    """A pose package, its networks by themselves.

    Poses are not fitted to outlines: that mends what a network gets wrong without its markers, and
    would hide what it reads.

    Args:
        estimator: Of the package.
        roi: Where it looks: at the true boxes, or where it detects the objects.
    """

    def __init__(
        self, estimator: PoseEstimator, roi: Literal["truth", "detector"] = "truth"
    ) -> None:
        """Check that it can look there."""
        self._estimator: PoseEstimator = estimator
        self._roi: Literal["truth", "detector"] = roi
        if roi == "detector" and not estimator.has_detector:
            raise UsageError(f"{self.identity} has no detector: use --roi truth")

    @property
    def identity(self) -> str:
        """Name, release and digest."""
        return self._estimator.manifest.identity

    @property
    def objects(self) -> frozenset[int] | None:
        """Those of the package."""
        return frozenset(self._estimator.objects)

    def has(self, kind: str) -> bool:
        """Any set."""
        return True

    def estimates(
        self, kind: str, data: BopDataset, objects: Sequence[int], min_visib: float
    ) -> Estimates:
        """Run the package."""
        run = estimate_poses(
            self._estimator, data, objects, roi=self._roi, min_visib=min_visib, refine=False
        )
        return run.estimates


class ResultsRun:
    """Result files of BOP, ``KIND.csv`` in one folder, of any network.

    Args:
        folder: Holds at least ``orig.csv``.

    Raises:
        DataError: It does not.
    """

    def __init__(self, folder: Path) -> None:
        """Look for the files."""
        self._folder = folder
        if not self.has("orig"):
            raise DataError(
                f"{folder} has no orig.csv: write one result file of BOP per set, KIND.csv (orig, "
                "erased, conflict...), with the scenes and numbers of the set's pictures"
            )

    @property
    def identity(self) -> str:
        """Name of the folder."""
        return self._folder.name or str(self._folder)

    @property
    def objects(self) -> frozenset[int] | None:
        """Not known."""
        return None

    def has(self, kind: str) -> bool:
        """Whether there is a file."""
        return (self._folder / f"{kind}.csv").is_file()

    def estimates(
        self, kind: str, data: BopDataset, objects: Sequence[int], min_visib: float
    ) -> Estimates:
        """Read the file."""
        return read_results(self._folder / f"{kind}.csv")


class FunctionRun:
    """Any function from a picture to poses.

    Args:
        function: See `PoseFunction`.
        identity: What to call it.
    """

    def __init__(self, function: PoseFunction, identity: str = "function") -> None:
        """Hold it."""
        self._function = function
        self._identity = identity

    @property
    def identity(self) -> str:
        """As it was called."""
        return self._identity

    @property
    def objects(self) -> frozenset[int] | None:
        """Not known."""
        return None

    def has(self, kind: str) -> bool:
        """Any set."""
        return True

    def estimates(
        self, kind: str, data: BopDataset, objects: Sequence[int], min_visib: float
    ) -> Estimates:
        """Call it on every frame."""
        found: dict[tuple[int, int, int], list[Estimate]] = defaultdict(list)
        for frame in data.frames:
            wanted = [(one.obj_id, one.bbox_visib) for one in targets_of(frame, objects, min_visib)]
            if not wanted:
                continue
            for obj_id, R, t, score in self._function(frame.read_rgb(), frame.K, wanted):
                turn = np.asarray(R, np.float64).reshape(3, 3)
                shift = np.asarray(t, np.float64).reshape(3)
                found[(*frame.key, int(obj_id))].append(Estimate(float(score), turn, shift))
        return dict(found)
