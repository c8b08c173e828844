"""Symmetries of a part as they are told on a command line: ``ID:z2``, ``ID:zinf``, ``ID:x2,z2``.

An axis of the object frame (x, y or z) and by how many steps a full turn is divided; the axis goes
through the centre of the surface, as it must where the part really is symmetric.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.bop.models_info import ModelInfo
from edgesafe.calib.bop.symmetries import rigid, turn
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.mesh import Mesh

__all__ = ["Symmetry", "parse_symmetries"]

Array = NDArray[np.float64]

_FORM = re.compile(r"(\d+):((?:[xyz](?:\d+|inf))(?:,[xyz](?:\d+|inf))*)")
_MOST = 120
# An axis this near to the origin, in parts of the size, is meant to go through it.
_SNAP = 0.01


@dataclass(frozen=True)
class Symmetry:
    """Turns that leave a part looking the same.

    Attributes:
        turns: (axis, steps) with axis 0..2; steps 0 for any angle.
    """

    turns: tuple[tuple[int, int], ...]

    def put(self, info: ModelInfo, mesh: Mesh) -> ModelInfo:
        """Return ``info`` with these symmetries in place of its own.

        Several finite turns become their whole group.

        Raises:
            UsageError: The turns generate more than a part can have.
        """
        centre = _centre(mesh)
        group = _group(
            [turn(np.eye(3)[axis], 2 * np.pi / steps)[0] for axis, steps in self.turns if steps]
        )
        turns = np.round(np.array(group[1:]).reshape(-1, 3, 3), 12) + 0.0
        return replace(
            info,
            symmetries_discrete=rigid(turns, centre - turns @ centre),
            symmetries_continuous=tuple(
                {"axis": np.eye(3)[axis], "offset": centre}
                for axis, steps in self.turns
                if not steps
            ),
        )


def parse_symmetries(texts: Iterable[str]) -> dict[int, Symmetry]:
    """Read what ``--symmetry`` was given.

    Raises:
        UsageError: A text has another form, or an object is named twice.
    """
    found: dict[int, Symmetry] = {}
    for text in texts:
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"--symmetry {text!r}: write the object's number, the axis and the number of steps "
                "of a full turn, e.g. 3:z2, 3:zinf or 3:x2,z2"
            )
        turns = []
        for word in match[2].split(","):
            steps = 0 if word[1:] == "inf" else int(word[1:])
            if word[1:] != "inf" and not 2 <= steps <= _MOST:
                raise UsageError(f"--symmetry {text!r}: steps must be 2..{_MOST} or inf")
            turns.append(("xyz".index(word[0]), steps))
        number = int(match[1])
        if number in found:
            raise UsageError(f"--symmetry names object {number} twice: write {number}:x2,z2")
        found[number] = Symmetry(tuple(turns))
    return found


def _centre(mesh: Mesh) -> Array:
    """Return the centroid of the surface, (3,): every axis of symmetry goes through it."""
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    centre = (corners.mean(axis=1) * area[:, None]).sum(0) / max(area.sum(), 1e-12)
    return np.where(np.abs(centre) < _SNAP * mesh.size.max(), 0.0, centre)


def _group(generators: list[Array]) -> list[Array]:
    """Return all products of the generators, the identity first."""
    group = [np.eye(3)]
    new = list(group)
    while new:
        products = [known @ generator for known in new for generator in generators]
        new = []
        for product in products:
            if not any(np.allclose(product, known, atol=1e-6) for known in group):
                group.append(product)
                new.append(product)
        if len(group) > _MOST:
            raise UsageError("--symmetry: these turns together leave no finite number of poses")
    return group
