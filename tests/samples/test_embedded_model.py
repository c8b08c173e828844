"""The shipped moderation package does what its card says, on pictures and texts made here."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgesafe.calib.statistics import roc_auc
from edgesafe.runtime import Moderator
from edgesafe.runtime.package import default_model_path
from edgesafe.samples import heldout
from edgesafe.samples.hazards import compose

SAMPLES = Path(__file__).parents[2] / "samples"
PLAIN = ("astronaut", "camera", "cat", "coffee", "grass", "rocket")
LIMIT_MB = 40


@pytest.fixture(scope="module")
def moderator() -> Moderator:
    return Moderator.load()


@pytest.fixture(scope="module")
def texts(moderator: Moderator) -> list[tuple[dict[str, str], float]]:
    lines = (SAMPLES / "data" / "texts_heldout.jsonl").read_text(encoding="utf-8").splitlines()
    found = []
    for record in map(json.loads, lines):
        radius = moderator.check_text(record["text"]).radius
        assert radius is not None
        found.append((record, radius))
    return found


@pytest.fixture(scope="module")
def pictures(moderator: Moderator) -> list[tuple[str | None, float]]:
    """Tag (None for harmless) and radius of sample photos, plain and with fresh drawings."""
    rng = np.random.default_rng(2024)
    found: list[tuple[str | None, float]] = []
    for photo in PLAIN:
        with Image.open(SAMPLES / "data" / "photos" / f"{photo}.jpg") as image:
            ground = np.asarray(image.convert("RGB"))
        found += [(None, _radius(moderator, crop)) for crop in _crops(ground, rng)]
        for tag in (*heldout.HAZARDS, *heldout.HAZARDS, None, None, None, None):
            names = heldout.HARMLESS if tag is None else heldout.HAZARDS[tag]
            name = str(rng.choice(names))
            sprite = heldout.draw(name, str(rng.choice(heldout.STYLES)), rng)
            shadow = name not in heldout.SHADOWLESS
            picture, _ = heldout.place(ground, sprite, rng, scale=0.45, shadow=shadow)
            found.append((tag, _radius(moderator, picture)))
    return found


def _crops(photo: NDArray[np.uint8], rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    return [compose.random_crop(photo, rng, 384) for _ in range(4)]


def _radius(moderator: Moderator, picture: NDArray[np.uint8]) -> float:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    radius = moderator.check(buffer.getvalue()).radius
    assert radius is not None
    return radius


def test_it_is_small_and_says_what_it_is(moderator: Moderator) -> None:
    size = sum(f.stat().st_size for f in default_model_path().iterdir())
    assert size <= LIMIT_MB * 1e6
    manifest = moderator.manifest
    assert manifest.method == "hysac"
    assert manifest.limits and manifest.intended_use and manifest.weights.licence == "Apache-2.0"
    assert set(manifest.bounds) == {"safe_text", "safe_image", "unsafe_text", "unsafe_image"}
    for threshold in manifest.thresholds.values():
        assert threshold.interval[0] <= threshold.value <= threshold.interval[1]
        assert threshold.fpr is not None and threshold.fpr.value <= 0.05
    assert max(p.max_relative_error for p in manifest.parity.values()) <= 1e-4


def test_texts_never_trained_on_are_told_apart(
    texts: list[tuple[dict[str, str], float]],
) -> None:
    labels = [record["label"] == "unsafe" for record, _ in texts]
    assert roc_auc([radius for _, radius in texts], labels) >= 0.95


def test_drawings_never_trained_on_are_told_apart(
    pictures: list[tuple[str | None, float]],
) -> None:
    # A guard against a worse model, at what this one reaches on six photos; the report card in
    # docs/moderation-model.md has the figure on all held-out photos and its interval.
    assert roc_auc([r for _, r in pictures], [tag is not None for tag, _ in pictures]) >= 0.75


def test_the_four_classes_lie_in_the_order_of_the_paper(
    texts: list[tuple[dict[str, str], float]], pictures: list[tuple[str | None, float]]
) -> None:
    means = [
        np.mean([r for record, r in texts if record["label"] == "safe"]),
        np.mean([r for tag, r in pictures if tag is None]),
        np.mean([r for record, r in texts if record["label"] == "unsafe"]),
        np.mean([r for tag, r in pictures if tag is not None]),
    ]
    assert means == sorted(means)


@pytest.mark.parametrize(
    ("text", "concept"),
    [
        ("a man points a gun at the cashier", "weapon"),
        ("flames and thick smoke rise from a burning house", "fire"),
        ("a pool of blood on the kitchen floor", "blood"),
        ("a syringe and a bag of white powder on the table", "drugs"),
        ("a dog and a cat on the sofa", "animals"),
    ],
)
def test_the_best_concept_is_the_one_that_a_person_would_name(
    moderator: Moderator, text: str, concept: str
) -> None:
    found = max(moderator.check_text(text).concepts, key=lambda c: c.score)
    assert found.name == concept
