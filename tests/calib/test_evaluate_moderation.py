"""Figures against numbers counted by hand, and `evaluate moderation` on packages of all methods."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgesafe.calib.evaluate_cmd import evaluate
from edgesafe.calib.features import Features, training_rows
from edgesafe.calib.labelled import Labelled
from edgesafe.calib.moderation_figures import Outcome, measure_figures
from edgesafe.calib.statistics import clopper_pearson
from edgesafe.runtime import write_package
from edgesafe.runtime.errors import DataError, EdgesafeError
from edgesafe.runtime.verdict import Decision, decide


def _outcomes(cut: float | None, band: float = 0.0) -> list[Outcome]:
    safe = [(0.1, None), (0.2, "bus"), (0.6, "bus"), (0.3, None)]
    unsafe = [(0.9, "fire"), (0.8, "fire"), (0.25, "rope"), (0.55, "rope"), (0.7, None)]

    def one(score: float, tag: str | None, label: bool) -> Outcome:
        found: Decision | None = None
        if cut is not None:
            found = decide(score, cut, (cut - band, cut + band))
        return Outcome(label, tag, score, found)

    return [one(*s, False) for s in safe] + [one(*s, True) for s in unsafe]


def test_figures_are_those_counted_by_hand() -> None:
    found = measure_figures(_outcomes(0.5), repeats=200)
    # Of 20 pairs .25 loses to .3 and .6, .55 to .6.
    assert found.auc.value == pytest.approx(17 / 20)
    assert found.fpr is not None and found.fnr is not None and found.accuracy is not None
    assert (found.fpr.value, found.fnr.value) == (0.25, 0.2)
    assert found.fpr.interval == clopper_pearson(1, 4) and found.accuracy.value == 7 / 9
    assert found.accuracy.interval[0] < 7 / 9 < found.accuracy.interval[1] <= 1
    # Of four safe records none may be flagged: the cut is .6.
    assert found.fnr_at_fpr.value == 0.4 and found.undecided == 0
    tags = {(t.tag, t.unsafe): t for t in found.tags}
    assert set(tags) == {("bus", False), ("fire", True), ("rope", True)}
    assert tags["rope", True].auc.value == pytest.approx(5 / 8)
    assert tags["rope", True].wrong is not None and tags["bus", False].wrong is not None
    assert (tags["rope", True].wrong.value, tags["bus", False].wrong.value) == (0.5, 0.5)


def test_undecided_is_no_error_of_either_kind_and_not_right() -> None:
    found = measure_figures(_outcomes(0.5, 0.15), repeats=100)
    assert found.undecided == pytest.approx(2 / 9)  # .6 and .55
    assert found.fpr is not None and found.fnr is not None and found.accuracy is not None
    assert (found.fpr.value, found.fnr.value) == (0, 0.2)
    assert found.accuracy.value == pytest.approx(6 / 9)


def test_without_a_threshold_scores_are_compared_all_the_same() -> None:
    found = measure_figures(_outcomes(None), repeats=100)
    assert found.fpr is None and found.accuracy is None and found.undecided is None
    assert found.auc.value == pytest.approx(17 / 20) and found.tags[0].wrong is None
    with pytest.raises(DataError, match="safe and unsafe"):
        measure_figures(_outcomes(0.5)[:4])


def test_nobody_knows_which_passage_of_an_unsafe_text_is_unsafe() -> None:
    def features(unsafe: bool, rows: int) -> Features:
        return Features(Labelled("x", "text", "x", unsafe), np.ones((rows, 2)))

    rows, labels = training_rows([features(False, 3), features(True, 1), features(True, 2)])
    assert rows.shape == (4, 2) and labels.tolist() == [False, False, False, True]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve red and twelve green pictures, some with tags, two texts, one file that is none."""
    folder = tmp_path_factory.mktemp("evaluated")
    rng = np.random.default_rng(0)
    records: list[dict[str, Any]] = []
    for label, channel in (("unsafe", 0), ("safe", 1)):
        for i in range(12):
            pixels = rng.integers(0, 60, (16, 16, 3), dtype=np.uint8)
            pixels[..., channel] = 190 + i
            name = f"{label}{i}.png"
            Image.fromarray(pixels).save(folder / name)
            tag = {"tag": "fire"} if label == "unsafe" and i < 6 else {}
            records.append({"image": name, "label": label, **tag})
    records.append({"image": "gone.png", "label": "safe"})
    (folder / "images.jsonl").write_text("\n".join(map(json.dumps, records)))
    texts = [{"text": "a knife", "label": "unsafe"}, {"text": "a dog", "label": "safe"}]
    (folder / "all.jsonl").write_text("\n".join(map(json.dumps, records + texts)))
    return folder


def _run(*arguments: Any) -> Result:
    return CliRunner().invoke(evaluate, ["moderation", *(str(a) for a in arguments)])


def test_packages_of_all_methods_and_baselines_side_by_side(
    tiny_package: Path,
    flat_parts: Callable[..., Any],
    classifier_parts: Callable[..., Any],
    data: Path,
    tmp_path: Path,
) -> None:
    write_package(tmp_path / "flat", *flat_parts())
    fields, files = classifier_parts()
    fields["thresholds"] = {}
    write_package(tmp_path / "classifier", fields, files)
    ran = _run(
        data / "images.jsonl", "--model", tiny_package, "--model", tmp_path / "flat",
        "--model", tmp_path / "classifier", "--baseline", "probe", "--baseline", "prompts",
        "--probe-data", data / "images.jsonl", "--unsafe-prompt", "a knife", "--safe-prompt",
        "a dog", "--repeats", "100", "--json",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert ran.stderr.count("1 could not be judged") == 3 and "gone.png: missing" in ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [line["model"].partition("@")[0] for line in lines] == [
        "tiny", "flat", "colours", "(probe)", "(prompts)",
    ]  # fmt: skip
    for line in lines:
        assert (line["safe"], line["unsafe"], line["auc"]["value"]) == (12, 12, 1.0)
        assert [tag["tag"] for tag in line["tags"]] == ["fire"]
    assert lines[2]["accuracy"] is None and lines[2]["fnr_at_fpr"]["value"] == 0
    # Twelve of twelve right: the exact interval does not claim certainty.
    assert lines[0]["fnr"]["interval"] == [0.0, pytest.approx(clopper_pearson(0, 12)[1])]
    assert lines[3]["accuracy"]["value"] == lines[4]["accuracy"]["value"] == 1.0


def test_the_table_has_both_modalities(tiny_package: Path, data: Path) -> None:
    ran = _run(data / "all.jsonl", "--model", tiny_package, "--repeats", "100")
    assert ran.exit_code == 0, ran.output
    assert "images: 12 safe, 12 unsafe" in ran.stdout and "texts: 1 safe, 1 unsafe" in ran.stdout
    assert "fire" in ran.stdout and "1.000 1.000-1.000" in ran.stdout


def test_a_classifier_has_nothing_to_say_about_texts(
    classifier_parts: Callable[..., Any], tiny_package: Path, data: Path, tmp_path: Path
) -> None:
    write_package(tmp_path / "c", *classifier_parts())
    models = ["--model", tmp_path / "c", "--model", tiny_package]
    ran = _run(data / "all.jsonl", *models, "--modality", "text", "--repeats", "100")
    assert ran.exit_code == 0 and "no text encoder, left out" in ran.stderr
    assert "tiny@1" in ran.stdout and "colours" not in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "probe"], "go together"),
        (["--probe-data", "x"], "go together"),
        (["--modality", "text"], "holds no texts"),
    ],
)
def test_wrong_usage(data: Path, arguments: list[str], message: str) -> None:
    ran = _run(data / "images.jsonl", *arguments)
    assert isinstance(ran.exception, EdgesafeError) and message in str(ran.exception)
    assert ran.exception.exit_status == 2


def test_a_baseline_needs_embeddings(
    classifier_parts: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    write_package(tmp_path / "c", *classifier_parts())
    ran = _run(data / "images.jsonl", "--model", tmp_path / "c", "--baseline", "prompts")
    assert "a classifier has none" in str(ran.exception)
