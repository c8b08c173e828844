"""Which words, or which places of a picture, push the input outward.

Each part is taken away in turn, and the change of the radius is what it contributed: a word is left
out; a square of the picture is covered with its mean colour (occlusion: Zeiler & Fergus,
"Visualizing and understanding convolutional networks", ECCV 2014). A positive value says that the
input is nearer to the root, safer, without the part. Parts work together, so that the values need
not add up to anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesafe.calib.retrieval.embed import Embedded, Embedder

__all__ = ["GRID", "Places", "Word", "places_of", "words_of"]

GRID = 7
"""Squares of a picture along each side."""

_MAX_WORDS = 64
_SIDE = 768


@dataclass(frozen=True)
class Word:
    """A word, as it stands in the text, and what it adds to the radius; None where unknown."""

    text: str
    push: float | None


@dataclass(frozen=True)
class Places:
    """Squares of a picture.

    Attributes:
        push: What each adds to the radius, (GRID, GRID); NaN where it could not be computed.
        rgb: The picture, uint8 (H, W, 3).
    """

    push: NDArray[np.float64]
    rgb: NDArray[np.uint8] = field(repr=False)


def words_of(embedder: Embedder, text: str, radius: float) -> tuple[Word, ...]:
    """What each word adds to the radius; of a long text, the first words alone."""
    words = text.split()
    found: list[Word] = []
    for i, word in enumerate(words):
        rest = " ".join(words[:i] + words[i + 1 :])
        one = embedder.text(rest) if rest and i < _MAX_WORDS else None
        found.append(Word(word, _push(embedder, one, radius)))
    return tuple(found)


def places_of(embedder: Embedder, rgb: NDArray[np.uint8]) -> Places:
    """What each square of a picture adds to its radius; a large picture is made smaller first."""
    if max(rgb.shape) > _SIDE:
        image = Image.fromarray(rgb)
        image.thumbnail((_SIDE, _SIDE))
        rgb = np.asarray(image)
    whole = embedder.image(rgb)
    radius = embedder.radius(whole.point) if whole.point is not None else None
    if radius is None:
        return Places(np.full((GRID, GRID), np.nan), rgb)
    push = [_push(embedder, one, radius) for one in embedder.images(_covered(rgb))]
    values = np.array([np.nan if value is None else value for value in push])
    return Places(values.reshape(GRID, GRID), rgb)


def _covered(rgb: NDArray[np.uint8]) -> Iterator[Any]:
    """The picture with one square after the other in its mean colour."""
    mean = rgb.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    rows, columns = (np.linspace(0, side, GRID + 1).astype(int) for side in rgb.shape[:2])
    for top, bottom in zip(rows[:-1], rows[1:], strict=True):
        for left, right in zip(columns[:-1], columns[1:], strict=True):
            covered = rgb.copy()
            covered[top:bottom, left:right] = mean
            yield covered


def _push(embedder: Embedder, one: Embedded | None, radius: float) -> float | None:
    if one is None or one.point is None:
        return None
    without = embedder.radius(one.point)
    return None if without is None else radius - without
