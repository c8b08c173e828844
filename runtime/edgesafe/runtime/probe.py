"""The linear probe of a package whose embeddings have no radius: ``w . e + b``, a logit.

``probe.json``::

    {"image": {"weights": [d numbers], "bias": b}, "text": {...}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.fields import parse_json
from edgesafe.runtime.files import canonical_json

__all__ = ["Probe", "parse_probe", "probe_json"]

_FAR = 1e6


@dataclass(frozen=True)
class Probe:
    """A direction of the embeddings, higher is less safe.

    Attributes:
        weights: float64 (d,).
        bias: Added to the product.
    """

    weights: npt.NDArray[np.float64] = field(repr=False)
    bias: float

    def logit(self, embedding: npt.NDArray[np.float64]) -> float:
        """Return the logit of one embedding, (d,)."""
        return float(self.weights @ embedding) + self.bias


def parse_probe(data: bytes, dim: int, where: str) -> dict[str, Probe]:
    """Read ``probe.json``: one probe per modality, one or both.

    Raises:
        PackageError: Not as the format says.
    """
    top = parse_json(data, where)
    top.only("image", "text")
    found = {}
    for name in top.value:
        entry = top.fields(name)
        entry.only("weights", "bias")
        weights = np.array(entry.numbers("weights", -_FAR, _FAR, count=dim), np.float64)
        if not weights.any():
            raise entry.fail("weights", "are all zero: every input would score the same")
        found[name] = Probe(weights, entry.number("bias", -_FAR, _FAR))
    return found


def probe_json(probes: Mapping[str, Probe]) -> bytes:
    """Return the content of ``probe.json``."""
    return canonical_json(
        {
            name: {"weights": [float(f"{w:.9g}") for w in probe.weights], "bias": probe.bias}
            for name, probe in probes.items()
        }
    )
