"""Packages without a radius: flat embeddings with a probe, and classifiers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgesafe.runtime import Moderator, PackageError, UsageError, write_package
from edgesafe.runtime.inspect_cmd import inspect
from edgesafe.runtime.moderate_cmd import moderate
from edgesafe.runtime.output import as_record
from edgesafe.runtime.scorers import BadOutput, Labels, ProbeLogit, make_scorer

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
Parts = Callable[..., tuple[dict[str, Any], dict[str, bytes]]]


def _plain(colour: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    return np.full((32, 32, 3), colour, np.uint8)


def test_a_probe_scores_flat_embeddings(flat_parts: Parts, tmp_path: Path) -> None:
    moderator = Moderator(write_package(tmp_path / "p", *flat_parts()))
    red, green = moderator.check(_plain(RED)), moderator.check(_plain(GREEN))
    assert (red.decision, green.decision) == ("unsafe", "safe")
    # The embedding of red is (1, 0, 0, .1) over its length, that of green (0, .2, 0, .1).
    assert red.score == pytest.approx(2 / np.hypot(1, 0.1) - 1, rel=1e-5)
    assert green.score == pytest.approx(-1, abs=1e-5)
    assert red.radius is None and as_record("a", 0, red)["radius"] is None
    best = red.concepts[0]
    assert (best.name, best.inside, best.half_aperture) == ("knife", None, None)
    assert best.angle == pytest.approx(np.arctan(0.1), abs=1e-3)
    assert best.score == pytest.approx((1 + np.cos(np.arctan(0.1))) / 2, abs=1e-4)


def test_without_a_probe_it_refuses_and_names_the_command(
    flat_parts: Parts, tmp_path: Path
) -> None:
    fields, files = flat_parts()
    del fields["probe"], files["probe.json"]
    path = tmp_path / "p"
    write_package(path, fields, files)
    with pytest.raises(PackageError, match=f"edgesafe calibrate probe DATA --model {path} --out"):
        Moderator.load(path)
    ran = CliRunner().invoke(moderate, [str(tmp_path), "--model", str(path)])
    assert isinstance(ran.exception, PackageError) and ran.exception.exit_status == 3
    shown = CliRunner().invoke(inspect, [str(path)], catch_exceptions=False).output
    assert "flat, dimension 8" in shown and "edgesafe calibrate probe" in shown


def test_an_embedding_of_another_length_is_not_scored(flat_parts: Parts, tmp_path: Path) -> None:
    scorer = make_scorer(write_package(tmp_path / "p", *flat_parts()), "image")
    assert isinstance(scorer, ProbeLogit)
    row = np.zeros(8, np.float32)
    row[0] = 1
    assert scorer.score(row, None).score == pytest.approx(1.0)
    for wrong in (0.9 * row, 2 * row, row[:7], np.full(8, np.nan, np.float32)):
        with pytest.raises(BadOutput):
            scorer.score(wrong, None)


@pytest.mark.parametrize(
    "probe",
    [
        {"image": {"weights": [1.0] * 7, "bias": 0}},
        {"image": {"weights": [0.0] * 8, "bias": 0}},
        {"image": {"weights": [1.0] * 8}},
        {"image": {"weights": [1.0] * 8, "bias": "0"}},
        {"image": {"weights": [1.0] * 8, "bias": 0, "more": 1}},
        {"sound": {"weights": [1.0] * 8, "bias": 0}},
        {"text": {"weights": [1.0] * 8, "bias": 0}},
        [],
    ],
)
def test_a_broken_probe_is_refused(flat_parts: Parts, tmp_path: Path, probe: Any) -> None:
    fields, files = flat_parts()
    files["probe.json"] = json.dumps(probe).encode()
    package = write_package(tmp_path / "p", fields, files)
    with pytest.raises(PackageError, match="probe"):
        Moderator(package)


@pytest.mark.parametrize("blue_first", [False, True])
def test_a_classifier_sums_its_unsafe_labels(
    classifier_parts: Parts, tmp_path: Path, blue_first: bool
) -> None:
    moderator = Moderator(write_package(tmp_path / "p", *classifier_parts(blue_first=blue_first)))
    logits = {"red": 3.0, "green": -3.0, "blue": -3.0}
    share = np.exp(3.0) / sum(np.exp(v) for v in logits.values())
    red = moderator.check(_plain(RED))
    assert red.decision == "unsafe" and red.score == pytest.approx(share, rel=1e-4)
    assert [c.name for c in red.concepts][0] == "red" and not red.concepts[0].harmless
    assert red.concepts[0].score == pytest.approx(share, rel=1e-4)
    assert red.radius is None and red.concepts[0].angle is None
    blue = moderator.check(_plain(BLUE))
    assert blue.decision == "safe" and blue.concepts[0].name == "blue" and blue.concepts[0].harmless
    with pytest.raises(UsageError, match="no text encoder"):
        moderator.check_text("red")
    shown = CliRunner().invoke(inspect, [str(tmp_path / "p")], catch_exceptions=False).output
    assert "green, red (unsafe), blue" in shown and "softmax" in shown
    assert ("blue first, channels last" in shown) == blue_first


def test_activations_agree_with_their_formulas(classifier_parts: Parts, tmp_path: Path) -> None:
    package = write_package(tmp_path / "p", *classifier_parts())
    labels = package.manifest.labels
    values = np.array([0.5, -1.0, 700.0], np.float32)
    assert Labels(labels, "sigmoid").score(values, None).score == pytest.approx(1 / (1 + np.e))
    assert Labels(labels, "softmax").score(values, None).score == pytest.approx(0.0)
    inside = np.array([0.2, 0.7, 0.1], np.float32)
    assert Labels(labels, "none").score(inside, None).score == pytest.approx(0.7)
    with pytest.raises(BadOutput, match="no probabilities"):
        Labels(labels, "none").score(values, None)


def _set(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(fields: dict[str, Any]) -> None:
        for key in path[:-1]:
            fields = fields[key]
        fields[path[-1]] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("activation", to="relu"),
        _set("labels", to=[]),
        _set("labels", to=[{"name": "red", "unsafe": True}] * 2),
        _set("labels", to=[{"name": "red", "unsafe": False}]),
        _set("labels", to=[{"name": "red", "unsafe": "yes"}]),
        _set("labels", to=[{"name": "red", "unsafe": True, "share": 1}]),
        _set("concepts", to={"file": "golden.json"}),
        _set("geometry", to={"model": "euclidean", "dim": 3}),
        _set("bounds", to={}),
        _set("probe", to={"file": "golden.json"}),
        _set("encoders", "image", "outputs", to=["scores", "more"]),
        _set("encoders", "image", "layout", to="chwn"),
        _set("encoders", "image", "channels", to="grb"),
        _set("thresholds", "image", "value", to=-0.1),
        _set("method", to="guess"),
    ],
)
def test_a_broken_classifier_manifest_is_refused(
    classifier_parts: Parts, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    fields, files = classifier_parts()
    change(fields)
    with pytest.raises(PackageError):
        write_package(tmp_path / "p", fields, files)


@pytest.mark.parametrize(
    "change",
    [
        _set("geometry", to={"model": "euclidean", "dim": 8, "curvature": 1.0}),
        _set("geometry", to={"model": "lorentz", "curvature": 1.0, "dim": 8, "min_radius": 0.1}),
        _set("bounds", to={"safe_image": {"avg": 1, "low_05": 1, "up_95": 1}}),
        _set("labels", to=[{"name": "red", "unsafe": True}]),
        _set("encoders", "image", "outputs", to=["embedding", "root_distance"]),
        _set("probe", to={"file": "concepts.json"}),
        _set("probe", to={"file": "none.json"}),
    ],
)
def test_a_broken_flat_manifest_is_refused(
    flat_parts: Parts, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    fields, files = flat_parts()
    change(fields)
    with pytest.raises(PackageError):
        write_package(tmp_path / "p", fields, files)


def test_a_logit_may_be_negative_and_so_may_its_threshold(
    flat_parts: Parts, tmp_path: Path
) -> None:
    fields, files = flat_parts()
    fields["thresholds"]["image"] |= {"value": -1.5, "interval": [-2.0, -1.0]}
    moderator = Moderator(write_package(tmp_path / "p", fields, files))
    assert moderator.check(_plain(GREEN)).decision == "unsafe"


def test_only_a_hyperbolic_package_has_a_lorentz_geometry(
    flat_parts: Parts, tiny_parts: Parts, tmp_path: Path
) -> None:
    flat = write_package(tmp_path / "flat", *flat_parts()).manifest
    assert write_package(tmp_path / "tiny", *tiny_parts()).manifest.lorentz().curvature == 1.0
    with pytest.raises(PackageError, match="'hysac' is needed"):
        flat.lorentz()
