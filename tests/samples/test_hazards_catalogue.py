"""Which drawings are hazards, which are harmless, and which are left alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgesafe.samples.hazards import art_files, assets, catalogue

HAZARD_TABLES = (
    catalogue.COLOUR_HAZARDS,
    catalogue.SILHOUETTE_HAZARDS,
    catalogue.SIGN_HAZARDS,
)


@pytest.mark.parametrize("table", HAZARD_TABLES)
def test_every_tag_has_its_names_and_no_name_has_two(table: dict[str, tuple[str, ...]]) -> None:
    assert tuple(table) == catalogue.TAGS
    assert all(isinstance(names, tuple) and names for names in table.values())
    names = Counter(name for names in table.values() for name in names)
    assert max(names.values()) == 1


@pytest.mark.parametrize(
    "name", sorted({n for t in HAZARD_TABLES for ns in t.values() for n in ns})
)
def test_no_hazard_would_pass_for_harmless_in_another_pack(name: str) -> None:
    assert catalogue.AMBIGUOUS.search(name) or catalogue.SYMBOL.search(name)


@pytest.mark.parametrize(
    "name",
    [
        "knife", "pocket-knife", "gun", "water-gun", "pistol", "rifle", "sword", "axe", "bomb",
        "grenade", "fire", "fire-extinguisher", "flame", "burning-tree", "explosion", "blood",
        "blood-bag", "drop", "wound", "syringe", "pill", "medicine", "needle", "cannabis", "skull",
        "cigarette", "poison-bottle", "gladius", "molotov-cocktail",
    ],
)  # fmt: skip
def test_obvious_hazards_are_never_harmless(name: str) -> None:
    assert catalogue.AMBIGUOUS.search(name)


@pytest.mark.parametrize("name", ["apple", "teddy-bear", "scissors", "umbrella", "tulip", "book"])
def test_everyday_things_are_harmless(name: str) -> None:
    assert not catalogue.AMBIGUOUS.search(name) and not catalogue.SYMBOL.search(name)


def test_lookalikes_are_harmless_themselves() -> None:
    for name in ("scissors", "hammer", "carrot", "tomato", "umbrella", "lipstick"):
        assert catalogue.LOOKALIKE.search(name) and not catalogue.AMBIGUOUS.search(name)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("pill-filled", "pill"),
        ("bomb-bold-duotone", "bomb"),
        ("knife-01", "knife"),
        ("fill", "fill"),
    ],
)
def test_a_variant_of_a_sign_is_the_sign(name: str, shown: str) -> None:
    assert catalogue.sign(name) == shown


def test_signs_are_hazards_or_what_a_coloured_pack_knows(tmp_path: Path) -> None:
    def pack(name: str, *icons: str) -> None:
        folder = tmp_path / "icons" / name
        folder.mkdir(parents=True)
        (folder / "icons.json").write_text(json.dumps({"icons": {icon: {} for icon in icons}}))

    pack("noto", "hammer", "knot")
    pack("tabler", "axe-filled", "hammer-2", "settings", "knife-off")
    found = {(d.name, d.words, d.tag) for d in assets.catalogue_of(tmp_path) if d.pack == "tabler"}
    assert found == {("axe-filled", "axe", "weapon"), ("hammer-2", "hammer", None)}


def test_drawings_of_a_folder(asset_folder: Path) -> None:
    found = assets.catalogue_of(asset_folder)
    assert found == assets.catalogue_of(asset_folder)
    tags = {(d.pack, d.name): d.tag for d in found}
    assert tags == {
        ("noto", "kitchen-knife"): "weapon",
        ("noto", "fire"): "fire",
        ("noto", "drop-of-blood"): "blood",
        ("noto", "syringe"): "drugs",
        ("noto", "ladle"): None,
        ("noto", "tulip"): None,
        ("noto", "house-2"): None,
        ("emojione", "dagger"): "weapon",
        ("emojione", "fire"): "fire",
        ("emojione", "drop-of-blood"): "blood",
        ("emojione", "pill"): "drugs",
        ("emojione", "carrot"): None,
        ("game-icons", "broad-dagger"): "weapon",
        ("game-icons", "small-fire"): "fire",
        ("game-icons", "blood"): "blood",
        ("game-icons", "pills"): "drugs",
        ("game-icons", "umbrella"): None,
        # The medical pack gives its hazards only.
        ("healthicons", "syringe-vaccine"): "drugs",
        ("clipart", "axe-peterm-"): "weapon",
        ("clipart", "cow-01"): None,
        ("stamps", "syringe"): "drugs",
        ("stamps", "fire"): "fire",
        ("stamps", "dog"): None,
        ("stamps", "pear"): None,
    }
    kinds = {d.pack: d.kind for d in found}
    assert kinds["noto"] == "colour" and kinds["game-icons"] == "silhouette"
    assert kinds["stamps"] == "stamp" and kinds["clipart"] == "colour"
    words = {d.words for d in found}
    assert {"kitchen knife", "house", "cow"} <= words


def test_an_empty_folder_has_no_drawings(tmp_path: Path) -> None:
    assert assets.catalogue_of(tmp_path) == []


def test_raster_of_a_picture_file(asset_folder: Path) -> None:
    (dog,) = (d for d in assets.catalogue_of(asset_folder) if d.name == "dog")
    sprite = assets.raster(dog, 52)
    # Cropped to what is visible, 26 by 16, and drawn at twice that.
    assert sprite.shape == (32, 52, 4) and sprite.dtype == np.uint8
    assert (sprite[..., 3] == 255).all()


def test_raster_of_icons(asset_folder: Path) -> None:
    pytest.importorskip("resvg_py", reason="resvg_py draws SVG; it comes with the extra samples")
    drawings = {(d.pack, d.name): d for d in assets.catalogue_of(asset_folder)}
    for key in (("noto", "syringe"), ("game-icons", "pills"), ("clipart", "axe-peterm-")):
        sprite = assets.raster(drawings[key], 40)
        assert max(sprite.shape[:2]) == 40 and sprite.shape[2] == 4
        assert (sprite[..., 3] > 128).mean() > 0.3
    sprite = assets.raster(drawings["noto", "syringe"], 40)
    assert np.abs(sprite[20, 15, :3].astype(int) - (0x99, 0xBB, 0xEE)).max() <= 2


def test_a_drawing_of_nothing_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="resvg_py draws SVG; it comes with the extra samples")
    pack = tmp_path / "icons" / "noto"
    pack.mkdir(parents=True)
    icons = {"tulip": {"body": "<g/>"}}
    (pack / "icons.json").write_text(json.dumps({"icons": icons, "width": 16, "height": 16}))
    (empty,) = assets.catalogue_of(tmp_path)
    with pytest.raises(ValueError, match="noto/tulip draws nothing"):
        assets.raster(empty, 32)


def test_cropping_an_empty_sprite_changes_nothing() -> None:
    nothing = np.zeros((5, 6, 4), np.uint8)
    assert art_files.crop(nothing).shape == (5, 6, 4)
    nothing[2, 3, 3] = 255
    assert art_files.crop(nothing).shape == (1, 1, 4)
