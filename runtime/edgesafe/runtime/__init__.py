"""edgesafe on the device: verified packages in, verdicts and poses out, no torch.

The way of an image::

    package.py   read once, verify, hand out bytes      gate.py        bytes -> whole RGB picture
    manifest.py  what the package says about itself     preprocess.py  picture -> tensor
    sessions.py  bytes -> ONNX Runtime session          encoders.py    tensor -> embedding
    golden.py    does this machine compute the same?    judge.py       embedding -> verdict
    moderator.py puts these together                    verdict.py     the one place of "safe"

The way of a pose is told in :mod:`edgesafe.runtime.pose`.

``safe`` comes out of one function, from a finite score, a verified package and a whole image or
text. Everything that went wrong is ``undecided`` with a reason code.

The names below are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgesafe.runtime.errors import (
        BackendError,
        CheckpointError,
        DataError,
        EdgesafeError,
        ExportError,
        MissingExtraError,
        PackageError,
        SourceError,
        UsageError,
    )
    from edgesafe.runtime.intake import ImageSource
    from edgesafe.runtime.manifest import Manifest
    from edgesafe.runtime.manifest_pose import PoseManifest
    from edgesafe.runtime.moderator import Moderator
    from edgesafe.runtime.package import (
        Package,
        PosePackage,
        default_model_path,
        read_package,
        read_pose_package,
        write_package,
        write_pose_package,
    )
    from edgesafe.runtime.pose.estimator import PoseEstimator
    from edgesafe.runtime.pose.intrinsics import Camera
    from edgesafe.runtime.pose.result import Pose, PoseTimings
    from edgesafe.runtime.pose.tracking import PoseTracker
    from edgesafe.runtime.preprocess import Preprocess
    from edgesafe.runtime.verdict import ConceptScore, Timings, Verdict

__all__ = [
    "BackendError",
    "Camera",
    "CheckpointError",
    "ConceptScore",
    "DataError",
    "EdgesafeError",
    "ExportError",
    "ImageSource",
    "Manifest",
    "MissingExtraError",
    "Moderator",
    "Package",
    "PackageError",
    "Pose",
    "PoseEstimator",
    "PoseManifest",
    "PosePackage",
    "PoseTimings",
    "PoseTracker",
    "Preprocess",
    "SourceError",
    "Timings",
    "UsageError",
    "Verdict",
    "default_model_path",
    "read_package",
    "read_pose_package",
    "write_package",
    "write_pose_package",
]

_HOME = {
    "Camera": "pose.intrinsics",
    "ConceptScore": "verdict",
    "ImageSource": "intake",
    "Manifest": "manifest",
    "Moderator": "moderator",
    "Package": "package",
    "Pose": "pose.result",
    "PoseEstimator": "pose.estimator",
    "PoseManifest": "manifest_pose",
    "PosePackage": "package",
    "PoseTimings": "pose.result",
    "PoseTracker": "pose.tracking",
    "Preprocess": "preprocess",
    "Timings": "verdict",
    "Verdict": "verdict",
    "default_model_path": "package",
    "read_package": "package",
    "read_pose_package": "package",
    "write_package": "package",
    "write_pose_package": "package",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
