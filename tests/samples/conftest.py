"""A sample folder and a moderator that need neither the real photos nor a real model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgesafe.runtime.gate import Refused, decode_image, read_image_file
from edgesafe.runtime.manifest import (
    Bounds,
    Geometry,
    ImageEncoder,
    Manifest,
    Rate,
    TextEncoder,
    Threshold,
    Weights,
)
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.runtime.verdict import ConceptScore, Modality, Timings, Verdict, decide


def make_threshold(value: float) -> Threshold:
    return Threshold(
        value=value,
        interval=(value - 0.05, value + 0.08),
        confidence=0.95,
        n=240,
        fpr=Rate(0.05, (0.02, 0.11), 120),
        miss_rate=Rate(0.125, (0.07, 0.2), 120),
        rule="smallest threshold that flags at most 0.05 of the safe scores",
        data_sha256="0" * 64,
    )


def make_manifest() -> Manifest:
    return Manifest(
        name="probe",
        release=3,
        created="2026-01-02T03:04:05+00:00",
        minimum_runtime="0.1.0",
        method="hysac",
        geometry=Geometry(1.0, 8, 0.1),
        files={},
        image=ImageEncoder(
            file="image.onnx",
            input="pixels",
            outputs=("embedding", "root_distance"),
            opset=18,
            precision="fp32",
            storage="fp16",
            preprocess=Preprocess(
                height=32,
                width=32,
                mode="stretch",
                interpolation="bilinear",
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
            ),
        ),
        text=TextEncoder(
            file="text.onnx",
            inputs=("input_ids", "attention_mask"),
            outputs=("embedding", "root_distance"),
            opset=18,
            precision="fp32",
            storage="fp16",
            tokenizer="tokenizer.json",
            max_tokens=64,
            pad_id=0,
            fixed_length=False,
        ),
        thresholds={"image": make_threshold(1.5), "text": make_threshold(1.3)},
        bounds={
            "safe_text": Bounds(0.62, 0.5, 0.8),
            "safe_image": Bounds(1.1, 0.9, 1.45),
            "unsafe_text": Bounds(1.7, 1.45, 1.9),
            "unsafe_image": Bounds(2.1, 1.6, 2.4),
        },
        concepts="concepts.json",
        golden="golden.json",
        parity={},
        weights=Weights("Apache-2.0", ("trained by a test",), "A notice with <angle> brackets."),
        intended_use="To try the report.",
        limits=("It judges brightness & nothing else.",),
        training={},
        digest="ab" * 32,
        precision_effect={},
        calibration={},
        raw={},
    )


class BrightnessModerator:
    """Judges a picture by its mean brightness, behind the real gate; a text by a word."""

    def __init__(self) -> None:
        self.manifest = make_manifest()
        self.prepared: list[str] = []

    def prepare(self, modality: Modality) -> str:
        self.prepared.append(modality)
        return "cpu"

    def check(self, image: bytes | str | os.PathLike[str]) -> Verdict:
        try:
            data = image if isinstance(image, bytes) else read_image_file(image)
            views = decode_image(data).views
        except Refused as error:
            return Verdict.undecided(
                error.code, error.detail, modality="image", package=self.manifest.identity
            )
        return self._verdict(0.5 + 2 * float(np.mean(views[0])) / 255, "image")

    def check_text(self, text: str) -> Verdict:
        if not text:
            return Verdict.undecided(
                "empty_text", "no words", modality="text", package=self.manifest.identity
            )
        bad = any(word in text for word in ("gun", "flames", "blood", "powder"))
        return self._verdict(1.8 if bad else 0.7, "text")

    def _verdict(self, radius: float, modality: Modality) -> Verdict:
        threshold = self.manifest.thresholds[modality].value
        concepts = (
            ConceptScore("an open <flame>", "fire", 0.81, 0.3, 0.5, True),
            ConceptScore("a kitchen knife", "weapon", 0.42, 0.7, 0.5, False),
            ConceptScore("a cup of coffee", "", 0.2, 1.2, 0.5, False, harmless=True),
        )
        return Verdict(
            decision=decide(radius, threshold),
            score=radius,
            radius=radius,
            threshold=threshold,
            concepts=concepts,
            reason=None,
            detail=None,
            modality=modality,
            ms=Timings(3.25, 1.5, 9.75, 0.5),
            package=self.manifest.identity,
        )


@pytest.fixture
def moderator() -> BrightnessModerator:
    return BrightnessModerator()


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """A folder laid out like samples/data: photos/ and photos.jsonl."""
    folder = tmp_path / "data"
    (folder / "photos").mkdir(parents=True)
    lines = []
    rows, columns = np.mgrid[0:90, 0:120]
    for level, label in ((40, "safe"), (110, "safe"), (180, "unsafe"), (60, "unsafe")):
        name = f"photo{level}.jpg"
        pixels = np.stack([rows, columns, np.full_like(rows, level)], axis=-1) // 2 + level // 2
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / name)
        lines.append(
            {
                "image": f"photos/{name}",
                "caption": f'A "gradient" of <level> {level} & more',
                "label": label,
                "tag": "fire" if label == "unsafe" else None,
                "licence": "CC0-1.0",
                "author": "A. Painter",
                "source": "https://example.org/1",
            }
        )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "photos.jsonl").write_text(text, encoding="utf-8")
    return folder


# What the generator of the training data needs, in small.

_BODIES = {
    "block": '<path fill="{fill}" d="M5 3h20v26H5z"/>',
    "disc": '<circle fill="{fill}" cx="16" cy="16" r="13"/>',
    "wedge": '<path fill="{fill}" d="M3 28L29 16L12 2z"/>',
}
_ICONS = {
    "noto": (
        ("kitchen-knife", "wedge", "#667"), ("fire", "disc", "#f82"),
        ("drop-of-blood", "disc", "#a11"), ("syringe", "block", "#9be"),
        ("ladle", "block", "#bbb"), ("tulip", "wedge", "#e39"), ("house-2", "block", "#855"),
        ("shotgun", "block", "#333"), ("stop-button", "block", "#d22"),
    ),
    "emojione": (
        ("dagger", "wedge", "#778"), ("fire", "wedge", "#f62"), ("drop-of-blood", "disc", "#b22"),
        ("pill", "block", "#ee5"), ("carrot", "wedge", "#e83"),
    ),
    "game-icons": (
        ("broad-dagger", "wedge", "#000"), ("small-fire", "disc", "#000"),
        ("blood", "disc", "#000"), ("pills", "block", "#000"), ("umbrella", "wedge", "#000"),
    ),
    "healthicons": (("syringe-vaccine", "block", "#000"), ("stethoscope", "disc", "#000")),
}  # fmt: skip
_STAMPS = ("medical/syringe", "naturalforces/fire", "animals/dog", "animals/dead-rat", "food/pear")


@pytest.fixture
def asset_folder(tmp_path: Path) -> Path:
    """A folder as `edgesafe.samples.hazards.fetch` makes it, with two dozen drawings."""
    folder = tmp_path / "assets"
    for pack, icons in _ICONS.items():
        bodies = {name: {"body": _BODIES[body].format(fill=fill)} for name, body, fill in icons}
        (folder / "icons" / pack).mkdir(parents=True)
        text = json.dumps({"prefix": pack, "width": 32, "height": 32, "icons": bodies})
        (folder / "icons" / pack / "icons.json").write_text(text, encoding="utf-8")
    for index, name in enumerate(_STAMPS):
        stamp = np.zeros((24, 32, 4), np.uint8)
        stamp[4:20, 3:29] = (40 * index, 200 - 30 * index, 90, 255)
        path = folder / "stamps" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(stamp).save(path)
    for name, fill in (("tools/axe_peterm_", "#543"), ("animals/Cow_01", "#fff")):
        path = folder / "clipart" / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        body = _BODIES["wedge"].format(fill=fill)
        head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
        path.write_text(f"{head}{body}</svg>", encoding="utf-8")
    return folder


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Two photos of the training split and one each of the others, with captions."""
    from edgesafe.samples.hazards.photos import split_of

    folder = tmp_path / "source"
    (folder / "images").mkdir(parents=True)
    names: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for index in range(200):
        names[split_of(f"{index}.png")].append(f"{index}.png")
    rows, columns = np.mgrid[0:150, 0:200]
    lines = []
    for index, name in enumerate((*names["train"][:2], names["val"][0], names["test"][0])):
        pixels = np.stack([rows + 40 * index, columns, 230 - rows], axis=-1) % 256
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name)
        captions = [f"A wall with pattern {index}.", "Two men near a fire.", " "]
        lines.append(json.dumps({"image": f"images/{name}", "captions": captions}))
    (folder / "photos.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
