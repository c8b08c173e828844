"""What is computed for an explanation, where it can be told by geometry."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edgesafe.calib.explain.disk import draw_disk
from edgesafe.calib.explain.explanation import Caption, Explanation, explain
from edgesafe.calib.explain.page import sentences
from edgesafe.runtime import lorentz
from edgesafe.runtime.concepts import Concept, ConceptBank
from edgesafe.runtime.manifest import Bounds, Geometry
from edgesafe.runtime.thresholds import QUANTILES, Scores, Threshold
from edgesafe.runtime.verdict import Timings, Verdict, decide

C = 1.0
GEOMETRY = Geometry(curvature=C, dim=2, min_radius=0.1)
BOUNDS = {
    "safe_text": Bounds(0.2, 0.1, 0.3),
    "safe_image": Bounds(0.5, 0.4, 0.6),
    "unsafe_image": Bounds(1.5, 1.2, 1.8),
}


def polar(radius: float, degrees: float) -> np.ndarray:
    a = math.radians(degrees)
    return lorentz.exp_map0(radius * np.array([math.cos(a), math.sin(a)]), C)


BANK = ConceptBank(
    (Concept("near", "things", True), Concept("aside", "weapon", False)),
    np.stack([polar(0.5, 5), polar(0.5, 60)]),
    GEOMETRY,
)


def verdict(radius: float) -> Verdict:
    return Verdict(
        decide(radius, 0.7), radius, radius, 0.7, (), None, None, "image", Timings(), "tiny@1#0"
    )


def explained(*captions: Caption, radius: float = 1.5) -> Explanation:
    return explain(polar(radius, 0), verdict(radius), BANK, BOUNDS, captions)


def test_the_way_goes_from_caption_to_caption() -> None:
    found = explained(
        Caption("a thing", True, polar(0.4, 0)),
        Caption("a blade", None, polar(0.8, 0)),
        Caption("a knife", False, polar(1.2, 0)),
    )
    assert [met.text for met in found.path] == ["[root]", "a thing", "a blade", "a knife"]
    # On one ray the nearest changes half way.
    starts = [met.start for met in found.path]
    assert starts == pytest.approx([0.0, 0.2, 0.6, 1.0], abs=0.01)
    assert found.path[-1].end == pytest.approx(1.5)
    for met, after in zip(found.path, found.path[1:], strict=False):
        assert met.end == after.start
    last = found.path[-1]
    assert last.distance == pytest.approx(0, abs=0.01) and last.radius == pytest.approx(1.2)
    assert (last.angle, last.direction) == pytest.approx((0, 0), abs=1e-6) and last.inside
    assert found.entailed and found.pool == 3
    assert [met.text for met in found.nearest] == ["a knife", "a blade", "a thing"]


def test_what_does_not_entail_the_input_is_not_met() -> None:
    beyond = Caption("beyond", False, polar(1.6, 0))
    found = explained(Caption("a thing", True, polar(0.4, 0)), beyond)
    assert [met.text for met in found.path] == ["[root]", "a thing"]
    assert found.nearest[0].text == "beyond" and not found.nearest[0].inside
    alone = explained(beyond)
    assert not alone.entailed and [met.text for met in alone.path] == ["[root]", "beyond"]


def test_without_captions_the_concepts_are_met() -> None:
    found = explained()
    assert [met.text for met in found.path] == ["[root]", "near"] and found.pool == 2


def test_concepts_and_their_cones() -> None:
    near, aside = explained().concepts
    assert near.name == "near" and near.inside and not aside.inside and not aside.harmless
    assert near.radius == pytest.approx(0.5)
    assert math.degrees(near.direction) == pytest.approx(5)
    assert math.degrees(aside.direction) == pytest.approx(60)
    assert near.half_aperture == pytest.approx(math.asin(0.2 / math.sinh(0.5)))
    angle = float(lorentz.exterior_angle(polar(0.5, 60), polar(1.5, 0), C))
    assert aside.angle == pytest.approx(angle)


def test_its_own_modality_stands_first() -> None:
    standing = explained().standing
    assert [one.name for one in standing] == ["safe_image", "unsafe_image", "safe_text"]
    assert [one.place for one in standing] == ["above", "within", "above"]
    assert explained(radius=0.05).standing[0].place == "below"


def test_the_root_itself() -> None:
    at_root = explain(np.zeros(2), verdict(0.0001), BANK, BOUNDS)
    assert at_root.radius == 0 and [met.text for met in at_root.path] == ["[root]"]


def test_json() -> None:
    value = json.loads(json.dumps(explained().to_json(), allow_nan=False))
    assert value["verdict"] == "unsafe" and value["captions_from"] == "entailing"
    assert value["concepts"][0]["direction_deg"] == pytest.approx(5)
    assert value["path"][0]["text"] == "[root]" and "angle" not in value["path"][0]


def calibrated(scores: Scores | None) -> Explanation:
    threshold = Threshold(0.7, (0.6, 0.8), 0.95, 320, None, None, "r", "0" * 64, scores=scores)
    return explain(polar(1.5, 0), verdict(1.5), BANK, BOUNDS, threshold=threshold)


def test_the_radius_among_the_calibration_data() -> None:
    levels = [i / (QUANTILES - 1) for i in range(QUANTILES)]
    scores = Scores(tuple(1.6 * i for i in levels), tuple(1.4 + i for i in levels))
    found = calibrated(scores)
    plain = found.to_json()["calibration"]
    assert plain["safe_below"] == pytest.approx(1.5 / 1.6, abs=1e-9) and plain["n"] == 320
    assert plain["unsafe_below"] == pytest.approx(0.1)
    told = "farther out than 94 % of the safe and 10 % of the unsafe pictures."
    assert told in " ".join(sentences(found))
    with_ticks, without = (draw_disk(one).svg("x") for one in (found, calibrated(None)))
    assert "calibration data" in with_ticks and "calibration data" not in without
    assert with_ticks.count("<path") > without.count("<path") + 20


def test_without_quantiles_nothing_is_said_of_the_calibration() -> None:
    for found in (explained(), calibrated(None)):
        assert found.to_json()["calibration"] is None
        assert "alibration" not in " ".join(sentences(found))


@pytest.mark.parametrize(
    ("band", "told"),
    [
        ((0.3, 1.8), "in the band from 0.300 to 1.800, where the package does not decide."),
        ((0.3, 0.9), "beyond the band from 0.300 to 0.900 in which the package"),
        ((1.6, 1.8), "nearer than the band from 1.600 to 1.800 in which the package"),
    ],
)
def test_a_band_is_told_and_drawn(band: tuple[float, float], told: str) -> None:
    decision = decide(1.5, band[0], band)
    reason = "in_band" if decision == "undecided" else None
    seen = Verdict(
        decision, 1.5, 1.5, band[0], (), reason, None, "image", Timings(), "p@1#0", band=band
    )
    found = explain(polar(1.5, 0), seen, BANK, BOUNDS)
    text = " ".join(sentences(found))
    assert told in text and "threshold" not in text
    assert found.to_json()["band"] == list(band)
    drawn = draw_disk(found).svg("x")
    assert f"undecided from {band[0]:.3f} to {band[1]:.3f}" in drawn
    assert "undecided up to here" in drawn
