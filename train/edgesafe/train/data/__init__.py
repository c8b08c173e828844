"""Quadruplets: records, their checks, augmentation and the loader."""

from __future__ import annotations

from edgesafe.train.data.quadruplets import Quadruplet, QuadrupletSet, read_quadruplets
from edgesafe.train.data.report import BadRecord, BadRecordsError

__all__ = ["BadRecord", "BadRecordsError", "Quadruplet", "QuadrupletSet", "read_quadruplets"]
