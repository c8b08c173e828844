"""Golden pairs: inputs that travel in a package with the answers they must give.

They are run on the device before the first verdict of their modality. A difference means that this
machine does not compute what was measured when the package was made (another resampling, a broken
driver, a reduced precision), and the package is refused: its thresholds would mean nothing.

``golden.json``::

    {"tolerances": {"pixels": 0.04, "embedding": 0.01, "root_distance": 0.001},
     "image": [{"png": base64, "pixels_sample": [[c, y, x, value], ...], "embedding": [...],
                "root_distance": r}],
     "text": [{"text": ..., "input_ids": [...], "embedding": [...], "root_distance": r}]}

``pixels`` is absolute, in normalised units; ``embedding`` is the length of the difference over the
length of the expected embedding (of a classifier: of its scores); ``root_distance`` is relative,
and absent from packages that are not hyperbolic.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.fields import Fields, parse_json
from edgesafe.runtime.package import Package
from edgesafe.runtime.preprocess import Preprocess

__all__ = [
    "Golden",
    "GoldenImage",
    "GoldenText",
    "Tolerances",
    "parse_golden",
    "read_golden",
    "sample_pixels",
]

Floats = npt.NDArray[np.floating[Any]]

# A package may ask for more exactness than this, never for less.
_LOOSEST = {"pixels": 0.2, "embedding": 0.05, "root_distance": 0.02}
_MAX_PAIRS = 64
_MIN_SAMPLES = 32


@dataclass(frozen=True)
class Tolerances:
    """Largest differences that are still equal; see the module for their units."""

    pixels: float
    embedding: float
    root_distance: float | None = None


@dataclass(frozen=True)
class Answer:
    """What an encoder must answer: first output (d,) and, where it has a second, root distance."""

    embedding: tuple[float, ...] = field(repr=False)
    root_distance: float | None = None


@dataclass(frozen=True)
class GoldenImage:
    """A PNG file, some of its pixels after preprocessing as (c, y, x, value), and the answer."""

    png: bytes = field(repr=False)
    pixels: tuple[tuple[int, int, int, float], ...] = field(repr=False)
    answer: Answer


@dataclass(frozen=True)
class GoldenText:
    """A text, its token ids with special tokens, and the answer."""

    text: str
    input_ids: tuple[int, ...]
    answer: Answer


@dataclass(frozen=True)
class Golden:
    """All golden pairs of a package."""

    tolerances: Tolerances
    image: tuple[GoldenImage, ...]
    text: tuple[GoldenText, ...]

    def check_pixels(self, pair: GoldenImage, tensor: Floats) -> str | None:
        """Compare a preprocessed image, (3, H, W), with a pair; return the complaint or None."""
        for c, y, x, expected in pair.pixels:
            found = float(tensor[c, y, x])
            # Written so that NaN fails.
            if not abs(found - expected) <= self.tolerances.pixels:
                return f"preprocessing gives {found:.4f} at {(c, y, x)}, not {expected:.4f}"
        return None

    def check_answer(
        self, answer: Answer, embedding: Floats, root_distance: float | None
    ) -> str | None:
        """Compare an encoder's outputs, (d,) and a number; return the complaint or None."""
        expected = np.asarray(answer.embedding)
        error = np.linalg.norm(np.asarray(embedding, np.float64) - expected)
        relative = float(error / np.linalg.norm(expected))
        if not relative <= self.tolerances.embedding:
            return f"the embedding is off by {relative:.2g} of its length"
        if answer.root_distance is None:
            return None
        found, limit = root_distance, self.tolerances.root_distance
        if found is None or limit is None:
            return "there is no root distance"
        if not abs(found - answer.root_distance) / answer.root_distance <= limit:
            return f"the root distance is {root_distance:.6f}, not {answer.root_distance:.6f}"
        return None


def sample_pixels(tensor: Floats, count: int = 64) -> list[list[float]]:
    """Choose ``count`` pixels of a preprocessed image (3, H, W), as ``[c, y, x, value]``.

    Evenly spread over the tensor and the same at every call, for the writer of ``golden.json``.
    """
    places = np.linspace(0, tensor.size - 1, max(count, _MIN_SAMPLES)).astype(np.int64)
    indices = np.stack(np.unravel_index(places, tensor.shape), axis=1)
    return [[int(c), int(y), int(x), float(tensor[c, y, x])] for c, y, x in indices]


def read_golden(package: Package) -> Golden:
    """Read the golden pairs of a verified package.

    Raises:
        PackageError: Not as the format says.
    """
    manifest = package.manifest
    return parse_golden(
        package.files[manifest.golden],
        manifest.dim,
        manifest.image.preprocess if manifest.image else None,
        str(package.path / manifest.golden),
        radius=manifest.method == "hysac",
    )


def parse_golden(
    data: bytes, dim: int, preprocess: Preprocess | None, where: str, *, radius: bool = True
) -> Golden:
    """Read ``golden.json``.

    Args:
        data: The file.
        dim: Numbers of an encoder's first output.
        preprocess: Of the image encoder, for the range of the sampled places.
        where: What to call the file in messages.
        radius: Whether the encoders have a second output, the root distance.

    Raises:
        PackageError: Not as the format says.
    """
    top = parse_json(data, where)
    top.only("tolerances", "image", "text")
    plain = top.fields("tolerances")
    loosest = {k: most for k, most in _LOOSEST.items() if radius or k != "root_distance"}
    plain.only(*loosest)
    tolerances = Tolerances(**{k: plain.number(k, 0.0, most) for k, most in loosest.items()})
    keys = ("embedding", "root_distance") if radius else ("embedding",)
    images = tuple(_image(item, keys, dim, preprocess) for item in _pairs(top, "image"))
    texts = tuple(_text(item, keys, dim) for item in _pairs(top, "text"))
    return Golden(tolerances, images, texts)


def _pairs(top: Fields, name: str) -> Sequence[Fields]:
    items = top.items(name) if name in top else []
    if len(items) > _MAX_PAIRS:
        raise top.fail(name, f"has more than {_MAX_PAIRS} pairs")
    return [Fields(item, f"{top.where}: {name}[{index}]") for index, item in enumerate(items)]


def _answer(fields: Fields, keys: Sequence[str], dim: int) -> Answer:
    embedding = tuple(fields.numbers("embedding", -1e6, 1e6, count=dim))
    if not any(embedding):
        raise fields.fail("embedding", "is zero: it could not be compared with anything")
    if "root_distance" not in keys:
        return Answer(embedding)
    return Answer(embedding, fields.number("root_distance", 1e-9, 1e3))


def _image(
    fields: Fields, keys: Sequence[str], dim: int, preprocess: Preprocess | None
) -> GoldenImage:
    fields.only("png", "pixels_sample", *keys)
    if preprocess is None:
        raise PackageError(f"{fields.where}: the package has no image encoder")
    try:
        png = base64.b64decode(fields.text("png"), validate=True)
    except (binascii.Error, ValueError):
        raise fields.fail("png", "is not base64") from None
    samples = [_sample(item, fields, preprocess) for item in fields.items("pixels_sample")]
    if len(samples) < _MIN_SAMPLES:
        raise fields.fail("pixels_sample", f"must have at least {_MIN_SAMPLES} places")
    return GoldenImage(png, tuple(samples), _answer(fields, keys, dim))


def _sample(item: Any, fields: Fields, size: Preprocess) -> tuple[int, int, int, float]:
    if not isinstance(item, list) or len(item) != 4:
        raise fields.fail("pixels_sample", "must hold lists of [c, y, x, value]")
    place = Fields(dict(zip("cyxv", item, strict=True)), f"{fields.where}.pixels_sample")
    return (
        place.integer("c", 0, 2),
        place.integer("y", 0, size.height - 1),
        place.integer("x", 0, size.width - 1),
        place.number("v", -1e4, 1e4),
    )


def _text(fields: Fields, keys: Sequence[str], dim: int) -> GoldenText:
    fields.only("text", "input_ids", *keys)
    ids = fields.items("input_ids")
    if not ids or not all(type(value) is int and value >= 0 for value in ids):
        raise fields.fail("input_ids", "must be a list of token ids")
    return GoldenText(fields.text("text"), tuple(ids), _answer(fields, keys, dim))
