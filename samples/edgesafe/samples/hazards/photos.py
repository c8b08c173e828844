"""Where the training photos come from, what they show, and which split each belongs to.

A photo folder is any folder with ``photos.jsonl`` (lines ``{"image", "captions"}``). The photos of
well-known packages carry no captions: `CAPTIONS` gives one each, written by looking at them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesafe.runtime.errors import DataError
from edgesafe.samples.listing import read_listing

CAPTIONS: dict[str, str] = {
    "rocks2-l.png": "a pile of yellow rocks",
    "eiffel-1.png": "the Eiffel tower over a green park",
    "eiffel-2.png": "the Eiffel tower on a clear day",
    "tomato_54.png": "a tomato ripening on the plant",
    "tomato_35.png": "a red tomato on the vine",
    "tomato_14.png": "green leaves of a tomato plant",
    "tomato_124.png": "tomatoes growing in a garden",
    "castle.png": "a brown sign to the castle on a brick wall",
    "flowers2.png": "white flowers in the grass",
    "flowers9.png": "red and yellow tulips",
    "flowers1.png": "a field of pink tulips",
    "flowers3.png": "yellow flowers in a flower bed",
    "flowers5.png": "a row of yellow tulips",
    "flowers4.png": "blue flowers in a meadow",
    "flowers6.png": "white and red flowers in a park",
    "flowers7.png": "red tulips in a garden",
    "flowers8.png": "pink flowers by a path",
    "building2-1.png": "an old building in black and white",
    "building2-3.png": "the corner of a large old building",
    "58060.png": "a brown basket of grain",
    "lab-scene.png": "a laboratory with posters on the wall",
    "church.jpg": "a white church with a tall tower",
    "parks.png": "a path through a park with trees",
    "road.png": "an empty road through dry land",
    "roof.png": "the roof of a house against the sky",
    "image3.jpg": "an old street with carriages",
    "street.png": "a city street in black and white",
    "greenscreen.png": "a person in front of a green screen",
    "notre-dame.png": "the cathedral of Notre-Dame",
    "penguins.png": "a road sign about penguins",
    "walls-l.png": "a brick house with large windows",
    "monalisa.png": "the portrait of a smiling woman",
    "butterfly.jpg": "a black butterfly on a leaf",
    "fruits.jpg": "sliced oranges and kiwis",
    "baboon.jpg": "the colourful face of a baboon",
    "home.jpg": "a yellow tower under a blue sky",
    "squirrel_cls.jpg": "a squirrel on a branch",
    "aloeL.jpg": "an aloe plant in a pot",
    "board.jpg": "a green circuit board",
    "basketball1.png": "two people playing with a ball in a room",
    "orange.jpg": "an orange on a table",
    "stuff.jpg": "a pen and a ball on a table",
    "messi5.jpg": "a football player kicking a ball",
    "ela_original.jpg": "a notebook with a green ribbon",
    "graf1.png": "graffiti on a wall",
    "rubberwhale2.png": "a table with coloured blocks and toys",
    "box_in_scene.png": "boxes and books on a desk",
    "leuvenA.jpg": "a street of old brick houses",
    "chicky_512.png": "a happy dog with its tongue out",
    "building.jpg": "an office building with many windows",
    "aero1.jpg": "a town seen from the air",
    "licenseplate_motion.jpg": "the back of a blurred car",
    "Aqua.jpg": "a drop of water making rings",
    "Blinds.jpg": "a green leaf close up",
    "Dune.jpg": "tall grass on a dune",
    "FreshFlower.jpg": "an orange flower close up",
    "Garden.jpg": "a red flower in the garden",
    "GreenMeadow.jpg": "green grass in a meadow",
    "LadyBird.jpg": "a ladybird on a blue flower",
    "RainDrops.jpg": "rain drops on a leaf",
    "Storm.jpg": "dark clouds over the sea",
    "TwoWings.jpg": "a dandelion seed in front of orange blossoms",
    "YellowFlower.jpg": "a yellow sunflower",
    "Bridge_by_Sander_Klootwijk.jpg": "the cables of a bridge",
    "Dragonfly_by_Bolly.jpg": "a bush with brown leaves",
    "Picture_0B_by_freespace.jpg": "half a fig on a red plate",
    "Wine_by_Jakkub_Mede.jpg": "a round glass on a wooden table",
    "aitzgorri_by_Aitzol_Berasategi.jpg": "autumn trees in front of mountains",
    "free_by_Peter_Nerlich.jpg": "a hanging lamp in a bright room",
    "friends_by_Aitzol_Berasategi.jpg": "a dog looking out of a window",
    "life_by_Aitzol_Berasategi.jpg": "a stream in the forest",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg": "a path in high mountains",
    "seeding_by_Clements_Engelhardt.jpg": "dandelions in a meadow",
    "umang_by_Abhishek_Mudgal.jpg": "pink evening sky over water",
    "Kleiber_by_Lukas_Baubkus.jpg": "the bark of a tree trunk",
    "P1070491.png": "a red brick building on a campus",
    "P1070498.png": "a blue umbrella outside a cafe",
    "P1070505.png": "a white building with trees",
    "P1070514.png": "the entrance of a large house",
    # Kept for the test split: none of these is ever trained on.
    "astronaut.png": "an astronaut in an orange suit smiling",
    "camera.png": "a man with a camera on a tripod",
    "chelsea.png": "a close portrait of a tabby cat",
    "coffee.png": "a cup of coffee on a wooden table",
    "rocket.jpg": "a rocket standing on the launch pad at dusk",
    "motorcycle_left.png": "a red motorcycle in a garage",
    "grass.png": "grass seen from above",
    "gravel.png": "grey gravel",
    "brick.png": "a brick wall",
    "hubble_deep_field.jpg": "galaxies in deep space",
}
TEST_NAMES = frozenset(list(CAPTIONS)[list(CAPTIONS).index("astronaut.png") :])


@dataclasses.dataclass(frozen=True)
class Photo:
    """One source photo.

    Attributes:
        path: the file.
        captions: what it shows; at least one.
        split: ``train``, ``val`` or ``test``; all pictures made from it stay there.
        source: package or folder it came from.
    """

    path: Path
    captions: tuple[str, ...]
    split: str
    source: str


def split_of(name: str) -> str:
    """The split of a photo by a hash of its name: about 12 % val, 16 % test."""
    if name in TEST_NAMES:
        return "test"
    if name in CAPTIONS:
        return "train"
    draw = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 100
    return "test" if draw < 16 else "val" if draw < 28 else "train"


@functools.lru_cache(maxsize=256)
def pixels(path: Path) -> NDArray[np.uint8]:
    """RGB of a photo, its longer side at most 1280; read once, for many pictures are made of it."""
    with Image.open(path) as image:
        image.thumbnail((1280, 1280))
        return np.asarray(image.convert("RGB"))


def read_photos(folders: list[Path]) -> list[Photo]:
    """Photos of the folders, in a stable order.

    Args:
        folders: each either holds ``photos.jsonl`` or loose pictures named in `CAPTIONS`.

    Raises:
        DataError: a folder holds no photo at all, or its listing cannot be read or names a file
            that is missing.
    """
    found: list[Photo] = []
    for folder in folders:
        before = len(found)
        listing = folder / "photos.jsonl"
        if listing.is_file():
            for record in read_listing(listing):
                path = folder / record["image"]
                if not path.is_file():
                    raise DataError(f"{listing} names {record['image']}, which is not there.")
                captions = tuple(c.strip().rstrip(".") for c in record["captions"] if c.strip())
                found.append(Photo(path, captions, split_of(path.name), folder.name))
        else:
            for path in sorted(folder.rglob("*")):
                if path.name in CAPTIONS and path.is_file():
                    caption = (CAPTIONS[path.name],)
                    found.append(Photo(path, caption, split_of(path.name), folder.name))
        if len(found) == before:
            raise DataError(
                f"{folder} holds no photo: give a folder with photos.jsonl, or one of the packages "
                "that `python -m edgesafe.samples.hazards.fetch` unpacks."
            )
    return found
