"""Quadruplets: records, their checks, augmentation and the loader."""

from __future__ import annotations

from edgesafe.calib.bad_records import BadRecord, BadRecordsError
from edgesafe.train.data.quadruplets import Quadruplet, QuadrupletSet, read_quadruplets

__all__ = ["BadRecord", "BadRecordsError", "Quadruplet", "QuadrupletSet", "read_quadruplets"]
