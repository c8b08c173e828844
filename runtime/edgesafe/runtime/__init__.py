"""edgesafe on the device: verified packages in, verdicts out, no torch.

The way of an image::

    package.py   read once, verify, hand out bytes      gate.py        bytes -> whole RGB picture
    manifest.py  what the package says about itself     preprocess.py  picture -> tensor
    sessions.py  bytes -> ONNX Runtime session          encoders.py    tensor -> embedding
    golden.py    does this machine compute the same?    judge.py       embedding -> verdict
    moderator.py puts these together                    verdict.py     the one place of "safe"

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
    from edgesafe.runtime.moderator import Moderator
    from edgesafe.runtime.package import (
        Package,
        default_model_path,
        read_package,
        write_package,
    )
    from edgesafe.runtime.preprocess import Preprocess
    from edgesafe.runtime.verdict import ConceptScore, Timings, Verdict

__all__ = [
    "BackendError",
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
    "Preprocess",
    "SourceError",
    "Timings",
    "UsageError",
    "Verdict",
    "default_model_path",
    "read_package",
    "write_package",
]

_HOME = {
    "ConceptScore": "verdict",
    "ImageSource": "intake",
    "Manifest": "manifest",
    "Moderator": "moderator",
    "Package": "package",
    "Preprocess": "preprocess",
    "Timings": "verdict",
    "Verdict": "verdict",
    "default_model_path": "package",
    "read_package": "package",
    "write_package": "package",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
