"""Draw one sprite: of a hazard or of a harmless thing, in a random style of a split."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesafe.runtime.errors import DataError
from edgesafe.samples.hazards import art_files, assets, catalogue, natural, restyle, solids

Rng = np.random.Generator
Sprite = NDArray[np.uint8]

# Styles kept out of training: early stopping looks at these, and only at these.
VAL_STYLES = frozenset({"emojione", "fxemoji", "extruded", "warmux", "sl-ultimate-color"})
# A filter that leaves nothing of what makes the hazard one (a grey drop is no blood).
_UNFIT_FILTERS = {"blood": {"grey", "halftone", "sketch"}, "fire": {"grey"}}


@dataclasses.dataclass(frozen=True)
class Thing:
    """A drawn thing.

    Attributes:
        sprite: RGBA.
        name: what a caption calls it.
        tag: hazard tag, or None.
        style: ``source`` or ``source+filter``; never shared between splits.
        upright: it stands; free rotation would look wrong.
        glow: it gives light.
        stain: it lies on a surface as pigment.
    """

    sprite: Sprite
    name: str
    tag: str | None
    style: str
    upright: bool = False
    glow: bool = False
    stain: bool = False


def _of_one_hand(pool: list[assets.Drawing], rng: Rng) -> list[assets.Drawing]:
    """The drawings of a hand, drawn by the root of how many it has: large ones are not all."""
    by_hand: dict[str, list[assets.Drawing]] = {}
    for drawing in pool:
        by_hand.setdefault(drawing.pack, []).append(drawing)
    hands = list(by_hand)
    weights = np.sqrt([len(by_hand[hand]) for hand in hands])
    return by_hand[hands[rng.choice(len(hands), p=weights / weights.sum())]]


class Sampler:
    """Draws things from an asset folder for one split.

    Args:
        folder: see `assets.catalogue_of`.
        split: ``train`` or ``val``.
    """

    def __init__(self, folder: Path, split: str) -> None:
        drawings = assets.catalogue_of(folder)
        if not drawings:
            raise DataError(f"{folder} holds no drawings; run the fetch module first.")
        held_out = [d for d in drawings if d.pack in VAL_STYLES]
        kept = [d for d in drawings if d.pack not in VAL_STYLES]
        self._painters = {
            name: paint
            for name, paint in restyle.PAINTERS.items()
            if (name in VAL_STYLES) == (split == "val")
        }
        self._val = split == "val"
        by_kind: dict[tuple[str, str | None], list[assets.Drawing]] = {}
        for drawing in held_out if self._val else kept:
            by_kind.setdefault((drawing.kind, drawing.tag), []).append(drawing)
        if self._val:  # the silhouettes are shared, the painter is not
            for drawing in kept:
                if drawing.kind == "silhouette":
                    by_kind.setdefault(("silhouette", drawing.tag), []).append(drawing)
        self._by_kind = by_kind
        self._lookalikes = {
            kind: [d for d in found if catalogue.LOOKALIKE.search(d.name)]
            for (kind, tag), found in by_kind.items()
            if tag is None
        }
        self.names = sorted(
            {
                d.words
                for d in kept
                if d.tag is None and d.kind == "colour" and 1 <= len(d.words.split()) <= 2
            }
        )

    def hazard(self, tag: str, rng: Rng, size: int) -> Thing:
        """A hazard of the tag, its longer side ``size`` pixels."""
        sources: list[tuple[float, Callable[[], Thing]]] = []
        for kind, weight in (("colour", 0.25), ("silhouette", 0.35), ("stamp", 0.05), ("art", 0.5)):
            if self._by_kind.get((kind, tag)):
                sources.append((weight, functools.partial(self._drawn, kind, tag, rng, size)))
        if not self._val:
            if tag in solids.HAZARDS:
                sources.append((0.45, lambda: self._solid(solids.HAZARDS[tag], tag, rng, size)))
            if tag == "fire":
                sources.append((0.4, lambda: self._flames(rng, size)))
                sources.append((0.15, lambda: self._explosion(rng, size)))
            if tag == "blood":
                sources.append((0.7, lambda: self._liquid(rng, size, blood=True)))
            if tag == "drugs":
                sources.append(
                    (0.12, lambda: Thing(natural.powder(size, rng), "white powder", tag, "noise"))
                )
        return self._pick(sources, rng)

    def harmless(self, rng: Rng, size: int) -> Thing:
        """A harmless thing, look-alikes more often than their share."""
        sources: list[tuple[float, Callable[[], Thing]]] = []
        for kind, weight in (("colour", 0.3), ("silhouette", 0.2), ("stamp", 0.15), ("art", 0.45)):
            if self._by_kind.get((kind, None)):
                sources.append((weight, functools.partial(self._drawn, kind, None, rng, size)))
        if not self._val:
            sources.append((0.2, lambda: self._solid(solids.HARMLESS, None, rng, size)))
            sources.append((0.07, lambda: self._liquid(rng, size, blood=False)))
        return self._pick(sources, rng)

    def _pick(self, sources: list[tuple[float, Callable[[], Thing]]], rng: Rng) -> Thing:
        weights = np.array([weight for weight, _ in sources])
        for _ in range(20):
            try:
                return sources[rng.choice(len(sources), p=weights / weights.sum())][1]()
            except ValueError:  # a drawing that cannot be drawn: take another
                continue
        raise ValueError("twenty drawings in a row could not be drawn")

    def _drawn(self, kind: str, tag: str | None, rng: Rng, size: int) -> Thing:
        pool = self._by_kind[(kind, tag)]
        if tag is None and self._lookalikes.get(kind) and rng.random() < 0.4:
            pool = self._lookalikes[kind]
        if kind == "art":
            pool = _of_one_hand(pool, rng)
        drawing = pool[rng.integers(len(pool))]
        if drawing.kind == "silhouette":
            mask = assets.raster(drawing, size)[..., 3]
            painter = str(rng.choice(list(self._painters)))
            sprite = self._painters[painter](np.ascontiguousarray(mask), tag, rng)
            style = painter
        else:
            sprite = assets.raster(drawing, size)
            style = drawing.pack
            if rng.random() < 0.5:
                freedom = 180.0 if tag is None else restyle.HUE_FREEDOM[tag]
                sprite = restyle.hue_shift(sprite, freedom, rng)
        sprite, filtered = self._filtered(sprite, tag, rng, 0.25)
        return Thing(sprite, drawing.words, tag, style + filtered, upright=tag == "fire")

    def _solid(
        self,
        things: tuple[tuple[str, solids.Builder, bool], ...],
        tag: str | None,
        rng: Rng,
        size: int,
    ) -> Thing:
        name, build, flat = things[rng.integers(len(things))]
        sprite, filtered = self._filtered(
            solids.render(build(rng), size, rng, flat=flat), tag, rng, 0.55
        )
        return Thing(sprite, name, tag, "solid" + filtered)

    def _flames(self, rng: Rng, size: int) -> Thing:
        sprite, filtered = self._filtered(natural.flames(size, rng), "fire", rng, 0.3)
        glow = not filtered and rng.random() < 0.7
        return Thing(sprite, "fire", "fire", "noise" + filtered, upright=True, glow=glow)

    def _explosion(self, rng: Rng, size: int) -> Thing:
        sprite = art_files.crop(natural.explosion(size, rng))
        sprite, filtered = self._filtered(sprite, "fire", rng, 0.3)
        return Thing(sprite, "explosion", "fire", "noise" + filtered)

    def _liquid(self, rng: Rng, size: int, *, blood: bool) -> Thing:
        sprite = art_files.crop(natural.liquid(size, rng, blood=blood))
        tag = "blood" if blood else None
        sprite, filtered = self._filtered(sprite, tag, rng, 0.25)
        stain = rng.random() < 0.6
        return Thing(sprite, "blood" if blood else "puddle", tag, "noise" + filtered, stain=stain)

    def _filtered(
        self, sprite: Sprite, tag: str | None, rng: Rng, chance: float
    ) -> tuple[Sprite, str]:
        if rng.random() >= chance:
            return sprite, ""
        fit = [f for f in restyle.FILTERS if f not in _UNFIT_FILTERS.get(tag or "", set())]
        name = fit[rng.integers(len(fit))]
        return restyle.FILTERS[name](np.ascontiguousarray(sprite), rng), f"+{name}"
