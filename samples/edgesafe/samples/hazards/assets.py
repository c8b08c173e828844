"""Third-party drawings as sprites: icon packs, clip art and photographic stamps, rasterised."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesafe.samples.hazards import art, art_files, catalogue

Sprite = NDArray[np.uint8]
"""(H, W, 4) RGBA with straight alpha, cropped to its visible pixels."""


@dataclasses.dataclass(frozen=True)
class Drawing:
    """One third-party drawing.

    Attributes:
        pack: the pack or collection it belongs to; also its drawing style.
        name: what it shows, words joined by hyphens.
        tag: the hazard's tag, or None for a harmless thing.
        kind: ``colour`` (painted), ``silhouette`` (one colour, to be painted), ``stamp`` or ``art``
            (see `art`).
        path: the file, or the pack's JSON file.
    """

    pack: str
    name: str
    tag: str | None
    kind: str
    path: str

    @property
    def words(self) -> str:
        """The name as words of a caption."""
        shown = catalogue.sign(self.name) if self.pack in catalogue.SIGN_PACKS else self.name
        return " ".join(w for w in shown.replace("_", "-").split("-") if not w.isdigit())


@functools.cache
def _pack(path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return loaded


def _svg(drawing: Drawing) -> str:
    if not drawing.path.endswith(".json"):
        return Path(drawing.path).read_text(encoding="utf-8", errors="replace")
    return art_files.icon_svg(_pack(drawing.path), drawing.name)


def raster(drawing: Drawing, size: int) -> Sprite:
    """Draw it with its longer side ``size`` pixels.

    Returns:
        The sprite, cropped.

    Raises:
        ValueError: the file cannot be drawn.
    """
    if drawing.path.endswith(".png"):
        with Image.open(drawing.path) as image:
            picture = np.asarray(image.convert("RGBA"))
    else:
        picture = art_files.drawn(_svg(drawing), size)
    sprite = art_files.crop(picture)
    if sprite.shape[0] < 4 or sprite.shape[1] < 4 or (sprite[..., 3] > 8).mean() < 0.02:
        raise ValueError(f"{drawing.pack}/{drawing.name} draws nothing")
    scale = size / max(sprite.shape[:2])
    height, width = (max(4, round(side * scale)) for side in sprite.shape[:2])
    return np.asarray(Image.fromarray(sprite).resize((width, height), Image.Resampling.LANCZOS))


def _is_harmless(name: str) -> bool:
    return not catalogue.AMBIGUOUS.search(name) and not catalogue.SYMBOL.search(name)


def _icon_drawings(root: Path) -> list[Drawing]:
    found: list[Drawing] = []
    for kind, packs, hazards in (
        ("colour", catalogue.COLOUR_PACKS, catalogue.COLOUR_HAZARDS),
        ("silhouette", catalogue.SILHOUETTE_PACKS, catalogue.SILHOUETTE_HAZARDS),
    ):
        tag_of = {name: tag for tag, names in hazards.items() for name in names}
        for pack in packs:
            path = root / pack / "icons.json"
            if not path.is_file():
                continue
            for name in _pack(str(path))["icons"]:
                tag = tag_of.get(name)
                if tag is not None or (_is_harmless(name) and pack in _HARMLESS_PACKS):
                    found.append(Drawing(pack, name, tag, kind, str(path)))
    things = {d.name for d in found if d.tag is None and d.kind == "colour" and d.words}
    return found + _sign_drawings(root, things)


def _sign_drawings(root: Path, things: set[str]) -> list[Drawing]:
    """Signs of hazards, and of the harmless things that the coloured packs know."""
    tag_of = {name: tag for tag, names in catalogue.SIGN_HAZARDS.items() for name in names}
    found: list[Drawing] = []
    for pack in catalogue.SIGN_PACKS:
        path = root / pack / "icons.json"
        for name in _pack(str(path))["icons"] if path.is_file() else ():
            shown = catalogue.sign(name)
            if shown in tag_of or shown in things:
                found.append(Drawing(pack, name, tag_of.get(shown), "silhouette", str(path)))
    return found


# A medical pack is full of borderline signs: only its hazards are used.
_HARMLESS_PACKS = frozenset(catalogue.COLOUR_PACKS) | {"game-icons"}

# Clip art and stamps: folders whose drawings are harmless things, and single hazards.
_CLIPART_HARMLESS = ("animals", "food", "plants", "transportation", "toys", "tools", "household")
_STAMP_HARMLESS = (
    "animals",
    "clothes",
    "food",
    "hobbies",
    "household",
    "plants",
    "seasonal/easter",
    "seasonal/christmas",
    "sports",
    "vehicles/auto",
    "vehicles/cycle",
)
_FILE_HAZARDS = {
    "tools/weapons/knife.svg": "weapon",
    "tools/weapons/bomb_01.svg": "weapon",
    "tools/weapons/longsword_01.svg": "weapon",
    "tools/weapons/sword_01.svg": "weapon",
    "tools/weapons/blue_gun_alex_fernandez_01.svg": "weapon",
    "tools/weapons/9_mm_gun_01.svg": "weapon",
    "tools/axe_peterm_.svg": "weapon",
    "science/medicine/barattolo_di_pillole_arc_01.svg": "drugs",
    "science/medicine/siringa_architetto_franc_01.svg": "drugs",
    "computer/icons/flat-theme/applications/dopewars-pill.svg": "drugs",
    "signs_and_symbols/flame_jon_phillips_01.svg": "fire",
    "medical/syringe.png": "drugs",
    "military/longsword.svg": "weapon",
    "naturalforces/fire.png": "fire",
}


def _file_drawings(root: Path, pack: str, harmless: tuple[str, ...], kind: str) -> list[Drawing]:
    found: list[Drawing] = []
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root).as_posix()
        if path.suffix not in (".svg", ".png") or not path.is_file():
            continue
        name = path.stem.lower().replace("_", "-")
        tag = _FILE_HAZARDS.get(relative)
        if tag is not None or (
            relative.startswith(tuple(f"{folder}/" for folder in harmless))
            and "weapons" not in relative
            and not catalogue.AMBIGUOUS.search(name)
        ):
            found.append(Drawing(pack, name, tag, kind, str(path)))
    return found


def catalogue_of(folder: Path) -> list[Drawing]:
    """Every usable drawing under an asset folder made by ``fetch``.

    Args:
        folder: holds ``icons/<pack>/icons.json``, ``clipart/`` (SVG), ``stamps/`` and ``art/``.

    Returns:
        Drawings in a stable order; absent packs are passed over.
    """
    found = _icon_drawings(folder / "icons")
    found += _file_drawings(folder / "clipart", "clipart", _CLIPART_HARMLESS, "colour")
    found += _file_drawings(folder / "stamps", "stamps", _STAMP_HARMLESS, "stamp")
    found += [
        Drawing(f.hand, f.name, f.tag, "silhouette" if f.silhouette else "art", str(f.picture))
        for f in art.read(folder / "art")
    ]
    return found
