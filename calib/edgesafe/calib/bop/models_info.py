"""``models_info.json``: size and symmetries of the objects of a BOP data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgesafe.calib.bop.extent import diameter
from edgesafe.calib.bop.jsonfile import data_errors, read_json
from edgesafe.calib.bop.symmetries import Axis, axis_and_offset, symmetry_transforms
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.fields import Fields
from edgesafe.runtime.mesh import Mesh

__all__ = ["MODELS_INFO", "ModelInfo", "read_models_info"]

MODELS_INFO = "models_info.json"

Array = NDArray[np.float64]

_FAR = 1e9
_XYZ = "xyz"


@dataclass(frozen=True, eq=False)
class ModelInfo:
    """What is known of an object besides its mesh; millimetres in the object frame.

    Attributes:
        diameter: Largest distance of two vertices.
        min: (3,) lower corner of the axis-aligned box.
        size: (3,) sides of that box.
        symmetries_discrete: (n, 4, 4) T_obj_obj without the identity.
        symmetries_continuous: Axes of symmetry.
    """

    diameter: float
    min: Array
    size: Array
    symmetries_discrete: Array = field(default_factory=lambda: np.zeros((0, 4, 4)))
    symmetries_continuous: Sequence[Axis] = ()

    @classmethod
    def of_mesh(
        cls, mesh: Mesh, discrete: ArrayLike = (), continuous: Sequence[Axis] = ()
    ) -> ModelInfo:
        """Measure a mesh.

        Args:
            mesh: In millimetres.
            discrete: (n, 4, 4) symmetries without the identity.
            continuous: Axes of symmetry.
        """
        return cls(
            diameter=diameter(mesh.vertices),
            min=mesh.minimum,
            size=mesh.size,
            symmetries_discrete=np.asarray(discrete, np.float64).reshape(-1, 4, 4),
            symmetries_continuous=tuple(continuous),
        )

    @property
    def symmetric(self) -> bool:
        """Whether there are other poses that look the same."""
        return len(self.symmetries_discrete) > 0 or len(self.symmetries_continuous) > 0

    def symmetry_transforms(self, max_step: float = 0.01) -> Array:
        """Return all symmetries (S, 4, 4), the identity first; see `symmetries`."""
        return symmetry_transforms(self.symmetries_discrete, self.symmetries_continuous, max_step)

    def to_json(self) -> dict[str, Any]:
        """Return the form of ``models_info.json``."""
        found: dict[str, Any] = {"diameter": float(self.diameter)}
        for key, values in (("min", self.min), ("size", self.size)):
            found |= {f"{key}_{name}": float(v) for name, v in zip(_XYZ, values, strict=True)}
        if len(self.symmetries_discrete):
            found["symmetries_discrete"] = [
                [float(value) for value in matrix.ravel()] for matrix in self.symmetries_discrete
            ]
        if self.symmetries_continuous:
            pairs = [axis_and_offset(symmetry) for symmetry in self.symmetries_continuous]
            found["symmetries_continuous"] = [
                {"axis": axis.tolist(), "offset": offset.tolist()} for axis, offset in pairs
            ]
        return found


def read_models_info(path: Path) -> dict[int, ModelInfo]:
    """Read a ``models_info.json``.

    Returns:
        The objects by their numbers, in rising order.

    Raises:
        DataError: The file cannot be read, or a value is missing or makes no sense.
    """
    found: dict[int, ModelInfo] = {}
    for name, value in read_json(path).items():
        if not name.isdecimal():
            raise DataError(f"{path}: {name!r:.40} is not the number of an object")
        with data_errors():
            found[int(name)] = _info(Fields(value, f"{path}: object {name}"))
    if not found:
        raise DataError(f"{path} describes no object")
    return dict(sorted(found.items()))


def _info(fields: Fields) -> ModelInfo:
    discrete = np.array(_rows(fields, "symmetries_discrete")).reshape(-1, 4, 4)
    turns = discrete[:, :3, :3]
    unit = np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max(initial=0.0) < 1e-3
    if not (unit and (np.linalg.det(turns) > 0).all() and (discrete[:, 3] == [0, 0, 0, 1]).all()):
        raise fields.fail("symmetries_discrete", "must hold rigid motions, 4 x 4 row by row")
    return ModelInfo(
        diameter=fields.number("diameter", 1e-9, _FAR),
        min=np.array([fields.number(f"min_{name}", -_FAR, _FAR) for name in _XYZ]),
        size=np.array([fields.number(f"size_{name}", 0.0, _FAR) for name in _XYZ]),
        symmetries_discrete=discrete,
        symmetries_continuous=_axes(fields),
    )


def _rows(fields: Fields, name: str) -> list[list[float]]:
    if name not in fields:
        return []
    where = f"{fields.where}: {name}"
    rows = [Fields({"matrix": row}, where) for row in fields.items(name)]
    return [row.numbers("matrix", -_FAR, _FAR, count=16) for row in rows]


def _axes(fields: Fields) -> tuple[Axis, ...]:
    name = "symmetries_continuous"
    found: list[Axis] = []
    for item in fields.items(name) if name in fields else []:
        part = Fields(item, f"{fields.where}: {name}")
        axis = np.array(part.numbers("axis", -_FAR, _FAR, count=3))
        if not np.linalg.norm(axis) > 1e-6:
            raise part.fail("axis", "has no direction")
        offset = np.array(part.numbers("offset", -_FAR, _FAR, count=3))
        found.append({"axis": axis, "offset": offset})
    return tuple(found)
