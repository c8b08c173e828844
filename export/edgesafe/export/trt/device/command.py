"""What ``build_engine.py`` of a bundle calls."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .build import run
from .reading import Bundle, BundleError, BundleUsageError
from .settings import parse

__all__ = ["build_engine"]


def build_engine(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """Build and check the engines of the bundle in a folder.

    Returns:
        The exit status: 0, 2 for a wrong option, or 3.
    """
    try:
        bundle = Bundle(folder)
        return run(bundle, parse(arguments, folder, bundle.description["defaults"]))
    except (BundleError, OSError) as error:
        print(f"build_engine: {error}", file=sys.stderr)
        return 2 if isinstance(error, BundleUsageError) else 3
