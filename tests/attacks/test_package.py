"""Nothing that was done to a package after its export ends in ``safe``."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.runtime import Moderator, PackageError, read_package, write_package
from edgesafe.runtime.manifest import manifest_digest

GREEN = np.full((32, 32, 3), (0, 255, 0), np.uint8)
NAMES = [
    "manifest.json",
    "image.onnx",
    "text.onnx",
    "tokenizer.json",
    "concepts.json",
    "golden.json",
    "ATTRIBUTION.txt",
]
Mutation = Callable[[Path], Any]


@pytest.fixture
def package(tiny_package: Path, tmp_path: Path) -> Path:
    """A copy of the tiny package; it is safe to break it."""
    assert Moderator.load(tiny_package).check(GREEN).decision == "safe"
    return Path(shutil.copytree(tiny_package, tmp_path / "package"))


def _swap(package: Path) -> None:
    (package / "image.onnx").rename(package / "spare")
    (package / "text.onnx").rename(package / "image.onnx")
    (package / "spare").rename(package / "text.onnx")


def _symlink(package: Path) -> None:
    target = package.parent / "elsewhere.onnx"
    (package / "image.onnx").rename(target)
    (package / "image.onnx").symlink_to(target)


def _same_size(package: Path) -> None:
    path = package / "image.onnx"
    path.write_bytes(bytes(path.stat().st_size))


def _linked_manifest(package: Path) -> None:
    outside = package.parent / "m.json"
    (package / "manifest.json").rename(outside)
    (package / "manifest.json").symlink_to(outside)


def _pipe(package: Path) -> None:
    (package / "image.onnx").unlink()
    os.mkfifo(package / "image.onnx")


MUTATIONS: dict[str, Mutation] = {
    "extra file": lambda p: (p / "model.onnx.data").write_bytes(b"weights"),
    "hidden extra file": lambda p: (p / ".hidden").write_bytes(b""),
    "sub-folder": lambda p: (p / "more").mkdir(),
    "linked folder": lambda p: (p / "more").symlink_to("/etc"),
    "symbolic link": _symlink,
    "dangling link": lambda p: (p / "link").symlink_to("/nowhere"),
    "manifest is a link": _linked_manifest,
    "hard link": lambda p: os.link(p / "image.onnx", p.parent / "other-name.onnx"),
    "hard linked manifest": lambda p: os.link(p / "manifest.json", p.parent / "m.json"),
    "named pipe": _pipe,
    "swapped files": _swap,
    "same size": _same_size,
    "renamed file": lambda p: (p / "image.onnx").rename(p / "Image.onnx"),
    "too many files": lambda p: [(p / f"f{i}").write_bytes(b"") for i in range(100)],
    "no manifest": lambda p: (p / "manifest.json").unlink(),
    "huge manifest": lambda p: (p / "manifest.json").write_bytes(b" " * (2 << 20)),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_changed_folder_is_refused(package: Path, name: str) -> None:
    MUTATIONS[name](package)
    with pytest.raises(PackageError) as caught:
        Moderator.load(package)
    assert str(package) in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_missing_or_cut_or_grown_file_is_refused(package: Path, name: str) -> None:
    path = package / name
    data = path.read_bytes()
    for changed in (None, b"", data[:-1], data[: len(data) // 2], data + b"\0", data * 2):
        path.unlink()
        if changed is not None:
            path.write_bytes(changed)
        with pytest.raises(PackageError):
            Moderator.load(package)
        path.write_bytes(data)
    assert read_package(package).manifest.name == "tiny"


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_seen(package: Path, name: str) -> None:
    path = package / name
    data = path.read_bytes()
    rng = random.Random(name)
    for _ in range(60):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(PackageError):
            Moderator.load(package)


def test_a_careless_edit_of_the_manifest_is_seen(package: Path) -> None:
    path = package / "manifest.json"
    fields = json.loads(path.read_bytes())
    fields["thresholds"]["image"]["value"] = 99.0
    path.write_text(json.dumps(fields))
    with pytest.raises(PackageError, match="does not match its own digest"):
        Moderator.load(package)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "null", '"9"', "true"])
def test_a_threshold_that_is_no_number_is_refused(package: Path, value: str) -> None:
    path = package / "manifest.json"
    fields = json.loads(path.read_bytes())
    fields["thresholds"]["image"]["value"] = 123.456
    fields["digest"] = manifest_digest(fields)
    path.write_text(json.dumps(fields).replace("123.456", value))
    with pytest.raises(PackageError):
        Moderator.load(package)


@pytest.mark.parametrize("location", ["secret", "../secret", "ABSOLUTE", "ATTRIBUTION.txt"])
def test_external_data_is_never_read(
    tiny_parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    import onnx

    fields, files = tiny_parts()
    for place in (tmp_path, tmp_path / "inside"):
        place.mkdir(exist_ok=True)
        (place / "secret").write_bytes(np.zeros(3 * 8, np.float32).tobytes())
    monkeypatch.chdir(tmp_path / "inside")
    model = onnx.load_model_from_string(files["image.onnx"])
    (weight,) = (t for t in model.graph.initializer if t.name == "weight")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    where = str(tmp_path / "secret") if location == "ABSOLUTE" else location
    weight.external_data.add(key="location", value=where)
    files["image.onnx"] = model.SerializeToString()
    moderator = Moderator(write_package(tmp_path / "package", fields, files))
    with pytest.raises(PackageError, match="weights in another file"):
        moderator.check(GREEN)


def test_onnxruntime_alone_would_read_from_the_working_directory(
    tiny_image_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why there is a guard: if this ever fails, ONNX Runtime has mended it."""
    import onnx
    import onnxruntime

    (tmp_path / "secret").write_bytes(np.ones(3 * 8, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    model = onnx.load_model_from_string(tiny_image_model())
    (weight,) = (t for t in model.graph.initializer if t.name == "weight")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="secret")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    pixels = np.ones((1, 3, 16, 16), np.float32)
    assert session.run(["embedding"], {"pixels": pixels})[0][0, 7] == pytest.approx(3.0)


@pytest.mark.parametrize("content", [b"", b"junk" * 50, b"\x08\x09"])
def test_a_file_that_is_no_model_is_refused(
    tiny_parts: Any, tmp_path: Path, content: bytes
) -> None:
    fields, files = tiny_parts()
    files["image.onnx"] = content
    moderator = Moderator(write_package(tmp_path / "package", fields, files))
    with pytest.raises(PackageError):
        moderator.check(GREEN)


def _edit_golden(files: dict[str, bytes], edit: Callable[[dict[str, Any]], Any]) -> None:
    golden = json.loads(files["golden.json"])
    edit(golden)
    files["golden.json"] = json.dumps(golden).encode()


GOLDEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another picture": lambda g: g["image"][0].update(pixels_sample=[[0, 0, 0, 9.0]] * 40),
    "another embedding": lambda g: g["image"][0].update(embedding=[0.5] * 8),
    "another radius": lambda g: g["image"][0].update(root_distance=0.4),
    "no picture": lambda g: g.update(image=[]),
    "broken picture": lambda g: g["image"][0].update(png=base64.b64encode(b"junk").decode()),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_machine_that_computes_something_else_gives_no_verdict(
    tiny_parts: Any, tmp_path: Path, name: str
) -> None:
    fields, files = tiny_parts()
    _edit_golden(files, GOLDEN[name])
    moderator = Moderator(write_package(tmp_path / "package", fields, files))
    for _ in range(2):  # not at the second try either
        with pytest.raises(PackageError, match="golden"):
            moderator.check(GREEN)
    assert moderator.check_text("a dog").decision == "safe"
    with pytest.raises(PackageError, match="golden"):
        list(moderator.check_many([GREEN]))


@pytest.mark.parametrize(
    "change",
    [{"input_ids": [2, 4, 3]}, {"text": "a knife"}, {"root_distance": 1.0}],
    ids=["ids", "text", "radius"],
)
def test_a_tokenizer_that_differs_gives_no_verdict(
    tiny_parts: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    fields, files = tiny_parts()
    _edit_golden(files, lambda golden: golden["text"][0].update(change))
    moderator = Moderator(write_package(tmp_path / "package", fields, files))
    with pytest.raises(PackageError, match="golden"):
        moderator.check_text("a dog")


@pytest.mark.parametrize(
    "change",
    [
        {"tolerances": {"pixels": 1e9, "embedding": 0.01, "root_distance": 0.001}},
        {"tolerances": {"pixels": 0.1, "embedding": 0.01}},
        {"image": [{}]},
        {"image": [1]},
        {"image": {}},
        {"sound": []},
    ],
)
def test_a_golden_file_outside_its_format_is_refused(
    tiny_parts: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    fields, files = tiny_parts()
    _edit_golden(files, lambda golden: golden.update(change))
    with pytest.raises(PackageError, match="golden"):
        Moderator(write_package(tmp_path / "package", fields, files))


def test_a_file_exchanged_after_the_check_changes_nothing(package: Path) -> None:
    moderator = Moderator.load(package)
    for name in NAMES:
        (package / name).write_bytes(b"exchanged")
    assert moderator.check(GREEN).decision == "safe"
    assert moderator.check_text("a knife").decision == "unsafe"


def test_a_model_that_states_a_wrong_radius_is_not_believed(
    tiny_parts: Any, tiny_image_model: Any, tmp_path: Path
) -> None:
    """A package whose golden file was written by the same wrong model."""
    fields, files = tiny_parts()
    files["image.onnx"] = tiny_image_model(wrong_radius=0.1)
    _edit_golden(
        files, lambda g: g["image"][0].update(root_distance=g["image"][0]["root_distance"] * 0.1)
    )
    verdict = Moderator(write_package(tmp_path / "package", fields, files)).check(GREEN)
    assert (verdict.decision, verdict.reason) == ("undecided", "inconsistent_output")
