"""Which words, or which places of a picture, push the input outward.

Each part is taken away in turn, and the change of the radius is what it contributed: a word is left
out; a window of the picture is blurred away, and a square's value is the mean over the windows that
cover it (occlusion: Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV
2014; blurred and with soft edges, as a hard grey square is itself a thing that a model sees). A
positive value says that the input is nearer to the root, safer, without the part. Parts work
together, so that the values need not add up to anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from edgesafe.calib.retrieval.embed import Embedded, Embedder

__all__ = ["GRID", "Places", "Word", "places_of", "words_of"]

GRID = 7
"""Squares of a picture along each side."""

_MAX_WORDS = 64
_SIDE = 768
_WINDOW = 2  # squares along a side of what is blurred at once


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
    found = (_push(embedder, one, radius) for one in embedder.images(_blurred(rgb)))
    sums, counts = np.zeros((GRID, GRID)), np.zeros((GRID, GRID))
    for (i, j), value in zip(_windows(), found, strict=True):
        if value is not None:
            sums[i : i + _WINDOW, j : j + _WINDOW] += value
            counts[i : i + _WINDOW, j : j + _WINDOW] += 1
    return Places(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), rgb)


def _windows() -> Iterator[tuple[int, int]]:
    """First row and column of every window."""
    yield from product(range(GRID - _WINDOW + 1), repeat=2)


def _blurred(rgb: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """The picture with one window after the other blurred away."""
    image = Image.fromarray(rgb)
    square = min(image.size) / GRID
    away = image.filter(ImageFilter.GaussianBlur(square))
    rows, columns = (np.linspace(0, side, GRID + 1).astype(int) for side in rgb.shape[:2])
    for i, j in _windows():
        mask = np.zeros(rgb.shape[:2], np.uint8)
        mask[rows[i] : rows[i + _WINDOW], columns[j] : columns[j + _WINDOW]] = 255
        soft = Image.fromarray(mask).filter(ImageFilter.GaussianBlur(square / 6))
        yield np.asarray(Image.composite(away, image, soft))


def _push(embedder: Embedder, one: Embedded | None, radius: float) -> float | None:
    if one is None or one.point is None:
        return None
    without = embedder.radius(one.point)
    return None if without is None else radius - without
