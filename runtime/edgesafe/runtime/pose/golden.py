"""Golden pairs of a pose package: inputs that travel in it with the answers they must give.

``golden.json``::

    {"tolerances": {"outputs": 0.01},
     "roi": [{"png": base64 of the crop, "object": id, "outputs": {name: [[index, value], ...]}}],
     "detector": [{"png": base64 of the letterboxed frame, "outputs": {...}}]}

The PNGs have the size of the network's input. ``index`` counts in the flattened output of that
one picture; ``|found - value| <= tolerance (1 + |value|)``.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.fields import Fields, parse_json

__all__ = ["GoldenPair", "PoseGolden", "golden_pair", "parse_pose_golden"]

Floats = npt.NDArray[np.floating[Any]]

_LOOSEST = 0.05  # of int8
_MAX_PAIRS = 512
_MAX_INDEX = 2**31


@dataclass(frozen=True)
class GoldenPair:
    """A PNG file, whose object it is (None for the detector), and samples of the outputs."""

    png: bytes = field(repr=False)
    object_id: int | None
    outputs: Mapping[str, tuple[tuple[int, float], ...]] = field(repr=False)


@dataclass(frozen=True)
class PoseGolden:
    """All golden pairs of a package."""

    tolerance: float
    roi: tuple[GoldenPair, ...]
    detector: tuple[GoldenPair, ...]

    def check(self, pair: GoldenPair, outputs: Mapping[str, Floats]) -> str | None:
        """Compare outputs of one picture with a pair; return the complaint or None."""
        for name, samples in pair.outputs.items():
            if name not in outputs:
                return f"there is no output {name!r:.60}"
            flat = np.ravel(outputs[name])
            for index, expected in samples:
                if index >= flat.size:
                    return f"the output {name} has {flat.size} values, not {index + 1}"
                # Written so that NaN fails.
                if not abs(flat[index] - expected) <= self.tolerance * (1 + abs(expected)):
                    return f"{name}[{index}] is {flat[index]:.5g}, not {expected:.5g}"
        return None


def golden_pair(
    pixels: npt.NDArray[np.uint8],
    outputs: Mapping[str, Floats],
    object_id: int | None = None,
    count: int = 32,
) -> dict[str, Any]:
    """Make an entry of ``golden.json``.

    Args:
        pixels: uint8 (H, W, 3), the network's input before it is normalised.
        outputs: Name to output for this picture alone, without the batch axis.
        object_id: Whose crop it is; None for the detector.
        count: At most so many values of each output, evenly spread.
    """
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", optimize=True)
    samples = {}
    for name, values in outputs.items():
        flat = np.ravel(values)
        places = np.unique(np.linspace(0, flat.size - 1, min(count, flat.size)).astype(np.int64))
        samples[name] = [[int(i), float(flat[i])] for i in places]
    entry: dict[str, Any] = {
        "png": base64.b64encode(file.getvalue()).decode("ascii"),
        "outputs": samples,
    }
    return entry if object_id is None else {**entry, "object": object_id}


def parse_pose_golden(data: bytes, where: str) -> PoseGolden:
    """Read ``golden.json`` of a pose package.

    Raises:
        PackageError: Not as the format says.
    """
    top = parse_json(data, where)
    top.only("tolerances", "roi", "detector")
    tolerances = top.fields("tolerances")
    tolerances.only("outputs")
    return PoseGolden(
        tolerances.number("outputs", 0.0, _LOOSEST),
        tuple(_pair(item, True) for item in _pairs(top, "roi")),
        tuple(_pair(item, False) for item in _pairs(top, "detector")),
    )


def _pairs(top: Fields, name: str) -> Iterable[Fields]:
    items = top.items(name) if name in top else []
    if len(items) > _MAX_PAIRS:
        raise top.fail(name, f"has more than {_MAX_PAIRS} pairs")
    return [Fields(item, f"{top.where}: {name}[{index}]") for index, item in enumerate(items)]


def _pair(fields: Fields, of_object: bool) -> GoldenPair:
    fields.only("png", "outputs", *(["object"] if of_object else []))
    try:
        png = base64.b64decode(fields.text("png"), validate=True)
    except (binascii.Error, ValueError):
        raise fields.fail("png", "is not base64") from None
    outputs = fields.fields("outputs")
    samples = {name: tuple(_samples(outputs, name)) for name in outputs.value}
    if not samples or not all(samples.values()):
        raise PackageError(f"{fields.where}: outputs must hold samples of each output")
    return GoldenPair(png, fields.integer("object", 0, _MAX_INDEX) if of_object else None, samples)


def _samples(outputs: Fields, name: str) -> Iterable[tuple[int, float]]:
    for item in outputs.items(name):
        if not isinstance(item, list) or len(item) != 2:
            raise outputs.fail(name, "must hold lists of [index, value]")
        place = Fields(dict(zip(("index", "value"), item, strict=True)), f"{outputs.where}.{name}")
        yield place.integer("index", 0, _MAX_INDEX), place.number("value", -1e9, 1e9)
