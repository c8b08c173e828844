"""Checkpoint to package, whole: what the runtime then reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from edgesafe.export import ExportOptions, export_package
from edgesafe.export.cli import export
from edgesafe.export.exporter import Exported
from edgesafe.export.probes import draw_images, encode_png
from edgesafe.runtime import Moderator, lorentz
from edgesafe.runtime.errors import CheckpointError, ExportError, PackageError, UsageError
from edgesafe.runtime.package import read_package
from edgesafe.train.checkpoint import load_checkpoint

RATE = {"value": 0.05, "interval": [0.01, 0.1], "n": 100}
THRESHOLD = {
    "value": 0.5,
    "interval": [0.4, 0.6],
    "confidence": 0.95,
    "n": 100,
    "fpr": RATE,
    "miss_rate": RATE,
    "rule": "at most 5 % of plain photos",
    "data_sha256": "0" * 64,
}
TEXT_THRESHOLD = {**THRESHOLD, "value": 0.7, "interval": [0.6, 0.8]}


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    out = tmp_path_factory.mktemp("packages") / "tiny"
    options = ExportOptions(
        image_storage="fp16",
        text_storage="int8",
        thresholds={"image": THRESHOLD, "text": TEXT_THRESHOLD},
        intended_use="tests",
        limits=("random weights",),
    )
    return export_package(checkpoint, out, options)


def test_manifest(exported: Exported, checkpoint: Path) -> None:
    manifest = exported.package.manifest
    assert (manifest.name, manifest.release, manifest.method) == ("tiny", 1, "hysac")
    assert manifest.geometry.curvature == pytest.approx(0.7, rel=1e-6)
    assert manifest.geometry.min_radius == 0.1 and manifest.geometry.dim == 24
    assert manifest.image is not None and manifest.text is not None
    assert (manifest.image.storage, manifest.text.storage) == ("fp16", "int8")
    assert manifest.image.precision == "fp32" and manifest.image.opset == 18
    assert manifest.image.preprocess == load_checkpoint(checkpoint)[0].encoder.preprocess
    assert manifest.text.max_tokens == 128 and not manifest.text.fixed_length
    assert manifest.thresholds["text"].value == 0.7
    assert manifest.bounds["safe_text"].avg == 0.5
    assert manifest.weights.origin == ("random numbers",)
    assert manifest.intended_use == "tests" and manifest.limits == ("random weights",)
    assert manifest.training["seed"] == 7
    assert "/somewhere" not in json.dumps(dict(manifest.raw))
    assert set(manifest.training["storage_effect"]) == {"image", "text"}


def test_parity_is_measured_and_small(exported: Exported) -> None:
    for name, parity in exported.parity.items():
        written = exported.package.manifest.parity[name]
        assert 0 < parity.max_relative_error < 1e-5
        assert (written.max_relative_error, written.n) == (parity.max_relative_error, parity.n)
        assert parity.n >= 8
    assert exported.effect["image"].cosine_min > 0.9999
    assert 0 < exported.effect["text"].root_distance_shift_max < 0.02


def test_files(exported: Exported) -> None:
    files = exported.package.files
    assert set(files) == {
        "image.onnx", "text.onnx", "tokenizer.json", "concepts.json", "golden.json",
    }  # fmt: skip
    text = onnx.load_from_string(files["text.onnx"])
    axes = [[d.dim_param for d in i.type.tensor_type.shape.dim] for i in text.graph.input]
    assert axes == [["batch", "tokens"], ["batch", "tokens"]]
    assert {p.key: p.value for p in text.metadata_props}["edgesafe.storage"] == "int8"
    golden = json.loads(files["golden.json"])
    assert len(golden["image"]) == 2 and len(golden["text"]) == 3
    assert golden["tolerances"]["pixels"] == pytest.approx(2 / 255 / 0.26)


def test_concepts_are_means_in_the_tangent_space(exported: Exported) -> None:
    package = exported.package
    rows = json.loads(package.files["concepts.json"])["concepts"]
    assert [(r["name"], r["tag"], r["safe"]) for r in rows] == [
        ("knife", "weapon", False),
        ("flower", "nature", True),
    ]
    moderator = Moderator.load(package.path)
    verdict = moderator.check_text("a flower")
    # The one prompt of the concept lies on the axis of its cone, whose apex is as far from the
    # root as the most general safe texts.
    flower = next(c for c in verdict.concepts if c.name == "flower")
    assert flower.half_aperture > 0
    point = np.array(rows[1]["embedding"])
    apex = float(lorentz.root_distance(point, package.manifest.geometry.curvature))
    assert apex == pytest.approx(package.manifest.bounds["safe_text"].low_05, rel=1e-5)
    assert verdict.radius is not None and flower.angle is not None
    assert flower.angle == pytest.approx(0 if verdict.radius > apex else np.pi, abs=0.02)


def test_the_runtime_judges_with_it(exported: Exported, checkpoint: Path) -> None:
    moderator = Moderator.load(exported.package.path)
    picture = draw_images()[5]
    verdict = moderator.check(encode_png(picture))
    assert verdict.decision in ("safe", "unsafe") and verdict.threshold == 0.5
    assert moderator.check_text("a cup of coffee").decision in ("safe", "unsafe")
    # The unrounded checkpoint gives nearly the same radius.
    model, _ = load_checkpoint(checkpoint)
    import torch

    pixels = torch.from_numpy(model.encoder.preprocess(picture))[None]
    radius = lorentz.root_distance(
        model.encode_image(pixels).detach().numpy(), float(model.curvature.detach())
    )
    assert verdict.radius == pytest.approx(float(radius[0]), rel=5e-3)


def test_existing_target_is_kept_unless_told(exported: Exported, checkpoint: Path) -> None:
    path = exported.package.path
    before = (path / "manifest.json").read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):
        export_package(checkpoint, path)
    assert (path / "manifest.json").read_bytes() == before


def test_only_a_package_is_overwritten(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"a photo")
    with pytest.raises(UsageError, match="only a package is overwritten"):
        export_package(checkpoint, tmp_path, ExportOptions(overwrite=True))
    assert (tmp_path / "holiday.jpg").read_bytes() == b"a photo"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (ExportOptions(thresholds={"image": {"value": 0.5}}), PackageError),
        (ExportOptions(thresholds={"sound": THRESHOLD}), PackageError),
        (ExportOptions(name="../up"), UsageError),
    ],
)
def test_bad_options_are_refused_before_the_work(
    options: ExportOptions, error: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(error):
        export_package(tmp_path / "no checkpoint", tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        export_package(tmp_path, tmp_path / "out")


def test_concept_without_prompts(checkpoint: Path) -> None:
    from edgesafe.export.contents import concepts_json
    from edgesafe.export.towers import Float64Tower

    model, _ = load_checkpoint(checkpoint)
    text = Float64Tower(model, "text")
    for broken in ({"name": "x", "tag": "y"}, {"name": "", "tag": "y", "prompts": ["z"]}):
        with pytest.raises(ExportError, match=r"concepts\[0\]"):
            concepts_json(model, text, [broken])


def test_concept_cones_start_equally_far_from_the_root(checkpoint: Path) -> None:
    from edgesafe.export.contents import concepts_json
    from edgesafe.export.towers import Float64Tower

    model, _ = load_checkpoint(checkpoint)
    text = Float64Tower(model, "text")
    concepts = [
        {"name": "a", "tag": "t", "prompts": ["red paint", "a wall"]},
        {"name": "b", "tag": "t", "prompts": ["a dog"]},
    ]
    own, moved = (
        np.array([c["embedding"] for c in json.loads(raw)["concepts"]])
        for raw in (
            concepts_json(model, text, concepts),
            concepts_json(model, text, concepts, radius=0.2),
        )
    )
    assert lorentz.root_distance(moved, text.curvature) == pytest.approx([0.2, 0.2], rel=1e-5)
    for before, after in zip(own, moved, strict=True):
        cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
        assert cosine == pytest.approx(1)


def test_command_replaces_a_package(exported: Exported, checkpoint: Path, tmp_path: Path) -> None:
    out, thresholds, card = (tmp_path / n for n in ("pkg", "thresholds.json", "card.json"))
    shutil.copytree(exported.package.path, out)
    thresholds.write_text(json.dumps({"image": THRESHOLD}))
    card.write_text(json.dumps({"intended_use": "a test", "limits": ["none known"]}))
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(draw_images()[0]).save(photos / "a.jpg")
    (photos / "notes.txt").write_text("not a photo")
    arguments: list[Any] = [
        checkpoint, "--out", out, "--thresholds", thresholds, "--card", card, "--photos", photos,
        "--name", "command", "--overwrite", "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(export, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary["identity"].startswith("command@2#") and summary["thresholds"] == ["image"]
    assert summary["parity"]["image"]["n"] == 9
    assert "exporting the image tower" in result.stderr
    manifest = read_package(out).manifest
    assert manifest.intended_use == "a test" and manifest.limits == ("none known",)
    assert manifest.image is not None and manifest.image.storage == "fp32"
    assert Moderator.load(out).check_text("a cup of tea").reason == "no_threshold"


def test_command_refuses_a_bad_file(checkpoint: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"image": NaN}')
    for option, path in (("--thresholds", bad), ("--card", tmp_path / "missing.json")):
        arguments = [str(checkpoint), "--out", str(tmp_path / "pkg"), option, str(path)]
        result = CliRunner().invoke(export, arguments)
        assert isinstance(result.exception, UsageError) and str(path) in str(result.exception)


def test_table_names_what_is_missing(exported: Exported) -> None:
    from edgesafe.export.cli import _table

    lines = _table(exported).splitlines()
    assert lines[0].startswith(str(exported.package.path)) and "tiny@1#" in lines[0]
    assert "storage shifts the radius" in lines[2] and len(lines) == 3
