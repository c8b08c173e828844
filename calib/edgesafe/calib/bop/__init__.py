"""Data sets of 6D object pose in the format of BOP: read, written, checked.

Source of the format: bop_toolkit, docs/bop_datasets_format.md; millimetres, T_cam_obj, the centre
of the top left pixel at (0, 0).
"""

from edgesafe.calib.bop.dataset import BopDataset, split_names
from edgesafe.calib.bop.frame import Box, Frame, Instance
from edgesafe.calib.bop.models_info import ModelInfo, read_models_info
from edgesafe.calib.bop.split import read_split
from edgesafe.calib.bop.symmetries import ContinuousSymmetry, symmetry_transforms
from edgesafe.calib.bop.writer import BopWriter, LabelledObject

__all__ = [
    "BopDataset",
    "BopWriter",
    "Box",
    "ContinuousSymmetry",
    "Frame",
    "Instance",
    "LabelledObject",
    "ModelInfo",
    "read_models_info",
    "read_split",
    "split_names",
    "symmetry_transforms",
]
